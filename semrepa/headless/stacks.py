"""Where every thread of a notebook's kernel stands, and a limit of time after which this is asked.

A kernel is told at its start to answer SIGUSR1 by writing down the stacks of its threads. Python's
faulthandler does so in C, also while a lock or a library keeps Python from running.
"""

import faulthandler
import logging
import os
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

log = logging.getLogger(__name__)

ASK = getattr(signal, "SIGUSR1", None)
"""What makes a kernel, and the runner, say where they stand; None on systems that have no such signal."""
PATIENCE = 5.0
"""Seconds that a kernel has to write its stacks down."""


@dataclass(frozen=True)
class Kernels:
    """The kernels that this process has started; each has a file named by its process number."""

    folder: Path
    """An empty folder for those files."""

    @property
    def startup(self) -> str:
        """A line for a kernel to run at its start; it leaves no names behind."""
        if ASK is None:
            return "pass"
        path = f"{str(self.folder) + os.sep!r} + str(__import__('os').getpid())"
        return f"__import__('faulthandler').register({int(ASK)}, file=open({path}, 'w'))"

    def living(self) -> list[psutil.Process]:
        """The kernels that still run."""
        known = {int(file.name) for file in self.folder.iterdir()}
        return [child for child in psutil.Process().children(recursive=True) if child.pid in known]

    def send(self, number: int) -> None:
        """Send a signal to the kernels and to what they have started in their groups.

        Args:
            number: the signal.
        """
        for kernel in self.living():
            with suppress(ProcessLookupError):
                group = os.getpgid(kernel.pid)
                os.kill(kernel.pid, number) if group == os.getpgid(0) else os.killpg(group, number)

    def report(self) -> str:
        """Say where all threads of the kernels and of this process stand, and what other processes there are.

        Returns:
            Text of many lines.
        """
        parts = ["processes:", *map(_process, [psutil.Process(), *psutil.Process().children(recursive=True)])]
        for kernel in self.living():
            parts += [
                "",
                f"kernel {kernel.pid}, threads:",
                *_threads(kernel.pid),
                "",
                self._stacks(kernel.pid),
            ]
        return "\n".join([*parts, "", "runner:", _own_stacks()])

    def _stacks(self, pid: int) -> str:
        """Python's stacks of one kernel."""
        file, deadline = self.folder / str(pid), time.monotonic() + PATIENCE
        before = size = file.stat().st_size
        with suppress(ProcessLookupError):
            os.kill(pid, ASK or 0)
        while time.monotonic() < deadline:
            time.sleep(0.2)
            known, size = size, file.stat().st_size
            if known == size > before:
                break
        written = file.read_bytes()[before:].decode(errors="replace")
        return written or f"kernel {pid} wrote nothing within {PATIENCE:g} s; it may be stopped or dead"


class Limit:
    """What became of a limit of time.

    Attributes:
        report: where everything stood when the time was over; empty before.
    """

    def __init__(self) -> None:
        """The time is not over."""
        self.report = ""


@contextmanager
def time_limit(kernels: Kernels, minutes: float | None, grace: float) -> Iterator[Limit]:
    """Within this context kernels may run for a time; then they are asked where they stand, and stopped.

    They are also asked when this process gets SIGUSR1; the log then has the answer, and all goes on.

    Args:
        kernels: they are interrupted, and killed when they do not end.
        minutes: the time; None: as long as they like.
        grace: seconds between the two, for saving.

    Yields:
        Whether the time was over, and the stacks if it was.
    """
    limit, done = Limit(), threading.Event()

    def watch() -> None:
        if minutes is None or done.wait(60 * minutes):
            return
        limit.report = kernels.report()
        kernels.send(signal.SIGINT)
        while not done.wait(grace):
            kernels.send(getattr(signal, "SIGKILL", signal.SIGTERM))

    watcher = threading.Thread(target=watch, name="time limit", daemon=True)
    watcher.start()
    try:
        with _asked(kernels):
            yield limit
    finally:
        done.set()
        watcher.join(2 * PATIENCE)


@contextmanager
def _asked(kernels: Kernels) -> Iterator[None]:
    """Within this context SIGUSR1 to this process has the log say where everything stands."""
    if ASK is None or threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(ASK, lambda *_: log.warning("%s", kernels.report()))
    try:
        yield
    finally:
        signal.signal(ASK, previous)


def _own_stacks() -> str:
    with tempfile.TemporaryFile("w+") as file:
        faulthandler.dump_traceback(file)
        file.seek(0)
        return file.read()


def _process(process: psutil.Process) -> str:
    """One line on a process."""
    try:
        with process.oneshot():
            spent = sum(process.cpu_times()[:2])
            command = " ".join(process.cmdline())[:160]
            return f"  {process.pid:>7} {process.status():<10} {spent:>8.1f} s of CPU  {command}"
    except psutil.Error as error:
        return f"  {process.pid:>7} {error}"


def _threads(pid: int) -> list[str]:
    """One line on each thread of a process, those of libraries too, where the system tells."""
    lines = []
    for task in sorted(Path(f"/proc/{pid}/task").glob("*")):
        with suppress(OSError):
            name, _, rest = (task / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")
            state, *fields = rest.split()
            spent = (int(fields[10]) + int(fields[11])) / os.sysconf("SC_CLK_TCK")
            lines.append(f"  {task.name:>7} {state} {spent:>8.1f} s of CPU  {name.partition('(')[2]}")
    return lines
