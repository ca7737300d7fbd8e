"""An estimate as tables: rows for a notebook, aligned text for a terminal."""

import math
from collections.abc import Mapping, Sequence

from semrepa.estimate.gpus import GIB
from semrepa.estimate.memory import PARTS
from semrepa.estimate.plan import Estimate

Row = dict[str, object]


def tables(estimate: Estimate) -> dict[str, list[Row]]:
    """Tables of an estimate by title; units stand in titles or column names.

    Args:
        estimate: from `estimate`.

    Returns:
        Rows by title.
    """
    place = "the process" if estimate.gpu.is_cpu else "one GPU"
    return {
        "Networks": [
            {"network": name, "million weights": digits(count / 1e6)}
            for name, count in estimate.parameters.items()
        ],
        "Work for one clip (in training: and one step)": _work(estimate),
        f"Memory of {place} in {_scale(estimate, 'memory')[0]}": _memory(estimate),
        "Disk": _disk(estimate),
        f"Time on {estimate.gpus} x {estimate.gpu.name}": _times(estimate),
    }


_SCALES: dict[str, list[tuple[str, float]]] = {
    "work": [("GFLOP", 1e9), ("TFLOP", 1e12)],
    "memory": [("MiB", 2**20), ("GiB", GIB)],
    "disk": [("MB", 1e6), ("GB", 1e9), ("TB", 1e12)],
}


def _scale(estimate: Estimate, what: str) -> tuple[str, float]:
    """Unit in which the largest number of a table is at least one, and its size."""
    largest = {
        "work": max(part.flops for part in estimate.work),
        "memory": max(entry.total for entry in estimate.memory),
        "disk": estimate.disk,
    }
    fitting = [scale for scale in _SCALES[what] if largest[what] >= scale[1]]
    return fitting[-1] if fitting else _SCALES[what][0]


def _work(estimate: Estimate) -> list[Row]:
    unit, size = _scale(estimate, "work")
    return [
        {
            "stage": part.stage,
            "part": part.part,
            unit: digits(part.flops / size),
            f"s on {estimate.gpu.name}": digits(part.seconds(estimate.gpu)),
        }
        for part in estimate.work
    ]


def _memory(estimate: Estimate) -> list[Row]:
    size = _scale(estimate, "memory")[1]
    used = [name for name in PARTS if any(entry.parts.get(name) for entry in estimate.memory)]
    return [
        Row(stage=entry.stage, how=entry.how)
        | {"": entry.standing}
        | {name: digits(entry.parts[name] / size) if entry.parts.get(name) else "" for name in used}
        | {"total": digits(entry.total / size)}
        for entry in estimate.memory
    ]


def _disk(estimate: Estimate) -> list[Row]:
    unit, size = _scale(estimate, "disk")
    record = sum(estimate.record.values())
    sizes = {**estimate.record, "record": record, "text cache": estimate.caption}
    sizes["all"] = record + estimate.caption
    return [
        {
            "what": name,
            "MB per clip": digits(one / 1e6),
            f"{unit} for {estimate.clips:,} clips": digits(estimate.clips * one / size),
        }
        for name, one in sizes.items()
    ]


def _times(estimate: Estimate) -> list[Row]:
    unit, size = _scale(estimate, "work")
    return [
        {
            "stage": "generation (videos)" if time.stage == "generation" else time.stage,
            "clips": f"{time.clips:,}",
            f"{unit} per clip": digits(time.flops / size),
            "s per clip": digits(time.seconds),
            "time": duration(time.days * 86400),
        }
        for time in estimate.times
    ]


def summary(estimate: Estimate) -> str:
    """Write an estimate as aligned text.

    Args:
        estimate: from `estimate`.

    Returns:
        Its tables, what the depth teacher takes, what aligners save, and its warnings.
    """
    gpu = estimate.gpu
    head = f"Preset {estimate.preset}, {estimate.clips:,} clips, {estimate.gpus} x {gpu.name} "
    head += f"({gpu.memory / GIB:.0f} GiB, {gpu.transformer / 1e12:.3g} TFLOP/s: {gpu.source})"
    texts = [aligned(title, rows) for title, rows in tables(estimate).items()]
    notes = [f"A loss on decoded pixels would keep {estimate.pixel_loss / GIB:,.1f} GiB more for each clip."]
    if teacher := estimate.depth_teacher:
        notes.insert(
            0, f"The depth teacher alone ({teacher.how}) takes {teacher.total / GIB:.2g} GiB for a clip."
        )
    notes += [f"warning: {warning}" for warning in estimate.warnings]
    return "\n\n".join([head, *texts, "\n".join(notes)])


def aligned(title: str, rows: Sequence[Mapping[str, object]]) -> str:
    """Write a table in columns, texts at the left and numbers at the right.

    Args:
        title: line above it.
        rows: its rows, all with the same columns.

    Returns:
        Lines.
    """
    columns = list(rows[0])
    cells = [columns, *([str(row[name]) for name in columns] for row in rows)]
    widths = [max(len(line[place]) for line in cells) for place in range(len(columns))]
    left = [
        any(letter.isalpha() for line in cells[1:] for letter in line[place]) for place in range(len(columns))
    ]
    lines = [
        "  ".join(
            cell.ljust(width) if text else cell.rjust(width)
            for cell, width, text in zip(line, widths, left, strict=True)
        ).rstrip()
        for line in cells
    ]
    return "\n".join([title, "-" * max(map(len, lines)), *lines])


def duration(seconds: float) -> str:
    """A time in the unit that suits it, such as `3.4 days`.

    Args:
        seconds: the time; nan where it is not known.

    Returns:
        The text.
    """
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return "-" if math.isnan(seconds) else f"{seconds:.3g} seconds"


def digits(value: float) -> str:
    """A number as text: about three digits, grouped in thousands; `-` where it is not known.

    Args:
        value: not negative, or nan.

    Returns:
        The text.
    """
    if math.isnan(value):
        return "-"
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 0.1 else f"{value:.2g}"
