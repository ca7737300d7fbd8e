"""Preparing features in mini: clips per minute and seconds by stage, with one and two workers, and at scale.

`python -m benchmarks.prepare` runs the command `python -m semrepa.prepare` on links to the sample videos,
each with a name and caption of its own, and prints one table; medians where there are several rounds.

- clips/min: without loading, from the end of each worker's first clip to the end of the last one.
- s/clip: seconds of each stage for a clip, from the manifest. Stages overlap, since clips are read ahead.
  Texts are encoded before the first clip, with the time to load the encoder, so they are not in clips/min.
- whole: seconds of the whole command. CPU: seconds of all its processes. Peak: memory of the largest one.

The last case has ten times the clips of the first: its cost for each clip, also for those of its last fifth,
is to be the same, and its memory too.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from semrepa.data.index import read_index, write_index
from semrepa.data.manifest import read_rows

SAMPLES = Path(__file__).parents[1] / "data_samples" / "index.jsonl"
STAGES = ("read", "people", "face", "depth", "vae", "text")


@dataclass(frozen=True)
class Case:
    """One way to run the command."""

    name: str
    clips: int
    workers: int = 1
    runner: str = "local"


@dataclass(frozen=True)
class Found:
    """What one run took."""

    per_minute: float
    """Clips per minute while clips were prepared."""
    late: float
    """Seconds per clip in the last fifth of the clips over those before."""
    stages: tuple[float, ...]
    """Seconds per clip by `STAGES`."""
    whole: float
    """Seconds of the whole command."""
    cpu: float
    """CPU seconds of all processes."""
    peak: float
    """MB of the largest process."""


def make_index(folder: Path, clips: int) -> Path:
    """Write an index of links to sample videos that show somebody."""
    samples = [row for row in read_index(SAMPLES) if row.identity is not None]
    rows = []
    for number in range(clips):
        row = samples[number % len(samples)]
        path = folder / f"videos{clips}" / f"c{number:05d}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(row.path.resolve())
        named = {"id": path.stem, "path": path, "caption": f"{row.caption}, take {number}"}
        rows.append(replace(row, **named))
    return write_index(folder / f"index{clips}.jsonl", rows)


def run(case: Case, index: Path, folder: Path) -> Found:
    """Run the command once in an empty cache."""
    cache = Path(tempfile.mkdtemp(dir=folder))
    settings = [f"data.index={index}", "data.extra_train=0", "data.extra_heldout=0"]
    command = [sys.executable, "-m", "semrepa.prepare", "--cache", str(cache), "--runner", case.runner]
    command += ["--workers", str(case.workers), *(part for one in settings for part in ("-o", one))]
    began = time.perf_counter()
    with (cache / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    whole = time.perf_counter() - began
    if process.returncode:
        said = (cache / "log").read_text(encoding="utf-8")[-3000:]
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}:\n{said}")
    (store,) = cache.glob("store-*")
    rate, late, stages = look(store, case)
    return Found(rate, late, stages, whole, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


def look(store: Path, case: Case) -> tuple[float, float, tuple[float, ...]]:
    """Clips per minute, late over early seconds per clip, and seconds of each stage, from the manifest."""
    rows = sorted(read_rows(store).values(), key=lambda row: row["written"])
    done = [row for row in rows if row["status"] == "done"]
    if len(done) != case.clips:
        raise SystemExit(f"got {len(done)} records in {store}; expected {case.clips}; look at its manifest")
    ends = [row["written"] / 1e9 for row in rows]
    first = max(min(row["written"] for row in rows if row["worker"] == name) for name in workers(rows)) / 1e9
    later = [end for end in ends if end > first]
    cut = len(later) * 4 // 5
    early, late = (later[cut - 1] - first) / cut, (later[-1] - later[cut - 1]) / (len(later) - cut)
    texts = [json.loads(report.read_text()) for report in store.glob("report*.json")]
    seconds = {name: sum((row["seconds"] or {}).get(name, 0.0) for row in rows) for name in STAGES}
    seconds["text"] = sum(report["seconds"].get("text", 0.0) for report in texts)
    stages = tuple(seconds[name] / case.clips for name in STAGES)
    return 60 * len(later) / (later[-1] - first), late / early, stages


def workers(rows: Sequence[dict[str, object]]) -> set[object]:
    """Names of the workers that have written rows."""
    return {row["worker"] for row in rows}


def median(found: Sequence[Found]) -> Found:
    """Medians of all values over rounds."""
    numbers = {
        name: statistics.median(getattr(one, name) for one in found)
        for name in vars(found[0])
        if name != "stages"
    }
    stages = tuple(map(statistics.median, zip(*(one.stages for one in found), strict=True)))
    return Found(stages=stages, **numbers)


def main() -> None:
    """Run all cases and print the table."""
    parser = argparse.ArgumentParser(description="Cost of preparing features.")
    parser.add_argument("--clips", type=int, default=12, help="of the small cases; default: 12")
    parser.add_argument(
        "--times", type=int, default=10, help="clips of the large case over them; default: 10"
    )
    parser.add_argument("--rounds", type=int, default=1, help="runs of each case; default: 1")
    parser.add_argument("--ray", action="store_true", help="also one and two actors of Ray")
    options = parser.parse_args()
    if options.clips < 4 or options.times < 2:
        parser.error("expected --clips 4 or more and --times 2 or more")
    small = options.clips
    cases = [Case(f"{count} worker{'s' * (count > 1)}", small, count) for count in (1, 2)]
    if options.ray:
        cases += [Case(f"ray, {count} actor{'s' * (count > 1)}", small, count, "ray") for count in (1, 2)]
    cases.append(Case(f"1 worker, {options.times}x the clips", small * options.times))
    found: dict[str, list[Found]] = {case.name: [] for case in cases}
    with tempfile.TemporaryDirectory() as folder:
        indices = {clips: make_index(Path(folder), clips) for clips in {case.clips for case in cases}}
        for _ in range(options.rounds):
            for case in cases:
                found[case.name].append(run(case, indices[case.clips], Path(folder)))
    show(cases, {name: median(runs) for name, runs in found.items()}, options.rounds)


def show(cases: Sequence[Case], found: dict[str, Found], rounds: int) -> None:
    """Print the table."""
    threads = os.environ.get("OMP_NUM_THREADS", "as many as cores")
    print(f"{os.cpu_count()} cores, OMP_NUM_THREADS {threads}, {rounds} round(s)")
    stages = "".join(f"{name:>8}" for name in STAGES)
    end = f"{'whole s':>9}{'CPU s':>8}{'peak MB':>9}"
    print(f"{'':<24}{'clips':>6}{'clips/min':>11}{'ratio':>8}{stages} s/clip{end}")
    first = found[cases[0].name]
    for case in cases:
        one = found[case.name]
        taken = "".join(f"{seconds:8.3f}" for seconds in one.stages)
        rate = f"{one.per_minute:11.1f}{one.per_minute / first.per_minute:7.2f}x"
        end = f"{one.whole:9.1f}{one.cpu:8.1f}{one.peak:9.0f}"
        print(f"{case.name:<24}{case.clips:6d}{rate}{taken}       {end}")
    many, large = cases[-1], found[cases[-1].name]
    slower, further = (
        first.per_minute / large.per_minute,
        (large.cpu - first.cpu) / (many.clips - cases[0].clips),
    )
    print(f"{many.clips / cases[0].clips:.0f}x the clips:")
    print(
        f"  {slower:.2f}x the time for each clip; last fifth of them against those before {large.late:.2f}x"
    )
    print(f"  {large.peak / first.peak:.2f}x the memory; {further:.2f} CPU s for each further clip")


if __name__ == "__main__":
    main()
