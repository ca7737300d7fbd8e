"""TensorBoard and Weights & Biases beside `metrics.jsonl`, through accelerate's trackers."""

import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from accelerate.tracking import LOGGER_TYPE_TO_CLASS, GeneralTracker

_PACKAGES = {"tensorboard": ("tensorboard", "tensorboardX"), "wandb": ("wandb",)}
"""What each needs, any one of them."""


def open_trackers(
    names: Sequence[str], run_dir: Path, settings: Mapping[str, Any], *, step: int = 0
) -> list[GeneralTracker]:
    """Start the trackers of a run; for its main process only.

    TensorBoard writes to `run_dir/tensorboard`, Weights & Biases to its project `semrepa` under the name of
    the run folder, as a new run each time.

    Args:
        names: `tensorboard`, `wandb`, both or none.
        run_dir: run folder.
        settings: what decides the run, nested; shown beside its numbers.
        step: last step that stays, where a run goes on.

    Returns:
        The trackers, ready for `log`.

    Raises:
        ModuleNotFoundError: the package of one is not installed.
    """
    for name in names:
        _check_installed(name)
    made = [_make(name, run_dir, step) for name in names]
    for tracker in made:
        tracker.start()
        tracker.store_init_configuration(_flat(settings))
    return made


def _check_installed(name: str) -> None:
    packages = _PACKAGES[name]
    if not any(importlib.util.find_spec(package) for package in packages):
        raise ModuleNotFoundError(
            f"trackers: got {name!r} without its package; expected {packages[0]} to be installed; "
            f"run `pip install {packages[0]}`, or leave it out: metrics.jsonl has the same numbers"
        )


def _make(name: str, run_dir: Path, step: int) -> GeneralTracker:
    kind = LOGGER_TYPE_TO_CLASS[name]
    if name == "tensorboard":
        return kind("tensorboard", run_dir, purge_step=step + 1 if step else None)
    return kind("semrepa", name=run_dir.name, dir=str(run_dir))


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, bool | int | float | str]:
    """Settings by dotted name; what is no number or text becomes text."""
    found: dict[str, bool | int | float | str] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{prefix}{name}.")
        else:
            found[prefix + name] = value if isinstance(value, bool | int | float | str) else str(value)
    return found
