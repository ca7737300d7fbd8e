"""Tiny random checkpoints of the models compared with, in the official diffusers layout.

They know nothing, but have every part and every file of the real ones. Sides are multiples of 16 pixels.
"""

import json
from pathlib import Path

import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderKLTemporalDecoder,
    DDIMScheduler,
    EulerDiscreteScheduler,
    I2VGenXLPipeline,
    I2VGenXLUNet,
    StableVideoDiffusionPipeline,
    UNetSpatioTemporalConditionModel,
)
from transformers import (
    CLIPImageProcessor,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTokenizer,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
)

WIDTH = 16
"""Features of a caption and of a picture."""
SVD_FRAMES = 4
"""Frames that the tiny SVD makes in one go."""


def tiny_svd(folder: Path, seed: int = 0) -> Path:
    """Write a checkpoint of SVD that makes `SVD_FRAMES` frames; returns the folder."""
    torch.manual_seed(seed)
    unet = UNetSpatioTemporalConditionModel(
        block_out_channels=(32, 64),
        down_block_types=("CrossAttnDownBlockSpatioTemporal", "DownBlockSpatioTemporal"),
        up_block_types=("UpBlockSpatioTemporal", "CrossAttnUpBlockSpatioTemporal"),
        layers_per_block=1,
        num_attention_heads=2,
        cross_attention_dim=WIDTH,
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=24,
        num_frames=SVD_FRAMES,
        sample_size=4,
    )
    vae = AutoencoderKLTemporalDecoder(
        block_out_channels=(32, 32, 32, 32),
        down_block_types=("DownEncoderBlock2D",) * 4,
        layers_per_block=1,
        force_upcast=True,
    )
    scheduler = EulerDiscreteScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        timestep_spacing="leading",
        timestep_type="continuous",
        steps_offset=1,
        use_karras_sigmas=True,
        sigma_min=0.002,
        sigma_max=700.0,
        interpolation_type="linear",
    )
    pipe = StableVideoDiffusionPipeline(vae, _image_encoder(224), unet, scheduler, _processor(224))
    pipe.save_pretrained(folder, safe_serialization=True)
    return folder


def tiny_i2vgen_xl(folder: Path, seed: int = 0) -> Path:
    """Write a checkpoint of I2VGen-XL; returns the folder."""
    torch.manual_seed(seed)
    unet = I2VGenXLUNet(
        block_out_channels=(8, 16),
        down_block_types=("CrossAttnDownBlock3D", "DownBlock3D"),
        up_block_types=("UpBlock3D", "CrossAttnUpBlock3D"),
        layers_per_block=1,
        norm_num_groups=4,
        cross_attention_dim=WIDTH,
        attention_head_dim=4,
        sample_size=4,
    )
    vae = AutoencoderKL(
        block_out_channels=(8, 8, 8, 8),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=4,
        norm_num_groups=4,
    )
    tokenizer = _tokenizer()
    text_encoder = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=WIDTH,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=tokenizer.model_max_length,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    scheduler = DDIMScheduler(
        beta_schedule="squaredcos_cap_v2",
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        set_alpha_to_one=True,
        clip_sample=False,
        timestep_spacing="leading",
        steps_offset=1,
    )
    pipe = I2VGenXLPipeline(vae, text_encoder, tokenizer, _image_encoder(32), _processor(32), unet, scheduler)
    pipe.save_pretrained(folder, safe_serialization=True)
    words = folder / "tokenizer"
    (words / "tokenizer.json").unlink()  # the official checkpoint has the two files of older versions
    (words / "vocab.json").write_text(json.dumps(tokenizer.get_vocab()), encoding="utf-8")
    (words / "merges.txt").write_text("#version: 0.2\n", encoding="utf-8")
    return folder


def _image_encoder(side: int) -> CLIPVisionModelWithProjection:
    return CLIPVisionModelWithProjection(
        CLIPVisionConfig(
            hidden_size=WIDTH,
            intermediate_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            image_size=side,
            patch_size=side // 2,
            projection_dim=WIDTH,
        )
    )


def _processor(side: int) -> CLIPImageProcessor:
    size = {"height": side, "width": side}
    return CLIPImageProcessor(size={"shortest_edge": side}, crop_size=size)


def _tokenizer() -> CLIPTokenizer:
    """A tokenizer of single letters."""
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    words = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    vocab = {word: place for place, word in enumerate(words)}
    return CLIPTokenizer(vocab=vocab, merges=[], model_max_length=16)
