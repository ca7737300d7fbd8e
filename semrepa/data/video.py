"""Video files in and out: the one place that knows decord and PyAV.

decord reads ordinary files; PyAV reads the rest (time stamps that do not begin at 0, rotation, AV1, VP9), and
all files where decord is not installed.
"""

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from av.container import InputContainer
from av.error import FFmpegError
from jaxtyping import UInt8
from torch import Tensor

from semrepa.data.sampling import TOLERANCE, ClipError, content_box, on_screen

try:
    import decord
except ImportError:  # no wheel for this platform
    decord: Any = None

log = logging.getLogger(__name__)

NOT_FOR_DECORD = ("av1", "libdav1d", "vp9", "libvpx-vp9")


@dataclass(frozen=True)
class VideoInfo:
    """What a video file says about itself."""

    width: int
    """Pixels, as shown: after the rotation is applied."""
    height: int
    """Pixels, as shown."""
    fps: float
    """Average frames per second."""
    duration: float
    """Seconds, as the file states it; 0 when it does not."""
    codec: str
    """Name of the codec, such as "h264"."""
    rotation: int
    """Degrees by which a player turns the stored picture, counter-clockwise."""
    first_pts: float
    """Time stamp of the first shown frame, seconds."""


@dataclass(frozen=True)
class VideoClip:
    """Frames sampled from a video file."""

    frames: UInt8[Tensor, "n 3 H W"]
    """RGB, 0 to 255."""
    timestamps: tuple[float, ...]
    """When each source frame came on screen, seconds after the first shown frame."""
    content: tuple[int, int, int, int]
    """Top, left, height, width of the picture inside the frame; the rest is black padding."""
    backend: str
    """Reader that was used, "decord" or "pyav"."""


def reader_versions() -> dict[str, str | None]:
    """Versions of the readers, which decide the last bits of every pixel; None where one is not installed."""
    return {"pyav": av.__version__, "decord": decord.__version__ if decord else None}


def _open(path: Path) -> InputContainer:
    """Open a video file, or say plainly why not."""
    if not path.is_file():
        raise FileNotFoundError(
            f"got video path {path}; expected an existing file; check the path in the index"
        )
    if path.stat().st_size == 0:
        raise ClipError(
            "empty", f"got {path}, which has 0 bytes; expected a video; copy or download the file again"
        )
    try:
        container = av.open(str(path))
    except FFmpegError as error:
        message = f"got {path}, which is no video ({error.strerror}); expected e.g. mp4; replace the file"
        raise ClipError("not_video", message) from error
    if not container.streams.video:
        container.close()
        raise ClipError(
            "no_video_stream", f"got {path} without a video stream; expected a video; replace the file"
        )
    return container


def _decode(container: InputContainer, path: Path) -> Iterator[av.VideoFrame]:
    """Decoded frames that carry a time stamp, in the order they are shown."""
    try:
        for frame in container.decode(container.streams.video[0]):
            if frame.time is not None:
                yield frame
    except FFmpegError as error:
        message = f"got {path}, damaged inside ({error.strerror}); expected a whole video; replace the file"
        raise ClipError("corrupt", message) from error


def probe(path: str | Path) -> VideoInfo:
    """Read size, rate, codec and rotation of a video file; decodes one frame.

    Args:
        path: video file.

    Returns:
        What the file says about itself.

    Raises:
        FileNotFoundError: when there is no such file.
        ClipError: when the file is empty, no video, or has no frame that can be decoded.
    """
    path = Path(path)
    with _open(path) as container:
        stream = container.streams.video[0]
        first = next(_decode(container, path), None)
        if first is None:
            raise ClipError(
                "corrupt", f"got {path} without a single frame; expected a video; replace the file"
            )
        width, height = first.width, first.height
        if first.rotation % 180:
            width, height = height, width
        seconds = (container.duration or 0) / av.time_base
        if stream.duration and stream.time_base:
            seconds = stream.duration * stream.time_base
        return VideoInfo(
            width=width,
            height=height,
            fps=float(stream.average_rate or stream.guessed_rate or 0),
            duration=float(seconds),
            codec=stream.codec_context.name,
            rotation=first.rotation % 360,
            first_pts=float(first.time),
        )


