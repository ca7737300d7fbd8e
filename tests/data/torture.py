"""A folder of video files as one meets them in the wild, each with what must come of it.

`write_torture(folder)` makes all of them with PyAV in a few seconds. Frames carry their own number as a bar
code, which `numbers` reads back after any scaling.
"""

import os
import shutil
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

BITS = 10
NUM_FRAMES, FPS, SIZE = 49, 8, (64, 96)
"""What is asked of each file: 49 frames at 8 per second, as in the paper, but small."""


@dataclass(frozen=True)
class Expected:
    """What must come of a file."""

    reason: str | None = None
    """Why it is refused; None: it is read."""
    numbers: tuple[int, ...] | None = None
    """Source frames shown, in order, when it is read."""
    backend: str = "decord"
    """Reader that must be used where decord is installed."""
    unchanging: str | None = None
    """Why `check_motion` refuses it; None: it does not."""


def numbered(number: int, height: int = SIZE[0], width: int = SIZE[1]) -> np.ndarray:
    """A picture (H, W, 3) with its number as black and white bars; the top quarter is reddish."""
    bits = np.array([number >> bit & 1 for bit in range(BITS)])
    row = np.where(bits[np.arange(width) * BITS // width] == 1, 235, 20)
    picture = np.broadcast_to(row[None, :, None], (height, width, 3)).astype(np.uint8)
    picture[: height // 4, :, 0] = 235
    return picture


def numbers(frames: np.ndarray) -> tuple[int, ...]:
    """Numbers read back from the lower half of pictures (n, 3, H, W)."""
    width = frames.shape[-1]
    rows = frames[:, 1, frames.shape[-2] // 2 :].astype(np.float32).mean(1)
    middles = [(2 * bit + 1) * width // (2 * BITS) for bit in range(BITS)]
    return tuple(sum(int(row[x] > 128) << bit for bit, x in enumerate(middles)) for row in rows)


def on_screen(times: Sequence[float], hidden: int = 0) -> tuple[int, ...]:
    """Frames that a player shows at k/8 s after frame `hidden`, the first that it shows at all."""
    wanted = [times[hidden] + k / FPS for k in range(NUM_FRAMES)]
    return tuple(max(i for i, t in enumerate(times) if t <= w + 1e-3) for w in wanted)


@contextmanager
def same_scheduling() -> Iterator[None]:
    """Keep the scheduling of this thread, which SVT-AV1 makes real-time where it may (as root).

    Every process started later would inherit that. Threads that wait for each other by spinning, as those of
    matrix products do, then wait for ever as soon as there are more of them than cores.
    """
    if not hasattr(os, "sched_getscheduler"):  # not Linux
        yield
        return
    policy, priority = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        os.sched_setscheduler(0, policy, priority)


@same_scheduling()
def encode(
    path: Path,
    pictures: Iterable[np.ndarray],
    times: Sequence[float],
    *,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    options: dict[str, str] | None = None,
    rotation: int = 0,
    rate: int = FPS,
    tick: Fraction = Fraction(1, 1000),
) -> Path:
    """Write pictures (H, W, 3) at the given times, seconds."""
    with av.open(
        str(path), "w", options={"movflags": "+faststart"} if path.suffix == ".mp4" else {}
    ) as container:
        stream = None
        for picture, seconds in zip(pictures, times, strict=True):
            if stream is None:
                stream = container.add_stream(codec, rate=rate, options={"threads": "1", **(options or {})})
                stream.height, stream.width = picture.shape[:2]
                stream.pix_fmt = pix_fmt
                stream.time_base = stream.codec_context.time_base = tick
                if rotation:
                    stream.set_display_rotation(rotation)
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            frame.pts, frame.time_base = round(seconds / tick), tick
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def counted(path: Path, count: int = 52, rate: int = FPS, **settings: object) -> tuple[int, ...]:
    """Write numbered frames at a steady rate; the frames that must be read from them."""
    times = [k / rate for k in range(count)]
    encode(path, map(numbered, range(count)), times, rate=rate, tick=Fraction(1, rate), **settings)
    return on_screen(times)


def sound(path: Path) -> None:
    """Write a second of silence."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        for _ in range(16):
            silence = av.AudioFrame.from_ndarray(
                np.zeros((1, 1024), np.float32), format="fltp", layout="mono"
            )
            silence.sample_rate = 16000
            container.mux(stream.encode(silence))
        container.mux(stream.encode())


def edit(path: Path, *, first: float = 0.0, seconds: float) -> None:
    """Make an mp4 show only some of its seconds, as a cut without encoding anew does."""
    data = bytearray(path.read_bytes())
    box, header, media = (data.find(name) for name in (b"elst", b"mvhd", b"mdhd"))
    (movie_scale,) = struct.unpack_from(">I", data, header + 16)
    (media_scale,) = struct.unpack_from(">I", data, media + 16)
    (begin,) = struct.unpack_from(">i", data, box + 16)
    struct.pack_into(">Ii", data, box + 12, round(seconds * movie_scale), begin + round(first * media_scale))
    path.write_bytes(data)


def hide_box(path: Path, name: bytes) -> None:
    """Make readers pass over the first box of this name in an mp4."""
    data = path.read_bytes()
    path.write_bytes(data.replace(name, b"free", 1))


def stamp_again(path: Path, old: int, new: int) -> None:
    """Give a frame of a Matroska file with one video track another time stamp, milliseconds."""
    data = path.read_bytes()
    before, after = (b"\x81" + struct.pack(">h", ms) for ms in (old, new))
    if before not in data:
        raise AssertionError(f"got no block at {old} ms in {path}; expected one")
    path.write_bytes(data.replace(before, after, 1))


def broken(folder: Path) -> dict[str, Expected]:
    """Files that are no video, or not a whole one."""
    noise = np.random.default_rng(0)
    noisy = (numbered(k) // 2 + noise.integers(0, 99, (*SIZE, 3), dtype=np.uint8) for k in range(52))
    whole = encode(folder / "noise.mp4", noisy, [k / FPS for k in range(52)]).read_bytes()
    (folder / "noise.mp4").unlink()
    middle = len(whole) // 2
    damaged = whole[:middle] + noise.bytes(len(whole) // 8) + whole[middle + len(whole) // 8 :]
    contents = {
        "zero_bytes.mp4": (b"", "empty"),
        "text.mp4": (b"<html>404 not found</html>" * 99, "not_video"),
        "truncated_header.mp4": (whole[:200], "not_video"),
        "cut_at_30_percent.mp4": (whole[: 3 * len(whole) // 10], "corrupt"),
        "corrupt_middle.mp4": (damaged, "corrupt"),
        "random_bytes.mp4": (noise.bytes(9999), "not_video"),
    }
    for name, (content, _) in contents.items():
        (folder / name).write_bytes(content)
    sound(folder / "audio_only.mp4")
    counted(folder / "stream.ts", options={"bf": "0"})
    stream = (folder / "stream.ts").read_bytes()
    (folder / "time_runs_back.ts").write_bytes(stream[: len(stream) // 376 * 188] + stream)
    (folder / "stream.ts").unlink()
    encode(folder / "picture.mp4", [numbered(1)], [0.0], codec="mjpeg", pix_fmt="yuvj420p")
    found = {name: Expected(reason) for name, (_, reason) in contents.items()}
    others = {"audio_only.mp4": "no_video_stream", "time_runs_back.ts": "corrupt", "picture.mp4": "too_short"}
    return found | {name: Expected(reason) for name, reason in others.items()}


def turned(folder: Path) -> dict[str, Expected]:
    """Phone videos, stored lying and shown upright."""
    times = [k / FPS for k in range(NUM_FRAMES)]
    found = {}
    for rotation, sides in ((90, SIZE), (180, SIZE), (270, SIZE), (90, SIZE[::-1])):
        name = f"rotated_{rotation}_{'wide' if sides == SIZE else 'tall'}.mp4"
        upright = (numbered(k, *sides) for k in range(len(times)))
        lying = (np.rot90(picture, -rotation // 90) for picture in upright)
        encode(folder / name, lying, times, rotation=rotation)
        found[name] = Expected(numbers=on_screen(times), backend="pyav")
    return found


def stamped(folder: Path) -> dict[str, Expected]:
    """Files whose time stamps are not k / rate from 0 on."""
    times = [k / 30 for k in range(60)] + [2 + k / 10 for k in range(20)] + [4 + k / 60 for k in range(150)]
    encode(folder / "vfr.mp4", map(numbered, range(len(times))), times)
    late = [1.5 + k / FPS for k in range(52)]
    encode(folder / "late_start.mkv", map(numbered, range(52)), late)
    counted(folder / "mpeg.ts")
    shown = [k / 24 for k in range(200)]
    counted(folder / "edit_list.mp4", 200, 24)
    edit(folder / "edit_list.mp4", first=32 / 24, seconds=(200 - 32) / 24)
    counted(folder / "edit_list_end.mp4", 60)
    edit(folder / "edit_list_end.mp4", seconds=40 / FPS)
    counted(folder / "delayed.mp4")
    hide_box(folder / "delayed.mp4", b"edts")
    steady = counted(folder / "same_stamp.mkv", options={"bf": "0"})
    stamp_again(folder / "same_stamp.mkv", 1250, 1125)
    dropped = tuple(9 if k == 10 else k for k in steady)
    return {
        "vfr.mp4": Expected(numbers=on_screen([round(t, 3) for t in times])),
        "late_start.mkv": Expected(numbers=on_screen(late), backend="pyav"),
        "mpeg.ts": Expected(numbers=steady, backend="pyav"),
        "edit_list.mp4": Expected(numbers=on_screen(shown, hidden=32), backend="pyav"),
        "edit_list_end.mp4": Expected("too_short"),
        "delayed.mp4": Expected(numbers=steady, backend="pyav"),
        "same_stamp.mkv": Expected(numbers=dropped, backend="pyav"),
    }


def encoded(folder: Path) -> dict[str, Expected]:
    """Codecs, pixel formats, rates and lengths."""
    quiet = {"x265-params": "log-level=none"}
    groups = "keyint=12:min-keyint=12:scenecut=0:bframes=3:open-gop="
    dense = {"count": 200, "rate": 30}
    opened, closed = ({"x264-params": f"{groups}{number}"} for number in (1, 0))
    opened_hevc = {"x265-params": f"log-level=none:{groups}1"}
    every: dict[str, tuple[str, dict]] = {
        "av1.mp4": ("pyav", {"codec": "libsvtav1", "options": {"preset": "12"}}),
        "vp9.webm": ("pyav", {"codec": "libvpx-vp9", "options": {"deadline": "realtime"}}),
        "hevc.mp4": ("decord", {"codec": "libx265", "options": quiet}),
        "mpeg4.avi": ("decord", {"codec": "mpeg4"}),
        "ten_bit.mp4": ("decord", {"pix_fmt": "yuv420p10le"}),
        "open_groups.mp4": ("pyav", {"options": opened, **dense}),
        "open_groups_hevc.mp4": ("pyav", {"codec": "libx265", "options": opened_hevc, **dense}),
        "closed_groups.mp4": ("decord", {"options": closed, **dense}),
        "fps_12.mp4": ("decord", {"count": 80, "rate": 12}),
        "fps_120.mp4": ("decord", {"count": 760, "rate": 120}),
        "fps_8.mp4": ("decord", {"count": NUM_FRAMES}),
    }
    found = {}
    for name, (backend, settings) in every.items():
        found[name] = Expected(numbers=counted(folder / name, **settings), backend=backend)
    for count in (1, 48):
        encode(folder / f"frames_{count}.mp4", map(numbered, range(count)), [k / FPS for k in range(count)])
        found[f"frames_{count}.mp4"] = Expected("too_short")
    return found


def pictured(folder: Path) -> dict[str, Expected]:
    """Sizes and contents out of the ordinary."""
    steady = [k / FPS for k in range(NUM_FRAMES)]
    seconds = [float(k) for k in range(7)]
    odd = (numbered(k, 65, 97) for k in range(NUM_FRAMES))
    encode(folder / "odd_444.mp4", odd, steady, pix_fmt="yuv444p")
    tall = (numbered(k, 128, 72) for k in range(NUM_FRAMES))
    encode(folder / "tall.mp4", tall, steady)
    huge = (numbered(k, 2304, 4096) for k in range(7))
    encode(folder / "huge.mp4", huge, seconds, options={"preset": "ultrafast"}, rate=1)
    cut = (numbered(k)[:, :, :: 1 if k < 25 else -1] for k in range(NUM_FRAMES))
    encode(folder / "cut_inside.mp4", cut, steady)
    encode(folder / "black.mp4", (numbered(0) * 0 for _ in steady), steady)
    encode(folder / "static.mp4", (numbered(5) for _ in steady), steady)
    every = tuple(range(NUM_FRAMES))
    slow = tuple(k // FPS for k in range(NUM_FRAMES))
    return {
        "odd_444.mp4": Expected(numbers=every),
        "tall.mp4": Expected(numbers=every),
        "huge.mp4": Expected(numbers=slow, unchanging="too_many_duplicate_frames"),
        "cut_inside.mp4": Expected(numbers=every),
        "black.mp4": Expected(numbers=(0,) * NUM_FRAMES, unchanging="static"),
        "static.mp4": Expected(numbers=(5,) * NUM_FRAMES, unchanging="static"),
    }


def named(folder: Path) -> dict[str, Expected]:
    """Good videos under awkward names, and names without a video."""
    good = Expected(numbers=counted(folder / "plain.mp4"))
    copies = ["duplicate.mp4", "naïve 视频 ☃ 100%.mp4", "colon: a.mp4", "-dash.mp4"]
    copies += ["wrong_extension.jpg", "wrong_extension.txt", "no_extension"]
    for name in copies:
        shutil.copyfile(folder / "plain.mp4", folder / name)
    data = (folder / "plain.mp4").read_bytes()
    (folder / "title_not_utf8.mp4").write_bytes(data.replace(b"Lavf", b"\xff\xfe\xe9\x80"))  # who wrote it
    (folder / "good_link.mp4").symlink_to("plain.mp4")
    (folder / "loop.mp4").symlink_to("loop.mp4")
    (folder / "broken_link.mp4").symlink_to("gone.mp4")
    (folder / "folder.mp4").mkdir()
    found = dict.fromkeys(("plain.mp4", *copies, "title_not_utf8.mp4", "good_link.mp4"), good)
    found |= dict.fromkeys(("vanished.mp4", "loop.mp4", "broken_link.mp4", "folder.mp4"), Expected("missing"))
    if os.geteuid() != 0:  # nothing is forbidden to root
        shutil.copyfile(folder / "plain.mp4", folder / "forbidden.mp4")
        (folder / "forbidden.mp4").chmod(0)
        found["forbidden.mp4"] = Expected("unreadable")
    return found


KINDS: tuple[Callable[[Path], dict[str, Expected]], ...] = (broken, turned, stamped, encoded, pictured, named)


def write_torture(folder: Path) -> dict[str, Expected]:
    """Write all files into a folder.

    Args:
        folder: made if missing.

    Returns:
        What must come of each file, by its name in the folder. "vanished.mp4" is not there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    found: dict[str, Expected] = {}
    for kind in KINDS:
        found |= kind(folder)
    return found
