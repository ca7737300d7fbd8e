"""The structure aligner: latents of a video in, latents of its colorized depth out."""

from typing import Literal, get_args

import torch
from diffusers import CogVideoXTransformer3DModel, ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config

from semrepa.depth import Colormap
from semrepa.models.transformer import call_transformer
from semrepa.shapes import Latents, Timesteps

StructureInput = Literal["clean", "noisy"]


class StructureAligner(ModelMixin, ConfigMixin):
    """A CogVideoX transformer with few layers that predicts depth latents from video latents.

    It has no image condition and one empty text token (a zero, so that what is learned of it is the bias of
    its projection). On clean latents its timestep is always 0. On noisy latents it gets the real timesteps
    and predicts the depth latents under the same noise.

    Args:
        num_layers: transformer blocks (ours: 4; the paper only says "reduced").
        num_heads: attention heads.
        head_dim: size of each head, divisible by 16 for the rotary positions.
        channels: latent channels of the VAE, in and out.
        sample_height: latent height it is trained on, the scale of its positions.
        sample_width: latent width it is trained on.
        structure_input: what it is trained on: a record for those who use it.
        colormap: depth colours it is trained on: a record, since its answers mean nothing in other colours.
        time_embed_dim: size of the timestep's embedding; None: a quarter of the width, at most 512.
        depth_teacher: digits that stand for the teacher it is trained on: a record; None: not known.

    Raises:
        ValueError: when `structure_input` or `colormap` is none of the known ones.

    Source: Eq. (2) clean and Eq. (4) noisy, Sec. 4.2.1.
    """

    _supports_gradient_checkpointing = True

    @register_to_config
    def __init__(
        self,
        num_layers: int = 4,
        num_heads: int = 48,
        head_dim: int = 64,
        channels: int = 16,
        *,
        sample_height: int = 60,
        sample_width: int = 90,
        structure_input: StructureInput = "clean",
        colormap: Colormap = "inferno",
        time_embed_dim: int | None = None,
        depth_teacher: str | None = None,
    ) -> None:
        del depth_teacher  # kept in the config
        super().__init__()
        if structure_input not in get_args(StructureInput):
            raise ValueError(f"got structure_input={structure_input!r}; expected 'clean' or 'noisy'")
        if colormap not in get_args(Colormap):
            raise ValueError(f"got colormap={colormap!r}; expected one of {', '.join(get_args(Colormap))}")
        self.transformer = CogVideoXTransformer3DModel(
            num_attention_heads=num_heads,
            attention_head_dim=head_dim,
            in_channels=channels,
            out_channels=channels,
            time_embed_dim=time_embed_dim or min(512, num_heads * head_dim // 4),
            text_embed_dim=1,
            max_text_seq_length=1,
            num_layers=num_layers,
            sample_height=sample_height,
            sample_width=sample_width,
            use_rotary_positional_embeddings=True,
        )

    def warm_start(self, backbone: CogVideoXTransformer3DModel) -> None:
        """Take over the first layers of a backbone: what embeds latents and timesteps, and the first blocks.

        An image-to-video backbone reads noisy latents, then image latents: only the weights for the former
        are taken. Text projection and output layers stay as they are.

        Args:
            backbone: CogVideoX 1.0 transformer of the aligner's width, with at least its number of blocks.

        Raises:
            ValueError: a backbone of version 1.5, or a layer that is not there or has another shape; then
                nothing is taken over.
        """
        if backbone.config.patch_size_t is not None:
            raise ValueError(
                f"got a backbone with patch_size_t={backbone.config.patch_size_t} (CogVideoX 1.5); expected "
                "one that takes latent frames singly, as the aligner does; use CogVideoX-5b-I2V, or set "
                "structure.warm_start to False"
            )
        own, theirs = self.transformer.state_dict(), backbone.state_dict()
        theirs["patch_embed.proj.weight"] = theirs["patch_embed.proj.weight"][:, : self.config.channels]
        first = ("patch_embed.proj.", "time_embedding.", "transformer_blocks.")
        taken = {name: theirs.get(name) for name in own if name.startswith(first)}
        for name, value in taken.items():
            if value is None or value.shape != own[name].shape:
                found = "no such layer" if value is None else f"shape {tuple(value.shape)}"
                raise ValueError(
                    f"{name}: got {found} in the backbone; expected shape {tuple(own[name].shape)}; make the "
                    "aligner with the backbone's num_heads, head_dim and time_embed_dim, and no more layers"
                )
        self.transformer.load_state_dict(taken, strict=False)

    def forward(self, latents: Latents, timesteps: Timesteps | None = None) -> Latents:
        """Predict depth latents.

        Args:
            latents: clean latents, or latents noised to `timesteps`.
            timesteps: noise level of each clip; None stands for clean latents.

        Returns:
            Depth latents of the same shape and noise level, float32.
        """
        batch = len(latents)
        if timesteps is None:
            timesteps = torch.zeros(batch, dtype=torch.long, device=latents.device)
        return call_transformer(self.transformer, latents, latents.new_zeros(batch, 1, 1), timesteps)
