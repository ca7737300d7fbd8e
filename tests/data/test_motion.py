"""How much happens in a clip, on frames that are made up."""

import numpy as np
import pytest
import torch

from semrepa.data.motion import check_motion, measure_motion
from semrepa.data.video import ClipError, VideoClip


def brighter(*steps: int, valid: int | None = None, times: list[float] | None = None) -> VideoClip:
    """A clip whose frames grow brighter by these steps, between black bars that flicker."""
    levels = 20 + np.cumsum([0, *steps])
    frames = torch.from_numpy(levels)[:, None, None, None].expand(-1, 3, 8, 12).to(torch.uint8).clone()
    frames[::2, :, :, :2] = 255
    stamps = times if times is not None else [k / 8 for k in range(len(levels))]
    inside = frames[:, :, :, 2:]
    return VideoClip(frames, tuple(stamps), (0, 2, 8, 10), "pyav", valid or len(levels), inside)


def reason(clip: VideoClip, **limits: float) -> str | None:
    motion = measure_motion(clip)
    assert motion is not None
    try:
        check_motion(motion, **limits)
    except ClipError as error:
        return error.reason
    return None


def test_changes_are_measured_inside_the_picture_and_before_the_end() -> None:
    motion = measure_motion(brighter(3, 4, 5, 4, 100, valid=5))
    assert motion is not None
    assert (motion.mean, motion.largest, motion.repeats) == (4, 5, 0)
    assert motion.jump == pytest.approx(5 / 4)


def test_a_still_picture_is_static() -> None:
    assert reason(brighter(0, 0, 0, 0)) == "static"
    assert reason(brighter(0, 0, 1, 0)) is None
    assert reason(brighter(0, 0, 1, 0), min_change=1.5) == "static"
    assert reason(brighter(0, 0, 0, 0), min_change=0) is None


def test_a_slow_source_repeats_its_frames() -> None:
    halves = brighter(0, 0, 9, 0, 0, times=[0, 0, 0, 0.375, 0.375, 0.375])
    assert reason(halves) == "too_many_duplicate_frames"
    assert reason(halves, max_repeats=0.8) is None
    assert measure_motion(halves).jump == 1  # repeated frames are not the usual change


def test_a_cut_is_a_jump_and_fast_motion_is_not() -> None:
    steady, cut = brighter(4, 6, 5, 12, 5), brighter(4, 6, 5, 60, 5)
    assert measure_motion(steady).jump == pytest.approx(12 / 5)
    assert measure_motion(cut).jump == pytest.approx(12)
    assert [reason(steady, max_jump=8), reason(cut, max_jump=8), reason(cut)] == [None, "cut", None]
    assert measure_motion(brighter(0, 0, 3, 0)).jump == pytest.approx(1.5)  # no cut in a quiet clip


def test_one_frame_has_no_motion() -> None:
    assert measure_motion(brighter()) is None
    assert measure_motion(brighter(5, 5, valid=1)) is None
