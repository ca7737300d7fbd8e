"""Means, differences and intervals whose numbers are known."""

import numpy as np
import pytest

from semrepa.ablations.statistics import crossed, estimate

T_OF_TWO = 4.302653  # 97.5 % of Student's t with two degrees of freedom


def test_the_interval_over_seeds_is_students():
    found = estimate(np.array([[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]]))
    assert (found.seeds_low + found.seeds_high) / 2 == pytest.approx(2)
    assert (found.seeds_high - found.seeds_low) / 2 == pytest.approx(T_OF_TWO / 3**0.5, rel=1e-6)


def test_one_seed_has_no_interval_over_seeds():
    found = estimate(np.array([[1.0, 3.0]]))
    assert found.mean == 2 and np.isnan(found.seeds_low)
    assert found.crossed_low < 2 < found.crossed_high
    assert not found.is_shown


def test_a_seed_without_a_number_leaves_the_interval_open():
    found = estimate(np.array([[1.0, 3.0], [np.nan, np.nan]]))
    assert np.isnan([found.mean, found.seeds_low, found.seeds_high]).all()
    assert not found.is_shown


def test_seeds_that_agree_leave_no_doubt_about_seeds_but_clips_do():
    values = np.tile([0.0, 1.0, 2.0, 9.0], (3, 1))
    found = estimate(values)
    assert (found.seeds_low, found.mean, found.seeds_high) == (3, 3, 3)
    assert found.crossed_low < 2 and found.crossed_high > 5
    assert found.median == 1.5
    assert found.by_seed == (3, 3, 3)


def test_the_bootstrap_draws_clips_together_over_seeds():
    """Seeds share the clips: with equal seeds its spread is that of clips alone, however many seeds."""
    clips = np.random.default_rng(0).normal(size=40)
    low, high = crossed(np.tile(clips, (5, 1)), resamples=4000)
    expected = 2 * 1.96 * clips.std() / 40**0.5
    assert high - low == pytest.approx(expected, rel=0.1)


def test_the_bootstrap_draws_seeds():
    low, high = crossed(np.array([[0.0] * 50, [1.0] * 50]))
    assert (low, high) == (0, 1)


def test_clips_without_a_number_do_not_count():
    values = np.array([[1.0, np.nan, np.nan], [3.0, 5.0, np.nan]])
    found = estimate(values)
    assert found.by_seed == (1, 4) and found.mean == 2.5 and found.clips == 2


def test_no_number_at_all():
    found = estimate(np.full((2, 3), np.nan))
    assert np.isnan(found.mean) and found.clips == 0 and not found.is_shown


def test_nothing_is_refused():
    with pytest.raises(ValueError, match=r"got values of shape \(0, 3\)"):
        estimate(np.zeros((0, 3)))


def test_a_difference_is_shown_only_where_both_intervals_say_so():
    steady = np.random.default_rng(1).normal(1, 0.01, size=(3, 8))
    assert estimate(steady).is_shown
    one_seed_off = np.array([[0.1] * 8, [1.0] * 8, [-0.2] * 8])
    assert not estimate(one_seed_off).is_shown
    one_clip_makes_it = np.tile([0.0] * 7 + [8.0], (3, 1)) + 1e-3 * np.arange(3)[:, None]
    found = estimate(one_clip_makes_it)
    assert found.seeds_low > 0 and found.crossed_low < 0.01
