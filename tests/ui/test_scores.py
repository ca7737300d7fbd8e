"""Figures of scored videos."""

import math

import pytest

from semrepa.evaluation.results import Results
from semrepa.ui.scores import distributions, gains
from tests.evaluation.arms import arm, column


@pytest.fixture
def results():
    base = arm("base", column("depth_error", [0.3, 0.2, 0.4, math.nan]))
    ours = arm("ours", column("depth_error", [0.1, 0.3, 0.1, 0.1]))
    return Results([base, ours], baseline="base")


def test_gains_are_sorted_and_count_those_that_are_better(results):
    (axes,) = gains(results, "depth_error").axes
    assert [bar.get_height() for bar in axes.patches] == pytest.approx([-0.3, -0.2, 0.1])
    assert [label.get_text() for label in axes.get_xticklabels()] == ["c2", "c0", "c1"]
    assert axes.get_title(loc="left") == "ours: 2 of 3 clips better", "less error is better"
    colours = [bar.get_facecolor() for bar in axes.patches]
    assert colours[0] == colours[1] != colours[2]


def test_gains_need_something_to_compare():
    with pytest.raises(ValueError, match="no arm beside a baseline"):
        gains(Results([arm("base", column("ssim", [1]))], baseline="base"), "ssim")


def test_distributions_show_each_clip_that_has_a_number(results):
    (axes,) = distributions(results, ["depth_error"]).axes
    dots = [line for line in axes.lines if line.get_marker() == "o"]
    assert [len(line.get_xdata()) for line in dots] == [3, 4]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["base", "ours"]
