"""Depth errors against numbers worked out by hand."""

from inspect import unwrap

import pytest
import torch

from semrepa.depth import normalize
from semrepa.metrics.depth import (
    FAR,
    abs_rel,
    against_teacher,
    consistency,
    delta,
    depth_mae,
    fitted,
    flicker,
)


def test_a_tenth_too_far_is_an_abs_rel_of_a_tenth():
    depth = torch.rand(2, 3, 4, 5) + 1
    torch.testing.assert_close(abs_rel(depth * 1.1, depth), torch.full((2,), 0.1))
    torch.testing.assert_close(delta(depth * 1.2, depth), torch.ones(2))
    torch.testing.assert_close(delta(depth / 1.3, depth), torch.zeros(2))
    torch.testing.assert_close(depth_mae(depth + 0.2, depth), torch.full((2,), 0.2))


def test_pixels_without_truth_do_not_count():
    depth = torch.tensor([2.0, 2.0, 0.0, torch.inf]).view(1, 1, 1, 4)
    pred = torch.tensor([2.0, 3.0, 9.0, 9.0]).view(1, 1, 1, 4)
    assert abs_rel(pred, depth).item() == pytest.approx(0.25)
    assert delta(pred, depth).item() == pytest.approx(0.5)
    assert abs_rel(pred, depth * torch.nan).isnan().all()


def test_negative_predictions_are_wrong():
    depth = torch.ones(1, 1, 2, 2)
    assert delta(-depth, depth).item() == 0


def test_flicker_ignores_a_constant_error():
    depth = torch.rand(1, 4, 3, 3)
    torch.testing.assert_close(flicker(depth + 0.3, depth), torch.zeros(1), atol=1e-6, rtol=0)
    shaking = depth + torch.tensor([0.0, 0.1, 0.0, 0.1]).view(1, 4, 1, 1)
    torch.testing.assert_close(flicker(shaking, depth), torch.full((1,), 0.1))


@pytest.mark.parametrize("kind", ["metric", "disparity"])
def test_a_perfect_answer_to_a_teacher(kind):
    depth = torch.rand(2, 3, 4, 5) + 0.5
    scores = against_teacher(normalize(depth, kind=kind), depth, kind=kind)
    for name, best in (("mean_error", 0), ("abs_rel", 0), ("flicker", 0), ("delta_1.25", 1)):
        torch.testing.assert_close(scores[name], torch.full((2,), float(best)), atol=1e-5, rtol=0)


def test_a_teacher_without_a_scale_is_not_asked_about_what_is_far():
    disparity = torch.tensor([0.0, 2 * FAR, 2.0, 1.0]).view(1, 1, 2, 2)
    far_wrong = torch.tensor([0.04, FAR, 1.0, 0.5]).view(1, 1, 2, 2)
    scores = against_teacher(far_wrong, disparity, kind="disparity")
    assert scores["abs_rel"].item() == pytest.approx(0, abs=1e-6)
    assert scores["mean_error"].item() == pytest.approx(0.01)
    near_wrong = torch.tensor([0.0, FAR, 1.0, 0.75]).view(1, 1, 2, 2)
    scores = against_teacher(near_wrong, disparity, kind="disparity")
    assert scores["abs_rel"].item() == pytest.approx(0.5 / 2) and scores["delta_1.25"].item() == 0.5


def test_shapes_must_match():
    with pytest.raises(ValueError, match=r"\(1, 1, 2, 2\)"):
        unwrap(abs_rel)(torch.ones(1, 1, 2, 2), torch.ones(1, 1, 2, 3))


@pytest.mark.parametrize("kind", ["metric", "disparity"])
def test_scale_and_shift_do_not_count_between_two_answers_of_a_teacher(kind):
    truth = torch.rand(2, 4, 6, 7) + 0.5
    other = torch.stack([3 * truth[0] + 1, 0.2 * truth[1]])
    scores = consistency(other, truth, kind=kind)
    for name, best in (("abs_rel", 0), ("delta_1.25", 1), ("flicker", 0)):
        torch.testing.assert_close(scores[name], torch.full((2,), float(best)), atol=1e-5, rtol=0)
    broken = consistency(torch.rand(2, 4, 6, 7), truth, kind=kind)
    assert (broken["abs_rel"] > 0.05).all() and (broken["flicker"] > 0.05).all()


def test_the_given_frame_does_not_count_in_consistency():
    truth = torch.rand(1, 3, 5, 5) + 0.5
    other = truth.clone()
    other[:, 0] = 99
    assert consistency(other, truth, kind="metric")["abs_rel"].item() == pytest.approx(0, abs=1e-6)
    with pytest.raises(ValueError, match="at least 2"):
        consistency(truth[:, :1], truth[:, :1], kind="metric")
    with pytest.raises(ValueError, match=r"\(1, 3, 5, 5\) and depth \(1, 2, 5, 5\)"):
        unwrap(consistency)(truth, truth[:, :2], kind="metric")


def test_far_pixels_of_a_disparity_teacher_do_not_count_in_consistency():
    truth = torch.tensor([0.0, 1.0, 2.0, 3.0]).expand(1, 3, 1, 4).contiguous()
    other = truth.clone()
    other[..., 0] = 2.5
    assert consistency(other, truth, kind="disparity")["abs_rel"].item() == pytest.approx(0, abs=1e-6)
    assert consistency(other, truth + 0.5, kind="metric")["abs_rel"].item() > 0.1


def test_least_squares_fit_of_a_flat_answer_is_the_mean():
    depth = torch.tensor([1.0, 2.0, 3.0, torch.inf]).view(1, 1, 2, 2)
    fit = fitted(torch.full_like(depth, 7.0), depth)
    torch.testing.assert_close(fit, torch.full_like(depth, 2.0))
