"""Motion: colours of flow as torchvision has them, one radius for truth and copy, names that say how."""

from inspect import unwrap

import pytest
import torch
from torchvision.utils import flow_to_image

from semrepa.metrics.features import join
from semrepa.metrics.motion import (
    SLOWEST,
    end_point_difference,
    fast,
    motion_features,
    motion_score,
    name_of,
    paint,
)
from tests.metrics.sketches import MeanColours, Shifts


def flow_of(*vectors: tuple[float, float]) -> torch.Tensor:
    """One flow per vector, the same everywhere, (m, 2, 4, 6)."""
    return torch.tensor(vectors).float()[:, :, None, None].expand(-1, -1, 4, 6).contiguous()


def brighter(*levels: int) -> torch.Tensor:
    """A clip of flat grey frames, (1, n, 3, 16, 16)."""
    return (
        torch.tensor(levels, dtype=torch.uint8)[None, :, None, None, None]
        .expand(1, -1, 3, 16, 16)
        .contiguous()
    )


def test_colours_are_those_of_torchvision():
    flow = 5 * torch.randn(3, 2, 40, 50)
    longest = flow.square().sum(dim=1).sqrt().max().item()
    ours, theirs = paint(flow, longest).int(), flow_to_image(flow).int()
    assert (ours - theirs).abs().max() <= 1
    assert (ours != theirs).float().mean() < 1e-3
    alone = torch.stack([flow_to_image(one) for one in flow]).int()
    assert (paint(flow, None).int() - alone).abs().max() <= 1


def test_every_direction_has_the_colour_of_torchvision():
    angles = torch.linspace(-torch.pi, torch.pi, 500)
    flow = torch.stack([angles.cos(), angles.sin()])[None, :, None]
    assert (paint(flow, 1.0).int() - flow_to_image(flow).int()).abs().max() <= 1


def test_still_is_white_and_longer_than_the_radius_is_full_colour():
    assert (paint(flow_of((0, 0)), 2.0) == 255).all() and (paint(flow_of((0, 0)), None) == 255).all()
    full, longer = paint(flow_of((2, 0)), 2.0), paint(flow_of((9, 0)), 2.0)
    assert torch.equal(full, longer) and full.min() == 0
    assert paint(flow_of((1, 0)), 2.0).min() > 100


def test_fixed_radius_shows_speed_and_own_radius_hides_it():
    slow, quick = flow_of((1, 0)), flow_of((4, 0))
    assert torch.equal(paint(slow, None), paint(quick, None))
    assert not torch.equal(paint(slow, 4.0), paint(quick, 4.0))


def test_fast_is_what_99_of_100_pixels_do_not_exceed():
    lengths = torch.arange(1, 1001).float().view(1, 1, 10, 100)
    assert fast(torch.cat([lengths, 0 * lengths], dim=1)) == 990
    assert fast(flow_of((0.01, 0))) == SLOWEST


def test_nonsense_is_refused():
    with pytest.raises(ValueError, match="not finite"):
        paint(flow_of((torch.nan, 0)), 1.0)
    for radius in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="positive length"):
            paint(flow_of((1, 0)), radius)
    with pytest.raises(ValueError, match="equal shapes"):
        unwrap(end_point_difference)(flow_of((1, 0)), flow_of((1, 0))[..., :3])
    frames = brighter(0, 1, 2)
    with pytest.raises(ValueError, match=r"\(1, 3, 3, 16, 16\) and truth \(1, 2, 3, 16, 16\)"):
        unwrap(motion_features)(frames, frames[:, :2], Shifts(), MeanColours(), ["a"])
    with pytest.raises(ValueError, match="finite float"):
        motion_features(frames / 255 * torch.nan, frames, Shifts(), MeanColours(), ["a"])


def test_end_point_difference_is_a_length():
    found = end_point_difference(flow_of((3, 0), (1, 1)), flow_of((0, 4), (1, 1)))
    torch.testing.assert_close(found, torch.tensor([5.0, 0.0]))


def test_both_videos_of_a_clip_are_painted_by_the_true_one():
    truth, copy = brighter(0, 4, 8, 12), brighter(0, 2, 4, 6)
    scored, true = motion_features(copy, truth, Shifts(), MeanColours(), ["a"])
    assert scored.values.shape == (3, 12)
    torch.testing.assert_close(true.values, MeanColours()(paint(flow_of(*[(4, 0)] * 3), 4.0)))
    torch.testing.assert_close(scored.values, MeanColours()(paint(flow_of(*[(2, 0)] * 3), 4.0)))
    hidden, shown = motion_features(copy, truth, Shifts(), MeanColours(), ["a"], painting="frame")
    torch.testing.assert_close(hidden.values, shown.values)


def test_score_is_zero_for_true_motion_and_its_name_says_how_it_was_made():
    truth = torch.cat([brighter(0, 4, 8, 20), brighter(9, 4, 3, 2)])
    copy = torch.cat([brighter(0, 1, 2, 3), brighter(9, 9, 9, 9)])
    same = motion_score(
        *motion_features(truth, truth, Shifts(), MeanColours(), ["a", "b"]), name_of(Shifts())
    )
    assert same.value == pytest.approx(0, abs=1e-6)
    parts = [
        motion_features(copy[k : k + 1], truth[k : k + 1], Shifts(), MeanColours(), [str(k)]) for k in (0, 1)
    ]
    score = motion_score(*(join(group) for group in zip(*parts, strict=True)), name_of(Shifts()))
    assert score.value > 0.01 and score.samples == (6, 6)
    assert str(score).startswith("motion_shifts ") and "random weights" in str(score)
    assert name_of(Shifts(), "frame") == "motion_shifts_per_frame"


def test_paintings_are_never_mixed():
    truth = brighter(0, 4, 8, 20)
    fixed, _ = motion_features(truth, truth, Shifts(), MeanColours(), ["a"])
    own, _ = motion_features(truth, truth, Shifts(), MeanColours(), ["a"], painting="frame")
    with pytest.raises(ValueError, match="expected one network for both"):
        motion_score(fixed, own, "motion")
    weak, _ = motion_features(truth, truth, Shifts(), MeanColours("real"), ["a"])
    assert weak.provenance.kind == "random", "the weaker of flow and network"
