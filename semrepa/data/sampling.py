"""Which pictures of a video make a clip, and where they go in its frames: no file is touched here.

A clip is sampled by time stamp: frame k is the picture on screen at `start + k / fps` seconds after the first
shown frame. Counting frames instead goes wrong on every file whose frame rate varies.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

import numpy as np

Item = TypeVar("Item")

Backend = Literal["auto", "pyav"]
"""Which reader: "auto" is decord where it is right, else PyAV; "pyav" is the same on every platform."""

Box = tuple[int, int, int, int]
"""Top, left, height and width of a picture inside the frame, pixels; the rest is padding."""

TOLERANCE = 1e-4
"""Seconds by which two time stamps may differ and still be the same moment."""

CUT_OFF = 0.5
"""Seconds that may miss from the length a file states before it counts as cut off."""


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


class MissingClipError(ClipError, FileNotFoundError):
    """A clip whose file is not there, or no longer; its `reason` is "missing"."""

    def __init__(self, message: str) -> None:
        """Keep the message.

        Args:
            message: what was got, what was expected, what to do.
        """
        super().__init__("missing", message)


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """What is asked of a video file."""

    num_frames: int
    """Frames to sample, n."""
    fps: float
    """Frames per second of the sampled clip."""
    size: tuple[int, int]
    """Height and width of the frames, pixels, even."""
    start: float = 0.0
    """Seconds after the first shown frame at which sampling begins."""
    pad_last: bool = False
    """Whether a clip that is too short goes on with its last picture instead of being refused."""
    backend: Backend = "auto"
    """Reader to use."""
    picture_side: int | None = None
    """Longest allowed shorter side of pictures at the source's own shape, pixels; None: none are wanted."""

    def __post_init__(self) -> None:
        """Refuse what makes no sense.

        Raises:
            ValueError: when a value is out of range.
        """
        if self.num_frames < 1:
            raise ValueError(f"got num_frames={self.num_frames}; expected at least 1; ask for 17 or 49")
        if not (math.isfinite(self.fps) and self.fps > 0):
            raise ValueError(f"got fps={self.fps}; expected a positive rate in frames per second; ask for 8")
        if not (math.isfinite(self.start) and self.start >= 0):
            raise ValueError(f"got start={self.start}; expected seconds from the first frame, 0 or more")
        if any(side < 2 or side % 2 for side in self.size):
            raise ValueError(
                f"got size={self.size}; expected even height and width in pixels; ask for e.g. (480, 720)"
            )
        if self.picture_side is not None and self.picture_side < 1:
            raise ValueError(
                f"got picture_side={self.picture_side}; expected pixels, 1 or more; ask for 1080, or None"
            )
        if self.backend not in get_args(Backend):
            raise ValueError(f"got backend={self.backend!r}; expected one of {get_args(Backend)}; use auto")

    @property
    def moments(self) -> list[float]:
        """Seconds after the first shown frame, one for each frame."""
        return [self.start + k / self.fps for k in range(self.num_frames)]


def content_box(width: int, height: int, size: tuple[int, int]) -> Box:
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


def picture_size(width: int, height: int, limit: int) -> tuple[int, int]:
    """Size of a picture of the source's own shape: its own, or smaller where that is too large.

    Args:
        width: source width, pixels.
        height: source height, pixels.
        limit: longest allowed shorter side, pixels.

    Returns:
        Height and width, pixels.
    """
    scale = min(1.0, limit / min(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def placed(points: np.ndarray, picture: tuple[int, int], content: Box) -> np.ndarray:
    """Where points of a picture lie in the frame that shows it.

    Args:
        points: (..., 2) x, y in pixels of the picture.
        picture: its height and width, pixels.
        content: top, left, height and width that it takes in the frame, pixels.

    Returns:
        (..., 2) x, y in pixels of the frame.
    """
    top, left, height, width = content
    scale = np.array([width / picture[1], height / picture[0]], np.float32)
    return points * scale + np.array([left, top], np.float32)


@dataclass(frozen=True)
class Shown:
    """What a player shows at one moment."""

    begin: float
    """When the picture came on, seconds after the first shown frame."""
    is_over: bool
    """Whether the video has ended by then, so that this is only its last picture."""


def on_screen(
    shown: Iterable[tuple[float, float, Item]], sampling: Sampling, path: Path, stated: float = 0.0
) -> Iterator[tuple[Shown, Item]]:
    """Find the picture that is on screen at each moment of a sampling.

    Args:
        shown: begin, end (seconds after the first begin) and content of each picture of the video, in order.
        sampling: what is asked for.
        path: the video, for messages.
        stated: length of the video in seconds, as the file states it; 0 when it does not.

    Yields:
        For each moment, when its picture came on, and the picture.

    Raises:
        ClipError: when the video ends before the last moment: "too_short", or "corrupt" when it states to be
            longer than it is. With `pad_last` only when nothing at all is on screen at the first moment.
    """
    wanted = sampling.moments
    place = 0
    item: Any = None
    begin = until = 0.0
    pairs: Iterable[Any] = pairwise(chain(shown, [None]))
    for (begin, end, item), following in pairs:
        until = following[0] if following else max(end, begin + 2 * TOLERANCE)
        while place < len(wanted) and wanted[place] < until - TOLERANCE:
            yield Shown(begin, False), item
            place += 1
        if place == len(wanted):
            return
    if until < stated - CUT_OFF:
        raise ClipError("corrupt", _cut_off(path, stated, until))
    if not (sampling.pad_last and place):
        raise ClipError("too_short", _too_short(path, until, wanted))
    for _ in wanted[place:]:
        yield Shown(begin, True), item


def _cut_off(path: Path, stated: float, end: float) -> str:
    return (
        f"got {path}, cut off: it ends at {end:.2f} s; expected the {stated:.2f} s that it states; "
        "copy or download the file again, or replace it"
    )


def _too_short(path: Path, end: float, wanted: Sequence[float]) -> str:
    return (
        f"got {path} of {end:.2f} s; expected a picture at {wanted[-1]:.2f} s, for {len(wanted)} frames from "
        f"{wanted[0]:.2f} s on; use a longer clip, an earlier start, or fewer frames"
    )
