import warnings

import cv2
import numpy as np
import pytest
import torch
from insightface.utils import face_align

from semrepa.teachers.align import CROP, TEMPLATE, aligned_crop, face_crops, similarity


def test_similarity_undoes_a_known_turn_scale_and_shift() -> None:
    angle, scale, shift = 0.4, 1.7, np.array([5.0, -3.0])
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points = (TEMPLATE - shift) @ np.linalg.inv(turn).T
    np.testing.assert_allclose(similarity(points), np.column_stack([turn, shift]), atol=1e-4)


def test_crop_equals_insightface() -> None:
    rng = np.random.default_rng(0)
    image = cv2.resize(rng.integers(0, 256, (20, 30, 3), dtype=np.uint8), (240, 160))
    points = (TEMPLATE * 0.6 + (60, 20) + rng.normal(0, 2, (5, 2))).astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = face_align.norm_crop(image, points)
    ours = aligned_crop(image, points)
    assert ours.shape == (CROP, CROP, 3)
    assert np.abs(ours.astype(int) - theirs).max() <= 1


def test_points_that_fix_no_turn_are_refused() -> None:
    with pytest.raises(ValueError, match="do not all coincide"):
        similarity(np.ones((5, 2), np.float32))
    with pytest.raises(ValueError, match=r"got points of shape \(4, 2\)"):
        similarity(TEMPLATE[:4])


def test_crops_of_a_clip_are_black_without_a_face():
    frames = torch.randint(0, 256, (2, 3, 150, 150), dtype=torch.uint8)
    points = torch.full((2, 5, 2), torch.nan)
    points[1] = torch.from_numpy(TEMPLATE) + 20
    crops = face_crops(frames, points)
    assert not crops[0].any()
    assert torch.equal(crops[1], frames[1, :, 20:132, 20:132])
