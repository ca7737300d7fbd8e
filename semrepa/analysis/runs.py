"""The base model and fine-tuned ones side by side, with the same frozen rest."""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import CogVideoXTransformer3DModel

from semrepa import weights
from semrepa.config import Config
from semrepa.diffusion import alphas_cumprod
from semrepa.generate import finetuned_folder
from semrepa.models.cogvideox import load_cogvideox
from semrepa.models.freeze import freeze
from semrepa.models.lora import load_lora
from semrepa.runtime import pick_device
from semrepa.training.alignment import Aligners
from semrepa.training.combined import CombinedObjective, Frozen
from semrepa.training.sources import load_aligners

BASE = "base"
"""Name of the model that was not fine-tuned."""


def load_models(cfg: Config, runs: Mapping[str, Path | str]) -> dict[str, CombinedObjective]:
    """Load the base model and fine-tuned ones, for looking at.

    All transformers are in memory at once, in the type that they are trained in: rounded to bfloat16, a short
    fine-tuning would hardly differ from the base.

    Args:
        cfg: names base model and aligners, and the formulation.
        runs: run folders of fine-tunings by name.

    Returns:
        Models by name, the base first. They share VAE and aligners; none has gradients.

    Raises:
        FileNotFoundError: weights that are not there.
        ValueError: a run is called as the base is.
    """
    if BASE in runs:
        raise ValueError(f"got a run called {BASE!r}; expected another name; the base model has this one")
    dtype = None if cfg.finetune.mode == "lora" else getattr(torch, cfg.finetune.weights_dtype)
    base: Any = weights.load_base(cfg, ("transformer",), dtype=dtype).transformer
    rest: Any = weights.load_base(cfg, ("vae", "noise_scheduler"))
    device, found = pick_device(), load_aligners(cfg)
    aligners = {name: each.to(device) for name, each in vars(found).items() if each is not None}
    text = base.config.max_text_seq_length, base.config.text_embed_dim
    frozen = Frozen(
        vae=rest.vae,
        aligners=Aligners(**aligners),
        alphas_cumprod=alphas_cumprod(rest.noise_scheduler, device),
        empty_prompt=torch.zeros(1, *text, device=device),  # is not asked for: here no caption is dropped
        noise_scheduler=rest.noise_scheduler,
    )
    transformers = {BASE: base, **{name: _finetuned(base, Path(run)) for name, run in runs.items()}}
    return {name: CombinedObjective(freeze(each), frozen, cfg) for name, each in transformers.items()}


def _finetuned(base: CogVideoXTransformer3DModel, run: Path) -> CogVideoXTransformer3DModel:
    folder = finetuned_folder(run)
    if folder.name == "lora":
        return load_lora(copy.deepcopy(base), folder)
    parts = load_cogvideox(folder.parent, parts=("transformer",), device=base.device, dtype=base.dtype)
    return parts.transformer
