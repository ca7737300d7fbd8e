"""The mini base model and aligners, trained by the library's own training code on the rendered clips."""

import json
import logging
import shutil
from collections.abc import Iterator
from pathlib import Path

import torch
from diffusers import (
    AutoencoderKLCogVideoX,
    CogVideoXDDIMScheduler,
    CogVideoXImageToVideoPipeline,
    CogVideoXTransformer3DModel,
)
from torch import nn
from transformers import T5EncoderModel, T5Tokenizer

from semrepa.config import Config, mini, override
from semrepa.data.store import FeatureStore
from semrepa.miniature.clips import ClipSet
from semrepa.miniature.shortcuts import fast_training
from semrepa.miniature.text import MAX_LENGTH
from semrepa.models.latents import encode
from semrepa.training.alignment import Aligners
from semrepa.training.finetune import finetune
from semrepa.training.log import StepLog
from semrepa.training.sources import load_base

_log = logging.getLogger(__name__)


def new_transformer(seed: int) -> CogVideoXTransformer3DModel:
    """Builds the mini image-to-video transformer: 4 layers of width 192, patch 2, rotary positions.

    Args:
        seed: of the initial weights.

    Returns:
        An untrained transformer of 2.5 M parameters.
    """
    torch.manual_seed(seed)
    return CogVideoXTransformer3DModel(
        num_attention_heads=6,
        attention_head_dim=32,
        num_layers=4,
        in_channels=32,
        out_channels=16,
        text_embed_dim=64,
        time_embed_dim=64,
        max_text_seq_length=MAX_LENGTH,
        sample_height=16,
        sample_width=24,
        sample_frames=17,
        use_rotary_positional_embeddings=True,
    )


@torch.no_grad()
def set_scaling_factor(vae: AutoencoderKLCogVideoX, clips: ClipSet, count: int = 64) -> None:
    """Writes 1 / (standard deviation of the latents) into the VAE's config, as CogVideoX does.

    Args:
        vae: trained VAE.
        clips: training clips.
        count: clips measured.
    """
    vae.register_to_config(scaling_factor=1.0)
    latents = encode(vae, torch.from_numpy(clips.frames[:count]))
    vae.register_to_config(scaling_factor=round(1 / latents.std().item(), 5))


def save_pipeline(
    folder: Path,
    vae: AutoencoderKLCogVideoX,
    tokenizer: T5Tokenizer,
    text_encoder: T5EncoderModel,
    transformer: CogVideoXTransformer3DModel,
) -> None:
    """Saves a complete diffusers folder in half precision, with the noise schedule of CogVideoX-5b-I2V.

    Args:
        folder: where; replaced when it is there.
        vae: VAE with its scaling factor.
        tokenizer: caption tokenizer.
        text_encoder: caption encoder.
        transformer: base model.
    """
    noise_scheduler = CogVideoXDDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        snr_shift_scale=1.0,
        timestep_spacing="trailing",
    )
    halves = [copy_half(model) for model in (text_encoder, vae, transformer)]
    pipe = CogVideoXImageToVideoPipeline(tokenizer, *halves, noise_scheduler)
    shutil.rmtree(folder, ignore_errors=True)
    pipe.save_pretrained(folder)


def copy_half(model: nn.Module) -> nn.Module:
    """A half-precision copy.

    Args:
        model: any diffusers or transformers model.

    Returns:
        The copy; the model itself is not changed.
    """
    if isinstance(model, T5EncoderModel):
        twin = T5EncoderModel(model.config)
    else:
        settings = {name: value for name, value in model.config.items() if name != "_name_or_path"}
        twin = type(model).from_config(settings)
    twin.load_state_dict(model.state_dict())
    return twin.half()


def build_config(pipeline_folder: Path) -> Config:
    """Settings of the weight builder: the `mini` preset with long trainings.

    Args:
        pipeline_folder: the assembled base model.

    Returns:
        The config.
    """
    common = {
        "schedule": "cosine",
        "warmup": 50,
        "ema": 0.998,
        "checkpoint_every": 200,
        "eval_every": 200,
        "log_every": 10,
        "resume": True,
    }
    return override(
        mini(),
        {
            "model.weights": str(pipeline_folder),
            "finetune": {**common, "steps": 8000, "batch_size": 8, "lr": 1e-3, "eval_every": 500},
            "loss": {"weight_struct": 0.0, "weight_id": 0.0},
            "pretrain_structure": {**common, "steps": 800, "batch_size": 8, "lr": 1e-3},
            "pretrain_identity": {
                **common,
                "steps": 800,
                "batch_size": 16,
                "lr": 8e-4,
                "warmup": 20,
                "weight_decay": 0.2,
                "eval_every": 100,
            },
        },
    )


def train_base(
    cfg: Config, store: FeatureStore, run_dir: Path, train_ids: list[str], heldout_ids: list[str]
) -> Path:
    """Trains the base model from random weights with the diffusion loss alone.

    Args:
        cfg: from `build_config`.
        store: features of the rendered clips.
        run_dir: run folder; resumed when it holds a checkpoint.
        train_ids: training clips.
        heldout_ids: clips of other people.

    Returns:
        Folder of the trained transformer.
    """
    parts = load_base(cfg)
    with fast_training(parts.vae):
        ids = {"train_ids": train_ids, "heldout_ids": heldout_ids}
        follow("base", finetune(cfg, store, run_dir, **ids, parts=parts, aligners=Aligners()))
    return run_dir / "transformer"


def follow(name: str, logs: Iterator[StepLog]) -> None:
    """Runs a training to its end and logs every hundredth step.

    Args:
        name: what is trained.
        logs: the training.
    """
    for entry in logs:
        if entry.step % 100 == 0:
            _log.info("%s %s", name, json.dumps({"step": entry.step, "loss": round(entry.loss, 5)}))
