"""One call for every CogVideoX transformer, the trained backbone and the structure aligner alike.

It adds what the stock pipeline passes beside the latents: rotary positions, and `ofs` for version 1.5.
"""

from contextlib import nullcontext
from typing import Any

from diffusers import CogVideoXTransformer3DModel
from diffusers.models.embeddings import get_3d_rotary_pos_embed
from diffusers.models.transformers.cogvideox_transformer_3d import CogVideoXBlock
from diffusers.pipelines.cogvideo.pipeline_cogvideox import get_resize_crop_region_for_grid
from torch import Tensor, nn

from semrepa.models.attention import training_attention
from semrepa.models.variants import check_size
from semrepa.shapes import JoinedLatents, Latents, PromptEmbeds, Timesteps


def call_transformer(
    transformer: CogVideoXTransformer3DModel,
    latents: JoinedLatents,
    prompt_embeds: PromptEmbeds,
    timesteps: Timesteps,
) -> Latents:
    """Run a CogVideoX transformer with all it needs beside the latents: precision, rotary positions, `ofs`.

    Args:
        transformer: any CogVideoX transformer.
        latents: input with all its channels.
        prompt_embeds: text features.
        timesteps: noise level of each clip.

    Returns:
        Its answer in float32.

    Raises:
        ValueError: when channels, text features or sizes do not fit the transformer.
    """
    config: Any = transformer.config
    _check_inputs(config, latents, prompt_embeds)
    dtype = transformer.patch_embed.proj.weight.dtype  # transformer.dtype looks through all layers
    # Blocks that are run again in the backward pass are so outside this context, and must do the same there.
    attention = nullcontext() if transformer.gradient_checkpointing else training_attention(latents.device)
    with attention:
        answer = transformer(
            hidden_states=latents.to(dtype),
            encoder_hidden_states=prompt_embeds.to(dtype),
            timestep=timesteps,
            ofs=latents.new_full((1,), 2.0, dtype=dtype) if config.ofs_embed_dim else None,
            image_rotary_emb=rotary(transformer, latents.shape[1], *latents.shape[3:]),
            return_dict=False,
        )[0]
    return answer.float()


def compile_blocks(network: nn.Module) -> None:
    """Compile each transformer block of a network; one compilation serves all blocks of a size.

    Args:
        network: a CogVideoX transformer, or a network that holds one; changed in place.

    Raises:
        ValueError: the network has no transformer blocks.
    """
    blocks = [module for module in network.modules() if isinstance(module, CogVideoXBlock)]
    if not blocks:
        raise ValueError(
            f"compile: got a {type(network).__name__}, which has no transformer blocks; set compile to False"
        )
    for block in blocks:
        block.compile()


def padded_frames(transformer: CogVideoXTransformer3DModel, frames: int) -> int:
    """Count the latent frames that a transformer works on for a video.

    CogVideoX 1.5 takes them in pairs. An odd number gets one more in front: in training the first latent
    frame once more (`repeat_first`), in sampling noise that the stock pipeline drops at the end. The
    first-frame condition lies on it.

    Args:
        transformer: CogVideoX transformer.
        frames: latent frames of the video.

    Returns:
        The same number, or the next multiple of the patch size in time.
    """
    patch = transformer.config.patch_size_t or 1
    return -(-frames // patch) * patch


def rotary(
    transformer: CogVideoXTransformer3DModel, frames: int, height: int, width: int
) -> tuple[Tensor, Tensor] | None:
    """Compute the rotary position embedding for latents of a size, as the stock pipeline does.

    Args:
        transformer: CogVideoX transformer.
        frames: latent frames.
        height: latent height.
        width: latent width.

    Returns:
        Cosines and sines, (tokens, head dim) each; None for a transformer without rotary positions.
    """
    config: Any = transformer.config
    if not config.use_rotary_positional_embeddings:
        return None
    patch = config.patch_size
    grid = (height // patch, width // patch)
    base_height, base_width = config.sample_height // patch, config.sample_width // patch
    if config.patch_size_t is None:
        crops = get_resize_crop_region_for_grid(grid, base_width, base_height)
        kind = {"crops_coords": crops, "temporal_size": frames}
    else:
        tokens = -(-frames // config.patch_size_t)
        size = (base_height, base_width)
        kind = {"crops_coords": None, "temporal_size": tokens, "grid_type": "slice", "max_size": size}
    device = transformer.patch_embed.proj.weight.device
    cosines, sines = get_3d_rotary_pos_embed(
        embed_dim=config.attention_head_dim, grid_size=grid, device=device, **kind
    )
    return cosines, sines


def _check_inputs(config: Any, latents: JoinedLatents, prompt_embeds: PromptEmbeds) -> None:
    _, frames, channels, height, width = latents.shape
    tokens, features = prompt_embeds.shape[1:]
    if channels != config.in_channels:
        raise ValueError(
            f"got {channels} channels in all; expected {config.in_channels}; "
            "an image-to-video transformer takes noisy latents and image latents"
        )
    if features != config.text_embed_dim:
        raise ValueError(f"got text features of size {features}; expected {config.text_embed_dim}")
    check_size(config, frames, height, width)
    has_table = not config.use_rotary_positional_embeddings or config.use_learned_positional_embeddings
    if has_table and tokens != config.max_text_seq_length:
        raise ValueError(f"got {tokens} text tokens; expected {config.max_text_seq_length}; pad the captions")
    patch_t = config.patch_size_t or 1
    if height % config.patch_size or width % config.patch_size or frames % patch_t:
        raise ValueError(
            f"got latents of {frames}x{height}x{width} (frames x height x width); expected multiples of "
            f"{patch_t}x{config.patch_size}x{config.patch_size}"
        )
