"""Writing and reading records of full size: single safetensors files, packed tars, and torch.save.

`python -m benchmarks.store` writes 60 records of the full preset (49 frames of 480x720, 226 text tokens of
4096) in each format, reads all in random order three times, cold (pages of each file dropped from the cache)
and warm, and prints medians. Every page of every tensor is touched. `--folder` chooses the disk.
"""

import argparse
import io
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from semrepa.data.pack import pack
from semrepa.data.store import FeatureStore, Record
from semrepa.files import write_whole

ROUNDS = 3
TARGET = 150
"""Warm records per second of single files."""


def record(seed: int) -> Record:
    """Random values with the names, shapes and types of the full preset."""
    chance = torch.Generator().manual_seed(seed)

    def noise(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=chance)

    return {
        "latents": noise(13, 16, 60, 90).half(),
        "depth_latents": noise(13, 16, 60, 90).half(),
        "depth_range": noise(2),
        "first_frame": torch.randint(0, 256, (3, 480, 720), dtype=torch.uint8, generator=chance),
        "prompt_embeds": noise(226, 4096).half(),
        "id_embeds": noise(49, 512).half(),
        "face_mask": noise(49) > 0,
        "face_boxes": noise(49, 4),
        "face_scores": noise(49),
        "face_sizes": noise(49),
        "face_cuts": noise(49),
        "face_yaws": noise(49),
        "person_box": noise(5),
        "content": torch.tensor([0, 0, 480, 720], dtype=torch.int32),
        "timestamps": noise(49),
    }


def touch(features: Record) -> int:
    """Read one byte of every page."""
    return sum(int(x.flatten().view(torch.uint8)[::4096].sum()) for x in features.values())


def forget(folder: Path) -> None:
    """Drop the pages of all files from the cache."""
    os.sync()
    for path in folder.rglob("*"):
        if path.is_file():
            descriptor = os.open(path, os.O_RDONLY)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)


def timed(work: Callable[[], object], records: int) -> tuple[float, float]:
    """Records per second and CPU milliseconds per record."""
    began, cpu = time.perf_counter(), time.process_time()
    work()
    cpu, passed = time.process_time() - cpu, time.perf_counter() - began
    return records / passed, 1000 * cpu / records


def read_times(
    folder: Path, ids: list[str], read: Callable[[str], Record], *, cold: bool
) -> tuple[float, float]:
    """Medians over rounds in random order."""
    found = []
    for seed in range(ROUNDS):
        order = random.Random(seed).sample(ids, len(ids))
        if cold:
            forget(folder)
        found.append(timed(lambda order=order: [touch(read(clip_id)) for clip_id in order], len(ids)))
    return statistics.median(x for x, _ in found), statistics.median(x for _, x in found)


def torch_save(path: Path, features: Record) -> None:
    """The same care as for our own files: on the disk, then renamed."""
    data = io.BytesIO()
    torch.save(features, data)
    write_whole(path, data.getvalue())


def measure(folder: Path, count: int) -> dict[str, list[tuple[float, float]]]:
    """Write, cold read and warm read of each format: records per second and CPU ms."""
    made, ids = [record(seed) for seed in range(4)], [f"clip{number:04d}" for number in range(count)]
    store, pickles = FeatureStore(folder / "single", {"benchmark": 1}), folder / "pickles"
    each = list(zip(ids, made * count, strict=False))
    writes = {
        "safetensors, one file each": lambda: [store.write(clip_id, features) for clip_id, features in each],
        "packed tar with index": lambda: pack(store, folder / "packed"),
        "torch.save, one file each": lambda: [torch_save(pickles / f"{key}.pt", x) for key, x in each],
    }
    wrote = {name: timed(write, count) for name, write in writes.items()}
    packed = pack(store, folder / "packed")
    reads = {
        "safetensors, one file each": (store.folder, store.read),
        "packed tar with index": (packed.folder, packed.read),
        "torch.save, one file each": (
            pickles,
            lambda key: torch.load(pickles / f"{key}.pt", weights_only=True),
        ),
    }
    return {
        name: [wrote[name], *(read_times(place, ids, read, cold=cold) for cold in (True, False))]
        for name, (place, read) in reads.items()
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Speed of a feature store.")
    parser.add_argument("--records", type=int, default=60, help="default: 60, 1.3 GB in all")
    parser.add_argument("--folder", type=Path, help="on the disk to measure; default: the temporary folder")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        table = measure(Path(folder), options.records)
    size = sum(x.nbytes for x in record(0).values()) / 1e6
    print(f"{options.records} records of {size:.1f} MB, random order, medians of {ROUNDS} rounds")
    print(f"{'':<28}" + "".join(f"{name:>24}" for name in ("write", "cold read", "warm read")))
    print(f"{'':<28}" + f"{'rec/s':>16}{'CPU ms':>8}" * 3 + f"{'warm vs torch.save':>20}")
    base = table["torch.save, one file each"][2][0]
    for name, times in table.items():
        cells = "".join(f"{speed:16.0f}{cpu:8.1f}" for speed, cpu in times)
        print(f"{name:<28}{cells}{times[2][0] / base:19.2f}x")
    reached = table["safetensors, one file each"][2][0]
    print(f"target: {TARGET} warm records/s of single files; here {reached:.0f}")


if __name__ == "__main__":
    main()
