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
from semrepa.data.sampling import TOLERANCE, Sampling, Shown, content_box, on_screen

try:
    import decord
except ImportError:  # no wheel for this platform
    decord: Any = None

log = logging.getLogger(__name__)

NOT_FOR_DECORD = ("av1", "libdav1d", "vp9", "libvpx-vp9")

Picked = list[tuple[Shown, np.ndarray]]
"""When each sampled picture came on, and its RGB (h, w, 3)."""


@dataclass(frozen=True)
class Decoded:
    """Pictures sampled from a video file."""

    frames: UInt8[np.ndarray, "n 3 H W"]
    """RGB, 0 to 255."""
    timestamps: tuple[float, ...]
    """When each picture came on screen, seconds after the first shown frame."""
    num_valid: int
    """Frames that the video shows; the others repeat its last picture."""
    content: tuple[int, int, int, int]
    """Top, left, height, width of the picture inside the frame; the rest is black padding."""
    backend: Literal["decord", "pyav"]
    """Reader that was used."""


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
    picked = None
    if decord is None or sampling.backend == "pyav":
        info = probe(path)
        content = content_box(info.width, info.height, sampling.size)
    else:
        info, stamps = survey(path)
        content = content_box(info.width, info.height, sampling.size)
        if _is_for_decord(info, stamps):
            picked = _read_decord(path, stamps, sampling, content[2:])
    backend = "pyav" if picked is None else "decord"
    if picked is None:
        picked = _read_pyav(path, info, sampling, content[2:])
    frames = np.zeros((sampling.num_frames, 3, *sampling.size), np.uint8)
    top, left, height, width = content
    for canvas, (_, picture) in zip(frames, picked, strict=True):
        canvas[:, top : top + height, left : left + width] = picture.transpose(2, 0, 1)
    times = tuple(shown.begin for shown, _ in picked)
    num_valid = sum(not shown.is_over for shown, _ in picked)
    return Decoded(frames, times, num_valid, content, backend)


def _is_for_decord(info: VideoInfo, stamps: Stamps) -> bool:
    """Whether nothing is known that decord gets wrong."""
    starts_at_0 = abs(info.first_pts) < TOLERANCE
    return stamps.is_plain and starts_at_0 and not info.rotation and info.codec not in NOT_FOR_DECORD


def _read_pyav(path: Path, info: VideoInfo, sampling: Sampling, inner: tuple[int, int]) -> Picked:
    """Pictures through PyAV, turned upright."""
    height, width = inner[::-1] if info.rotation % 180 else inner
    picked: Picked = []
    latest = None
    with open_video(path) as container:
        shown = _spans(decoded(container, path), info)
        for when, frame in on_screen(shown, sampling, path, stated_length(container)):
            if frame is not latest:
                latest = frame
                rgb = frame.to_ndarray(width=width, height=height, format="rgb24", interpolation="BILINEAR")
                picture = np.rot90(rgb, info.rotation // 90)
            picked.append((when, picture))
    return picked


def _spans(frames: Iterator[av.VideoFrame], info: VideoInfo) -> Iterator[tuple[float, float, av.VideoFrame]]:
    """When each frame comes and, if the next is late, goes; seconds after the first."""
    usual = 1 / info.fps if info.fps else 0.0
    for frame in frames:
        begin = frame.time - info.first_pts
        lasts = float(frame.duration * frame.time_base) if frame.duration and frame.time_base else usual
        yield begin, begin + lasts, frame


def _read_decord(path: Path, known: Stamps, sampling: Sampling, inner: tuple[int, int]) -> Picked | None:
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
    return [(when, pictures[index]) for when, index in picked]


def _rounding(seconds: float) -> float:
    """Seconds by which decord's stamps, single precision, may be off."""
    return TOLERANCE + 2.0**-23 * seconds
