"""Charts of results: distances, verification, embedding maps, loss balance, arms of an experiment.

Plain arrays in, a matplotlib figure out. Every series is labelled where it is drawn, with its number beside it.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, PercentFormatter
from numpy.typing import ArrayLike

from semrepa.analysis import IdDistances, Verification
from semrepa.metrics.report import ClipScores, Interval, means, paired_differences
from semrepa.ui.style import BLUE, CYCLE, GREY, INK, ORANGE, PAPER, PART_COLORS, label_name, new_figure, styled


@styled
def distance_histograms(
    variants: Mapping[str, IdDistances], *, unit: str = "1 - cosine", title: str = "Distances between faces"
) -> Figure:
    """Compare distances within videos with distances between people, one row per variant.

    Args:
        variants: label to distances, such as ``with depth`` and ``without depth``.
        unit: what a distance is.
        title: headline.

    Returns:
        The figure; each row states its gap with the 95 % interval.
    """
    everything = np.concatenate([np.concatenate([d.intra, d.inter]) for d in variants.values()])
    bins = np.linspace(min(0, everything.min()), everything.max() * 1.02, 41)
    figure, grid = new_figure(9, 1.9 * len(variants) + 0.9, len(variants), 1, sharex=True)
    for axes, (label, found) in zip(grid[:, 0], variants.items(), strict=True):
        for values, color, name in ((found.intra, BLUE, "within a video"), (found.inter, ORANGE, "between people")):
            share = np.full(len(values), 1 / len(values))
            heights, _, _ = axes.hist(values, bins=bins, weights=share, color=color, alpha=0.75)
            axes.axvline(values.mean(), color=color, linewidth=1.5, linestyle=(0, (4, 2)))
            is_right = values.mean() > bins.mean()
            axes.annotate(f"{name}: {values.mean():.3f}", (values.mean(), 1.0), (-4 if is_right else 4, -2), va="top",
                          ha="right" if is_right else "left", xycoords=("data", "axes fraction"),
                          textcoords="offset points", fontsize=8.5, color=INK,
                          bbox={"facecolor": PAPER, "edgecolor": "none", "alpha": 0.8, "pad": 1})  # fmt: skip
        axes.set_title(f"{label}: gap {found.gap:.3f}  [{found.gap_low:.3f}, {found.gap_high:.3f}]")
        axes.set_ylim(top=axes.get_ylim()[1] * 1.25)
        axes.set_ylabel("share")
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    grid[-1, 0].set_xlabel(f"distance ({unit})")
    figure.suptitle(title, x=0.01, ha="left")
    return figure


@styled
def roc(curves: Mapping[str, Verification], *, title: str = "Same person or not: verification on held-out people") -> Figure:
    """Draw verification curves with their area and equal error rate; false accepts on a log axis.

    Args:
        curves: label to verification.
        title: headline.

    Returns:
        The figure.
    """
    figure, grid = new_figure(9, 4.2)
    axes = grid[0, 0]
    lowest = min((c.false_accepts[c.false_accepts > 0].min() for c in curves.values()), default=1e-3)
    lowest = max(1e-5, min(lowest, 1e-2))
    chance = np.geomspace(lowest, 1, 200)
    axes.plot(chance, chance, color=GREY, linestyle=(0, (4, 3)), linewidth=1.2)
    axes.annotate("guessing", (0.5, 0.5), (-6, 2), textcoords="offset points", ha="right", color=GREY)
    for row, (color, (label, curve)) in enumerate(zip(CYCLE, curves.items(), strict=False)):
        axes.step(np.maximum(curve.false_accepts, lowest), curve.true_accepts, where="post", color=color)
        axes.plot(max(curve.eer, lowest), 1 - curve.eer, "o", color=color, markerfacecolor=PAPER, markersize=6)
        axes.text(1.03, 0.98 - 0.2 * row, label, transform=axes.transAxes, va="top", color=color, fontweight="bold")
        axes.text(1.03, 0.92 - 0.2 * row, f"area {curve.auc:.3f}\nequal error {curve.eer:.1%}", transform=axes.transAxes,
                  va="top", color=color)  # fmt: skip
    axes.set_xscale("log")
    axes.set_xlim(lowest, 1)
    axes.set_ylim(0, 1.02)
    axes.xaxis.set_major_locator(LogLocator())
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_xlabel("different people accepted (share, log)")
    axes.set_ylabel("same person accepted (share)")
    figure.suptitle(title, x=0.01, ha="left")
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
    places, names = np.asarray(points, dtype=float), np.array([str(person) for person in people])
    figure, grid = new_figure(7.5, 5.6)
    axes = grid[0, 0]
    for index, name in enumerate(dict.fromkeys(names)):
        mine = places[names == name]
        color, marker = CYCLE[index % len(CYCLE)], "osD^vP*X"[index // len(CYCLE) % 8]
        axes.scatter(*mine.T, s=22, color=color, marker=marker, alpha=0.65, linewidth=0)
        axes.annotate(name, np.median(mine, axis=0), color=INK, fontsize=8.5, fontweight="bold", ha="center", va="center",
                      bbox={"facecolor": PAPER, "edgecolor": color, "alpha": 0.85, "boxstyle": "round,pad=0.15"})  # fmt: skip
    for axis, number in ((axes.xaxis, 0), (axes.yaxis, 1)):
        explained = f" ({share[number]:.0%} of the variance)" if len(share) > number else ""
        axis.set_label_text(f"component {number + 1}{explained}")
    figure.suptitle(title, x=0.01, ha="left")
    return figure


@styled
def similarity_matrix(table: ArrayLike, labels: Sequence[str], *, title: str = "Distance between videos") -> Figure:
    """Show the distance between every two videos; the diagonal is the distance within each.

    Args:
        table: (v, v), from `semrepa.analysis.video_distances`.
        labels: name of each video; sort videos by person to see blocks.
        title: headline.

    Returns:
        The figure.
    """
    values = np.asarray(table, dtype=float)
    side = min(7.5, 3 + 0.18 * len(values))
    figure, grid = new_figure(side + 1, side)
    axes = grid[0, 0]
    picture = axes.imshow(values, cmap="viridis_r", vmin=0)
    axes.grid(visible=False)
    size = min(8.5, 200 / max(len(labels), 1) + 3)
    axes.set_xticks(range(len(labels)), labels, rotation=90, fontsize=size)
    axes.set_yticks(range(len(labels)), labels, fontsize=size)
    figure.colorbar(picture, ax=axes, label="distance", shrink=0.8)
    figure.suptitle(title, x=0.01, ha="left")
    return figure


@styled
def balance_bars(balance: Mapping[str, Mapping[str, float]], *, title: str = "What pulls on the transformer") -> Figure:
    """Show how much each part of the loss contributes, as shares of one bar per quantity.

    Args:
        balance: quantity to part to size: ``{"weighted loss": {"loss_diff": 0.1, ...}, "gradient norm": {...}}``.
        title: headline.

    Returns:
        The figure, with the share and the size of every part.
    """
    figure, grid = new_figure(9, 0.75 * len(balance) + 1.1)
    axes = grid[0, 0]
    for row, parts in enumerate(balance.values()):
        total, left = sum(parts.values()) or 1.0, 0.0
        for index, (part, size) in enumerate(parts.items()):
            color, share = PART_COLORS.get(part, CYCLE[index % len(CYCLE)]), size / total
            axes.barh(row, share, left=left, color=color, height=0.62, edgecolor=PAPER, linewidth=1.5)
            if share > 0.07:
                axes.text(left + share / 2, row, f"{share:.0%}\n{size:.3g}", ha="center", va="center", color=PAPER,
                          fontsize=8.5, fontweight="bold", linespacing=1.2)  # fmt: skip
            else:
                axes.annotate(f"{share:.1%}", (left + share / 2, row - 0.31), (0, 2), textcoords="offset points",
                              ha="center", va="bottom", fontsize=7.5, color=color)  # fmt: skip
            left += share
    axes.set_yticks(range(len(balance)), list(balance))
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    parts = list(dict.fromkeys(part for sizes in balance.values() for part in sizes))
    handles = [axes.barh(0, 0, color=PART_COLORS.get(part, CYCLE[i % len(CYCLE)])) for i, part in enumerate(parts)]
    axes.legend(handles, [label_name(part) for part in parts], loc="upper center", bbox_to_anchor=(0.5, -0.2),
                ncols=len(parts))  # fmt: skip
    figure.suptitle(title, x=0.01, ha="left")
    return figure


@styled
def compare_arms(
    rows: Sequence[ClipScores], *, baseline: str, metrics: Sequence[str], title: str = "Same clips, same seeds"
) -> Figure:
    """Compare the arms of an experiment: every clip as a faint line, means with intervals, paired differences below.

    Args:
        rows: scores of clips.
        baseline: the arm that the lower row compares with.
        metrics: names of the scores to draw, one column each.
        title: headline.

    Returns:
        The figure: above, scores; below, difference from the baseline with its 95 % interval.

    Raises:
        ValueError: rows of mixed provenance, or an unknown baseline.
    """
    rows = list(rows)
    scores, differences = means(rows), paired_differences(rows, baseline)
    arms, others = list(scores), list(differences)
    figure, grid = new_figure(max(5.0, 3.3 * len(metrics)), 5.4, 2, len(metrics), height_ratios=[1.6, 1], sharex="col")
    for column, metric in enumerate(metrics):
        above, below = grid[:, column]
        for clip in dict.fromkeys(row.clip for row in rows):
            mine = {row.arm: row.values.get(metric, np.nan) for row in rows if row.clip == clip}
            above.plot(range(len(arms)), [mine.get(arm, np.nan) for arm in arms], color=GREY, alpha=0.28, linewidth=0.9,
                       marker="o", markersize=2.5)  # fmt: skip
        for place, arm in enumerate(arms):
            _interval(above, place, scores[arm][metric], CYCLE[place % len(CYCLE)], "")
            if arm in others:
                _interval(below, place, differences[arm][metric], CYCLE[place % len(CYCLE)], "+")
        below.axhline(0, color=GREY, linestyle=(0, (4, 3)), linewidth=1.2)
        below.set_xticks(range(len(arms)), arms)
        below.set_xlim(-0.45, len(arms) - 0.25)
        above.set_title(label_name(metric))
    grid[0, 0].set_ylabel("score per clip, mean")
    grid[1, 0].set_ylabel(f"minus {baseline}\n(paired, 95 %)")
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def _interval(axes: Axes, place: int, found: Interval, color: str, sign: str) -> None:
    """A mean as a dot, its interval as a bar, its number beside it."""
    axes.plot([place, place], [found.low, found.high], color=color, linewidth=4, alpha=0.55)
    axes.plot(place, found.mean, "o", color=color, markersize=8, markeredgecolor=PAPER)
    axes.annotate(f"{found.mean:{sign}.{found.decimals}f}", (place, found.mean), (8, 0), textcoords="offset points", va="center",
                  fontsize=8.5, fontweight="bold", color=color,
                  bbox={"facecolor": PAPER, "edgecolor": "none", "alpha": 0.75, "pad": 0.8})  # fmt: skip


@styled
def lines(
    series: Mapping[str, tuple[ArrayLike, ArrayLike]], *, x: str, y: str, title: str = "", log: bool = False,
    floors: Mapping[str, float] | None = None,
) -> Figure:  # fmt: skip
    """Draw a few labelled lines: error against noise level, a recorded run beside a live one.

    Args:
        series: label to (x values, y values).
        x: what x is, with its unit.
        y: what y is, with its unit.
        title: headline.
        log: log scale for y.
        floors: label to a level drawn as a dashed line.

    Returns:
        The figure.
    """
    figure, grid = new_figure(8, 3.8)
    axes = grid[0, 0]
    for color, (label, (places, values)) in zip(CYCLE, series.items(), strict=False):
        places, values = np.asarray(places, dtype=float), np.asarray(values, dtype=float)
        axes.plot(places, values, "o-" if len(places) < 30 else "-", color=color, markersize=4)
        axes.annotate(f" {label}", (places[-1], values[-1]), color=color, fontweight="bold", va="center",
                      annotation_clip=False)  # fmt: skip
    for label, level in (floors or {}).items():
        axes.axhline(level, color=GREY, linestyle=(0, (4, 3)), linewidth=1.2)
        axes.annotate(f"{label} {level:.3g}", (0.01, level), xycoords=("axes fraction", "data"), va="bottom", color=GREY,
                      fontsize=8)  # fmt: skip
    axes.set_yscale("log" if log else "linear")
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    figure.suptitle(title, x=0.01, ha="left")
    return figure
