"""Several processes of the command on one machine, and what happens when one of them or their parent dies."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import torch

from semrepa.prepare.features import report_name
from semrepa.prepare.shares import Share, own_gpu
from semrepa.runtime import write_json


def run_workers(arguments: Sequence[str], share: Share, count: int, folder: Path) -> list[int]:
    """Run this command in several processes, each with its share of clips, cores and GPUs.

    Args:
        arguments: command line of this process.
        share: of the clips, for all of them together.
        count: how many.
        folder: of the store; a report of what they did together is written to it.

    Returns:
        Exit codes in the order of the workers; one that fails does not stop the others.
    """
    threads = max(1, (os.cpu_count() or 1) // count)
    usual = {"OMP_NUM_THREADS": str(threads), **os.environ}
    command = [sys.executable, "-m", "semrepa.prepare", *arguments, "--runner", "local", "--workers", "1"]
    parts = [share.part(number, count) for number in range(count)]
    reports = [folder / report_name(worker_name(part)) for part in parts]
    for report in reports:
        report.unlink(missing_ok=True)
    # Each holds the reading end of a pipe whose other end closes when this process dies, however it does.
    running = [
        subprocess.Popen(
            [*command, "--under-parent", "--share", f"{part.rank}/{part.world}"],
            env=usual | gpu_variables(number),
            stdin=subprocess.PIPE,
        )
        for number, part in enumerate(parts)
    ]
    try:
        codes = [process.wait() for process in running]
    finally:
        for process in running:
            process.terminate()
    merge_reports(reports, folder / report_name())
    return codes


def worker_name(share: Share) -> str:
    """Name of a process in the manifest and in its report.

    Args:
        share: the process's share.

    Returns:
        Such as "rank3"; empty for a process that is not one of several.
    """
    return "" if share.world == 1 else f"rank{share.rank}"


def end_with_parent() -> None:
    """Have this process end at once when its parent dies, so that it does not go on beside the next run.

    It then dies as by SIGKILL, which harms nothing: a record is there as a whole or not at all.
    """

    def wait() -> None:
        while os.read(0, 1):
            pass
        os._exit(1)

    threading.Thread(target=wait, name="parent", daemon=True).start()


def gpu_variables(number: int) -> dict[str, str]:
    """Environment of a process with a GPU of its own.

    Args:
        number: of the process on this machine.

    Returns:
        Variables; nothing where there is no choice.
    """
    return own_gpu(number, torch.cuda.device_count(), os.environ.get("CUDA_VISIBLE_DEVICES"))


def merge_reports(reports: Sequence[Path], merged: Path) -> None:
    """Add up the reports of several processes; without any nothing is written.

    Args:
        reports: their files, of which some may be missing.
        merged: file to write.
    """
    sums: Counter[str] = Counter()
    by_name = {"reasons": Counter[str](), "seconds": Counter[str]()}
    there = [report for report in reports if report.is_file()]
    for report in there:
        counts = json.loads(report.read_text(encoding="utf-8"))
        for name, counter in by_name.items():
            counter.update(counts.pop(name))
        sums.update(counts)
    if there:
        write_json(merged, {**sums, **by_name})


def died(codes: Sequence[int]) -> str:
    """Say how workers ended that did not end well.

    Args:
        codes: exit codes in the order of the workers.

    Returns:
        Such as "0 (exit status 3), 2 (killed by SIGKILL)"; empty when all ended well.
    """
    return ", ".join(f"{number} ({_end(code)})" for number, code in enumerate(codes) if code)


def _end(code: int) -> str:
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
