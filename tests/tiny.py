"""Tiny random parts of the official classes, with the real geometry: 4x in time, 8x8 in space, 16 channels.

They know nothing, but every shape rule of the full models holds for them. Each call makes new weights from
its seed. Sizes that fit them: 4k+1 frames, sides that are multiples of 16 pixels, `TEXT_LENGTH` tokens.
"""

from pathlib import Path

import torch
from diffusers import (
    AutoencoderKLCogVideoX,
    CogVideoXDDIMScheduler,
    CogVideoXImageToVideoPipeline,
    CogVideoXTransformer3DModel,
)
from transformers import T5Config, T5EncoderModel, T5Tokenizer

TEXT_LENGTH = 8
TEXT_WIDTH = 16
_WORDS = ("a", "person", "walks", "waves", "turns", "dances", "squats", "in", "room", "red", "blue", "shirt")


def tiny_vae(seed: int = 0, **settings: object) -> AutoencoderKLCogVideoX:
    """VAE of four blocks of 8 channels; frozen, in evaluation mode. `settings` go to its class."""
    torch.manual_seed(seed)
    usual = {"scaling_factor": 0.7, "sample_height": 32, "sample_width": 48}
    vae = AutoencoderKLCogVideoX(
        block_out_channels=(8, 8, 8, 8),
        layers_per_block=1,
        norm_num_groups=4,
        latent_channels=16,
        **usual | settings,
    )
    return vae.requires_grad_(False).eval()


def tiny_transformer(
    seed: int = 0,
    *,
    in_channels: int = 32,
    height: int = 32,
    width: int = 48,
    num_frames: int = 9,
    **settings: object,
) -> CogVideoXTransformer3DModel:
    """Image-to-video transformer: 2 layers, 2 heads of 16, rotary positions; `height`, `width` in pixels.

    `settings` go to its class and win.
    """
    torch.manual_seed(seed)
    usual = {
        "sample_width": width // 8,
        "sample_height": height // 8,
        "sample_frames": num_frames,
        "use_rotary_positional_embeddings": True,
    }
    return CogVideoXTransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=16,
        in_channels=in_channels,
        out_channels=16,
        time_embed_dim=16,
        text_embed_dim=TEXT_WIDTH,
        num_layers=2,
        patch_size=2,
        max_text_seq_length=TEXT_LENGTH,
        **usual | settings,
    )


def tiny_text(seed: int = 0) -> tuple[T5Tokenizer, T5EncoderModel]:
    """Tokenizer of a dozen words and a T5 encoder of one layer; the encoder is frozen."""
    specials = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -3.0)]
    tokenizer = T5Tokenizer(vocab=[*specials, *((f"▁{word}", -1.0) for word in _WORDS)], extra_ids=0)
    tokenizer.model_max_length = TEXT_LENGTH
    torch.manual_seed(seed)
    config = T5Config(
        vocab_size=len(tokenizer),
        d_model=TEXT_WIDTH,
        d_kv=8,
        d_ff=32,
        num_layers=1,
        num_heads=2,
        dropout_rate=0.0,
    )
    return tokenizer, T5EncoderModel(config).requires_grad_(False).eval()


def tiny_noise_scheduler() -> CogVideoXDDIMScheduler:
    """Noise table of CogVideoX-5b: 1000 steps, v-prediction, zero SNR at the end."""
    return CogVideoXDDIMScheduler(
        beta_start=0.00085,
        beta_end=0.0120,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        set_alpha_to_one=True,
        snr_shift_scale=1.0,
        timestep_spacing="trailing",
        clip_sample=False,
    )


def tiny_pipeline(seed: int = 0) -> CogVideoXImageToVideoPipeline:
    """The stock pipeline over all tiny parts."""
    tokenizer, text_encoder = tiny_text(seed)
    return CogVideoXImageToVideoPipeline(
        tokenizer=tokenizer,
        text_encoder=text_encoder,
        vae=tiny_vae(seed),
        transformer=tiny_transformer(seed),
        scheduler=tiny_noise_scheduler(),
    )


def tiny_pipeline_folder(folder: Path, seed: int = 0) -> Path:
    """A complete diffusers folder of the tiny parts, as a downloaded checkpoint would be; returns it."""
    tiny_pipeline(seed).save_pretrained(folder, safe_serialization=True)
    return folder
