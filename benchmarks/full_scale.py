"""Real sizes with random weights: time and peak memory of each part beside the estimate.

    python -m benchmarks.full_scale                          # all parts at the paper's size, on a GPU
    python -m benchmarks.full_scale --part "VAE encode" --part "depth teacher"
    python -m benchmarks.full_scale --tiny                   # tiny sizes on the CPU: proves the script only

Every part runs in a process of its own, so that peaks do not mix. Seconds are medians after one warm-up;
memory is `torch.cuda.max_memory_allocated`, weights included (with --tiny: bytes of live tensors). A part
that does not fit is shown as such.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext

import torch

from benchmarks.full_scale_parts import PARTS, Scale, scale_of
from semrepa.estimate import visible_gpu
from semrepa.estimate.gpus import GIB, cpu
from semrepa.estimate.tables import aligned, digits
from semrepa.models.video_depth_anything.memory import LiveTensors


def measure(name: str, scale: Scale, repeats: int) -> dict[str, object]:
    """Run one part in this process."""
    torch.manual_seed(0)
    with nullcontext() if scale.on_gpu else LiveTensors() as live:
        case = PARTS[name](scale)
        case.run()
        if live:
            live.peak = live.live
            case.run()
    if scale.on_gpu:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    seconds = [_timed(case.run, scale) for _ in range(repeats)]
    gpu = (visible_gpu() if scale.on_gpu else None) or cpu()
    return {
        "part": name,
        "device": torch.cuda.get_device_name() if scale.on_gpu else "cpu",
        "seconds": statistics.median(seconds),
        "expected seconds": sum(flops / gpu.speed(kind) for flops, kind in case.flops),
        "bytes": live.peak if live else torch.cuda.max_memory_allocated(),
        "expected bytes": case.memory,
    }


def _timed(run: Callable[[], object], scale: Scale) -> float:
    began = time.perf_counter()
    run()
    if scale.on_gpu:
        torch.cuda.synchronize()
    return time.perf_counter() - began


def measure_apart(name: str, *, tiny: bool, repeats: int) -> dict[str, object]:
    """Run one part in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.full_scale", "--here", "--part", name]
    command += ["--repeats", str(repeats), *(["--tiny"] if tiny else [])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = done.stdout.strip().splitlines()
    if done.returncode == 0 and lines:
        return json.loads(lines[-1])
    last = (done.stderr.strip().splitlines() or ["no output"])[-1]
    return {"part": name, "error": last}


def row(found: dict, unit: str) -> dict[str, object]:
    """One line of the table."""
    size = GIB if unit == "GiB" else 2**20
    columns = ("s", "s expected", "ratio", unit, f"{unit} expected", "ratio ")
    if "error" in found:
        return {"part": f"{found['part']}: {found['error']}"} | dict.fromkeys(columns, "")
    seconds, memory = ((found[name], found[f"expected {name}"]) for name in ("seconds", "bytes"))
    numbers = [*seconds, seconds[0] / seconds[1], memory[0] / size, memory[1] / size, memory[0] / memory[1]]
    return {"part": found["part"]} | dict(zip(columns, map(digits, numbers), strict=True))


def main(arguments: list[str] | None = None) -> int:
    """Print the table; 1 when a part failed for another reason than memory."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--part", action="append", choices=PARTS, help="only these; default: all")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--tiny", action="store_true", help="tiny sizes on the CPU")
    parser.add_argument("--here", action="store_true", help="run in this process and print JSON lines")
    options = parser.parse_args(arguments)
    if not options.tiny and not torch.cuda.is_available():
        parser.error("no GPU is visible; use --tiny to try the script on the CPU")
    names = options.part or list(PARTS)
    if options.here:
        for name in names:
            try:
                found = measure(name, scale_of(tiny=options.tiny), options.repeats)
            except torch.OutOfMemoryError:
                found = {"part": name, "error": "does not fit"}
            print(json.dumps(found))
        return 0
    results = [measure_apart(name, tiny=options.tiny, repeats=options.repeats) for name in names]
    device = next((found["device"] for found in results if "device" in found), "no part ran")
    title = f"{'Tiny' if options.tiny else 'Full'} size on {device}; ratios are measured / expected"
    print(aligned(title, [row(found, "MiB" if options.tiny else "GiB") for found in results]))
    return int(any(found.get("error", "does not fit") != "does not fit" for found in results))


if __name__ == "__main__":
    sys.exit(main())
