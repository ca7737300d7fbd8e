"""Two arms over training seeds: verification curves with their spread, and each seed as a pair of dots."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from semrepa.analysis.seeds import SeedMean
from semrepa.analysis.table3 import LABELS, WITH, WITHOUT
from semrepa.ui.style import BLUE, DASHES, GREY, ORANGE, PAPER, SMALL, new_figure, styled

COLORS = {WITH: BLUE, WITHOUT: ORANGE}
SHOWN = ("cosine_to_teacher", "gap_cosine", "eer_two_videos")
"""Numbers that are drawn seed by seed."""


@styled
def seed_figure(
    recorded: Mapping[str, Any], *, names: Sequence[str] = SHOWN, title: str = "Does depth help, over seeds?"
) -> Figure:
    """Draw a collated Table 3.

    Args:
        recorded: from `semrepa.analysis.table3.record`.
        names: numbers to draw seed by seed.
        title: headline; the number of seeds and the kind of weights are added.

    Returns:
        The figure: verification curves, mean and range over the seeds, for faces of one clip and of two; then
        for each number a line per seed from without to with depth.
    """
    kinds = list(recorded["cells"][0]["curves"])
    seeds = len(recorded["seeds"])
    ratios = [2.1] * len(kinds) + [1.0] * len(names)
    people = recorded["heldout"]["people"]
    title = f"{title} {seeds} trainings of each, {recorded['weights']} weights, {people} new people"
    figure, grid = new_figure(12.5, 4.0, 1, len(ratios), title=title, width_ratios=ratios)
    for axes, kind in zip(grid[0], kinds, strict=False):
        _curves(axes, recorded, kind)
    for axes, name in zip(grid[0, len(kinds) :], names, strict=True):
        _pairs(axes, recorded, name)
    return figure


def _curves(axes: Axes, recorded: Mapping[str, Any], kind: str) -> None:
    """Mean curve of each variant, and the range over its seeds."""
    across = np.array(recorded["false_accepts"])
    axes.plot(across, across, color=GREY, linestyle=DASHES, linewidth=1.2)
    for row, variant in enumerate((WITHOUT, WITH)):
        mine = [cell["curves"][kind] for cell in recorded["cells"] if cell["variant"] == variant]
        up = np.array(mine)
        axes.fill_between(
            across, up.min(axis=0), up.max(axis=0), color=COLORS[variant], alpha=0.25, linewidth=0
        )
        axes.plot(across, up.mean(axis=0), color=COLORS[variant])
        found = SeedMean(**recorded["table"][f"auc_{kind.replace(' ', '_')}"][variant])
        text = f"{variant.replace('_', ' ')} {found}"
        axes.annotate(
            text,
            (0.98, 0.05 + 0.09 * row),
            xycoords="axes fraction",
            ha="right",
            color=COLORS[variant],
            fontsize=SMALL,
            fontweight="bold",
            bbox={"facecolor": PAPER, "edgecolor": "none", "pad": 1},
        )
    axes.set_xscale("log")
    axes.set_xlim(across[0], 1)
    axes.set_ylim(0, 1.02)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_xlabel("different people accepted (share, log)")
    axes.set_ylabel("same person accepted (share)")
    names = {"one video": "Faces of one clip", "two videos": "One person in two clips"}
    axes.set_title(f"{names.get(kind, kind)} (area)")


def _pairs(axes: Axes, recorded: Mapping[str, Any], name: str) -> None:
    """A line for each seed from one variant to the other, and the paired difference below."""
    places = {(cell["seed"], cell["variant"]): cell["scores"][name] for cell in recorded["cells"]}
    for seed in recorded["seeds"]:
        values = [places[seed, WITHOUT], places[seed, WITH]]
        axes.plot([0, 1], values, color=GREY, linewidth=1, alpha=0.6)
        for place, (variant, value) in enumerate(zip((WITHOUT, WITH), values, strict=True)):
            axes.plot(place, value, "o", color=COLORS[variant], markersize=6, markeredgecolor=PAPER)
    difference = SeedMean(**recorded["table"][name]["difference"])
    axes.set_xticks([0, 1], ["without", "with"])
    axes.set_xlim(-0.35, 1.35)
    axes.margins(y=0.15)
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.set_title(textwrap.fill(LABELS.get(name, name), 19), fontsize=SMALL)
    axes.set_xlabel(f"with - without:\n{str(difference).replace(' [', chr(10) + '[')}", fontsize=SMALL)
