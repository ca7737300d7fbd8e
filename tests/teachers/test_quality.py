import numpy as np

from semrepa.teachers.quality import FACE, cuts, sizes, yaws
from tests.teachers.packs import key_points

SCALE = 0.5
FRAME = (200, 300)


def boxed(x: float, y: float) -> tuple[np.ndarray, np.ndarray]:
    """Usual box and key points of an upright frontal face whose crop lies around x, y."""
    corners = (FACE - 55.5) * SCALE + (x, y)
    return np.array([[*corners[0], *corners[2]]], np.float32), key_points(x, y, SCALE)[None].astype(
        np.float32
    )


def test_a_face_inside_is_not_cut() -> None:
    assert cuts(*boxed(150, 100), *FRAME) == 0


def test_a_face_outside_is_all_cut() -> None:
    assert cuts(*boxed(-100, 100), *FRAME) == 1


def test_half_a_face_is_half_cut_at_every_border() -> None:
    middle = (FACE.mean(axis=0) - 55.5) * SCALE
    for x, y in [(0, 100), (300, 100), (150, 0), (150, 200)]:
        boxes, points = boxed(*(np.array([x, y]) - np.where([x in (0, 300), y in (0, 200)], middle, 0)))
        np.testing.assert_allclose(cuts(boxes, points, *FRAME), 0.5, atol=0.01)


def test_boxes_that_end_at_the_border_hide_nothing() -> None:
    boxes, points = boxed(0 - (FACE[:, 0].mean() - 55.5) * SCALE, 100)
    whole = cuts(boxes, points, *FRAME)
    clipped = np.clip(boxes, 0, None)
    np.testing.assert_allclose(cuts(clipped, points, *FRAME), whole, atol=0.01)


def test_key_points_inside_do_not_hide_a_box_outside() -> None:
    boxes, points = boxed(150, 100)
    np.testing.assert_allclose(
        cuts(boxes - np.array([300, 0, 0, 0], np.float32), points, *FRAME)[0], 1 - 172 / 344, atol=0.1
    )


def test_turned_upside_down_nothing_changes() -> None:
    points = key_points(150, 100, SCALE, angle=np.pi)[None].astype(np.float32)
    assert cuts(np.array([[140, 90, 160, 110]], np.float32), points, *FRAME) == 0


def test_an_empty_box_is_no_view() -> None:
    _, points = boxed(150, 100)
    assert cuts(np.array([[10, 10, 10, 20]], np.float32), points, *FRAME) == 1


def test_yaw_has_a_sign_and_knows_no_roll_or_scale() -> None:
    for scale, angle in [(1.0, 0.0), (0.4, 0.6), (2.0, -1.2)]:
        points = np.stack([key_points(0, 0, scale, angle, yaw) for yaw in (-0.5, 0.0, 0.25)])
        np.testing.assert_allclose(yaws(points), [-0.5, 0, 0.25], atol=0.005)


def test_eyes_that_coincide_are_turned_infinitely_far() -> None:
    points = key_points(0, 0)[None].copy()
    points[0, 1] = points[0, 0]
    assert np.isinf(yaws(points)).all()


def test_size_is_the_shorter_side() -> None:
    assert sizes(np.array([[0, 0, 3, 8], [0, 0, 9, 4]], np.float32)).tolist() == [3, 4]
    assert sizes(np.zeros((0, 4), np.float32)).shape == (0,)
