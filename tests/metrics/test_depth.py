"""Depth errors against numbers worked out by hand."""

from inspect import unwrap

import pytest
import torch

from semrepa.metrics.depth import abs_rel, delta, depth_mae, flicker


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


def test_shapes_must_match():
    with pytest.raises(ValueError, match=r"\(1, 1, 2, 2\)"):
        unwrap(abs_rel)(torch.ones(1, 1, 2, 2), torch.ones(1, 1, 2, 3))
