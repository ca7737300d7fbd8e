"""Long videos from models that make short ones: windows that overlap, each begun where the last one is known.

Source: Sec. 5.2.2, which names a sliding window and the 49 frames, but neither overlap nor blending: both are
ours.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

Clip = UInt8[Tensor, "n 3 H W"]
"""Frames of one video, RGB, 0 to 255."""


class Window(NamedTuple):
    """The frames of a video that are made in one go."""

    start: int
    """First frame."""
    stop: int
    """The frame after the last one."""

    @property
    def length(self) -> int:
        """Frames of the window."""
        return self.stop - self.start


def windows(num_frames: int, longest: int, overlap: int) -> list[Window]:
    """Cover a video with as few windows as it takes; the last one is cut where the video ends.

    Args:
        num_frames: frames of the video, n.
        longest: frames that the model makes in one go.
        overlap: frames that a window shares with the one before, 0 to `longest` - 1.

    Returns:
        Windows in order; the first starts at 0, the last stops at n.

    Raises:
        ValueError: a number is out of range.
    """
    if num_frames < 1 or longest < 1:
        raise ValueError(
            f"got {num_frames} frames in windows of {longest}; expected at least 1 of each; ask for 49 in 25"
        )
    if not 0 <= overlap < longest:
        raise ValueError(
            f"got an overlap of {overlap} frames; expected 0 to {longest - 1}, fewer than the {longest} of a "
            "window; ask for 1"
        )
    step = longest - overlap
    rest = max(0, num_frames - longest)
    starts = range(0, math.ceil(rest / step) * step + 1, step)
    return [Window(start, min(start + longest, num_frames)) for start in starts]


def widest_overlap(num_frames: int, longest: int) -> int:
    """The largest overlap that takes no more windows than an overlap of one frame.

    49 frames take 2 windows of 25 (overlap 1) or 4 of 16 (overlap 5), each filled to its end.

    Args:
        num_frames: frames of the video, n.
        longest: frames that the model makes in one go, at least 2.

    Returns:
        Frames, at least 1.

    Raises:
        ValueError: a number is out of range.
    """
    count = len(windows(num_frames, longest, overlap=1))
    return max(1, (count * longest - num_frames) // (count - 1)) if count > 1 else 1


def fade_in(overlap: int) -> Float[Tensor, " o"]:
    """Share of the later window in each frame of an overlap; the earlier window has the rest.

    Args:
        overlap: frames.

    Returns:
        A straight line strictly between 0 and 1; read backwards it is what is left for the earlier window.
    """
    return torch.arange(1, overlap + 1, dtype=torch.float32) / (overlap + 1)


def slide(
    make: Callable[[Clip, Window], Clip],
    first_frame: UInt8[Tensor, "3 H W"],
    num_frames: int,
    *,
    longest: int,
    overlap: int,
) -> Clip:
    """Make a video window by window; where two windows overlap, one fades into the other.

    Args:
        make: makes a window. It is given the frames that are known where the window starts and the window. In
            the first window only the first frame is known; later on it is the overlap, or the last frame
            so far. It may make more frames than the window has; they are left out.
        first_frame: the frame that the video starts from.
        num_frames: frames of the video, n.
        longest: frames that `make` can make in one go.
        overlap: frames that a window shares with the one before. With 0, a model that repeats the frame that
            it is given shows it twice.

    Returns:
        Exactly n frames of the size that `make` gives; the first is that of the first window.

    Raises:
        ValueError: a number is out of range, or `make` gives too few frames or changes their size.
        TypeError: `make` gives no uint8.
    """
    video = first_frame[None]
    for window in windows(num_frames, longest, overlap):
        shared = overlap if window.start else 0
        made = make(video[-max(shared, 1) :], window)
        _check(made, window, video if window.start else None)
        made = made[: window.length]
        if not window.start:
            video = made
            continue
        kept, old = video[: window.start], video[window.start :].float()
        share = fade_in(shared).to(made.device).view(-1, 1, 1, 1)
        mixed = (1 - share) * old + share * made[:shared].float()
        video = torch.cat([kept, mixed.round().to(torch.uint8), made[shared:]])
    return video


def _check(made: Tensor, window: Window, before: Tensor | None) -> None:
    """Refuse what a model gives when it is not the window that was asked for."""
    if made.dtype != torch.uint8:
        raise TypeError(
            f"got frames of {made.dtype} from the model; expected uint8 from 0 to 255; convert them"
        )
    wanted = tuple(before.shape[1:]) if before is not None else (3, *made.shape[2:])
    if made.ndim != 4 or len(made) < window.length or tuple(made.shape[1:]) != wanted:
        size = ", ".join(map(str, wanted))
        raise ValueError(
            f"got frames of shape {tuple(made.shape)} from the model; expected at least {window.length} of "
            f"({size}) for frames {window.start} to {window.stop - 1}; make every window alike"
        )
