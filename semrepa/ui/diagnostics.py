"""Figures of diagnostics: error against noise level, what the layers hold, whether the judges agree."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from semrepa.analysis.errors import NOISED, TRUE, Reading, mean_by_timestep
from semrepa.analysis.exploit import Exploit
from semrepa.analysis.layers import LayerScore
from semrepa.metrics.report import Interval
from semrepa.ui.style import (
    CYCLE,
    DASHES,
    GREEN,
    GREY,
    INK,
    PAPER,
    RED,
    draw_floor,
    label_ends,
    new_figure,
    styled,
)

_ERRORS = {
    "struct_mse": ("structure aligner: latents ↓", "mean squared error"),
    "abs_rel": ("the same, decoded to depth ↓", "AbsRel"),
    "id_l1": ("identity aligner: error ↓", "L1 to the face teacher"),
    "id_cosine": ("identity aligner: likeness ↑", "cosine to the face teacher"),
}
_LAYERS = {
    "depth": ("depth: linear probe ↑", "R², held-out clips"),
    "identity": ("identity: linear probe ↑", "cosine, held-out people"),
    "cknna_depth": ("depth: CKNNA ↑", "with depth latents"),
    "cknna_identity": ("identity: CKNNA ↑", "with face embeddings"),
}
_NUMBERS = {"id_loss": "identity loss", "struct_mse": "structure loss"}
_JUDGES = {
    "face_error": "face teacher on the decoded video",
    "face_error_found": "face teacher, where it finds a face",
    "id_again": "identity aligner on the video, encoded anew",
    "depth_error": "depth teacher on the decoded video",
    "struct_again": "structure aligner on the video, encoded anew",
}


@styled
def error_curves(
    readings: Sequence[Reading],
    *,
    floors: Mapping[str, Mapping[str, float]] | None = None,
    title: str = "What the aligners get wrong, by noise level",
) -> Figure:
    """Draw the error of both aligners against the timestep, for everything that they looked at.

    Args:
        readings: from `semrepa.analysis.errors.error_by_timestep`.
        floors: levels by name for `struct_mse` and `id_l1`, see `semrepa.training.floors.floors`.
        title: headline.

    Returns:
        A panel for each number that there is; bands are 95 % intervals over clips.
    """
    known = {name for reading in readings for name in reading.values}
    names = [name for name in _ERRORS if name in known]
    figure, grid = new_figure(11, 3.1 * -(-len(names) // 2) + 0.4, -(-len(names) // 2), 2, title=title)
    for axes in grid.flat[len(names) :]:
        axes.set_visible(False)
    for axes, name in zip(grid.flat, names, strict=False):
        _error_panel(axes, mean_by_timestep(readings, name), (floors or {}).get(name, {}))
        axes.set_title(_ERRORS[name][0])
        axes.set_ylabel(_ERRORS[name][1])
        axes.set_xlabel("timestep")
    return figure


def _error_panel(
    axes: Axes, seen: Mapping[str, Sequence[tuple[int | None, Interval]]], floors: Mapping[str, float]
) -> None:
    models = [name for name in seen if name not in (TRUE, NOISED)]
    colors = {NOISED: GREY, **dict(zip(models, CYCLE, strict=False))}
    ends = []
    for name, color in colors.items():
        levels = [level for level, _ in seen.get(name, ())]
        if levels:
            means = [found for _, found in seen[name]]
            _band(axes, levels, means, color)
            ends.append((name, means[-1].mean, color))
    axes.set_ylim(*_limits([means for values in seen.values() for _, means in values], floors))
    for label, level in floors.items():
        draw_floor(axes, label, level)
    if seen.get(TRUE):
        level = seen[TRUE][0][1].mean
        axes.axhline(level, color=GREEN, linestyle=DASHES, linewidth=1.4)
        place = {"xycoords": ("axes fraction", "data"), "va": "bottom", "color": GREEN, "fontsize": 8.5}
        axes.annotate(f"{TRUE} {level:.3g}", (0.01, level), fontweight="bold", **place)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    label_ends(axes, ends)


def _limits(means: Sequence[Interval], floors: Mapping[str, float]) -> tuple[float, float]:
    values = [each.mean for each in means if np.isfinite(each.mean)] + list(floors.values())
    room = 0.08 * ((max(values) - min(values)) or 1)
    return min(values) - room, max(values) + 1.5 * room


def _band(axes: Axes, across: Sequence[float], means: Sequence[Interval], color: str) -> None:
    axes.fill_between(across, *zip(*((m.low, m.high) for m in means), strict=True), color=color, alpha=0.13)
    axes.plot(across, [m.mean for m in means], "o-", color=color, markersize=4)


@styled
def layer_curves(
    layers: Mapping[str, Sequence[LayerScore]], *, title: str = "What the layers hold, before and after"
) -> Figure:
    """Draw the scores of probes and CKNNA by layer, one line per model.

    Args:
        layers: from `semrepa.analysis.diagnostics.probe_layers`; the first is that before fine-tuning.
        title: headline.

    Returns:
        Four panels; the first model is dashed, bands are its 95 % intervals over clips.
    """
    figure, grid = new_figure(11, 6.2, 2, 2, title=title)
    colors = dict(zip(layers, (INK, *CYCLE), strict=False))
    for axes, (name, (heading, unit)) in zip(grid.flat, _LAYERS.items(), strict=True):
        ends = []
        for place, (model, scores) in enumerate(layers.items()):
            found = [getattr(score, name) for score in scores]
            values = found if isinstance(found[0], float) else [ratio.value for ratio in found]
            across, style = [score.layer for score in scores], "o-" if place else "o--"
            axes.plot(across, values, style, color=colors[model], markersize=4, linewidth=1.4)
            if not place and not isinstance(found[0], float):
                ranges = [ratio.interval() for ratio in found]
                axes.fill_between(
                    across, [r.low for r in ranges], [r.high for r in ranges], color=INK, alpha=0.08
                )
            ends.append((f"{model} {values[-1]:.3f}", values[-1], colors[model]))
        axes.set_title(heading)
        axes.set_ylabel(unit)
        axes.set_xlabel("block (0: their input)")
        axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
        axes.axhline(0, color=GREY, linestyle=DASHES, linewidth=1)
        label_ends(axes, ends)
    return figure


@styled
def exploit_scatter(
    found: Mapping[tuple[str, str, str, str], Exploit],
    *,
    title: str = "Do the judges of the decoded video see what the aligners see?",
) -> Figure:
    """Draw how an aligner's loss and a judge's error change from one model to another.

    Args:
        found: by earlier model, later model, aligner's number and judge, from
            `semrepa.analysis.diagnostics.exploits`; about four are readable.
        title: headline.

    Returns:
        One panel per question: a dot per clip and noise level, the mean with its intervals, and the verdict.
    """
    columns = min(2, len(found))
    rows = -(-len(found) // columns)
    figure, grid = new_figure(5.6 * columns, 4.4 * rows + 0.4, rows, columns, title=title)
    for axes in grid.flat[len(found) :]:
        axes.set_visible(False)
    for axes, (key, exploit) in zip(grid.flat, found.items(), strict=False):
        _scatter_panel(axes, key, exploit)
    return figure


def _scatter_panel(axes: Axes, key: tuple[str, str, str, str], found: Exploit) -> None:
    before, after, aligner, judge = key
    _quadrants(axes, _reach(found.aligner), _reach(found.judge))
    dots = {"c": found.timesteps, "cmap": "viridis", "vmin": 0, "vmax": 1000, "s": 20, "linewidth": 0}
    picture = axes.scatter(found.aligner, found.judge, alpha=0.8, **dots)
    axes.figure.colorbar(picture, ax=axes, label="timestep", shrink=0.8, aspect=30)
    x, y = found.mean_aligner, found.mean_judge
    axes.plot([x.low, x.high], [y.mean] * 2, color=INK, linewidth=2.2)
    axes.plot([x.mean] * 2, [y.low, y.high], color=INK, linewidth=2.2)
    axes.plot(x.mean, y.mean, "o", color=INK, markersize=7, markeredgecolor=PAPER)
    axes.set_title(f"{before} → {after}: {found.verdict}\n{_JUDGES.get(judge, judge)}")
    axes.set_xlabel(f"change of the {_NUMBERS.get(aligner, aligner)}")
    axes.set_ylabel("change of the judge's error")
    numbers = (
        f"mean {x.mean:+.1%} and {y.mean:+.1%} [{y.low:+.1%}, {y.high:+.1%}]\n"
        f"one sign {found.agreement.mean:.0%}, rank correlation {found.correlation}"
    )
    box = {"facecolor": PAPER, "edgecolor": "none", "alpha": 0.85, "pad": 2}
    axes.text(0.99, 0.01, numbers, transform=axes.transAxes, ha="right", va="bottom", fontsize=8, bbox=box)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(1, decimals=0))


def _reach(values: np.ndarray) -> float:
    """Half of a symmetric axis that holds all but the wildest few."""
    return float(1.15 * max(np.percentile(np.abs(values), 98), 1e-3))


def _quadrants(axes: Axes, x: float, y: float) -> None:
    axes.set_xlim(-x, x)
    axes.set_ylim(-y, y)
    axes.fill_between([-x, 0], -y, 0, color=GREEN, alpha=0.09, linewidth=0)
    axes.fill_between([-x, 0], 0, y, color=RED, alpha=0.09, linewidth=0)
    axes.axhline(0, color=GREY, linewidth=1)
    axes.axvline(0, color=GREY, linewidth=1)
    words = {"transform": axes.transAxes, "fontsize": 8.5, "fontweight": "bold", "va": "top"}
    axes.text(0.02, 0.98, "only the aligner is pleased", color=RED, **words)
    axes.text(0.02, 0.06, "both see a gain", color=GREEN, **words)
