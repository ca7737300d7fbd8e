"""ID score: which frames count, and what a lost face costs."""

import pytest
import torch

from semrepa.metrics.identity import (
    detection_rate,
    facesim_arc,
    id_centroid,
    id_consecutive,
    id_gt_frame,
    id_pairwise,
    id_ref,
    id_scores,
    id_variants,
    id_vbench2_like,
)


def at(*degrees: float) -> torch.Tensor:
    """Unit vectors in the plane, one clip (1, n, 2); missing faces are NaN degrees and become zeros."""
    angle = torch.deg2rad(torch.tensor(degrees))
    return torch.stack([angle.cos(), angle.sin()], dim=-1).nan_to_num(0)[None]


GONE = float("nan")
ALL = torch.ones(1, 4, dtype=torch.bool)


def test_id_ref_averages_cosines_without_the_first_frame():
    score = id_ref(at(90, 60, 60, 60), ALL, at(0)[:, 0])
    assert score.item() == pytest.approx(0.5)


def test_missing_faces_are_skipped_or_count_as_zero():
    mask = torch.tensor([[True, True, False, False]])
    embeds, reference = at(0, 60, GONE, GONE), at(0)[:, 0]
    assert id_ref(embeds, mask, reference).item() == pytest.approx(0.5)
    assert id_ref(embeds, mask, reference, missing="zero").item() == pytest.approx(0.5 / 3)
    with pytest.raises(Exception, match="missing|zero"):
        id_ref(embeds, mask, reference, missing="drop")


def test_id_gt_frame_follows_the_true_frames_and_only_those_with_a_face():
    gt_mask = torch.tensor([[True, True, True, False]])
    mask = torch.tensor([[True, True, False, True]])
    embeds, gt = at(0, 70, GONE, 5), at(0, 10, 20, GONE)
    assert id_gt_frame(embeds, mask, gt, gt_mask).item() == pytest.approx(0.5)
    assert id_gt_frame(embeds, mask, gt, gt_mask, missing="zero").item() == pytest.approx(0.25)
    assert detection_rate(mask, gt_mask).item() == pytest.approx(0.5)
    assert detection_rate(mask).item() == pytest.approx(2 / 3)


def test_id_consecutive_needs_two_neighbours():
    assert id_consecutive(at(0, 60, 120, 120), ALL).item() == pytest.approx(2 / 3)
    lonely = torch.tensor([[True, False, True, False]])
    assert id_consecutive(at(0, GONE, 0, GONE), lonely).isnan().all()


def test_a_clip_without_a_face_scores_nan_and_the_rest_stays():
    embeds = torch.cat([at(0, 0, 0, 0), at(GONE, GONE, GONE, GONE)])
    mask = torch.cat([ALL, ~ALL])
    scores = id_scores(embeds, mask, embeds, mask, missing="zero")
    assert set(scores) == {"id_ref", "id_gt_frame", "id_consecutive", "detection_rate"}
    for score in scores.values():
        assert score[0].item() == pytest.approx(1)
        assert score[1].isnan()


def test_the_reference_is_the_first_face_of_the_truth():
    gt_mask = torch.tensor([[False, True, True, True]])
    scores = id_scores(at(60, 60, 60, 60), ALL, at(GONE, 0, 60, 60), gt_mask)
    assert scores["id_ref"].item() == pytest.approx(0.5)


def test_consecutive_frames_without_a_face_count_as_zero_if_asked():
    mask = torch.tensor([[True, True, False, True]])
    embeds = at(0, 60, GONE, 0)
    assert id_consecutive(embeds, mask).item() == pytest.approx(0.5)
    assert id_consecutive(embeds, mask, missing="zero").item() == pytest.approx(0.5 / 3)


def test_pairwise_takes_all_pairs_but_those_with_frame_0():
    embeds = at(45, 0, 60, 120)
    assert id_pairwise(embeds, ALL).item() == pytest.approx((0.5 - 0.5 + 0.5) / 3)
    mask = torch.tensor([[True, True, True, False]])
    assert id_pairwise(embeds, mask).item() == pytest.approx(0.5)
    assert id_pairwise(embeds, mask, missing="zero").item() == pytest.approx(0.5 / 3)
    assert id_pairwise(embeds, torch.tensor([[True, True, False, False]])).isnan().all()


def test_centroid_is_the_mean_face_of_the_found_frames():
    embeds = at(90, 0, 60, 0)
    mask = torch.tensor([[True, True, True, False]])
    assert id_centroid(embeds, mask).item() == pytest.approx(3**0.5 / 2)
    assert id_centroid(embeds, mask, missing="zero").item() == pytest.approx(3**0.5 / 3)


def test_facesim_arc_looks_at_16_frames_and_takes_nothing_below_0():
    reference = at(0)[:, 0]
    few = facesim_arc(at(0, 120, 60, 60), ALL, reference).item()
    assert few == pytest.approx((5 * 1 + 5 * 0 + 5 * 0.5 + 1 * 0.5) / 16)
    many, mask = at(120, *[0] * 48), torch.ones(1, 49, dtype=torch.bool)
    assert facesim_arc(many, mask, reference).item() == pytest.approx(15 / 16)
    assert facesim_arc(many, ~mask, reference).item() == 0


def test_vbench2_like_is_the_share_of_frames_that_show_the_first_face():
    embeds, mask = at(0, 60, 70, 10), torch.tensor([[True, True, True, False]])
    assert id_vbench2_like(embeds, mask, least=3).item() == pytest.approx(0.5)
    assert id_vbench2_like(embeds, mask).isnan().all(), "20 frames with a face are needed"
    assert id_vbench2_like(embeds, mask.roll(1, dims=1), least=2).isnan().all(), "frame 0 must show a face"


def test_every_variant_comes_with_both_policies_and_the_detection_rate():
    mask = torch.tensor([[True, True, True, False]]).repeat(2, 1)
    embeds = torch.cat([at(0, 0, 60, GONE), at(0, 90, 90, GONE)])
    truth = torch.cat([at(0, 0, 0, 0), at(GONE, GONE, GONE, GONE)])
    gt_mask = torch.tensor([[True] * 4, [False] * 4])
    found = id_variants(embeds, mask, truth, gt_mask)
    skipping = ("id_ref", "id_gt_frame", "id_consecutive", "id_pairwise", "id_centroid")
    assert set(found) == {
        *skipping,
        *(f"{name}_zero" for name in skipping),
        *("detection_rate", "facesim_arc", "id_vbench2_like"),
    }
    assert found["id_ref"][0].item() == pytest.approx(0.75)
    assert found["id_ref_zero"][0].item() == pytest.approx(0.5)
    assert found["detection_rate"][0].item() == pytest.approx(2 / 3)
    assert all(score[1].isnan() for score in found.values()), "a clip that truly shows no face"


def test_a_video_that_lost_its_face_is_no_good_score():
    found = id_variants(at(GONE, GONE, GONE, GONE), ~ALL, at(0, 0, 0, 0), ALL)
    assert found["id_ref"].isnan().all() and found["id_ref_zero"].item() == 0
    assert found["detection_rate"].item() == 0 and found["facesim_arc"].item() == 0