def _read_pyav(
    path: Path, info: VideoInfo, wanted: list[float], inner: tuple[int, int]
) -> tuple[list[float], list[np.ndarray]]:
    """Begin times and RGB pictures (h, w, 3) through PyAV."""
    height, width = inner[::-1] if info.rotation % 180 else inner
    step = 1 / info.fps if info.fps else 0.0
    times, pictures = [], []
    with _open(path) as container:
        shown = (
            (frame.time - info.first_pts, frame.time - info.first_pts + _duration(frame, step), frame)
            for frame in _decode(container, path)
        )
        for begin, frame in on_screen(shown, wanted, path):
            rgb = frame.to_ndarray(width=width, height=height, format="rgb24", interpolation="BILINEAR")
            times.append(begin)
            pictures.append(np.rot90(rgb, info.rotation // 90))
    return times, pictures


def _duration(frame: av.VideoFrame, otherwise: float) -> float:
    return float(frame.duration * frame.time_base) if frame.duration and frame.time_base else otherwise


def _read_decord(
    path: Path, info: VideoInfo, wanted: list[float], inner: tuple[int, int]
) -> tuple[list[float], list[np.ndarray]] | None:
    """Begin times and RGB pictures (h, w, 3) through decord; None when it is not sure to be right."""
    if decord is None or info.codec in NOT_FOR_DECORD or info.rotation or abs(info.first_pts) > TOLERANCE:
        return None
    height, width = inner
    try:
        # Lives only inside this call: an idle reader goes on decoding the whole file into memory.
        reader = decord.VideoReader(str(path), ctx=decord.cpu(0), width=width, height=height, num_threads=1)
        spans = reader.get_frame_timestamp(np.arange(len(reader)))
        if abs(spans[0, 0]) > TOLERANCE or (np.diff(spans[:, 0]) <= 0).any():
            return None
        shown = ((float(begin), float(end), index) for index, (begin, end) in enumerate(spans))
        picked = list(on_screen(shown, wanted, path))
        pictures = reader.get_batch([index for _, index in picked]).asnumpy()
    except (decord.DECORDError, RuntimeError) as error:
        log.info("decord cannot read %s (%s); PyAV reads it", path, error)
        return None
    return [begin for begin, _ in picked], list(pictures)


def _check_request(num_frames: int, fps: float, size: tuple[int, int], start: float) -> None:
    if num_frames < 1:
        raise ValueError(f"got num_frames={num_frames}; expected at least 1; ask for 17 or 49")
    if fps <= 0:
        raise ValueError(f"got fps={fps}; expected a positive rate in frames per second; ask for 8")
    if start < 0:
        raise ValueError(f"got start={start}; expected seconds from the first frame, 0 or more")
    if any(side < 2 or side % 2 for side in size):
        raise ValueError(
            f"got size={size}; expected even height and width in pixels; ask for e.g. (480, 720)"
        )


def read_clip(
    path: str | Path,
    *,
    num_frames: int,
    fps: float,
    size: tuple[int, int],
    start: float = 0.0,
) -> VideoClip:
    """Sample frames from a video file by time stamp and bring them to one size.

    Landscape clips are resized to the frame, vertical ones to its height and padded left and right.
    Source: Sec. 5.1.1.

    Args:
        path: video file.
        num_frames: frames to sample, n.
        fps: frames per second of the sampled clip.
        size: height and width of the frames, pixels, even.
        start: seconds after the first shown frame at which sampling begins.

    Returns:
        The frames with their source time stamps and where the picture lies in them.

    Raises:
        FileNotFoundError: when there is no such file.
        ClipError: when the file is empty, unreadable, or too short; `reason` names which.
        ValueError: when the request makes no sense.
    """
    path = Path(path)
    _check_request(num_frames, fps, size, start)
    info = probe(path)
    content = content_box(info.width, info.height, size)
    wanted = [start + k / fps for k in range(num_frames)]
    read = _read_decord(path, info, wanted, content[2:])
    times, pictures = read or _read_pyav(path, info, wanted, content[2:])
    frames = np.zeros((num_frames, *size, 3), np.uint8)
    top, left, height, width = content
    for canvas, picture in zip(frames, pictures, strict=True):
        canvas[top : top + height, left : left + width] = picture
    tensor = torch.from_numpy(frames).permute(0, 3, 1, 2).contiguous()
    return VideoClip(tensor, tuple(times), content, "pyav" if read is None else "decord")


def write_video(
    path: str | Path, frames: UInt8[Tensor, "n 3 H W"] | np.ndarray, *, fps: float = 8.0, crf: int = 18
) -> Path:
    """Write frames as an ordinary H.264 mp4 (yuv420p), all at once or not at all.

    Args:
        path: file to write, ending in ".mp4"; its folder is made if missing.
        frames: RGB (n, 3, H, W), uint8, H and W even.
        fps: frames per second.
        crf: quality from 0 (lossless) to 51 (worst).

    Returns:
        The path.

    Raises:
        TypeError: when the frames are not uint8.
        ValueError: when the frames have another layout, or an odd height or width.
    """
    path = Path(path)
    array = frames.cpu().numpy() if isinstance(frames, Tensor) else np.asarray(frames)
    if array.dtype != np.uint8:
        raise TypeError(
            f"got frames of {array.dtype}; expected uint8 from 0 to 255; convert with latents.to_frames"
        )
    if array.ndim != 4 or array.shape[1] != 3 or len(array) == 0:
        raise ValueError(
            f"got frames of shape {tuple(array.shape)}; expected (n, 3, H, W); move the colour axis"
        )
    if array.shape[2] % 2 or array.shape[3] % 2:
        raise ValueError(
            f"got frames of {array.shape[2]}x{array.shape[3]}; expected even height and width; crop one row"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.stem}.{os.getpid()}.mp4")
    try:
        _encode(unfinished, array, Fraction(fps).limit_denominator(1001), crf)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    return path


def _encode(path: Path, frames: np.ndarray, rate: Fraction, crf: int) -> None:
    """Encode (n, 3, H, W) uint8; one thread, so that the bytes do not depend on the machine."""
    options = {"crf": str(crf), "preset": "medium", "threads": "1"}
    with av.open(str(path), "w", options={"movflags": "+faststart"}) as container:
        stream = container.add_stream("libx264", rate=rate, options=options)
        stream.height, stream.width = frames.shape[2:]
        stream.pix_fmt = "yuv420p"
        for picture in frames.transpose(0, 2, 3, 1):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
