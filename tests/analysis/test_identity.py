"""Distances, verification and maps against numbers worked out by hand."""

import numpy as np
import pytest
import torch

from semrepa.analysis import (
    id_distances,
    pca,
    verification,
    verification_pairs,
    video_distances,
)


def directions(*degrees: list[float]) -> torch.Tensor:
    """Videos of unit vectors in the plane, (v, n, 2)."""
    angle = torch.deg2rad(torch.tensor(degrees, dtype=torch.float32))
    return torch.stack([angle.cos(), angle.sin()], dim=-1)


def test_distances_within_and_between_videos():
    embeds = directions([0, 60], [90, 90])
    table = video_distances(embeds, torch.ones(2, 2, dtype=torch.bool))
    between = 1 - (np.cos(np.pi / 2) + np.cos(np.pi / 6)) / 2
    np.testing.assert_allclose(table, [[0.5, between], [between, 0]], atol=1e-6)


def test_a_video_with_one_face_has_no_distance_within():
    mask = torch.tensor([[True, False], [True, True]])
    table = video_distances(directions([0, 45], [90, 90]), mask)
    assert np.isnan(table[0, 0])
    assert table[0, 1] == pytest.approx(1)


@pytest.mark.parametrize(("distance", "expected"), [("cosine", 1), ("l2", 2**0.5), ("l1", 1.5)])
def test_named_distances(distance, expected):
    embeds = torch.tensor([[[1.0, 0.0]] * 2, [[0.0, 2.0]] * 2])
    table = video_distances(embeds, torch.ones(2, 2, dtype=torch.bool), distance=distance)
    assert table[0, 1] == pytest.approx(expected)


def test_gap_compares_people_and_not_videos():
    embeds = directions([0, 0], [90, 90], [0, 0])
    everyone = torch.ones(3, 2, dtype=torch.bool)
    found = id_distances(embeds, everyone, ["ann", "bob", "ann"])
    np.testing.assert_allclose(found.inter, [1, 1], atol=1e-6)  # ann's two videos are not compared
    np.testing.assert_allclose(found.intra, [0, 0, 0], atol=1e-6)
    assert found.gap == pytest.approx(1)


def test_gap_interval_holds_the_gap_and_narrows_with_more_videos():
    generator = torch.Generator().manual_seed(0)

    def interval(people: int) -> tuple[float, float]:
        centres = torch.randn(people, 1, 8, generator=generator)
        embeds = centres + 0.5 * torch.randn(people, 4, 8, generator=generator)
        found = id_distances(embeds, torch.ones(people, 4, dtype=torch.bool), range(people))
        assert found.gap_low < found.gap < found.gap_high
        return found.gap_low, found.gap_high

    assert np.diff(interval(60)) < np.diff(interval(8))


def test_one_person_has_no_gap():
    with pytest.raises(ValueError, match="fewer than two people"):
        id_distances(directions([0, 1], [2, 3]), torch.ones(2, 2, dtype=torch.bool), [1, 1])


def test_perfect_blind_and_reversed_scores():
    same = np.array([True, True, False, False])
    assert verification(np.array([4, 3, 2, 1]), same).auc == 1
    assert verification(np.array([4, 3, 2, 1]), same).eer == 0
    assert verification(np.zeros(4), same).auc == 0.5
    assert verification(np.zeros(4), same).eer == 0.5
    assert verification(np.array([1, 2, 3, 4]), same).auc == 0
    assert verification(np.array([1, 2, 3, 4]), same).eer == 1


def test_area_is_the_share_of_rightly_ordered_pairs():
    generator = np.random.default_rng(0)
    same = np.repeat([True, False], [30, 50])
    scores = np.round(generator.normal(size=80) + same, 1)  # rounding makes ties
    wins = scores[same][:, None] - scores[~same][None]
    expected = ((wins > 0) + 0.5 * (wins == 0)).mean()
    assert verification(scores, same).auc == pytest.approx(expected)


def test_equal_error_of_two_gaussians():
    generator = np.random.default_rng(0)
    same = np.repeat([True, False], 20000)
    scores = generator.normal(size=40000) + 2 * same
    assert verification(scores, same).eer == pytest.approx(0.1587, abs=0.01)  # both tails beyond one sigma


def test_verification_needs_both_kinds():
    with pytest.raises(ValueError, match="both kinds"):
        verification(np.ones(3), np.ones(3, dtype=bool))


def test_pairs_skip_missing_faces_and_know_who_is_who():
    embeds = directions([0, 0], [0, 90], [90, 90])
    mask = torch.tensor([[True, True], [True, False], [True, True]])
    scores, same = verification_pairs(embeds, mask, ["ann", "ann", "bob"])
    assert len(scores) == 10
    np.testing.assert_allclose(scores[same], [1, 1, 1, 1], atol=1e-6)
    np.testing.assert_allclose(scores[~same], np.zeros(6), atol=1e-6)


def test_pairs_of_one_person_can_be_taken_from_one_video_or_from_two():
    embeds = directions([0, 0], [60, 60], [90, 90])
    everyone = torch.ones(3, 2, dtype=torch.bool)
    people = ["ann", "ann", "bob"]
    for kind, likeness in (("one video", [1, 1, 1]), ("two videos", [0.5] * 4)):
        scores, same = verification_pairs(embeds, everyone, people, same=kind)
        np.testing.assert_allclose(scores[same], likeness, atol=1e-6)
        assert (~same).sum() == 8


def test_pca_finds_the_long_axis_with_a_fixed_sign():
    along = np.linspace(-1, 1, 11)
    points = along[:, None] * np.array([[3.0, -4.0]]) + 5
    coordinates, share = pca(points)
    np.testing.assert_allclose(coordinates[:, 0], -5 * along, atol=1e-9)
    np.testing.assert_allclose(share, [1, 0], atol=1e-12)
    np.testing.assert_allclose(pca(points[::-1].copy())[0][::-1], coordinates, atol=1e-9)
