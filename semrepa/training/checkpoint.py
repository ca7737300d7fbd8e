"""Checkpoints: all that a run needs to go on as if it had never stopped.

A checkpoint is a folder `checkpoints/step-000120` of the run folder:

    model.safetensors   weights of what is trained
    state.pt            optimiser, averaged weights, state of schedules and guards (read with
                        `weights_only=True`)
    checkpoint.json     step (which is also the position in the data and in the learning-rate schedule),
                        recipe of the run, size and SHA-256 of the two files

Random numbers need no state: those of a step are seeded with its number. A checkpoint is written under a
hidden name, forced to the disk and then renamed, and an old one is renamed before it is deleted: a folder
with that name is a whole checkpoint, whenever the process or the machine dies.
"""

import hashlib
import json
import logging
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from diffusers.training_utils import EMAModel
from safetensors.torch import load_file, save_file
from torch import nn

from semrepa.files import to_disk
from semrepa.training.sharding import load_optimizer, load_weights, optimizer_state, trained_weights

logger = logging.getLogger(__name__)

FREE_TO_CHANGE = frozenset(
    {
        "accumulate",
        "balance_every",
        "checkpoint_every",
        "checkpoint_minutes",
        "compile",
        "eval_every",
        "gradient_checkpointing",
        "keep",
        "log_every",
        "max_bad_steps",
        "probe_clips",
        "probe_every",
        "resume",
        "sample_every",
        "samples",
        "trackers",
    }
)
"""Fields of TrainConfig that may differ when a run goes on: they change the weights by rounding, or not."""

BOUND = (
    "stage",
    "start",
    "seed",
    "train.optimizer",
    "train.weights_dtype",
    "train.mode",
    "train.lora_",
    "train.ema",
)
"""Beginnings of settings that may never differ: what a checkpoint holds would no longer fit."""


@runtime_checkable
class Stateful(Protocol):
    """Something with a state made of plain values and tensors."""

    def state_dict(self) -> dict[str, Any]:
        """Its state."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over a state."""
        ...


@dataclass(frozen=True, kw_only=True)
class Trained:
    """The objects whose state makes up a checkpoint."""

    model: nn.Module
    """What is trained; frozen weights among it are not saved."""
    optimizer: torch.optim.Optimizer
    """Its optimiser."""
    ema: EMAModel | None = None
    """Averaged weights, where the run keeps them."""
    others: Mapping[str, Stateful] = field(default_factory=dict)
    """What else has a state."""


def save_checkpoint(
    run_dir: Path,
    step: int,
    trained: Trained,
    recipe: Mapping[str, Any],
    *,
    keep: int = 2,
    write: bool = True,
) -> Path:
    """Write a checkpoint so that it is either whole or absent. All processes of a run have to call this.

    Args:
        run_dir: run folder.
        step: optimiser steps done.
        trained: objects to save.
        recipe: plain values that decided the run so far; compared when it goes on.
        keep: checkpoints that stay in the run folder; older ones are removed.
        write: whether this process writes; others only give what they hold.

    Returns:
        Folder of the checkpoint.
    """
    weights = trained_weights(trained.model, trained.optimizer, keep=write)
    state = {"optimizer": optimizer_state(trained.model, trained.optimizer, keep=write)}
    home = run_dir / "checkpoints"
    folder = home / f"step-{step:06d}"
    if not write:
        return folder
    home.mkdir(parents=True, exist_ok=True)
    for left in home.glob(".*"):
        shutil.rmtree(left)
    partial = folder.with_name(f".{folder.name}.partial")
    partial.mkdir()
    save_file(weights, partial / "model.safetensors")
    state["ema"] = trained.ema.state_dict() if trained.ema else None
    state["others"] = {name: other.state_dict() for name, other in trained.others.items()}
    torch.save(state, partial / "state.pt")
    files = {path.name: _stamp(path) for path in sorted(partial.iterdir())}
    manifest = {"step": step, "recipe": recipe, "files": files}
    (partial / "checkpoint.json").write_text(json.dumps(manifest, indent=2))
    _to_disk(partial)
    _replace(partial, folder)
    for old in _folders(run_dir)[:-keep]:
        _remove(old)
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


def load_checkpoint(
    folder: Path,
    trained: Trained,
    recipe: Mapping[str, Any],
    allow_change: Sequence[str] = (),
    *,
    check_files: bool = True,
) -> int:
    """Bring objects to the state of a checkpoint.

    Args:
        folder: folder of the checkpoint.
        trained: objects of the same shapes as those saved.
        recipe: plain values of the run that wants to go on.
        allow_change: dotted names of settings that may differ, such as `train.lr`, or of groups of them.
        check_files: compare the files with their hashes; one process per machine is enough.

    Returns:
        Optimiser steps done.

    Raises:
        ValueError: the checkpoint is incomplete or damaged, or comes from a run with another recipe.
    """
    manifest = _checked_manifest(folder, check_files)
    _check_recipe(folder, differences(manifest["recipe"], json.loads(json.dumps(recipe))), allow_change)
    _load_tensors(trained, folder / "model.safetensors")
    # On GPUs it is mapped, so that the processes of a machine share one copy in memory.
    mapped = all(weight.device.type != "cpu" for weight in trained.model.parameters())
    state = torch.load(folder / "state.pt", map_location="cpu", weights_only=True, mmap=mapped)
    load_optimizer(trained.model, trained.optimizer, state["optimizer"])
    if trained.ema:
        trained.ema.load_state_dict(state["ema"])
    for name, other in trained.others.items():
        other.load_state_dict(state["others"][name])
    return manifest["step"]


