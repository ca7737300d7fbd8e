"""Our reader against bare decord, PyAV and OpenCV on the same clips, and its memory over 200 clips.

`python -m benchmarks.reading` makes seven-second clips whose frames carry their number, reads 49 frames at 8
per second at 480x720 from each, and prints medians of CPU milliseconds per clip, the speed against bare
decord (above 1 is faster), and how many frames are the right ones. Bare readers count frames by the average
rate, as is usual; all deliver (n, 3, h, w). "with source" also gives the pictures at the source's resolution.
Readers take turns, so that a machine that is slow for a while is slow for all.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import av
import cv2
import decord
import numpy as np

from semrepa.data.sampling import content_box
from semrepa.data.video import ClipError, probe, read_clip
from tests.data.torture import edit, encode, numbered, numbers, on_screen

COUNT, FPS, SIZE = 49, 8, (480, 720)
EVERY = 50
"""Clips after which memory is looked at."""
STRIP = 8
"""The lowest eighth of a picture is its bar code."""

Reader = Callable[[Path], np.ndarray]
"""From a file to pictures (n, 3, h, w), contiguous as networks want them."""


@dataclass(frozen=True)
class Clip:
    """A file and the frames that must be read from it."""

    path: Path
    expected: tuple[int, ...]


def moving(count: int, height: int, width: int) -> Iterator[np.ndarray]:
    """Pictures of a texture that drifts, with some noise, each with its number below."""
    random = np.random.default_rng(0)
    texture = np.zeros((height + 64, width + 512, 3), np.float32)
    for cells in (6, 24, 96):
        coarse = random.uniform(-1, 1, (cells, 2 * cells, 3)).astype(np.float32)
        texture += 40 * cv2.resize(coarse, texture.shape[1::-1])
    noise = random.normal(128, 3, (height + 32, width + 32, 3)).astype(np.float32)
    for k in range(count):
        down, right = random.integers(0, 32, 2)
        seen = texture[k // 8 : k // 8 + height, 2 * k : 2 * k + width]
        picture = seen + noise[down : down + height, right : right + width]
        strip = height // STRIP
        picture = picture.clip(0, 255).astype(np.uint8)
        picture[-strip:] = numbered(k, 2 * strip, width)[strip:]
        yield picture


def make_clips(folder: Path, seconds: float) -> dict[str, Clip]:
    """Write the clips."""
    quick = {"preset": "veryfast", "crf": "23"}
    hevc = {"preset": "ultrafast", "x265-params": "log-level=none:keyint=48"}
    kinds = {
        "720p 24": (720, 1280, 24, {"options": quick}),
        "1080p 30": (1080, 1920, 30, {"options": quick}),
        "vertical 30": (1280, 720, 30, {"options": quick}),
        "720p HEVC": (720, 1280, 24, {"codec": "libx265", "options": hevc}),
        "720p AV1": (720, 1280, 24, {"codec": "libsvtav1", "options": {"preset": "8", "crf": "25"}}),
        "720p VFR": (720, 1280, 24, {"options": quick}),
        "720p edit list": (720, 1280, 24, {"options": quick}),
    }
    clips = {}
    for name, (height, width, rate, settings) in kinds.items():
        hidden = 32 if "edit" in name else 0
        count = round(seconds * rate) + hidden
        times = np.arange(count) / rate
        if "VFR" in name:
            times = np.where(np.arange(count) < 48, times, 2 + (times - 2) / 2)
            count = len(times := np.concatenate([times, times[-1] + np.arange(1, 40) / 12]))
        path = folder / f"{name.replace(' ', '_')}.mp4"
        encode(
            path, moving(count, height, width), list(times), rate=rate, tick=Fraction(1, 2 * rate), **settings
        )
        if hidden:
            edit(path, first=hidden / rate, seconds=seconds)
        clips[name] = Clip(path, on_screen([float(t) for t in times], hidden))
    return clips


def inner_size(path: Path) -> tuple[int, int]:
    """Height and width at which a file's pictures are wanted."""
    info = probe(path)
    return content_box(info.width, info.height, SIZE)[2:]


def colours_first(pictures: Sequence[np.ndarray] | np.ndarray) -> np.ndarray:
    """Pictures (h, w, 3) as (n, 3, h, w), copied one by one, which is quickest."""
    height, width, _ = pictures[0].shape
    moved = np.empty((len(pictures), 3, height, width), np.uint8)
    for canvas, picture in zip(moved, pictures, strict=True):
        canvas[:] = picture.transpose(2, 0, 1)
    return moved


def with_ours(path: Path, **options: Any) -> np.ndarray:
    clip = read_clip(path, num_frames=COUNT, fps=FPS, size=SIZE, **options)
    top, left, height, width = clip.content
    return clip.frames[:, :, top : top + height, left : left + width].numpy()


def with_decord(path: Path, height: int, width: int) -> np.ndarray:
    reader = decord.VideoReader(str(path), width=width, height=height, num_threads=1)
    step = reader.get_avg_fps() / FPS
    places = [min(int(k * step + 1e-3), len(reader) - 1) for k in range(COUNT)]
    return colours_first(reader.get_batch(places).asnumpy())


def with_pyav(path: Path, height: int, width: int) -> np.ndarray:
    pictures = []
    with av.open(str(path)) as container:
        step = float(container.streams.video[0].average_rate) / FPS
        places = [int(k * step + 1e-3) for k in range(COUNT)]
        for k, frame in enumerate(container.decode(video=0)):
            if k in places:
                pictures.append(
                    frame.to_ndarray(width=width, height=height, format="rgb24", interpolation="BILINEAR")
                )
            if len(pictures) == COUNT:
                break
    return colours_first(pictures)


