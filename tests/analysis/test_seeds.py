"""Means over training seeds against the table of Student's t."""

import numpy as np
import pytest

from semrepa.analysis.seeds import over_seeds, paired


def test_interval_of_five_seeds_is_students():
    found = over_seeds([1, 2, 3, 4, 5])
    half = 2.776445 * np.sqrt(2.5 / 5)  # t of 4 degrees of freedom at 97.5 %
    assert found.mean == 3 and found.seeds == 5
    assert found.high - 3 == pytest.approx(half, abs=1e-5)
    assert 3 - found.low == pytest.approx(half, abs=1e-5)
    assert str(found) == "3.0 [1.0, 5.0]"


def test_interval_holds_the_truth_in_19_of_20_experiments():
    draws = np.random.default_rng(0).normal(size=(2000, 5))
    held = [found.low < 0 < found.high for found in map(over_seeds, draws)]
    assert np.mean(held) == pytest.approx(0.95, abs=0.015)


def test_pairing_takes_out_what_the_seeds_share():
    shared = np.array([0.1, 0.5, 0.9, 0.3, 0.7])
    gain = np.array([0.01, 0.02, 0.03, 0.02, 0.02])
    difference = paired(shared + gain, shared)
    assert difference.mean == pytest.approx(0.02)
    assert difference.is_clear
    apart = over_seeds(shared + gain)
    assert apart.high - apart.low > 20 * (difference.high - difference.low)


def test_one_seed_has_no_interval():
    found = over_seeds([0.25])
    assert np.isnan(found.low) and np.isnan(found.high) and not found.is_clear
    assert str(found) == "0.25"


def test_equal_seeds_have_a_point():
    assert str(over_seeds([2.0, 2.0, 2.0])) == "2.000 [2.000, 2.000]"


@pytest.mark.parametrize("values", [[], [1.0, np.nan], [np.inf]])
def test_a_failed_training_is_not_passed_over(values):
    with pytest.raises(ValueError, match="expected at least one, all finite"):
        over_seeds(values)


def test_arms_must_have_the_same_seeds():
    with pytest.raises(ValueError, match="got 2 and 3 trainings"):
        paired([1, 2], [1, 2, 3])
