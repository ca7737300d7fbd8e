"""What a run has logged so far, as plain arrays: the input of every loss figure."""

import dataclasses
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from semrepa.training.log import numbers, read_metrics

Series = tuple[np.ndarray, np.ndarray]
"""Steps and values of one logged number."""

History = dict[str, Series]
"""Name of a logged number to its series; evaluations are named `eval.<name>`."""

Floors = Mapping[str, float | Mapping[str, float]]
"""Per loss, the score of an answer that has learned nothing: one number, or several with names."""


def read_history(run_dir: Path | str) -> History:
    """Read what a run has logged, finished, running or crashed.

    Args:
        run_dir: the run folder.

    Returns:
        One series per logged number. Where a resumed run logged a step twice, the later line counts.

    Raises:
        FileNotFoundError: the folder has no log.
    """
    return to_history(read_metrics(run_dir))


def read_floors(run_dir: Path | str) -> Floors:
    """Read the floors that a run noted when it began.

    Args:
        run_dir: the run folder.

    Returns:
        Name of a loss to answer to level; empty where the run noted none.

    Raises:
        FileNotFoundError: the folder has no log.
    """
    return next((dict(record["floors"]) for record in read_metrics(run_dir) if "floors" in record), {})


def to_history(records: Iterable[Any]) -> History:
    """Turn step logs (dataclasses or mappings with a `step`) into one series per number.

    Args:
        records: logs in the order they were made; nested numbers get the names of `numbers`.

    Returns:
        One series per number, sorted by step.
    """
    table: dict[str, dict[int, float]] = {}
    for record in records:
        fields = dict(record) if isinstance(record, Mapping) else dataclasses.asdict(record)
        for name, value in numbers(fields).items():
            table.setdefault(name, {})[int(fields["step"])] = value
    return {
        name: (
            np.array(sorted(points), dtype=float),
            np.array([points[step] for step in sorted(points)], dtype=float),
        )
        for name, points in table.items()
    }


def smooth(values: np.ndarray) -> np.ndarray:
    """Average each point with its neighbours on both sides, so that the curve does not lag behind.

    Args:
        values: one number per logged step; non-finite ones are stepped over.

    Returns:
        The smoothed values, same length; NaN where nothing finite is near.
    """
    keep = 1 - 2 / (max(3, len(values) // 10) + 1)
    total, weight = _decayed(values, keep) + _decayed(values[::-1], keep)[:, ::-1]
    return np.divide(total, weight, out=np.full(len(values), np.nan), where=weight > 0)


def _decayed(values: np.ndarray, keep: float) -> np.ndarray:
    """Running sum of the finite values, and of their weights, each decayed by `keep` per step."""
    sums = np.zeros((2, len(values)))
    total, weight = 0.0, 0.0
    for index, value in enumerate(values):
        known = math.isfinite(value)
        total, weight = keep * total + (value if known else 0.0), keep * weight + known
        sums[:, index] = total, weight
    return sums


def panels(history: History) -> list[str]:
    """Choose the numbers worth a panel: total loss, each part, cosine to the teacher, gradient norm."""
    parts = [name for name in history if name.startswith("loss_")]
    total = ["loss"] if "loss" in history and len(parts) != 1 else []
    return total + parts + [name for name in ("cosine", "grad_norm") if name in history]


def balance(history: History) -> dict[str, dict[str, float]]:
    """Average what each part of the combined loss contributed over a run, for `balance_bars`.

    Args:
        history: of a fine-tuning run.

    Returns:
        `weighted loss` and, where it was measured, `gradient norm`: part to mean size.
    """
    mean = {
        name: float(np.nanmean(values)) for name, (_, values) in history.items() if np.isfinite(values).any()
    }
    sources = {
        "weighted loss": {
            "loss_diff": "loss_diff",
            "loss_struct": "weighted_struct",
            "loss_id": "weighted_id",
        },
        "gradient norm": {"loss_diff": "grad_diff", "loss_struct": "grad_struct", "loss_id": "grad_id"},
    }
    found = {
        quantity: {part: mean[name] for part, name in parts.items() if name in mean}
        for quantity, parts in sources.items()
    }
    return {quantity: parts for quantity, parts in found.items() if parts}
