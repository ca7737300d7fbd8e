"""Notebook runners that tests start, and that end in time with all that they have started themselves."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[2]


def start(log: Path, arguments: Sequence[str], **environment: str) -> subprocess.Popen:
    """Start a runner; its output goes to a file, so that nothing it leaves behind can keep us waiting."""
    command = [sys.executable, "-m", "semrepa.headless", *arguments]
    with log.open("w") as file:
        return subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
            stdout=file,
            stderr=subprocess.STDOUT,
        )


def finish(running: Mapping[Path, subprocess.Popen], seconds: float) -> None:
    """Wait for runners, given by their logs; all must end well in time, else the error says why."""
    deadline = time.monotonic() + seconds
    try:
        for log, process in running.items():
            try:
                code = process.wait(timeout=max(deadline - time.monotonic(), 1))
            except subprocess.TimeoutExpired:
                for late in running.values():
                    late.send_signal(signal.SIGUSR1)
                time.sleep(12)  # each then writes down where it and its kernel stand
                told = "\n\n".join(f"{log.name}:\n{log.read_text(errors='replace')}" for log in running)
                raise AssertionError(f"not done after {seconds} s\n{told[-60_000:]}") from None
            assert code == 0, f"exit code {code}\n{log.read_text(errors='replace')[-60_000:]}"
    finally:
        end(running.values())


def end(processes: Iterable[subprocess.Popen]) -> None:
    """End runners that still run, with their kernels, which have process groups of their own."""
    for process in processes:
        if process.poll() is None:
            for child in psutil.Process(process.pid).children(recursive=True):
                child.kill()
            process.kill()
            process.wait()
