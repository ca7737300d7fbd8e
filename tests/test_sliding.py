"""The sliding window: exact length, as few windows as it takes, straight blending, known frames handed on."""

import math
from itertools import pairwise

import pytest
import torch

from semrepa.sliding import Window, fade_in, slide, widest_overlap, windows


def constant(value, size=(4, 6)):
    return lambda known, window: torch.full((window.length, 3, *size), value, dtype=torch.uint8)


def counting(longest, calls=None):
    """Frames whose value is their place in the video; always a whole window, as a real model makes."""

    def make(known, window):
        if calls is not None:
            calls.append((known, window))
        places = torch.arange(window.start, window.start + longest, dtype=torch.uint8)
        return places.view(-1, 1, 1, 1).expand(-1, 3, 4, 6)

    return make


FIRST = torch.zeros(3, 4, 6, dtype=torch.uint8)


def test_every_length_is_exact_and_covered_by_the_fewest_windows():
    for longest in (1, 2, 5, 16):
        for overlap in range(longest):
            for n in range(1, 60):
                found = windows(n, longest, overlap)
                assert found[0].start == 0 and found[-1].stop == n
                assert all(window.length <= longest for window in found)
                shared = [before.stop - after.start for before, after in pairwise(found)]
                assert shared == [overlap] * len(shared)
                fewest = 1 if n <= longest else math.ceil((n - overlap) / (longest - overlap))
                assert len(found) == fewest
                assert len(found) == 1 or found[-1].length > overlap, "a window that adds nothing"


@pytest.mark.parametrize(("longest", "overlap"), [(25, 1), (16, 5), (16, 0), (14, 13), (8, 4), (1, 0)])
def test_length_is_that_asked_for_and_frames_are_in_their_places(longest, overlap):
    for n in (1, 7, longest, longest + 1, 49):
        video = slide(counting(longest), FIRST, n, longest=longest, overlap=overlap)
        assert video[:, 0, 0, 0].tolist() == list(range(n))
        assert video.dtype == torch.uint8 and video.shape == (n, 3, 4, 6)


def test_constant_video_stays_constant_to_the_last_bit():
    for value in (0, 1, 127, 255):
        video = slide(constant(value), FIRST, 49, longest=16, overlap=5)
        assert (video == value).all()


def test_weights_of_an_overlap_sum_to_one_and_rise_in_a_straight_line():
    for overlap in range(6):
        share = fade_in(overlap)
        assert len(share) == overlap
        assert torch.allclose(share + share.flip(0), torch.ones(overlap))
        assert ((share > 0) & (share < 1)).all()
        if overlap > 1:
            assert torch.allclose(share.diff(), torch.full((overlap - 1,), 1 / (overlap + 1)))


def test_one_window_fades_into_the_next():
    def make(known, window):
        return torch.full((window.length, 3, 4, 6), 0 if window.start == 0 else 100, dtype=torch.uint8)

    video = slide(make, FIRST, 9, longest=6, overlap=3)
    assert video[:, 0, 0, 0].tolist() == [0, 0, 0, 25, 50, 75, 100, 100, 100]


def test_the_first_frame_is_kept_and_later_windows_are_given_what_is_known():
    calls = []
    first = torch.full((3, 4, 6), 9, dtype=torch.uint8)
    video = slide(counting(5, calls), first, 12, longest=5, overlap=2)
    assert [window for _, window in calls] == [Window(0, 5), Window(3, 8), Window(6, 11), Window(9, 12)]
    assert torch.equal(calls[0][0], first[None])
    assert [known[:, 0, 0, 0].tolist() for known, _ in calls[1:]] == [[3, 4], [6, 7], [9, 10]]
    assert video[0].unique().tolist() == [0], "the model's own first frame, not blended"
    calls.clear()
    slide(counting(5, calls), first, 6, longest=5, overlap=0)
    assert calls[1][0][:, 0, 0, 0].tolist() == [4], "without an overlap the last frame is known"


def test_widest_overlap_fills_the_windows_of_the_paper():
    assert (widest_overlap(49, 25), widest_overlap(49, 16), widest_overlap(49, 14)) == (1, 5, 2)
    assert widest_overlap(49, 49) == widest_overlap(10, 16) == 1
    for n in range(1, 60):
        for longest in range(2, 20):
            overlap = widest_overlap(n, longest)
            fewest = len(windows(n, longest, 1))
            assert len(windows(n, longest, overlap)) == fewest
            if fewest > 1 and overlap + 1 < longest:
                assert len(windows(n, longest, overlap + 1)) > fewest


@pytest.mark.parametrize(
    ("n", "longest", "overlap"), [(0, 5, 1), (5, 0, 0), (9, 5, 5), (9, 5, -1), (9, 1, 1)]
)
def test_bad_numbers_are_named(n, longest, overlap):
    with pytest.raises(ValueError, match=r"got .*; expected .*; ask for"):
        slide(constant(0), FIRST, n, longest=longest, overlap=overlap)


@pytest.mark.parametrize(
    ("make", "error", "hint"),
    [
        (lambda known, window: torch.zeros(3, 3, 4, 6, dtype=torch.uint8), ValueError, "at least 5"),
        (lambda known, window: torch.zeros(5, 3, 4, 6), TypeError, "expected uint8"),
        (
            lambda known, window: torch.zeros(5, 3, 4, 6 + window.start, dtype=torch.uint8),
            ValueError,
            "make every window alike",
        ),
    ],
)
def test_a_model_that_gives_something_else_is_refused(make, error, hint):
    with pytest.raises(error, match=hint):
        slide(make, FIRST, 9, longest=5, overlap=1)