def with_opencv(path: Path, height: int, width: int) -> np.ndarray:
    capture, pictures, k = cv2.VideoCapture(str(path)), [], 0
    step = capture.get(cv2.CAP_PROP_FPS) / FPS
    places = {int(i * step + 1e-3) for i in range(COUNT)}
    while len(pictures) < COUNT and capture.grab():
        if k in places:
            small = cv2.resize(capture.retrieve()[1], (width, height), interpolation=cv2.INTER_AREA)
            pictures.append(cv2.cvtColor(small, cv2.COLOR_BGR2RGB))
        k += 1
    if not pictures:
        raise ValueError("no frames")
    return colours_first(pictures)


def right_frames(pictures: np.ndarray, expected: tuple[int, ...]) -> int:
    """How many pictures show the frame that they must."""
    strip = pictures.shape[2] // STRIP
    found = numbers(pictures[:, :, -strip:])
    return sum(a == b for a, b in zip(found, expected, strict=False))


Result = tuple[float, int] | None
"""Median CPU milliseconds and right frames; None when the file cannot be read."""


def measure(readers: dict[str, Reader], clip: Clip, rounds: int) -> dict[str, Result]:
    """Let readers read a clip in turns."""
    spent: dict[str, list[float]] = {name: [] for name in readers}
    right: dict[str, int] = {}
    for _ in range(rounds):
        for name, read in readers.items():
            began = time.process_time()
            try:
                pictures = read(clip.path)
            except (decord.DECORDError, RuntimeError, ValueError, ClipError):
                continue
            spent[name].append(1000 * (time.process_time() - began))
            right[name] = right_frames(pictures, clip.expected)
    return {
        name: (statistics.median(spent[name]), right[name]) if name in right else None for name in readers
    }


def speed(clips: dict[str, Clip], rounds: int) -> None:
    """Print the table of times."""
    print(f"{COUNT} frames at {FPS} per second, {SIZE[0]}x{SIZE[1]}, medians of {rounds} rounds")
    print(f"{'clip':<16}{'reader':<20}{'CPU ms':>8}{'speed':>8}{'right frames':>14}")
    for name, clip in clips.items():
        sides = dict(zip(("height", "width"), inner_size(clip.path), strict=True))
        backend = read_clip(clip.path, num_frames=1, fps=FPS, size=SIZE).backend
        readers: dict[str, Reader] = {
            "bare decord": partial(with_decord, **sides),
            f"ours ({backend})": with_ours,
            "ours, with source": partial(with_ours, picture_side=1080),
            "ours, only PyAV": partial(with_ours, backend="pyav"),
            "bare PyAV": partial(with_pyav, **sides),
            "OpenCV": partial(with_opencv, **sides),
        }
        results = measure(readers, clip, rounds)
        base = results["bare decord"]
        for reader, result in results.items():
            if result is None:
                print(f"{name:<16}{reader:<20}{'cannot read it':>30}")
                continue
            ratio = f"{base[0] / result[0]:8.2f}" if base else f"{'':>8}"
            print(f"{name:<16}{reader:<20}{result[0]:8.0f}{ratio}{f'{result[1]} of {COUNT}':>14}")


def child_cost(clip: Clip, rounds: int) -> None:
    """Print what the child process adds to the time on the clock."""
    spent: dict[str, list[float]] = {"in this process": [], "in a child": []}
    for _ in range(rounds + 1):
        for name, timeout in zip(spent, (None, 60.0), strict=True):
            began = time.perf_counter()
            with_ours(clip.path, timeout=timeout)
            spent[name].append(1000 * (time.perf_counter() - began))
    print(
        ", ".join(f"{name} {min(values[1:]):.0f} ms" for name, values in spent.items()),
        "(least, on the clock)",
    )


def resident(process: str = "self") -> float:
    """Memory that a process holds, MB."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * 4096 / 1e6


def children() -> list[str]:
    """Numbers of the processes that this one has started."""
    return [
        number for file in Path("/proc/self/task").glob("*/children") for number in file.read_text().split()
    ]


def memory(clips: dict[str, Clip], count: int) -> None:
    """Print memory while many clips are read one after another: here, in a child, and with large pictures."""
    ways: dict[str, dict[str, Any]] = {
        "in this process": {},
        "with source": {"picture_side": 1080},
        "in a child": {"timeout": 60},
        "with source, in a child": {"timeout": 60, "picture_side": 1080},
    }
    paths = [clip.path for clip in clips.values()]
    print(f"memory after every {EVERY} of {count} clips, MB")
    for name, options in ways.items():
        held = []
        for k in range(count):
            with_ours(paths[k % len(paths)], **options)
            if (k + 1) % EVERY == 0:
                held.append((resident(), sum(map(resident, children()))))
        print(f"{name:<26}" + " ".join(f"{own:.0f} + {child:.0f}" for own, child in held), "(own + child)")


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=7.0)
    parser.add_argument("--clips", type=int, default=200, help="read for the memory line")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        # In a process of its own: encoders keep memory that is none of the reader's.
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            clips = pool.submit(make_clips, Path(folder), arguments.seconds).result()
        memory(clips, arguments.clips)
        speed(clips, arguments.rounds)
        child_cost(next(iter(clips.values())), arguments.rounds)


if __name__ == "__main__":
    main()
