"""The figure of Table 3 over seeds."""

import numpy as np
import pytest

from semrepa.analysis import table3
from semrepa.analysis.table3 import LABELS, WITH, WITHOUT, Cell
from semrepa.ui.seeds import COLORS, SHOWN, seed_figure
from semrepa.ui.style import to_png


@pytest.fixture
def recorded():
    """Three seeds; without depth is ahead by 0.2 in every number."""
    rise = np.linspace(0.2, 1, len(table3.FALSE_ACCEPTS))
    cells = [
        Cell(
            seed=seed,
            variant=variant,
            scores=dict.fromkeys(LABELS, 0.3 + 0.01 * seed + ahead),
            curves=dict.fromkeys(table3.ROC_PAIRS, (rise - 0.05 * seed).tolist()),
            persons={"gap_cosine": [0.1, 0.2]},
            seconds=1.0,
        )
        for seed in range(3)
        for variant, ahead in ((WITH, 0.0), (WITHOUT, 0.2))
    ]
    about = {"seeds": [0, 1, 2], "weights": "mini", "heldout": {"people": 40}}
    return table3.record(cells, {}, about)


def test_curves_show_their_range_over_seeds_and_dots_their_pairs(recorded):
    figure = seed_figure(recorded)
    curves, pairs = figure.axes[: len(table3.ROC_PAIRS)], figure.axes[len(table3.ROC_PAIRS) :]
    assert len(pairs) == len(SHOWN)
    for axes in curves:
        bands = [band.get_paths()[0].vertices[:, 1] for band in axes.collections]
        assert len(bands) == 2
        assert min(bands[0]) == pytest.approx(0.1, abs=1e-3) and max(bands[0]) == pytest.approx(1)
    for axes in pairs:
        lines = [line for line in axes.lines if len(line.get_xdata()) == 2]
        assert len(lines) == 3
        assert all(np.diff(line.get_ydata()) == pytest.approx(-0.2) for line in lines)
        assert "-0.2" in axes.get_xlabel()


def test_it_says_how_many_trainings_and_with_which_weights(recorded):
    title = seed_figure(recorded, title="Depth?").get_suptitle()
    assert title == "Depth? 3 trainings of each, mini weights, 40 new people"


def test_colours_tell_the_variants_apart_in_a_small_picture(recorded):
    assert COLORS[WITH] != COLORS[WITHOUT]
    assert len(to_png(seed_figure(recorded), 110)) < 150_000, "small enough for the docs"
