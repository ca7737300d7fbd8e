"""Prepare features from the command line, by one process or many.

    python -m semrepa.prepare --preset full -o data.index=videos/index.jsonl --cache runs/cache
    python -m semrepa.prepare -o data.index=videos/index.jsonl --workers 2
    srun python -m semrepa.prepare --preset full -o data.index=videos/index.jsonl --cache /all/cache --ranks

Every clip ends as a record or as a reject with a reason; the same command goes on where it was stopped.
"""

import argparse
import logging
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import torch

from semrepa.config import configure
from semrepa.config.strict import read_pair
from semrepa.data.manifest import compact
from semrepa.data.store import FeatureStore
from semrepa.prepare.clips import ensure_rows
from semrepa.prepare.features import prepare
from semrepa.prepare.shares import Share, own_gpu
from semrepa.prepare.stores import open_store


def main(arguments: Sequence[str] | None = None) -> int:
    """Prepare the clips of an index.

    Args:
        arguments: command line; None takes the real one.

    Returns:
        0 when every clip of this process has ended as record or reject, 1 when a worker has failed, 2 for a
        wrong command line or missing weights.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    options = parser().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    try:
        cfg = configure(options.preset, dict(map(read_pair, options.override)))
        share = Share.of_this_process() if options.ranks else Share.read(options.share)
        if options.ranks:
            os.environ |= _gpu(int(os.environ.get("LOCAL_RANK") or os.environ.get("SLURM_LOCALID") or 0))
        rows = ensure_rows(cfg, options.cache)
        if options.workers > 1:
            store = open_store(cfg, options.cache)
            code = run_workers(arguments, options.workers)
            compact(store.folder)
        else:
            worker = "" if share.world == 1 else f"rank{share.rank}"
            store = prepare(cfg, share.of(rows), options.cache, progress=Printer(), worker=worker)
            code = 0
    except (ValueError, TypeError, FileNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(summary(store))
    return code


def run_workers(arguments: Sequence[str], count: int) -> int:
    """Run this command in several processes, each with its share of clips, cores and GPUs.

    Args:
        arguments: command line of this process.
        count: how many.

    Returns:
        0 when all have ended well, else 1; the others are not stopped by one that fails.
    """
    threads = max(1, (os.cpu_count() or 1) // count)
    usual = {"OMP_NUM_THREADS": str(threads), **os.environ}
    command = [sys.executable, "-m", "semrepa.prepare", *arguments, "--workers", "1", "--share"]
    running = [
        subprocess.Popen([*command, f"{rank}/{count}"], env=usual | _gpu(rank)) for rank in range(count)
    ]
    try:
        codes = [process.wait() for process in running]
    finally:
        for process in running:
            process.terminate()
    failed = [f"{rank} (exit code {code})" for rank, code in enumerate(codes) if code]
    if failed:
        print(
            f"workers that failed: {', '.join(failed)}; the same command goes on from here", file=sys.stderr
        )
    return int(bool(failed))


def _gpu(rank: int) -> dict[str, str]:
    return own_gpu(rank, torch.cuda.device_count(), os.environ.get("CUDA_VISIBLE_DEVICES"))


class Printer:
    """Prints how far a process is, at most every few seconds.

    Args:
        every: seconds between lines.
    """

    def __init__(self, every: float = 10.0) -> None:
        self.every = every
        self.began = self.last = time.monotonic()

    def __call__(self, done: int, total: int, clip: str) -> None:
        """Say it, if it is time.

        Args:
            done: clips done.
            total: clips in all.
            clip: the last one.
        """
        now = time.monotonic()
        if now - self.last < self.every and done < total:
            return
        self.last, rate = now, done / (now - self.began)
        left = (total - done) / rate
        print(
            f"{done} of {total} clips, {rate * 60:.1f} a minute, {left:.0f} s left, last {clip}", flush=True
        )


def summary(store: FeatureStore) -> str:
    """What a store holds, in a line.

    Args:
        store: the store.

    Returns:
        Counts of records and of rejects by reason.
    """
    reasons = Counter(reject.reason for reject in store.rejects().values())
    listed = ", ".join(f"{reason} {count}" for reason, count in reasons.most_common())
    return f"{store.folder}: {len(store.ids())} records, {reasons.total()} left out ({listed or 'none'})"


def parser() -> argparse.ArgumentParser:
    """Options of the command line.

    Returns:
        The parser.
    """
    made = argparse.ArgumentParser(
        prog="python -m semrepa.prepare",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--preset", default="mini", help="mini (default) or full")
    made.add_argument(
        "-o", "--override", action="append", default=[], metavar="NAME=VALUE", help="config field"
    )
    made.add_argument("--cache", type=Path, default=Path("runs/cache"), help="folder for stores and clips")
    who = made.add_mutually_exclusive_group()
    who.add_argument("--workers", type=int, default=1, help="processes on this machine")
    who.add_argument("--ranks", action="store_true", help="one share of many, as a launcher says")
    made.add_argument("--share", default="0/1", metavar="K/N", help="only share K, from 0, of N")
    return made


if __name__ == "__main__":
    sys.exit(main())
