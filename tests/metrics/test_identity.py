"""ID score: which frames count, and what a lost face costs."""

import pytest
import torch

from semrepa.metrics.identity import detection_rate, id_consecutive, id_gt_frame, id_ref, id_scores


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
