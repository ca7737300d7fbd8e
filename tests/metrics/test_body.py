"""Bones: rigid ones score 0, however the body moves."""

from inspect import unwrap

import pytest
import torch

from semrepa.metrics.body import COCO_LIMBS, KeyPointFinder, bone_length_variation
from semrepa.provenance import Provenance

BONES = ((0, 1), (1, 2))


def moving(dims: int = 3) -> torch.Tensor:
    """Three joints of a body that turns and walks, (5, 3, dims)."""
    angle = torch.linspace(0, 2, 5)
    x = torch.stack([torch.zeros(5), angle.cos(), angle.cos() + angle.sin()], dim=1)
    y = torch.stack([torch.zeros(5), angle.sin(), angle.sin() - angle.cos()], dim=1)
    flat = torch.stack([x, y], dim=-1) + angle[:, None, None]
    return torch.cat([flat, angle[:, None, None].expand(5, 3, 1)], dim=-1)[..., :dims]


@pytest.mark.parametrize("dims", [2, 3])
def test_rigid_bones_score_zero(dims):
    torch.testing.assert_close(bone_length_variation(moving(dims), BONES), torch.zeros(2), atol=1e-6, rtol=0)


def test_one_that_stretches_scores_its_relative_spread():
    lengths = torch.tensor([1.0, 2.0, 3.0])
    points = torch.zeros(3, 3, 2)
    points[:, 1, 0], points[:, 2, 0] = lengths, lengths + 5
    found = bone_length_variation(points, BONES)
    torch.testing.assert_close(found, torch.tensor([(2 / 3) ** 0.5 / 2, 0.0]))
    torch.testing.assert_close(found, bone_length_variation(10 * points, BONES))


def test_hidden_joints_do_not_count_and_too_few_give_nothing():
    points = moving()
    points[2, 2] = 100
    seen = torch.ones(5, 3, dtype=torch.bool)
    seen[2, 2] = False
    torch.testing.assert_close(
        bone_length_variation(points, BONES, seen=seen), torch.zeros(2), atol=1e-6, rtol=0
    )
    points[1:4, 2] = torch.nan
    found = bone_length_variation(points, BONES)
    assert found[0].item() == pytest.approx(0, abs=1e-6) and found[1].isnan()


def test_bones_must_name_joints():
    for bones in ((), ((0, 3),), ((-1, 0),)):
        with pytest.raises(ValueError, match="pairs of numbers from 0 to 2"):
            unwrap(bone_length_variation)(moving(), bones)


def test_whoever_finds_joints_can_be_told():
    class Finder:
        provenance = Provenance(name="finder", source="a test", kind="random")
        bones = COCO_LIMBS

        def __call__(self, frames):
            return torch.zeros(len(frames), 17, 2), torch.ones(len(frames), 17, dtype=torch.bool)

    assert isinstance(Finder(), KeyPointFinder)
    points, seen = Finder()(torch.zeros(4, 3, 8, 8, dtype=torch.uint8))
    assert bone_length_variation(points, Finder.bones, seen=seen).shape == (len(COCO_LIMBS),)
