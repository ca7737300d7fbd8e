"""Charts of results: distances, verification, embedding maps, arms of an experiment.

Plain arrays in, a matplotlib figure out. Every series is labelled where it is drawn, with its number.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, PercentFormatter
from numpy.typing import ArrayLike

from semrepa.analysis import IdDistances, Verification
from semrepa.metrics.report import ClipScores, Interval, means, paired_differences, score_labels
from semrepa.ui.pictures import to_array
from semrepa.ui.style import (
    BESIDE,
    BLUE,
    CYCLE,
    DASHES,
    GREY,
    ORANGE,
    PAPER,
    SMALL,
    draw_floor,
    label_ends,
    label_name,
    new_figure,
    readable,
    styled,
)

BOX = {"facecolor": PAPER, "edgecolor": "none", "alpha": 0.8, "pad": 1}


@styled
def distance_histograms(
    variants: Mapping[str, IdDistances],
    *,
    unit: str = "1 - cosine",
    title: str = "Distances between faces",
) -> Figure:
    """Compare distances within videos with distances between people, one row per variant.

    Args:
        variants: label to distances, such as `with depth` and `without depth`.
        unit: what a distance is.
        title: headline.

    Returns:
        The figure; each row states its gap with the 95 % interval.
    """
    everything = np.concatenate([np.concatenate([d.intra, d.inter]) for d in variants.values()])
    figure, grid = new_figure(9, 1.9 * len(variants) + 0.9, len(variants), title=title, sharex=True)
    for axes, (label, found) in zip(grid[:, 0], variants.items(), strict=True):
        draw_distances(axes, found, label=label, reach=everything)
    grid[-1, 0].set_xlabel(f"distance ({unit})")
    return figure


def draw_distances(
    axes: Axes, found: IdDistances, *, label: str = "", reach: np.ndarray | None = None
) -> None:
    """Draw the histograms of distances within videos and between people.

    Args:
        axes: empty axes.
        found: the distances.
        label: what stands before the gap in the title.
        reach: all distances that share the axis; None: those of `found`.
    """
    everything = np.concatenate([found.intra, found.inter]) if reach is None else reach
    bins = np.linspace(min(0, everything.min()), everything.max() * 1.02, 41)
    for row, (values, name, color) in enumerate(
        [(found.intra, "within a video", BLUE), (found.inter, "between people", ORANGE)]
    ):
        _histogram(axes, values, bins, name, color, row)
    gap = f"gap {found.gap:.3f}  [{found.gap_low:.3f}, {found.gap_high:.3f}]"
    axes.set_title(f"{label}: {gap}" if label else gap)
    axes.set_ylim(top=axes.get_ylim()[1] * 1.25)
    axes.set_ylabel("share")
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))


def _histogram(axes: Axes, values: np.ndarray, bins: np.ndarray, name: str, color: str, row: int) -> None:
    """Bars of shares, with the mean marked and labelled on its free side, each label on a line of its own."""
    mean = values.mean()
    axes.hist(values, bins=list(bins), weights=np.full(len(values), 1 / len(values)), color=color, alpha=0.75)
    axes.axvline(mean, color=color, linewidth=1.5, linestyle=DASHES)
    side, align = (-4, "right") if mean > bins.mean() else (4, "left")
    place = {"xycoords": ("data", "axes fraction"), "va": "top", "ha": align}
    axes.annotate(
        f"{name}: {mean:.3f}",
        (mean, 1.0),
        (side, -2 - 14 * row),
        bbox=BOX,
        color=readable(color),
        **place,
        **BESIDE,
    )


@styled
def roc(
    curves: Mapping[str, Verification],
    *,
    title: str = "Same person or not: verification on held-out people",
) -> Figure:
    """Draw verification curves with their area and equal error rate; false accepts on a log axis.

    Args:
        curves: label to verification.
        title: headline.

    Returns:
        The figure.
    """
    figure, grid = new_figure(9, 4.2, title=title)
    axes = grid[0, 0]
    lowest = min(curve.false_accepts[curve.false_accepts > 0].min() for curve in curves.values())
    lowest = max(1e-5, min(lowest, 1e-2))
    chance = np.geomspace(lowest, 1, 200)
    axes.plot(chance, chance, color=GREY, linestyle=DASHES, linewidth=1.2)
    axes.annotate("guessing", (0.5, 0.5), (-6, 2), ha="right", color=GREY, **BESIDE)
    for row, (color, (label, curve)) in enumerate(zip(CYCLE, curves.items(), strict=False)):
        axes.step(np.maximum(curve.false_accepts, lowest), curve.true_accepts, where="post", color=color)
        axes.plot(max(curve.eer, lowest), 1 - curve.eer, "o", color=color, markerfacecolor=PAPER)
        beside = {"transform": axes.transAxes, "va": "top", "color": readable(color)}
        numbers = f"area {curve.auc:.3f}\nequal error {curve.eer:.1%}"
        axes.text(1.03, 0.98 - 0.2 * row, label, fontweight="bold", **beside)
        axes.text(1.03, 0.92 - 0.2 * row, numbers, **beside)
    axes.set_xscale("log")
    axes.set_xlim(lowest, 1)
    axes.set_ylim(0, 1.02)
    axes.xaxis.set_major_locator(LogLocator())
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_xlabel("different people accepted (share, log)")
    axes.set_ylabel("same person accepted (share)")
    return figure


@styled
def embedding_map(
    points: ArrayLike, people: Sequence[object], *, share: Sequence[float] = (), title: str = "Faces on a map"
) -> Figure:
    """Scatter faces on their first two principal components, one colour and marker per person.

    Args:
        points: coordinates (k, 2), from `semrepa.analysis.pca`.
        people: who each point is.
        share: share of the variance of the two axes.
        title: headline.

    Returns:
        The figure; names stand at the middle of each person's points.
    """
    places, names = to_array(points), np.array([str(person) for person in people])
    figure, grid = new_figure(7.5, 5.6, title=title)
    axes = grid[0, 0]
    for index, name in enumerate(dict.fromkeys(names)):
        mine = places[names == name]
        color, marker = CYCLE[index % len(CYCLE)], "osD^vP*X"[index // len(CYCLE) % 8]
        axes.scatter(*mine.T, s=22, color=color, marker=marker, alpha=0.65, linewidth=0)
        box = {"facecolor": PAPER, "edgecolor": color, "alpha": 0.85, "boxstyle": "round,pad=0.15"}
        text = {"fontsize": SMALL, "fontweight": "bold", "ha": "center", "va": "center"}
        axes.annotate(name, np.median(mine, axis=0), bbox=box, **text)
    for axis, number in ((axes.xaxis, 0), (axes.yaxis, 1)):
        explained = f" ({share[number]:.0%} of the variance)" if len(share) > number else ""
        axis.set_label_text(f"component {number + 1}{explained}")
    return figure


@styled
def distance_matrix(
    table: ArrayLike, labels: Sequence[str], *, title: str = "Distance between videos"
) -> Figure:
    """Show the distance between every two videos; the diagonal is the distance within each.

    Args:
        table: (v, v), from `semrepa.analysis.video_distances`.
        labels: name of each video; sort videos by person to see blocks.
        title: headline.

    Returns:
        The figure.
    """
    side = min(7.5, 3 + 0.18 * len(labels))
    figure, grid = new_figure(side + 1, side, title=title)
    draw_matrix(grid[0, 0], table, labels)
    return figure


def draw_matrix(axes: Axes, table: ArrayLike, labels: Sequence[str] = (), unit: str = "") -> None:
    """Draw the distance between every two videos, with a colour bar.

    Args:
        axes: empty axes.
        table: (v, v).
        labels: name of each video; empty: their numbers.
        unit: what a distance is.
    """
    picture = axes.imshow(to_array(table), cmap="viridis_r", vmin=0)
    axes.grid(visible=False)
    if labels:
        size = min(SMALL, 200 / len(labels) + 3)
        axes.set_xticks(range(len(labels)), labels, rotation=90, fontsize=size)
        axes.set_yticks(range(len(labels)), labels, fontsize=size)
    else:
        axes.set_xlabel("video")
        axes.set_ylabel("video")
    label = f"distance ({unit})" if unit else "distance"
    axes.get_figure().colorbar(picture, ax=axes, label=label, shrink=0.8)


@styled
def compare_arms(
    rows: Sequence[ClipScores],
    *,
    baseline: str,
    metrics: Sequence[str],
    title: str = "Same clips, same seeds",
) -> Figure:
    """Compare arms: each clip a faint line, means with intervals, paired differences below.

    Args:
        rows: scores of clips.
        baseline: the arm that the lower row compares with.
        metrics: names of the scores to draw, one column each.
        title: headline.

    Returns:
        The figure: above, scores; below, difference from the baseline with its 95 % interval.

    Raises:
        ValueError: rows of mixed provenance, an unknown baseline, or a network's score without its kind.
    """
    rows = list(rows)
    scores, differences, heads = means(rows), paired_differences(rows, baseline), score_labels(rows)
    layout = {"height_ratios": [1.6, 1], "sharex": "col"}
    figure, grid = new_figure(max(5.0, 3.3 * len(metrics)), 5.4, 2, len(metrics), title=title, **layout)
    for (above, below), metric in zip(grid.T, metrics, strict=True):
        _clip_lines(above, rows, list(scores), metric)
        for place, (arm, color) in enumerate(zip(scores, CYCLE, strict=False)):
            _interval(above, place, scores[arm][metric], color, "")
            if arm in differences:
                _clip_dots(below, place, rows, arm, baseline, metric)
                _interval(below, place, differences[arm][metric], color, "+")
        below.axhline(0, color=GREY, linestyle=DASHES, linewidth=1.2)
        below.set_xticks(range(len(scores)), list(scores))
        below.set_xlim(-0.45, len(scores) - 0.25)
        above.set_title(label_name(heads[metric]))
    grid[0, 0].set_ylabel("score per clip, mean")
    grid[1, 0].set_ylabel(f"minus {baseline}\n(paired, 95 %)")
    return figure


def _clip_lines(axes: Axes, rows: Sequence[ClipScores], arms: Sequence[str], metric: str) -> None:
    look = {"color": GREY, "alpha": 0.28, "linewidth": 0.9, "marker": "o", "markersize": 2.5}
    for clip in dict.fromkeys(row.clip for row in rows):
        mine = {row.arm: row.values.get(metric, np.nan) for row in rows if row.clip == clip}
        axes.plot(range(len(arms)), [mine.get(arm, np.nan) for arm in arms], **look)


def _clip_dots(
    axes: Axes, place: int, rows: Sequence[ClipScores], arm: str, baseline: str, metric: str
) -> None:
    """The difference of each clip, a little to the left of its mean."""
    mine, theirs = (
        {row.clip: row.values.get(metric, np.nan) for row in rows if row.arm == name}
        for name in (arm, baseline)
    )
    found = [mine[clip] - theirs[clip] for clip in mine if clip in theirs]
    axes.plot(np.full(len(found), place - 0.16), found, "o", color=GREY, alpha=0.4, markersize=3)


def _interval(axes: Axes, place: int, found: Interval, color: str, sign: str) -> None:
    """A mean as a dot, its interval as a bar, its number beside it."""
    axes.plot([place, place], [found.low, found.high], color=color, linewidth=4, alpha=0.55)
    axes.plot(place, found.mean, "o", color=color, markersize=8, markeredgecolor=PAPER)
    text = {"va": "center", "fontweight": "bold", "color": readable(color), "bbox": BOX}
    axes.annotate(f"{found.mean:{sign}.{found.decimals}f}", (place, found.mean), (8, 0), **text, **BESIDE)


@styled
def lines(
    series: Mapping[str, tuple[ArrayLike, ArrayLike]],
    *,
    x: str,
    y: str,
    title: str = "",
    floors: Mapping[str, float] | None = None,
) -> Figure:
    """Draw a few labelled lines: error against noise level, a recorded run beside a live one.

    Args:
        series: label to (x values, y values).
        x: what x is, with its unit.
        y: what y is, with its unit.
        title: headline.
        floors: label to a level drawn as a dashed line.

    Returns:
        The figure.
    """
    figure, grid = new_figure(8, 3.8, title=title)
    axes = grid[0, 0]
    ends = []
    for color, (label, points) in zip(CYCLE, series.items(), strict=False):
        across, up = (to_array(part).astype(float) for part in points)
        axes.plot(across, up, "o-" if len(across) < 30 else "-", color=color, markersize=4)
        ends.append((label, float(up[-1]), color))
    for label, level in (floors or {}).items():
        draw_floor(axes, label, level)
    label_ends(axes, ends)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    return figure
