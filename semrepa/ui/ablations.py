"""Figures of ablations: what each arm differs by, ours beside the paper's, seed by seed."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from semrepa.ablations import ARMS, PLAIN
from semrepa.ablations.collate import Collated
from semrepa.ablations.tables import Measure
from semrepa.ui.style import BLUE, DASHES, GREY, INK, ORANGE, PAPER, PURPLE, SKY, SMALL, new_figure, styled

PAPERS = {arm.name: arm.paper for arm in ARMS}
TITLES = {arm.name: arm.title for arm in ARMS}
COLORS = {
    arm.name: PURPLE if arm.weight_id else SKY if arm.noisy else ORANGE if arm.weight_struct else GREY
    for arm in ARMS
} | {"both": BLUE}
"""Colour by what an arm is trained with."""
LOSS_LOOKS = {"diff": ("diffusion", INK), "struct": ("structure", ORANGE), "id": ("identity", PURPLE)}


@styled
def difference_dots(
    found: Collated,
    measures: Sequence[Measure],
    *,
    against: str = PLAIN,
    without: Sequence[str] = (),
    title: str = "What each loss changes",
) -> Figure:
    """Draw the difference of each arm from one of them: a dot for each seed, the mean with its interval.

    Args:
        found: the numbers.
        measures: one panel each; where the paper has such a column, its own differences stand in a panel
            of their own beside it, since they are of another size.
        against: the arm to compare with, which must be among them.
        without: clips that do not count.
        title: headline.

    Returns:
        The figure; dark: t interval over seeds, pale: bootstrap over seeds and clips.
    """
    arms = [arm for arm in found.arms if arm != against]
    panels = [(m, own) for m in measures for own in ((True, False) if m.paper else (True,))]
    size = 2.2 + 2.0 * len(panels), 1.5 + 0.36 * len(arms)
    figure, grid = new_figure(*size, 1, len(panels), title=title, sharey=True)
    for axes, (measure, own) in zip(grid[0], panels, strict=True):
        axes.axvline(0, color=GREY, linestyle=DASHES, linewidth=1.2)
        for place, arm in enumerate(arms):
            if own:
                _ours(axes, place, found, arm, against, measure, without)
            elif measure.paper:
                gap = PAPERS[arm][measure.paper] - PAPERS[against][measure.paper]
                axes.plot(gap, place, "D", color=COLORS[arm], markerfacecolor=PAPER, markersize=6)
        arrow = "→" if measure.better > 0 else "←"
        axes.set_title(f"{measure.title} {arrow}" if own else "the paper's")
        axes.set_xlabel(f"minus {TITLES[against].split(',')[0] if against != PLAIN else 'plain'}")
        axes.xaxis.set_major_locator(MaxNLocator(3))
        axes.margins(x=0.12)
    grid[0, 0].set_yticks(range(len(arms)), [TITLES[arm] for arm in arms])
    grid[0, 0].set_ylim(len(arms) - 0.4, -0.6)
    return figure


def _ours(
    axes: Axes, place: int, found: Collated, arm: str, against: str, measure: Measure, without: Sequence[str]
) -> None:
    numbers = found.differences(arm, against, without=without)
    if measure.name not in numbers:
        return
    it, color = numbers[measure.name], COLORS[arm]
    axes.plot([it.crossed_low, it.crossed_high], [place] * 2, color=color, linewidth=7, alpha=0.25)
    axes.plot([it.seeds_low, it.seeds_high], [place] * 2, color=color, linewidth=2)
    axes.plot(it.by_seed, [place - 0.22] * len(it.by_seed), "o", color=INK, markersize=2.8)
    axes.plot(it.mean, place, "o", color=color, markersize=7, markeredgecolor=PAPER)


@styled
def clip_dots(
    found: Collated, measure: Measure, arms: Sequence[str], *, against: str = PLAIN, title: str = ""
) -> Figure:
    """Draw the difference of each clip, mean over seeds, sorted: whether many clips change or few.

    Args:
        found: the numbers.
        measure: which number.
        arms: one panel each.
        against: the arm to compare with.
        title: headline.

    Returns:
        The figure; hollow: clips that the aligner of this loss cannot read.
    """
    bad = found.unreadable.get(measure.name, ())
    size = 2.6 * len(arms) + 1.6, 1.4 + 0.17 * len(found.clips)
    figure, grid = new_figure(*size, 1, len(arms), title=title or measure.title, sharey=True, sharex=True)
    gaps = [
        np.nanmean(found.values[arm][measure.name] - found.values[against][measure.name], axis=0)
        for arm in arms
    ]
    order = np.argsort(np.nanmean(gaps, axis=0))
    for axes, arm, gap in zip(grid[0], arms, gaps, strict=True):
        axes.axvline(0, color=GREY, linestyle=DASHES, linewidth=1.2)
        for place, clip in enumerate(order):
            face = PAPER if found.clips[clip] in bad else COLORS[arm]
            axes.plot(gap[clip], place, "o", color=COLORS[arm], markerfacecolor=face, markersize=5)
        axes.set_title(TITLES[arm])
        axes.set_xlabel(f"{measure.title}, minus {against}")
        axes.xaxis.set_major_locator(MaxNLocator(3))
    grid[0, 0].set_yticks(range(len(order)), [found.clips[clip] for clip in order], fontsize=SMALL)
    return figure


@styled
def pulls(found: Collated, *, title: str = "How hard each loss pulls") -> Figure:
    """Draw the gradient norms of the weighted losses of each arm beside that of the diffusion loss.

    Args:
        found: the numbers, with norms that were measured in the trainings (`finetune.balance_every`).
        title: headline.

    Returns:
        The figure, on a log axis: dots, and their medians as bars.
    """
    arms = [arm for arm in found.arms if found.pulls.get(arm)]
    figure, grid = new_figure(8.5, 1.4 + 0.42 * len(arms), title=title)
    axes = grid[0, 0]
    for shift, (loss, (label, color)) in zip((-0.2, 0.0, 0.2), LOSS_LOOKS.items(), strict=True):
        axes.plot([], [], "o", color=color, label=label)
        for place, arm in enumerate(arms):
            values = [value for value in found.pulls[arm].get(loss, ()) if value > 0]
            axes.plot(values, [place + shift] * len(values), "o", color=color, markersize=3, alpha=0.5)
            if values:
                bar = {"color": color, "markersize": 11, "markeredgewidth": 3}
                axes.plot(float(np.median(values)), place + shift, "|", **bar)
    axes.set_xscale("log")
    axes.set_yticks(range(len(arms)), [TITLES[arm] for arm in arms])
    axes.set_ylim(len(arms) - 0.4, -0.6)
    axes.set_xlabel("gradient norm of the weighted loss (log)")
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
    return figure
