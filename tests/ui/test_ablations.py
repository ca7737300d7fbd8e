"""Figures of ablations show every arm, the paper's numbers, and the clips that do not count."""

import numpy as np
import pytest
from matplotlib.colors import to_hex

from semrepa.ablations.collate import Collated
from semrepa.ablations.tables import LOSSES, SCORES
from semrepa.ui.ablations import PAPERS, clip_dots, difference_dots, pulls
from semrepa.ui.style import PAPER, to_png

ID_LOSS = LOSSES[-1]
ID_SCORE = SCORES[0]


def x_of(line):
    """Where a single dot stands."""
    return float(np.asarray(line.get_xdata())[0])


@pytest.fixture
def found() -> Collated:
    draw = np.random.default_rng(0)
    values = {
        arm: {ID_LOSS.name: draw.normal(place, 0.1, (3, 4)), ID_SCORE.name: draw.normal(0, 1, (3, 4))}
        for place, arm in enumerate(("base", "plain", "noisy-0.1", "id-10"))
    }
    return Collated(
        kind="mini",
        seeds=(0, 1, 2),
        clips=("a", "b", "c", "d"),
        values=values,
        sets={},
        unreadable={ID_LOSS.name: ("c",)},
        pulls={"id-10": {"diff": (0.1, 0.2), "id": (0.01, 0.02)}, "base": {}},
    )


def test_each_arm_has_its_dot_and_the_paper_a_panel_of_its_own(found):
    figure = difference_dots(found, [ID_LOSS, ID_SCORE], title="t")
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == ["identity loss ←", "ID score →", "the paper's"]
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert names == ["not fine-tuned", "structure, noisy, 0.1", "identity, 10"]
    means = [line for line in figure.axes[0].lines if line.get_markersize() == 7]
    expected = [found.differences(arm, "plain")[ID_LOSS.name].mean for arm in ("base", "noisy-0.1", "id-10")]
    assert [x_of(line) for line in means] == pytest.approx(expected)
    diamonds = [x_of(line) for line in figure.axes[2].lines if line.get_marker() == "D"]
    assert diamonds[-1] == pytest.approx(PAPERS["id-10"]["id_score"] - PAPERS["plain"]["id_score"])
    assert len(to_png(figure)) > 5000


def test_clips_are_sorted_and_unreadable_ones_hollow(found):
    figure = clip_dots(found, ID_LOSS, ["id-10"])
    dots = [line for line in figure.axes[0].lines if line.get_marker() == "o"]
    places = [x_of(dot) for dot in dots]
    assert places == sorted(places) and len(places) == 4
    hollow = [to_hex(dot.get_markerfacecolor()).upper() == PAPER.upper() for dot in dots]
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert sum(hollow) == 1 and names[hollow.index(True)] == "c"


def test_pulls_have_a_median_for_each_measured_loss(found):
    figure = pulls(found)
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["identity, 10"]
    medians = [x_of(line) for line in figure.axes[0].lines if line.get_marker() == "|"]
    assert medians == pytest.approx([0.15, 0.015])
