"""Figures of diagnostics: error against noise level, what the layers hold, whether the judges agree."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from semrepa.analysis.errors import NOISED, TRUE, Reading, median_by_timestep
from semrepa.analysis.exploit import Exploit
from semrepa.analysis.layers import LayerScore
from semrepa.metrics.report import Interval
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
    bare,
    draw_floors,
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
_PROBES = {
    "depth": ("depth: linear probe ↑", "R², held-out clips"),
    "identity": ("identity: linear probe ↑", "cosine, held-out people"),
}
_CKNNA = {
    "cknna_depth": ("depth: CKNNA ↑", "with depth latents"),
    "cknna_identity": ("identity: CKNNA ↑", "with face embeddings"),
}
_OUT_OF_REACH = 2.0
"""A floor this many times above everything that was measured is not drawn: it would flatten the rest."""
_NUMBERS = {"id_loss": "identity loss", "struct_mse": "structure loss"}
_JUDGES = {
    "face_error": "face teacher on the decoded video",
    "face_error_found": "face teacher, where it finds a face",
    "id_again": "identity aligner on the video, encoded anew",
    "depth_error": "depth teacher on the decoded video",
    "struct_again": "structure aligner on the video, encoded anew",
}


def model_colors(models: Iterable[str]) -> dict[str, str]:
    """Colour of each model, the same in all figures of diagnostics; the first is the base."""
    return dict(zip(models, (INK, BLUE, ORANGE, PURPLE, SKY), strict=False))


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
        floors: levels by name for `struct_mse` and `id_l1`, see `semrepa.training.floors.floors`; those far
            above everything that was measured are left out.
        title: headline.

    Returns:
        A panel for each number that there is: medians over clips, since single clips can be far off.
    """
    known = {name for reading in readings for name in reading.values}
    names = [name for name in _ERRORS if name in known]
    rows = -(-len(names) // 2)
    figure, grid = new_figure(11, 3.1 * rows + 0.4, rows, 2, title=title)
    for axes in grid.flat[len(names) :]:
        axes.set_visible(False)
    for axes, name in zip(grid.flat, names, strict=False):
        _error_panel(axes, median_by_timestep(readings, name), (floors or {}).get(name, {}))
        axes.set_title(_ERRORS[name][0])
        axes.set_ylabel(f"{_ERRORS[name][1]}, median")
        axes.set_xlabel("timestep")
    return figure


def _error_panel(
    axes: Axes, seen: Mapping[str, Mapping[int | None, float]], floors: Mapping[str, float]
) -> None:
    models = [name for name in seen if name not in (TRUE, NOISED)]
    ends = []
    for name, color in {NOISED: GREY, **model_colors(models)}.items():
        if levels := seen.get(name):
            axes.plot(list(levels), list(levels.values()), "o-", color=color, markersize=4)
            axes.set_xticks(list(levels))
            last = list(levels.values())[-1]
            ends.append((f"{name} {last:.3g}", last, color))
    highest = max(value for levels in seen.values() for value in levels.values())
    near = {label: level for label, level in floors.items() if level < _OUT_OF_REACH * highest}
    draw_floors(axes, near)
    if TRUE in seen:
        level = seen[TRUE][None]
        axes.axhline(level, color=GREEN, linestyle=DASHES, linewidth=1.4)
        free = -3 if highest > 1.05 * level else 3  # the lines are on the other side
        where = {"xycoords": ("axes fraction", "data"), "va": "top" if free < 0 else "bottom"}
        look = {"textcoords": "offset points", "color": GREEN, "fontsize": SMALL, "fontweight": "bold"}
        axes.annotate(f"{TRUE} {level:.3g}", (0.01, level), (0, free), **where, **look)
    axes.margins(y=0.12)
    label_ends(axes, ends)


@styled
def layer_curves(
    layers: Mapping[str, Sequence[LayerScore]], *, title: str = "What the layers hold, before and after"
) -> Figure:
    """Draw the scores of probes and CKNNA by layer, one line per model.

    Args:
        layers: from `semrepa.analysis.diagnostics.probe_layers`; the first is that before fine-tuning.
        title: headline.

    Returns:
        Above, scores of the probes; then what each model gains over the first, with 95 % intervals paired by
        clip; below, CKNNA.
    """
    figure, grid = new_figure(11, 8.4, 3, 2, title=title)
    for column, name in enumerate(_PROBES):
        values = {model: [getattr(score, name).value for score in found] for model, found in layers.items()}
        _layer_panel(grid[0, column], values, *_PROBES[name])
        _gain_panel(grid[1, column], layers, name)
    for axes, name in zip(grid[2], _CKNNA, strict=True):
        values = {model: [getattr(score, name) for score in found] for model, found in layers.items()}
        _layer_panel(axes, values, *_CKNNA[name])
    for axes in grid.flat:
        axes.axhline(0, color=GREY, linestyle=DASHES, linewidth=1)
        axes.set_xlabel("block (0: their input)")
        axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    return figure


def _layer_panel(axes: Axes, values: Mapping[str, Sequence[float]], title: str, unit: str) -> None:
    colors = model_colors(values)
    for place, (model, scores) in enumerate(values.items()):
        style = {"linewidth": 1.2, "markersize": 4} if place else {"linewidth": 3.6, "alpha": 0.35}
        axes.plot(range(len(scores)), scores, "o-" if place else "-", color=colors[model], **style)
    low, high = (end(end(scores) for scores in values.values()) for end in (min, max))
    axes.set_ylim(min(0, 1.15 * low), max(0, 1.15 * high))
    axes.set_title(title)
    axes.set_ylabel(unit)
    ends = [(f"{model} {scores[-1]:.3f}", scores[-1], colors[model]) for model, scores in values.items()]
    label_ends(axes, ends)


def _gain_panel(axes: Axes, layers: Mapping[str, Sequence[LayerScore]], name: str) -> None:
    base, *others = layers
    colors, ends = model_colors(layers), []
    for place, model in enumerate(others):
        scores = zip(layers[model], layers[base], strict=True)
        gains = [getattr(score, name).interval(getattr(before, name)) for score, before in scores]
        across = np.arange(len(gains)) + 0.12 * (place - (len(others) - 1) / 2)
        means = np.array([gain.mean for gain in gains])
        reach = np.array([[gain.mean - gain.low, gain.high - gain.mean] for gain in gains]).T
        axes.errorbar(across, means, reach, fmt="o", color=colors[model], markersize=4, linewidth=2)
        ends.append((f"{model} {means[-1]:+.4f}", means[-1], colors[model]))
    axes.set_title("gain by fine-tuning, 95 %, paired")
    axes.set_ylabel(f"minus {base}")
    label_ends(axes, ends)


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
        One panel per question: a dot per clip and noise level (on the frame: beyond it),
        the mean with its intervals, and the verdict. Words where no question could be answered.
    """
    if not found:
        figure, grid = new_figure(9, 1.4, title=title)
        words = "No answer: a question needs two clips or more on which the aligner can be trusted."
        bare(grid[0, 0]).text(0, 0.5, words, va="center", transform=grid[0, 0].transAxes)
        return figure
    columns = min(2, len(found))
    rows = -(-len(found) // columns)
    figure, grid = new_figure(5.5 * columns + 0.6, 3.7 * rows + 0.4, rows, columns, title=title)
    for axes in grid.flat[len(found) :]:
        axes.set_visible(False)
    pictures = [
        _scatter_panel(axes, key, exploit)
        for axes, (key, exploit) in zip(grid.flat, found.items(), strict=False)
    ]
    figure.colorbar(pictures[0], ax=grid, label="timestep", shrink=0.6, aspect=40)
    return figure


def _scatter_panel(axes: Axes, key: tuple[str, str, str, str], found: Exploit) -> PathCollection:
    before, after, aligner, judge = key
    reach = _reach(found.aligner), _reach(found.judge)
    _quadrants(axes, *reach)
    dots = {"c": found.timesteps, "cmap": "viridis", "vmin": 0, "vmax": 1000, "s": 22, "linewidth": 0}
    places = (np.clip(values, -r, r) for values, r in zip((found.aligner, found.judge), reach, strict=True))
    picture = axes.scatter(*places, alpha=0.8, clip_on=False, **dots)
    x, y = found.mean_aligner, found.mean_judge
    axes.plot([x.low, x.high], [y.mean] * 2, color=INK, linewidth=2.2)
    axes.plot([x.mean] * 2, [y.low, y.high], color=INK, linewidth=2.2)
    axes.plot(x.mean, y.mean, "o", color=INK, markersize=7, markeredgecolor=PAPER)
    axes.set_title(f"{before} → {after}: {found.verdict}\n{_JUDGES.get(judge, judge)}")
    axes.set_xlabel(f"change of the {_NUMBERS.get(aligner, aligner)}: {x.mean:+.1%} {_ends(x)}")
    axes.set_ylabel(f"change of the judge's error:\n{y.mean:+.1%} {_ends(y)}")
    sign, rank = found.agreement, found.correlation
    numbers = (
        f"one sign {sign.mean:.0%} [{sign.low:.0%}, {sign.high:.0%}]\n"
        f"rank correlation {rank.mean:+.2f} [{rank.low:+.2f}, {rank.high:+.2f}]"
    )
    words = {"transform": axes.transAxes, "ha": "right", "va": "top", "fontsize": SMALL}
    axes.text(0.985, 0.98, numbers, bbox={"facecolor": PAPER, "edgecolor": FAINT, "pad": 3}, **words)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(6))
        axis.set_major_formatter(PercentFormatter(1))
    return picture


def _ends(found: Interval) -> str:
    return f"[{found.low:+.1%}, {found.high:+.1%}]"


def _reach(values: np.ndarray) -> float:
    """Half of a symmetric axis; the wildest twentieth is drawn on its ends."""
    return float(1.15 * max(np.percentile(np.abs(values), 95), 1e-3))


def _quadrants(axes: Axes, x: float, y: float) -> None:
    axes.set_xlim(-x, x)
    axes.set_ylim(-y, y)
    axes.fill_between([-x, 0], -y, 0, color=GREEN, alpha=0.09, linewidth=0)
    axes.fill_between([-x, 0], 0, y, color=RED, alpha=0.09, linewidth=0)
    axes.axhline(0, color=GREY, linewidth=1)
    axes.axvline(0, color=GREY, linewidth=1)
    words = {"transform": axes.transAxes, "fontsize": SMALL, "fontweight": "bold"}
    axes.text(0.02, 0.975, "only the aligner is pleased", color=RED, va="top", **words)
    axes.text(0.02, 0.025, "both see a gain", color=GREEN, va="bottom", **words)
