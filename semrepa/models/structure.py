"""The structure aligner: latents of a video in, latents of its colorized depth out."""

from typing import Literal

import torch
from diffusers import ConfigMixin, CogVideoXTransformer3DModel, ModelMixin
from diffusers.configuration_utils import register_to_config

from semrepa.models.transformer import call_transformer
from semrepa.shapes import Latents, Timesteps


class StructureAligner(ModelMixin, ConfigMixin):
    """A CogVideoX transformer with few layers that predicts depth latents from video latents.

    It has no image condition and one empty text token (a zero, so that what is learned of it is the bias of its
    projection). On clean latents its timestep is always 0. On noisy latents it gets the real timesteps and
    predicts the depth latents under the same noise.

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
        sample_height: int = 60,
        sample_width: int = 90,
        structure_input: Literal["clean", "noisy"] = "clean",
        colormap: str = "inferno",
    ) -> None:
        """Build an untrained aligner.

        Args:
            num_layers: transformer blocks (ours: 4; the paper only says "reduced").
            num_heads: attention heads.
            head_dim: size of each head, divisible by 16 for the rotary positions.
            channels: latent channels of the VAE, in and out.
            sample_height: latent height it is trained on, the scale of its positions.
            sample_width: latent width it is trained on.
            structure_input: what it is trained on; a record for those who use it.
            colormap: depth colours it is trained on; a record, since its answers mean nothing in other colours.
        """
        super().__init__()
        width = num_heads * head_dim
        self.transformer = CogVideoXTransformer3DModel(
            num_attention_heads=num_heads,
            attention_head_dim=head_dim,
            in_channels=channels,
            out_channels=channels,
            time_embed_dim=min(512, width),
            text_embed_dim=1,
            max_text_seq_length=1,
            num_layers=num_layers,
            sample_height=sample_height,
            sample_width=sample_width,
            use_rotary_positional_embeddings=True,
        )

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