def differences(
    saved: Mapping[str, Any], wanted: Mapping[str, Any], prefix: str = ""
) -> dict[str, tuple[Any, Any]]:
    """List where two nested dictionaries of plain values differ.

    Args:
        saved: values of the checkpoint.
        wanted: values of the run.
        prefix: dotted name of the place inside the whole.

    Returns:
        Value of the checkpoint and value of the run by dotted name, in alphabetical order.
    """
    found = {}
    for name in sorted({*saved, *wanted}):
        old, new = saved.get(name, "(absent)"), wanted.get(name, "(absent)")
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            found |= differences(old, new, f"{prefix}{name}.")
        elif old != new:
            found[f"{prefix}{name}"] = (old, new)
    return found


def publish(write: Callable[[Path], object], folder: Path) -> Path:
    """Write trained weights for use outside training, whole or not at all.

    Args:
        write: writes them into a folder, such as `model.save_pretrained`.
        folder: target, replaced where it exists.

    Returns:
        The folder.
    """
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    write(partial)
    _replace(partial, folder)
    return folder


def _check_recipe(folder: Path, changed: Mapping[str, tuple[Any, Any]], allow_change: Sequence[str]) -> None:
    """Refuse other settings but for those that are allowed to differ, and can be."""
    allowed = {name for name in changed if any(f"{name}.".startswith(f"{key}.") for key in allow_change)}
    bound = {name for name in changed if name.startswith(BOUND)}
    refused = [name for name in changed if name not in allowed - bound]
    if refused:
        listed = "\n".join(
            f"  {name}: checkpoint {changed[name][0]!r}, now {changed[name][1]!r}"
            + (" (must not differ)" if name in bound else "")
            for name in refused
        )
        free = " ".join(f"--allow-change {name}" for name in refused if name not in bound)
        allow = f"; to go on all the same: {free} (allow_change=[...] in Python)" if free else ""
        raise ValueError(
            f"{folder}: this checkpoint was made with other settings:\n{listed}\n"
            "Give the same settings to go on; to start anew, set resume to False or use another run folder"
            f"{allow}."
        )
    for name in sorted(allowed):
        logger.warning("%s has changed from %r to %r, as allowed", name, *changed[name])


def _load_tensors(trained: Trained, path: Path) -> None:
    wrong = [
        name for names in load_weights(trained.model, trained.optimizer, load_file(path)) for name in names
    ]
    if wrong:
        raise ValueError(
            f"{path}: got other weights than the run trains, such as {wrong[0]}; expected those of the same "
            "network; set resume to False or use another run folder"
        )


def _folders(run_dir: Path) -> list[Path]:
    return sorted((run_dir / "checkpoints").glob("step-*"), key=lambda path: int(path.name.split("-")[1]))


def _stamp(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        return {"bytes": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def _replace(partial: Path, folder: Path) -> None:
    """Give a complete folder its name; one that has it is moved away first: none is ever half there."""
    if folder.exists():
        _remove(folder)
    partial.rename(folder)
    to_disk(folder.parent)


def _remove(folder: Path) -> None:
    hidden = folder.with_name(f".{folder.name}.old")
    shutil.rmtree(hidden, ignore_errors=True)
    folder.rename(hidden)
    shutil.rmtree(hidden)


def _to_disk(folder: Path) -> None:
    """Force the files of a folder to the disk, so that a power cut leaves no empty ones under its name."""
    for path in (*folder.iterdir(), folder):
        to_disk(path)


def _checked_manifest(folder: Path, check_files: bool) -> dict[str, Any]:
    """Read the manifest and make sure that the files are the ones it describes."""
    every = _folders(folder.parents[1])
    older = every[: every.index(folder)]
    before = f"the checkpoint before it, {older[-1].name}" if older else "the start, as none is older"
    advice = f"delete {folder} to go on from {before}"
    try:
        manifest = json.loads((folder / "checkpoint.json").read_text())
        stamps = manifest["files"]
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(f"{folder}: checkpoint.json is missing or unreadable ({error}); {advice}") from error
    for name, expected in stamps.items() if check_files else ():
        path = folder / name
        got = _stamp(path) if path.is_file() else None
        if got != expected:
            raise ValueError(f"{path}: got {got or 'no file'}; expected {expected}; {advice}")
    return manifest
