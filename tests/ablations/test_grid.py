"""The grid is the paper's Table 2, and says nothing else."""

import pytest

from semrepa.ablations import ARMS, BASE, PLAIN, chosen
from semrepa.ablations.grid import PAPER_SCORES
from semrepa.config import mini, override


def test_it_has_the_nine_lines_of_table_2():
    assert [arm.name for arm in ARMS[:2]] == [BASE, PLAIN]
    weights = {(arm.noisy, arm.weight_struct, arm.weight_id) for arm in ARMS[2:]}
    single = {(noisy, weight, 0) for noisy in (True, False) for weight in (0.1, 0.01)}
    assert weights == single | {(False, 0, 10), (False, 0, 1), (False, 0.01, 1)}
    assert all(tuple(arm.paper) == PAPER_SCORES for arm in ARMS)


@pytest.mark.parametrize(
    ("name", "score", "value"),
    [("plain", "motion_score", 0.7481), ("both", "id_score", 0.6339), ("id-10", "fid", 226.54)],
)
def test_values_of_the_paper(name, score, value):
    (arm,) = chosen([name])
    assert arm.paper[score] == value


def test_both_is_the_papers_final_setting():
    (arm,) = chosen(["both"])
    assert override(mini(), arm.overrides) == mini()


def test_arms_come_in_the_order_of_the_table():
    assert [arm.name for arm in chosen(["both", "base", "id-1"])] == ["base", "id-1", "both"]
    assert chosen() == ARMS


@pytest.mark.parametrize(("names", "got"), [(["plain", "aligned"], "'aligned'"), ([], "none")])
def test_unknown_arms_are_refused(names, got):
    with pytest.raises(ValueError, match=f"arms: got {got}; expected some of base, plain, noisy-0.1"):
        chosen(names)
