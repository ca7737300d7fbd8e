"""Figures of scored videos: how they spread, and which clips gain and lose most."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from semrepa.evaluation.results import Results
from semrepa.evaluation.tables import direction
from semrepa.ui.style import (
    CYCLE,
    DASHES,
    GREEN,
    GREY,
    INK,
    PAPER,
    RED,
    SMALL,
    label_name,
    new_figure,
    squeezed,
    styled,
)

Spread = Mapping[str, Mapping[str, float]]
"""Arm to clip to score."""


@styled
def distributions(results: Results, metrics: Sequence[str], *, title: str = "Every clip") -> Figure:
    """Show how scores spread over clips: a dot for each, with the median and the middle half.

    Args:
        results: scored arms.
        metrics: names of scores, one panel each.
        title: headline.

    Returns:
        The figure; arms from top to bottom.
    """
    arms = list(dict.fromkeys(row.arm for row in results.clips))
    figure, grid = new_figure(
        max(5.0, 3.3 * len(metrics)), 1.4 + 0.55 * len(arms), 1, len(metrics), title=title
    )
    for axes, metric in zip(grid[0], metrics, strict=True):
        spread = results.of_clip(metric)
        for place, (arm, color) in enumerate(zip(arms, CYCLE, strict=False)):
            found = np.array([value for value in spread[arm].values() if np.isfinite(value)])
            if not len(found):
                continue
            low, middle, high = np.percentile(found, [25, 50, 75])
            axes.plot([low, high], [place, place], color=color, linewidth=9, alpha=0.3)
            axes.plot(middle, place, "|", color=color, markersize=15, markeredgewidth=2.4)
            axes.plot(found, np.full(len(found), place + 0.27), "o", color=color, alpha=0.6, markersize=3.2)
        axes.set_yticks(range(len(arms)), arms if axes is grid[0, 0] else [""] * len(arms))
        axes.set_ylim(len(arms) - 0.45, -0.5)
        axes.set_title(label_name(results.labels[metric]))
    return figure


@styled
def gains(results: Results, metric: str) -> Figure:
    """Show the difference of each clip from the baseline, sorted: who gains, who loses, and which clips.

    Args:
        results: scored arms with a baseline.
        metric: name of the score.

    Returns:
        The figure: one panel for each arm but the baseline; green is better, red worse.

    Raises:
        ValueError: there is no baseline, or nothing beside it.
    """
    arms = list(results.differences)
    if not arms:
        raise ValueError("got no arm beside a baseline; expected one or more; name a baseline")
    sign = -1 if direction(metric) == "down" else 1
    wide = max(4.2, 0.22 * results.num_clips + 1.5)
    name = label_name(results.labels[metric])
    title = f"{name}: difference from {results.baseline}, clip by clip"
    figure, grid = new_figure(max(7.0, wide * len(arms)), 3.6, 1, len(arms), title=title, sharey=True)
    for axes, arm in zip(grid[0], arms, strict=True):
        found = results.clip_differences(arm, metric)
        clips = sorted(found, key=lambda clip: found[clip])
        heights = [found[clip] for clip in clips]
        colors = [GREEN if sign * height > 0 else RED for height in heights]
        axes.bar(range(len(clips)), heights, color=colors, width=0.75)
        axes.axhline(0, color=INK, linewidth=1)
        axes.axhline(results.differences[arm][metric].mean, color=GREY, linestyle=DASHES, linewidth=1.2)
        names = [squeezed(clip, 18) for clip in clips] if len(clips) <= 30 else []
        axes.set_xticks(range(len(names)), names, rotation=90, fontsize=SMALL)
        better = sum(sign * height > 0 for height in heights)
        axes.set_title(f"{arm}: {better} of {len(clips)} clips better")
        axes.set_facecolor(PAPER)
    grid[0, 0].set_ylabel(f"minus {results.baseline}")
    return figure
