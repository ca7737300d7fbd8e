"""Checkpoints: all that a run needs to go on as if it had never stopped.

A checkpoint is a folder `checkpoints/step-000120` of the run folder:

    model.safetensors   weights of what is trained
    state.pt            optimiser, averaged weights, random number states (read with `weights_only=True`)
    checkpoint.json     step (which is also the position in the data and in the learning-rate schedule),
                        recipe of the run, size and SHA-256 of the two files

It is written under another name and renamed when complete, so a folder with that name is a whole one.
"""

import hashlib
import json
import logging
import random
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import ModelMixin
from diffusers.training_utils import EMAModel
from safetensors.torch import load_model, save_model
from torch import nn

logger = logging.getLogger(__name__)

KEPT = 2
"""Checkpoints that stay in a run folder; older ones are removed when a new one is complete."""

FREE_TO_CHANGE = frozenset(
    {"checkpoint_every", "eval_every", "log_every", "resume", "gradient_checkpointing"}
)
"""Fields of TrainConfig that may differ when a run goes on: they do not touch the weights."""


@dataclass(frozen=True, kw_only=True)
class Trained:
    """The objects whose state makes up a checkpoint."""

    model: nn.Module
    """What is trained; frozen parts are not among its submodules."""
    optimizer: torch.optim.Optimizer
    """Its optimiser."""
    ema: EMAModel | None = None
    """Averaged weights, where the run keeps them."""


def save_checkpoint(run_dir: Path, step: int, trained: Trained, recipe: Mapping[str, Any]) -> Path:
    """Write a checkpoint so that it is either whole or absent.

    Args:
        run_dir: run folder.
        step: optimiser steps done.
        trained: objects to save.
        recipe: plain values that decided the run so far; compared when it goes on.

    Returns:
        Folder of the checkpoint.
    """
    folder = run_dir / "checkpoints" / f"step-{step:06d}"
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    save_model(trained.model, str(partial / "model.safetensors"))
    state = {"optimizer": trained.optimizer.state_dict(), "rng": rng_state()}
    state["ema"] = trained.ema.state_dict() if trained.ema else None
    torch.save(state, partial / "state.pt")
    files = {path.name: _stamp(path) for path in sorted(partial.iterdir())}
    manifest = {"step": step, "recipe": recipe, "files": files}
    (partial / "checkpoint.json").write_text(json.dumps(manifest, indent=2))
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)
    for old in _folders(run_dir)[:-KEPT]:
        shutil.rmtree(old)
    logger.info("saved %s", folder)
    return folder


def latest_checkpoint(run_dir: Path) -> Path | None:
    """Find the checkpoint with the most steps.

    Args:
        run_dir: run folder.

    Returns:
        Its folder, or None where the run has none yet.
    """
    folders = _folders(run_dir)
    return folders[-1] if folders else None


def load_checkpoint(folder: Path, trained: Trained, recipe: Mapping[str, Any]) -> int:
    """Bring objects and random number generators to the state of a checkpoint.

    Args:
        folder: folder of the checkpoint.
        trained: objects of the same shapes as those saved.
        recipe: plain values of the run that wants to go on.

    Returns:
        Optimiser steps done.

    Raises:
        ValueError: the checkpoint is incomplete or damaged, or comes from a run with another recipe.
    """
    manifest = _checked_manifest(folder)
    changed = differences(manifest["recipe"], json.loads(json.dumps(recipe)))
    if changed:
        listed = "\n".join(f"  {line}" for line in changed)
        raise ValueError(
            f"{folder}: this checkpoint was made with other settings:\n{listed}\n"
            "Give the same settings to go on; to start anew, set resume to False or use another run folder."
        )
    load_model(trained.model, str(folder / "model.safetensors"))
    state = torch.load(folder / "state.pt", map_location="cpu", weights_only=True)
    trained.optimizer.load_state_dict(state["optimizer"])
    if trained.ema:
        trained.ema.load_state_dict(state["ema"])
    restore_rng(state["rng"])
    return manifest["step"]


def differences(saved: Mapping[str, Any], wanted: Mapping[str, Any], prefix: str = "") -> list[str]:
    """List where two nested dictionaries of plain values differ.

    Args:
        saved: values of the checkpoint.
        wanted: values of the run.
        prefix: dotted name of the place inside the whole.

    Returns:
        One line for each difference: dotted name, value of the checkpoint, value of the run.
    """
    lines = []
    for name in sorted({*saved, *wanted}):
        old, new = saved.get(name, "(absent)"), wanted.get(name, "(absent)")
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            lines += differences(old, new, f"{prefix}{name}.")
        elif old != new:
            lines.append(f"{prefix}{name}: checkpoint {old!r}, now {new!r}")
    return lines


def publish(model: ModelMixin, folder: Path) -> Path:
    """Write a diffusers model for use outside training, whole or not at all.

    Args:
        model: network; `type(model).from_pretrained(folder)` reads it back.
        folder: target, replaced where it exists.

    Returns:
        The folder.
    """
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    model.save_pretrained(partial, safe_serialization=True)
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)
    return folder


def rng_state() -> dict[str, Any]:
    """Read the states of Python's, NumPy's and torch's global generators.

    Returns:
        Plain values and tensors, for `restore_rng`.
    """
    name, keys, *rest = np.random.get_state()
    return {
        "python": random.getstate(),
        "numpy": (name, torch.from_numpy(keys.astype(np.int64)), *rest),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def restore_rng(state: Mapping[str, Any]) -> None:
    """Bring the global generators back to a state read by `rng_state`.

    Args:
        state: what `rng_state` returned.
    """
    random.setstate(state["python"])
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))
    torch.set_rng_state(state["torch"])
    if state["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda"])


def _folders(run_dir: Path) -> list[Path]:
    return sorted((run_dir / "checkpoints").glob("step-*"), key=lambda path: int(path.name.split("-")[1]))


def _stamp(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        return {"bytes": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def _checked_manifest(folder: Path) -> dict[str, Any]:
    """Read the manifest and make sure that the files are the ones it describes."""
    advice = f"delete {folder} to go on from the checkpoint before it"
    try:
        manifest = json.loads((folder / "checkpoint.json").read_text())
        stamps = manifest["files"]
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(f"{folder}: checkpoint.json is missing or unreadable ({error}); {advice}") from error
    for name, expected in stamps.items():
        path = folder / name
        got = _stamp(path) if path.is_file() else None
        if got != expected:
            raise ValueError(f"{path}: got {got or 'no file'}; expected {expected}; {advice}")
    return manifest
