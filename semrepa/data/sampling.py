"""Which pictures of a video make a clip, and where they go in its frames: no file is touched here.

A clip is sampled by time stamp: frame k is the picture on screen at `start + k / fps` seconds after the first
shown frame. Counting frames instead goes wrong on every file whose frame rate varies.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, pairwise
from pathlib import Path
from typing import Any, TypeVar

Item = TypeVar("Item")

TOLERANCE = 1e-4
"""Seconds by which two time stamps may differ and still be the same moment."""


class ClipError(ValueError):
    """A clip that cannot be used, with a short `reason` that can be counted."""

    def __init__(self, reason: str, message: str) -> None:
        """Keep the reason beside the message.

        Args:
            reason: one word such as "too_short".
            message: what was got, what was expected, what to do.
        """
        super().__init__(message)
        self.reason = reason


def content_box(width: int, height: int, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Where the picture goes: landscape fills the frame, vertical keeps its shape at full height.

    Args:
        width: source width, pixels.
        height: source height, pixels.
        size: height and width of the frame, pixels.

    Returns:
        Top, left, height and width of the picture inside the frame. Source: Sec. 5.1.1.
    """
    frame_height, frame_width = size
    if height <= width:
        return 0, 0, frame_height, frame_width
    inner = min(frame_width, max(2, 2 * round(frame_height * width / height / 2)))
    return 0, (frame_width - inner) // 2, frame_height, inner


def on_screen(
    shown: Iterable[tuple[float, float, Item]], wanted: Sequence[float], path: Path
) -> Iterator[tuple[float, Item]]:
    """Find the picture that is on screen at each wanted moment.

    Args:
        shown: begin, end (seconds after the first begin) and content of each picture of the video, in order.
        wanted: increasing moments, seconds.
        path: the video, for messages.

    Yields:
        For each moment, when its picture came on, and the picture.

    Raises:
        ClipError: when the video ends before the last moment.
    """
    moments = iter(wanted)
    moment = next(moments, None)
    end = 0.0
    pairs: Iterable[Any] = pairwise(chain(shown, [None]))
    for (begin, end, item), following in pairs:
        until = following[0] if following else max(end, begin + 2 * TOLERANCE)
        while moment is not None and moment < until - TOLERANCE:
            yield begin, item
            moment = next(moments, None)
        if moment is None:
            return
    raise ClipError(
        "too_short",
        f"got {path} of {end:.2f} s; expected a picture at {wanted[-1]:.2f} s, for {len(wanted)} frames from "
        f"{wanted[0]:.2f} s on; use a longer clip, an earlier start, or fewer frames",
    )
