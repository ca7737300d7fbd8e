"""An estimate drawn: every stage a bar, every GPU in reach a line, nothing cut."""

import pytest

from semrepa.config import mini
from semrepa.estimate import GPUS, Estimate, estimate
from semrepa.estimate.gpus import GIB
from semrepa.ui.estimate import cost_table, memory_figure
from semrepa.ui.style import to_png


@pytest.fixture(scope="module")
def found() -> Estimate:
    """The mini preset as it would run on a GPU."""
    return estimate(mini(), clips=10, gpu="H100")


def test_bars_add_up_to_the_totals(found):
    axes = memory_figure(found).axes[0]
    ends: dict[int, float] = {}
    for bar in axes.patches:
        place = round(bar.get_y() + bar.get_height() / 2)
        ends[place] = max(ends.get(place, 0.0), bar.get_x() + bar.get_width())
    assert list(ends.values()) == pytest.approx([entry.total / GIB for entry in found.memory])


def test_what_is_not_chosen_is_pale_and_says_so(found):
    axes = memory_figure(found).axes[0]
    texts = [text.get_text() for text in axes.texts]
    assert sum("(not chosen)" in text for text in texts) == 3
    pale = {round(bar.get_y() + bar.get_height() / 2) for bar in axes.patches if bar.get_alpha() == 0.5}
    assert pale == {place for place, entry in enumerate(found.memory) if not entry.chosen}


def test_gpus_in_reach_are_lines(found):
    big = memory_figure(found, gpus=["RTX 4090"]).axes[0]
    assert "RTX 4090" not in [text.get_text() for text in big.texts]  # far beyond the mini preset
    small = {"RTX 4090": GPUS["RTX 4090"].memory}
    assert small["RTX 4090"] / GIB > big.get_xlim()[1]


def test_it_can_be_written_with_its_title_and_units(found):
    figure = memory_figure(found)
    assert figure.get_suptitle() == "Memory of one GPU, preset mini on 1 x H100"
    assert "GiB" in figure.axes[0].get_xlabel()
    assert to_png(figure).startswith(b"\x89PNG")


def test_the_table_has_its_numbers_at_the_right(found):
    shown = cost_table(found, "Time")
    assert shown.caption == "Time on 1 x H100, preset mini"
    assert shown.columns[:2] == ["stage", "clips"]
    assert shown.numeric == [False, True, True, True, True]
