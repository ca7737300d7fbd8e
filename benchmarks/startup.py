"""How long fine-tuning takes to start, with 10, 100 and 1,000 prepared clips: what grows with the store?

    python -m benchmarks.startup                    # 2 minutes on a CPU
    python -m benchmarks.startup --clips 10 100000  # other sizes; a record takes 55 kB

Each start is a process of its own: the shipped mini model and aligners, videos of 9 frames of 64x96, batches
of 4, a store whose files are in the cache. CPU seconds by part, medians over rounds in which all sizes take
turns; the last columns are wall seconds from the start of the process to the end of step 1, how many records
were read until then, and how many were looked for. Below: what 1,000 clips more add, by a line through all.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

SIZES = (10, 100, 1000)
ROUNDS = 3
BATCH = 4
VIDEO = {"num_frames": 9, "height": 64, "width": 96}
PARTS = ("imports", "loading models", "opening the store", "first batch", "up to the loop", "first step")


def start(folder: str, began: float) -> dict[str, float]:
    """Start a run in this process, which began at a time of the system's clock."""
    marks = [("", 0.0)]

    def done(part: str) -> None:
        marks.append((part, time.process_time()))

    import torch

    from semrepa.data.dataset import StoreDataset
    from semrepa.data.packed import open_for_reading
    from semrepa.models.cogvideox import load_cogvideox
    from semrepa.models.identity import IdentityAligner
    from semrepa.models.structure import StructureAligner
    from semrepa.provenance import mini_asset
    from semrepa.training.alignment import Aligners
    from semrepa.training.finetune import finetune

    torch.set_num_threads(1)
    done("imports")
    parts = load_cogvideox(mini_asset("cogvideox"))
    aligners = Aligners(
        structure=StructureAligner.from_pretrained(mini_asset("structure_aligner")),
        identity=IdentityAligner.from_pretrained(mini_asset("identity_aligner")),
    )
    done("loading models")
    store = open_for_reading(folder)
    ids = store.ids()
    done("opening the store")
    StoreDataset(store, ids).batch(range(BATCH))
    done("first batch")
    counts = _watch(store)
    with tempfile.TemporaryDirectory() as run_dir:
        given = {"train_ids": ids, "parts": parts, "aligners": aligners}
        run = finetune(_config(), store, Path(run_dir) / "run", **given)
        done("up to the loop")
        next(run)
        done("first step")
        wall = time.monotonic() - began
        run.close()
    spent = {part: after - before for (_, before), (part, after) in pairwise(marks)}
    return spent | {"in all": marks[-1][1], "wall": wall} | counts


def _watch(store) -> dict[str, float]:
    """Count what is asked of the store from here on."""
    counts = {"read": 0, "looked for": 0}

    def watched(name: str, method):
        def call(*args, **kwargs):
            counts[name] += 1
            return method(*args, **kwargs)

        return call

    store.read, store.has = watched("read", store.read), watched("looked for", store.has)
    return counts


def _config():
    from semrepa.config import mini, override

    return override(mini(), {"video": VIDEO, "finetune": {"batch_size": BATCH, "steps": 2}})


def make_store(folder: Path, clips: int) -> None:
    """Fill a store with random records of the mini model's shapes."""
    from semrepa.data.store import FeatureStore
    from semrepa.prepare.stores import fingerprint
    from semrepa.weights import check_weights

    cfg = _config()
    made_from = fingerprint(cfg, check_weights(cfg, ("model", "depth", "face", "people")))
    store = FeatureStore(folder, made_from)
    records = [_record(seed) for seed in range(8)]
    for number in range(clips):
        store.write(f"clip{number:06d}", records[number % len(records)])


def _record(seed: int):
    import torch

    chance, frames = torch.Generator().manual_seed(seed), VIDEO["num_frames"]
    shape = (3, 16, VIDEO["height"] // 8, VIDEO["width"] // 8)
    faces = torch.nn.functional.normalize(torch.randn(frames, 512, generator=chance), dim=1)
    picture = (3, VIDEO["height"], VIDEO["width"])
    return {
        "latents": torch.randn(shape, generator=chance).half(),
        "depth_latents": torch.randn(shape, generator=chance).half(),
        "depth_range": torch.tensor([0.0, 1.0]),
        "first_frame": torch.randint(0, 256, picture, generator=chance).to(torch.uint8),
        "prompt_embeds": torch.randn(40, 64, generator=chance).half(),
        "id_embeds": faces.half(),
        "face_mask": torch.ones(frames, dtype=torch.bool),
        "face_boxes": torch.zeros(frames, 4),
    }


def start_apart(folder: Path) -> dict[str, float]:
    """Start a run in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.startup", "--here", str(folder), str(time.monotonic())]
    return json.loads(subprocess.check_output(command, text=True).splitlines()[-1])


def measure(folder: Path, sizes: Sequence[int]) -> list[dict[str, float]]:
    """Medians of each size."""
    for clips in sizes:
        make_store(folder / str(clips), clips)
    start_apart(folder / str(sizes[0]))
    rounds = [[start_apart(folder / str(clips)) for clips in sizes] for _ in range(ROUNDS)]
    return [
        {name: statistics.median(one[name] for one in found) for name in found[0]}
        for found in zip(*rounds, strict=True)
    ]


def report(sizes: Sequence[int], found: Sequence[dict[str, float]]) -> str:
    """The table, and what grows."""
    from semrepa.estimate.tables import aligned, digits

    rows = [
        {"clips": f"{clips:,}"}
        | {name: digits(one[name]) for name in (*PARTS, "in all", "wall")}
        | {name: str(round(one[name])) for name in ("read", "looked for")}
        for clips, one in zip(sizes, found, strict=True)
    ]
    growth = {part: 1000 * np.polyfit(sizes, [one[part] for one in found], 1)[0] for part in PARTS}
    added = ", ".join(f"{part} {1000 * seconds:+.0f} ms" for part, seconds in growth.items())
    first, last = found[0], found[-1]
    ratio = f"{sizes[-1]:,} clips against {sizes[0]:,}: {last['in all'] / first['in all']:.2f}x"
    title = "CPU seconds to the end of step 1, one thread"
    return f"{aligned(title, rows)}\n{ratio} of the CPU time; 1,000 clips more add: {added}"


def main(arguments: list[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clips", type=int, nargs="+", default=SIZES, help="sizes of the store")
    parser.add_argument("--here", nargs=2, metavar=("STORE", "BEGAN"), help="start in this process, as JSON")
    options = parser.parse_args(arguments)
    if options.here:
        folder, began = options.here
        print(json.dumps(start(folder, float(began))))
        return
    with tempfile.TemporaryDirectory() as folder:
        print(report(options.clips, measure(Path(folder), options.clips)))


if __name__ == "__main__":
    main()
