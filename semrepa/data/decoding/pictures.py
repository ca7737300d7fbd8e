"""Read the pictures of one clip, with decord where it is right and with PyAV where it is not.

decord is wrong without a word on files with edit lists, on time stamps that do not begin at 0 or do not
increase, and on open groups of pictures (it seeks to a key frame and counts from there); it cannot open AV1.
Such files are recognised before: decord must report the same frames at the same times as the file's packets.
What decord does not notice is damage inside a picture; PyAV refuses that as "corrupt".
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import av
import numpy as np
from jaxtyping import UInt8

from semrepa.data.decoding.opening import Stamps, VideoInfo, decoded, open_video, probe, stated_length, survey
from semrepa.data.sampling import (
    TOLERANCE,
    Box,
    ClipError,
    Sampling,
    Shown,
    content_box,
    on_screen,
    picture_size,
)

try:
    import decord
except ImportError:  # no wheel for this platform
    decord: Any = None

log = logging.getLogger(__name__)

NOT_FOR_DECORD = ("av1", "libdav1d", "vp9", "libvpx-vp9")

Size = tuple[int, int]
"""Height and width, pixels."""
Picked = tuple[Shown, list[np.ndarray]]
"""When a sampled picture came on, and its RGB (h, w, 3) in each of the sizes asked for."""


@dataclass(frozen=True)
class Decoded:
    """Pictures sampled from a video file."""

    frames: UInt8[np.ndarray, "n 3 H W"]
    """RGB, 0 to 255."""
    timestamps: tuple[float, ...]
    """When each picture came on screen, seconds after the first shown frame."""
    num_valid: int
    """Frames that the video shows; the others repeat its last picture."""
    content: Box
    """Top, left, height, width of the picture inside the frame; the rest is black padding."""
    backend: Literal["decord", "pyav"]
    """Reader that was used for the frames."""
    pictures: UInt8[np.ndarray, "n h w 3"] | None
    """RGB at the source's own shape, by PyAV; None when not asked for, or as large as in the frames."""


def decode_clip(path: Path, sampling: Sampling) -> Decoded:
    """Sample pictures from a video file by time stamp and bring them to one size.

    Args:
        path: video file.
        sampling: what is asked for.

    Returns:
        The pictures.

    Raises:
        MissingClipError: when there is no such file.
        ClipError: when the file cannot be used; `reason` says why.
    """
    frames_by_decord, backend = None, "pyav"
    if decord is None or sampling.backend == "pyav":
        info = probe(path)
        content = content_box(info.width, info.height, sampling.size)
    else:
        info, stamps = survey(path)
        content = content_box(info.width, info.height, sampling.size)
        if _is_for_decord(info, stamps):
            frames_by_decord = _read_decord(path, stamps, sampling, content[2:])
    own = _own_size(info, sampling, content)
    if frames_by_decord is None:
        picked = _read_pyav(path, info, sampling, [content[2:], *own])
    else:
        backend = "decord"
        picked = _beside(frames_by_decord, _read_pyav(path, info, sampling, own) if own else None, path)
    return _filled(picked, sampling, content, own, backend)


def _own_size(info: VideoInfo, sampling: Sampling, content: Box) -> list[Size]:
    """The size of pictures at the source's own shape; empty when the frames hold the same."""
    if sampling.picture_side is None:
        return []
    own = picture_size(info.width, info.height, sampling.picture_side)
    return [] if own == content[2:] else [own]


def _beside(frames: list[Picked], pictures: Iterator[Picked] | None, path: Path) -> Iterator[Picked]:
    """Frames of one reader with the pictures of another, which must be of the same moments."""
    if pictures is None:
        yield from frames
        return
    for (when, small), (again, large) in zip(frames, pictures, strict=True):
        if abs(when.begin - again.begin) > TOLERANCE:
            moments = f"{when.begin:.3f} s and {again.begin:.3f} s"
            raise ClipError(
                "corrupt",
                f"got {path}, of which decord and PyAV show other frames ({moments}); expected the same; "
                "replace the file",
            )
        yield when, small + large


