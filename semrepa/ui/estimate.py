"""An estimate as a table, and as a picture: memory by stage and part, against the GPUs there are."""

from collections.abc import Sequence
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from semrepa.estimate import GPUS, Estimate, Memory, tables
from semrepa.estimate.gpus import GIB
from semrepa.estimate.memory import PARTS
from semrepa.ui.show import Table, table
from semrepa.ui.style import (
    BLUE,
    DASHES,
    FAINT,
    GREEN,
    GREY,
    INK,
    ORANGE,
    PAPER,
    PURPLE,
    RED,
    SKY,
    SMALL,
    new_figure,
    styled,
)

COLORS = dict(zip(PARTS, (BLUE, ORANGE, PURPLE, INK, GREY, SKY, GREEN, RED), strict=True))
LINES = ("RTX 4090", "L40S", "H100", "H200")


def cost_table(estimate: Estimate, about: Literal["Networks", "Work", "Memory", "Disk", "Time"]) -> Table:
    """Make one of the tables of an estimate.

    Args:
        estimate: from `semrepa.estimate.estimate`.
        about: how the title of the table begins.

    Returns:
        The table, with columns of numbers at the right.
    """
    title, rows = next((title, rows) for title, rows in tables(estimate).items() if title.startswith(about))
    made = table(rows, caption=f"{title}, preset {estimate.preset}")
    made.numeric = [not any(cells[i][:1].isalpha() for cells in made.cells) for i in range(len(made.columns))]
    return made


@styled
def memory_figure(estimate: Estimate, *, gpus: Sequence[str] = LINES, title: str = "") -> Figure:
    """Draw the memory that one GPU needs in each stage as stacked bars, with lines where GPUs end.

    Args:
        estimate: from `semrepa.estimate.estimate`.
        gpus: names of the GPUs whose memory is drawn as a line.
        title: headline; empty: says preset and GPUs.

    Returns:
        The figure; bars that the kit cannot run are pale.
    """
    title = title or f"Memory of one GPU, preset {estimate.preset} on {estimate.gpus} x {estimate.gpu.name}"
    entries = list(estimate.memory)
    figure, grid = new_figure(11, 0.52 * len(entries) + 1.9, title=title)
    axes = grid[0, 0]
    widest = max(entry.total for entry in entries) / GIB
    for place, entry in enumerate(entries):
        _bar(axes, place, entry, widest)
    axes.set_yticks(range(len(entries)), [f"{entry.stage}\n{entry.how}" for entry in entries])
    axes.set_ylim(len(entries) - 0.4, -1.0)
    axes.set_xlim(0, 1.2 * widest)
    axes.set_xlabel("GiB per GPU, at the peak")
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0, labelcolor=INK)
    for name in gpus:
        memory = GPUS[name].memory / GIB
        if memory < 1.2 * widest:
            axes.axvline(memory, color=GREY, linestyle=DASHES, linewidth=1.2, zorder=3)
            box = {"facecolor": PAPER, "edgecolor": "none", "pad": 1}
            axes.text(memory, -0.72, name, color=GREY, ha="center", va="center", fontsize=SMALL, bbox=box)
    _legend(figure, axes, entries)
    return figure


def _bar(axes: Axes, place: int, entry: Memory, widest: float) -> None:
    """One stage: its parts side by side, its total behind them."""
    left = 0.0
    alpha = 1.0 if entry.chosen else 0.5
    for name in PARTS:
        size = entry.parts.get(name, 0.0) / GIB
        axes.barh(place, size, left=left, height=0.58, color=COLORS[name], alpha=alpha, edgecolor=PAPER)
        left += size
    standing = "" if entry.chosen else f" ({entry.standing})"
    weight = "bold" if entry.chosen else "normal"
    box = {"facecolor": PAPER, "edgecolor": "none", "pad": 1}
    text = f"{left:.0f}{standing}"
    axes.text(left + 0.008 * widest, place, text, va="center", fontweight=weight, bbox=box, zorder=4)


def _legend(figure: Figure, axes: Axes, entries: Sequence[Memory]) -> None:
    used = [name for name in PARTS if any(entry.parts.get(name) for entry in entries)]
    handles = [axes.barh(0, 0, color=COLORS[name], edgecolor=FAINT) for name in used]
    figure.legend(
        handles, used, loc="outside lower center", ncols=len(used), handlelength=1, columnspacing=1.2
    )
