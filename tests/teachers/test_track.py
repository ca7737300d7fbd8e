import numpy as np

from semrepa.teachers.track import Faces, follow, overlaps

ANN, BOB = np.eye(2, dtype=np.float32)


def faces(*found: tuple[float, float, np.ndarray]) -> Faces:
    """Faces given by left edge, side and embedding."""
    boxes = np.array([(x, 0, x + side, side) for x, side, _ in found], np.float32).reshape(-1, 4)
    embeds = np.array([person for *_, person in found], np.float32).reshape(-1, 2)
    return Faces(boxes, np.zeros((len(found), 5, 2), np.float32), np.ones(len(found), np.float32), embeds)


def test_overlap_of_boxes() -> None:
    boxes = np.array([[0, 0, 2, 2], [1, 0, 3, 2], [5, 5, 6, 6]], np.float32)
    np.testing.assert_allclose(overlaps(boxes, boxes[0]), [1, 1 / 3, 0], atol=1e-6)


def test_starts_with_the_largest_face_of_the_first_frame_that_shows_one() -> None:
    assert follow([faces(), faces((0, 5, BOB), (50, 20, ANN)), faces((50, 20, ANN), (0, 30, BOB))]) == [
        None,
        1,
        0,
    ]


def test_follows_by_place_when_the_look_changes() -> None:
    assert follow([faces((0, 20, ANN)), faces((3, 20, BOB))]) == [0, 0]


def test_finds_the_person_again_by_likeness_and_refuses_others() -> None:
    clip = [faces((0, 20, ANN)), faces((80, 20, BOB)), faces((70, 20, BOB), (120, 20, ANN))]
    assert follow(clip) == [0, None, 1]


def test_likeness_decides_between_two_faces_in_place() -> None:
    assert follow([faces((0, 20, ANN)), faces((1, 20, BOB), (4, 20, ANN))]) == [0, 1]


def test_nobody() -> None:
    assert follow([faces(), faces()]) == [None, None]