def _filled(
    picked: Iterator[Picked],
    sampling: Sampling,
    content: Box,
    own: list[Size],
    backend: Literal["decord", "pyav"],
) -> Decoded:
    """Lay pictures into frames, and those at the source's shape, if any, into an array of their own."""
    frames = np.zeros((sampling.num_frames, 3, *sampling.size), np.uint8)
    pictures = np.empty((sampling.num_frames, *own[0], 3), np.uint8) if own else None
    top, left, height, width = content
    moments = []
    for k, (when, (small, *large)) in enumerate(picked):
        frames[k, :, top : top + height, left : left + width] = small.transpose(2, 0, 1)
        if pictures is not None:
            pictures[k] = large[0]
        moments.append(when)
    times = tuple(when.begin for when in moments)
    num_valid = sum(not when.is_over for when in moments)
    return Decoded(frames, times, num_valid, content, backend, pictures)


def _is_for_decord(info: VideoInfo, stamps: Stamps) -> bool:
    """Whether nothing is known that decord gets wrong."""
    starts_at_0 = abs(info.first_pts) < TOLERANCE
    return stamps.is_plain and starts_at_0 and not info.rotation and info.codec not in NOT_FOR_DECORD


def _read_pyav(path: Path, info: VideoInfo, sampling: Sampling, sizes: list[Size]) -> Iterator[Picked]:
    """Pictures through PyAV, turned upright, in each of these sizes."""
    latest, pictures = None, []
    with open_video(path) as container:
        shown = _spans(decoded(container, path), info)
        for when, frame in on_screen(shown, sampling, path, stated_length(container)):
            if frame is not latest:
                latest = frame
                pictures = [_upright(frame, size, info.rotation) for size in sizes]
            yield when, pictures


def _upright(frame: av.VideoFrame, size: Size, rotation: int) -> np.ndarray:
    """RGB (h, w, 3) of a stored frame as a player shows it."""
    height, width = size[::-1] if rotation % 180 else size
    rgb = frame.to_ndarray(width=width, height=height, format="rgb24", interpolation="BILINEAR")
    return np.rot90(rgb, rotation // 90)


def _spans(frames: Iterator[av.VideoFrame], info: VideoInfo) -> Iterator[tuple[float, float, av.VideoFrame]]:
    """When each frame comes and, if the next is late, goes; seconds after the first."""
    usual = 1 / info.fps if info.fps else 0.0
    for frame in frames:
        begin = frame.time - info.first_pts
        lasts = float(frame.duration * frame.time_base) if frame.duration and frame.time_base else usual
        yield begin, begin + lasts, frame


def _read_decord(path: Path, known: Stamps, sampling: Sampling, inner: Size) -> list[Picked] | None:
    """Pictures through decord; None when it fails or does not see the frames that the file shows."""
    height, width = inner
    begins = known.begins - known.begins[0]
    ends = [*begins[1:], known.end - known.begins[0]]
    shown = zip(begins.tolist(), ends, range(len(begins)), strict=True)
    picked = list(on_screen(shown, sampling, path, known.stated))
    distinct = sorted({index for _, index in picked})
    try:
        # Lives only inside this call: an idle reader goes on decoding the whole file into memory.
        reader = decord.VideoReader(
            str(path.absolute()), ctx=decord.cpu(0), width=width, height=height, num_threads=1
        )
        seen = reader.get_frame_timestamp(np.arange(len(reader)))[:, 0]
        if len(seen) != len(begins) or np.abs(seen - known.begins).max() > _rounding(known.end):
            return None
        pictures = dict(zip(distinct, reader.get_batch(distinct).asnumpy(), strict=True))
    except (decord.DECORDError, RuntimeError) as error:
        log.info("decord cannot read %s (%s); PyAV reads it", path, error)
        return None
    return [(when, [pictures[index]]) for when, index in picked]


def _rounding(seconds: float) -> float:
    """Seconds by which decord's stamps, single precision, may be off."""
    return TOLERANCE + 2.0**-23 * seconds
