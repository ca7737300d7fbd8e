"""Video files in and out, at one size and rate.

A clip is read with decord where decord is right and with PyAV where it is not; `semrepa.data.decoding` knows
which.
"""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal

import av
import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from semrepa.data.decoding import opening, pictures
from semrepa.data.decoding.child import SHARED
from semrepa.data.decoding.opening import VideoInfo
from semrepa.data.sampling import TOLERANCE, Backend, Box, ClipError, MissingClipError, Sampling, content_box
from semrepa.files import whole_file

__all__ = [
    "TOLERANCE",
    "ClipError",
    "MissingClipError",
    "VideoClip",
    "VideoInfo",
    "content_box",
    "probe",
    "read_clip",
    "reader_versions",
    "write_video",
]


@dataclass(frozen=True)
class VideoClip:
    """Frames sampled from a video file."""

    frames: UInt8[Tensor, "n 3 H W"]
    """RGB, 0 to 255."""
    timestamps: tuple[float, ...]
    """When each source frame came on screen, seconds after the first shown frame."""
    content: Box
    """Top, left, height, width of the picture inside the frame; the rest is black padding."""
    backend: Literal["decord", "pyav"]
    """Reader that was used; they differ in the last bits where they scale."""
    num_valid: int
    """Frames that the video shows; the others, after them, repeat its last picture."""
    pictures: UInt8[Tensor, "n 3 h w"]
    """The same pictures without padding: of the source's own shape and size if asked for, else as they are
    in the frames."""


def reader_versions() -> dict[str, str | None]:
    """Versions of the readers, which decide the last bits of every pixel; None where one is not installed."""
    decord = pictures.decord
    return {"pyav": av.__version__, "decord": decord.__version__ if decord else None}


def probe(path: str | Path, *, timeout: float | None = None) -> VideoInfo:
    """Read size, rate, codec and rotation of a video file; decodes one frame.

    Args:
        path: video file.
        timeout: as in `read_clip`.

    Returns:
        What the file says about itself.

    Raises:
        MissingClipError: when there is no such file; it is a FileNotFoundError too.
        ClipError: when the file is empty, no video, or has no frame that can be decoded; or as in
            `read_clip`, "timeout" and "crashed".
        ValueError: when the timeout makes no sense.
    """
    if timeout is None:
        return opening.probe(path)
    return SHARED.probe(Path(path), _checked(timeout))


def read_clip(
    path: str | Path,
    *,
    num_frames: int,
    fps: float,
    size: tuple[int, int],
    start: float = 0.0,
    pad_last: bool = False,
    backend: Backend = "auto",
    timeout: float | None = None,
    picture_side: int | None = None,
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
        pad_last: whether a clip that is too short goes on with its last picture instead of being refused.
        backend: "auto" reads with decord where it is right; "pyav" reads all with PyAV.
        timeout: seconds after which decoding is given up. It then runs in a child process, and a decoder that
            crashes does no harm either. None: in this process, without a limit.
        picture_side: also give the pictures at the source's own shape and resolution, scaled down, evenly,
            only where their shorter side is longer than this, pixels. It costs a second pass where decord
            reads the frames and the picture in them has another size.

    Returns:
        The frames with their source time stamps and where the picture lies in them.

    Raises:
        MissingClipError: when there is no such file; it is a FileNotFoundError and a ClipError.
        ClipError: when the file cannot be used; `reason` names why: "unreadable", "empty", "not_video",
            "no_video_stream", "corrupt", "too_short", "timeout" or "crashed".
        ValueError: when the request makes no sense.
    """
    sampling = Sampling(
        num_frames=num_frames,
        fps=fps,
        size=size,
        start=start,
        pad_last=pad_last,
        backend=backend,
        picture_side=picture_side,
    )
    if timeout is None:
        found = pictures.decode_clip(Path(path), sampling)
    else:
        found = SHARED.decode(Path(path), sampling, _checked(timeout))
    return _as_clip(found)


def _checked(timeout: float) -> float:
    if timeout <= 0:
        raise ValueError(f"got timeout={timeout}; expected seconds above 0; ask for 60, or None for no limit")
    return timeout


def _as_clip(found: pictures.Decoded) -> VideoClip:
    """Arrays as tensors; pictures are colours first too, but not in memory."""
    frames = torch.from_numpy(found.frames)
    top, left, height, width = found.content
    shown = frames[:, :, top : top + height, left : left + width]
    if found.pictures is not None:
        shown = torch.from_numpy(found.pictures).permute(0, 3, 1, 2)
    return VideoClip(frames, found.timestamps, found.content, found.backend, found.num_valid, shown)


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
    with whole_file(path, durable=False) as growing:
        _encode(growing, array, Fraction(fps).limit_denominator(1001), crf)
    return path


def _encode(path: Path, frames: np.ndarray, rate: Fraction, crf: int) -> None:
    """Encode (n, 3, H, W) uint8; one thread, so that the bytes do not depend on the machine."""
    options = {"crf": str(crf), "preset": "medium", "threads": "1"}
    with av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"}) as container:
        stream = container.add_stream("libx264", rate=rate, options=options)
        stream.height, stream.width = frames.shape[2:]
        stream.pix_fmt = "yuv420p"
        for picture in frames.transpose(0, 2, 3, 1):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
