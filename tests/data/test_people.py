"""The human filter on boxes that are made up."""

import torch

from semrepa.data.people import PersonFilter


def drawn(*boxes: tuple[float, ...]):
    """A detector that sees these boxes in white frames only."""
    return lambda frame: torch.tensor(boxes if frame.float().mean() > 128 else []).reshape(-1, 5)


WHITE = torch.full((6, 3, 100, 200), 255, dtype=torch.uint8)
LATE = torch.cat([torch.zeros_like(WHITE[:4]), WHITE[:2]])


def test_sure_and_large_is_kept() -> None:
    sighting = PersonFilter(detector=drawn((0, 0, 10, 10, 0.99), (20, 0, 60, 50, 0.7)))(WHITE)
    assert sighting.present and sighting.frame == 0
    assert sighting.box == (20, 0, 60, 50) and abs(sighting.area - 0.1) < 1e-9


def test_unsure_small_or_nobody_is_not() -> None:
    unsure = PersonFilter(detector=drawn((0, 0, 100, 100, 0.4)))(WHITE)
    small = PersonFilter(detector=drawn((0, 0, 10, 10, 0.9)))(WHITE)
    nobody = PersonFilter(detector=drawn())(WHITE)
    assert [unsure.present, small.present, nobody.present] == [False, False, False]
    assert (round(unsure.score, 3), small.area, nobody.box) == (0.4, 0.005, None)


def test_only_the_part_inside_the_frame_counts() -> None:
    corner = PersonFilter(detector=drawn((-500, -500, 5, 5, 0.9)))(WHITE)
    assert (corner.area, corner.box) == (25 / 20000, (0, 0, 5, 5))
    assert PersonFilter(detector=drawn((190, 90, 999, 999, 0.9)))(WHITE).box == (190, 90, 200, 100)
    assert PersonFilter(detector=drawn((300, 0, 400, 50, 0.9)))(WHITE).area == 0


def test_more_looks_find_who_comes_later() -> None:
    detector = drawn((0, 0, 100, 100, 0.9))
    assert not PersonFilter(detector=detector)(LATE).present
    assert PersonFilter(detector=detector, looks=3)(LATE).frame == 4
    assert PersonFilter(detector=detector, looks=99)(LATE).frame == 4


def test_a_box_is_given_in_pixels_of_the_frame_and_the_area_of_the_picture() -> None:
    half = PersonFilter(detector=drawn((20, 0, 60, 50, 0.7)))(WHITE, (0, 30, 50, 50))
    assert half.box == (35, 0, 45, 25) and abs(half.area - 0.1) < 1e-9
    beyond = PersonFilter(detector=drawn((190, 90, 999, 999, 0.9)))(WHITE, (0, 30, 50, 50))
    assert beyond.box == (77.5, 45, 80, 50)
    nobody = PersonFilter(detector=drawn())(WHITE, (0, 30, 50, 50))
    assert (nobody.present, nobody.box) == (False, None)
