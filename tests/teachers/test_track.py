import numpy as np
import torch

from semrepa.teachers.track import STALE, Faces, as_track, follow, overlaps

ANN, BOB = np.eye(2, 512, dtype=np.float32)
BAD = -1
"""Marks a view that is not good enough."""


def faces(*found: tuple[float, float, np.ndarray] | tuple[float, float, np.ndarray, int]) -> Faces:
    """Faces given by left edge, side and embedding."""
    k = len(found)
    boxes = np.array([(x, 0, x + side, side) for x, side, *_ in found], np.float32).reshape(-1, 4)
    return Faces(
        boxes=boxes,
        points=np.zeros((k, 5, 2), np.float32),
        scores=np.ones(k, np.float32),
        embeds=np.array([person for _, _, person, *_ in found], np.float32).reshape(-1, 512),
        sizes=np.array([side for _, side, *_ in found], np.float32),
        cuts=np.full(k, 0.1, np.float32),
        yaws=np.full(k, 0.2, np.float32),
        usable=np.array([BAD not in rest for _, _, _, *rest in found], bool),
    )


def test_overlap_of_boxes() -> None:
    boxes = np.array([[0, 0, 2, 2], [1, 0, 3, 2], [5, 5, 6, 6]], np.float32)
    np.testing.assert_allclose(overlaps(boxes, boxes[0]), [1, 1 / 3, 0], atol=1e-6)


def test_starts_with_the_largest_face_of_the_first_frame_that_shows_one() -> None:
    assert follow([faces(), faces((0, 5, BOB), (50, 20, ANN)), faces((50, 20, ANN), (0, 30, BOB))]) == [
        None,
        1,
        0,
    ]


def test_starts_with_a_good_view_and_looks_back() -> None:
    clip = [
        faces((0, 5, BOB, BAD), (52, 20, ANN, BAD)),
        faces((0, 90, BOB, BAD), (50, 20, ANN)),
        faces((48, 20, ANN)),
    ]
    assert follow(clip) == [1, 1, 0]


def test_looks_back_from_where_the_good_view_was() -> None:
    clip = [faces((4, 20, BOB, BAD)), faces((0, 20, ANN)), faces((12, 20, ANN)), faces((24, 20, ANN))]
    assert follow(clip) == [0, 0, 0, 0]
    assert follow([faces((24, 20, BOB, BAD)), *clip[1:]])[0] is None


def test_without_a_good_view_the_largest_of_the_first_frame_is_followed() -> None:
    assert follow([faces((0, 5, BOB, BAD), (50, 20, ANN, BAD)), faces((50, 20, ANN, BAD))]) == [1, 0]


def test_bad_views_teach_nothing() -> None:
    clip = [
        faces((0, 20, ANN)),
        *(faces((0, 20, BOB, BAD)) for _ in range(9)),
        faces((80, 20, BOB), (160, 20, ANN)),
    ]
    assert follow(clip)[-1] == 1
    good = [
        faces((0, 20, ANN)),
        *(faces((0, 20, BOB)) for _ in range(9)),
        faces((80, 20, BOB), (160, 20, ANN)),
    ]
    assert follow(good)[-1] == 0


def test_follows_by_place_when_the_look_changes() -> None:
    assert follow([faces((0, 20, ANN)), faces((3, 20, BOB))]) == [0, 0]


def test_an_old_place_says_nothing() -> None:
    gap = [faces()] * STALE
    assert follow([faces((0, 20, ANN)), *gap[1:], faces((3, 20, BOB))])[-1] == 0
    assert follow([faces((0, 20, ANN)), *gap, faces((3, 20, BOB))])[-1] is None
    assert follow([faces((0, 20, ANN)), *gap, faces((3, 20, BOB)), faces((9, 20, ANN))])[-1] == 0


def test_finds_the_person_again_by_likeness_and_refuses_others() -> None:
    clip = [faces((0, 20, ANN)), faces((80, 20, BOB)), faces((70, 20, BOB), (120, 20, ANN))]
    assert follow(clip) == [0, None, 1]


def test_likeness_decides_between_two_faces_in_place() -> None:
    assert follow([faces((0, 20, ANN)), faces((1, 20, BOB), (4, 20, ANN))]) == [0, 1]


def test_nobody() -> None:
    assert follow([faces(), faces()]) == [None, None]


def test_a_masked_view_keeps_its_quality_but_no_embedding() -> None:
    track = as_track([faces((0, 20, ANN)), faces((2, 20, ANN, BAD)), faces()], [0, 0, None])
    assert track.mask.tolist() == [True, False, False]
    assert track.embeds[0].tolist() == ANN.tolist() and not track.embeds[1:].any()
    assert track.scores.tolist() == [1, 1, 0]
    torch.testing.assert_close(track.sizes, torch.tensor([20, 20, torch.nan]), equal_nan=True)
    torch.testing.assert_close(track.cuts, torch.tensor([0.1, 0.1, torch.nan]), equal_nan=True)
    torch.testing.assert_close(track.yaws, torch.tensor([0.2, 0.2, torch.nan]), equal_nan=True)
    assert track.boxes[1].tolist() == [2, 0, 22, 20]
