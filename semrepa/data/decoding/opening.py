"""Ask a video file what it is: size, rate, rotation, and when each frame is shown."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.error import FFmpegError
from jaxtyping import Float

from semrepa.data.sampling import TOLERANCE, ClipError, MissingClipError


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
class Stamps:
    """When the frames of a file are shown, without decoding them."""

    begins: Float[np.ndarray, " n"]
    """Time stamps as stored, sorted, seconds; frames that an edit list hides are left out."""
    end: float
    """When the last frame goes, seconds."""
    is_plain: bool
    """Whether stamps increase, no packet is damaged, and no frame is shown before the key frame it
    follows."""
    stated: float
    """Length of the video stream in seconds, as the file states it; 0 when it does not."""


def open_video(path: Path) -> InputContainer:
    """Open a video file, or say plainly why not.

    Args:
        path: video file.

    Returns:
        The open file; it has a video stream.

    Raises:
        MissingClipError: when there is no such file.
        ClipError: when it may not be read, is empty, no video, or has no video stream.
    """
    _check_file(path)
    try:
        # Absolute, since a colon in "a:b.mp4" is no protocol; titles need not be UTF-8.
        container = av.open(str(path.absolute()), metadata_errors="replace")
    except FileNotFoundError as error:
        raise MissingClipError(_missing(path)) from error
    except FFmpegError as error:
        raise ClipError("not_video", _no_video(path, error.strerror)) from error
    if container.streams.video:
        return container
    kinds = sorted({stream.type for stream in container.streams})
    container.close()
    if kinds in ([], ["data"]):
        raise ClipError("not_video", _no_video(path, "its header is incomplete"))
    message = (
        f"got {path}, which holds {' and '.join(kinds)} but no picture; expected a video; replace the file"
    )
    raise ClipError("no_video_stream", message)


def _no_video(path: Path, why: str | None) -> str:
    return f"got {path}, which is no video ({why}); expected e.g. mp4; replace the file"


def _check_file(path: Path) -> None:
    """Refuse what is no file, cannot be read, or is empty."""
    try:
        size = path.stat().st_size if path.is_file() else None
        if size:
            os.close(os.open(path, os.O_RDONLY))
    except OSError as error:
        message = (
            f"got {path}, which cannot be read ({error.strerror}); expected a file; check its permissions"
        )
        raise ClipError("unreadable", message) from error
    if size is None:
        raise MissingClipError(_missing(path))
    if size == 0:
        raise ClipError(
            "empty", f"got {path}, which has 0 bytes; expected a video; copy or download the file again"
        )


def _missing(path: Path) -> str:
    if path.is_symlink():
        return f"got video path {path}, a link to nowhere; expected an existing file; mend or remove the link"
    return f"got video path {path}; expected an existing file; check the path in the index"


def decoded(container: InputContainer, path: Path) -> Iterator[av.VideoFrame]:
    """Decode the frames that carry a time stamp, in the order they are shown.

    Args:
        container: as `open_video` gives it.
        path: the video, for messages.

    Yields:
        Frames.

    Raises:
        ClipError: when the file is damaged: it cannot be decoded, a picture had to be made up, or time runs
            backwards; the reason is "corrupt".
    """
    latest = None
    try:
        for frame in container.decode(container.streams.video[0]):
            if frame.is_corrupt:
                raise ClipError("corrupt", _damaged(path, f"the picture at {frame.time} s is incomplete"))
            if frame.time is None or (latest is not None and latest - 1 < frame.time <= latest):
                continue  # a player drops frames that come too late
            if latest is not None and frame.time < latest:
                raise ClipError("corrupt", _damaged(path, f"after {latest:.2f} s comes {frame.time:.2f} s"))
            latest = frame.time
            yield frame
    except FFmpegError as error:
        raise ClipError("corrupt", _damaged(path, error.strerror)) from error


def _damaged(path: Path, what: str | None) -> str:
    return f"got {path}, damaged inside ({what}); expected a whole video; replace the file"


def stated_length(container: InputContainer) -> float:
    """Length of the video stream as the file states it.

    Args:
        container: as `open_video` gives it.

    Returns:
        Seconds; 0 when the file does not state it.
    """
    stream = container.streams.video[0]
    return float(stream.duration * stream.time_base) if stream.duration and stream.time_base else 0.0


def probe(path: str | Path) -> VideoInfo:
    """Read size, rate, codec and rotation of a video file; decodes one frame.

    Args:
        path: video file.

    Returns:
        What the file says about itself.

    Raises:
        MissingClipError: when there is no such file; it is a FileNotFoundError too.
        ClipError: when the file is empty, no video, or has no frame that can be decoded.
    """
    path = Path(path)
    with open_video(path) as container:
        return _info(container, next(decoded(container, path), None), path)


def _info(container: InputContainer, first: av.VideoFrame | None, path: Path) -> VideoInfo:
    """What a file and its first frame say."""
    if first is None or first.time is None:
        raise ClipError("corrupt", _damaged(path, "not a single frame"))
    stream = container.streams.video[0]
    width, height = first.width, first.height
    if first.rotation % 180:
        width, height = height, width
    return VideoInfo(
        width=width,
        height=height,
        fps=float(stream.average_rate or stream.guessed_rate or 0),
        duration=stated_length(container) or (container.duration or 0) / av.time_base,
        codec=stream.codec_context.name,
        rotation=first.rotation % 360,
        first_pts=float(first.time),
    )


def survey(path: Path) -> tuple[VideoInfo, Stamps]:
    """Do what `probe` does, and read all time stamps in the same pass; decodes one frame.

    Args:
        path: video file.

    Returns:
        What the file says about itself, and when its frames are shown.

    Raises:
        MissingClipError: when there is no such file.
        ClipError: when the file is no video, or breaks off; the reason says which.
    """
    first, begins, end, key, is_plain = None, [], 0.0, -np.inf, True
    with open_video(path) as container:
        try:
            for packet in container.demux(container.streams.video[0]):
                if first is None:
                    first = next((frame for frame in packet.decode() if frame.time is not None), None)
                if packet.pts is None or packet.time_base is None:
                    is_plain &= packet.size == 0  # the empty last one
                    continue
                begin = float(packet.pts * packet.time_base)
                key = begin if packet.is_keyframe else key
                is_plain &= not packet.is_corrupt and begin >= key
                if not packet.is_discard:
                    begins.append(begin)
                    end = max(end, begin + float((packet.duration or 0) * packet.time_base))
        except FFmpegError as error:
            raise ClipError("corrupt", _damaged(path, error.strerror)) from error
        info, stated = _info(container, first, path), stated_length(container)
    ordered = np.sort(np.array(begins, np.float64))
    is_plain &= len(ordered) > 0 and bool((np.diff(ordered) > TOLERANCE).all())
    return info, Stamps(ordered, end, is_plain, stated)
