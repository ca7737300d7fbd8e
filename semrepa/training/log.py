"""What a run writes down: one `StepLog` per step, appended to `metrics.jsonl` of the run folder.

`metrics.jsonl` is the one source of all plots. Its first line has step 0 and holds the evaluation of the
untrained model and the floors; each further line holds the fields of a `StepLog`.
"""

import dataclasses
import json
import logging
import math
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)

METRICS = "metrics.jsonl"

_OF_ONE_RUN = (METRICS, "checkpoints", "samples", "tensorboard", "wandb")


@dataclass(frozen=True, kw_only=True)
class StepLog:
    """What happened in one optimiser step; plain numbers only, so nothing of the graph is kept alive."""

    step: int
    """Optimiser steps done, from 1."""
    loss: float
    """The loss that was minimised."""
    parts: Mapping[str, float]
    """Its parts by name, batch means."""
    lr: float
    """Learning rate of this step."""
    grad_norm: float
    """Gradient norm before clipping."""
    seconds: float
    """Wall time of the step, without evaluation and saving."""
    samples: int
    """Clips seen since the start of the run."""
    eval: Mapping[str, float] = field(default_factory=dict)
    """Held-out losses by name, after this step; empty where it was not evaluated."""
    monitors: Mapping[str, float] = field(default_factory=dict)
    """What was measured beside the losses after this step, see `Monitor`."""
    speed: Mapping[str, float] = field(default_factory=dict)
    """Samples per second, peak memory in GiB and MFU since the last line that has them, see `Throughput`."""
    skipped: bool = False
    """Whether the weights were left alone, since the loss or its gradient was not finite."""


def measured(parts: Mapping[str, float]) -> dict[str, float]:
    """Leave out what no clip of the batch has measured.

    Args:
        parts: numbers by name; `active_<loss>` is the share of clips that a loss was computed for.

    Returns:
        The numbers without those of losses that were not computed, such as `loss_id` at high noise.
    """
    idle = {
        name.removeprefix("active_")
        for name, share in parts.items()
        if name.startswith("active_") and not share
    }
    return {
        name: value
        for name, value in parts.items()
        if not name.startswith(("loss_", "gated_", "similarity_")) or name.partition("_")[2] not in idle
    }


def numbers(line: Mapping[str, Any]) -> dict[str, float]:
    """Give the numbers of a line by one name each.

    Args:
        line: a line of `metrics.jsonl`, or the fields of a `StepLog`.

    Returns:
        Parts, monitors and speed by their own names, evaluations as `eval.<name>`; without the step and the
        floors. A loss that was not finite is nan.
    """
    return _numbers({name: value for name, value in line.items() if name not in ("step", "floors")})


def _numbers(fields: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    found: dict[str, float] = {}
    for name, value in fields.items():
        if isinstance(value, Mapping):
            lifted = name in ("parts", "monitors", "speed")
            found |= _numbers(value, prefix if lifted else f"{prefix}{name}.")
        elif value is None and name.startswith("loss"):
            found[prefix + name] = math.nan
        elif isinstance(value, int | float) and not isinstance(value, bool):
            found[prefix + name] = float(value)
    return found


def read_metrics(run_dir: Path | str) -> list[dict[str, Any]]:
    """Read the log of a run, finished or still going.

    Args:
        run_dir: run folder.

    Returns:
        One dictionary per line of `metrics.jsonl`; a last line that is still being written is left out.

    Raises:
        FileNotFoundError: the folder has no log.
    """
    path = Path(run_dir) / METRICS
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: not found; expected the log of a training run; start one in this folder"
        )
    lines = path.read_text().splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]


def append_line(run_dir: Path, line: Mapping[str, Any] | StepLog) -> None:
    """Add one line to the log of a run.

    Args:
        run_dir: run folder.
        line: log of a step, or plain values with a `step`.
    """
    values = dataclasses.asdict(line) if isinstance(line, StepLog) else line
    with (run_dir / METRICS).open("a") as file:
        file.write(json.dumps(_valid(values)) + "\n")


def _valid(value: Any) -> Any:
    """JSON has no numbers that are not finite: null stands for them."""
    if isinstance(value, Mapping):
        return {name: _valid(inner) for name, inner in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def cut_log(run_dir: Path, step: int) -> None:
    """Drop the lines after a step, which will be written again by a run that goes on from there.

    Args:
        run_dir: run folder.
        step: last step that stays.
    """
    kept = [line for line in read_metrics(run_dir) if line["step"] <= step]
    partial = run_dir / f".{METRICS}.partial"
    partial.write_text("".join(json.dumps(line) + "\n" for line in kept))
    partial.replace(run_dir / METRICS)


def set_aside(run_dir: Path) -> None:
    """Move what an earlier run has logged, saved and sampled to `previous/`; one earlier run is kept.

    Args:
        run_dir: run folder.
    """
    found = [run_dir / name for name in _OF_ONE_RUN if (run_dir / name).exists()]
    if found:
        previous = run_dir / "previous"
        shutil.rmtree(previous, ignore_errors=True)
        previous.mkdir()
        for path in found:
            path.rename(previous / path.name)
        logger.warning("%s holds an earlier run: moved to %s", run_dir, previous)
