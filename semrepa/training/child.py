"""A training in processes of its own: whether it lives, what it logs, how to stop it and wait for it."""

import logging
import signal
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psutil

from semrepa.training.follow import LogReader
from semrepa.training.log import StepLog
from semrepa.training.outcome import Outcome, read_outcome

logger = logging.getLogger(__name__)

LAUNCHER, MODULE = "accelerate.commands.launch", "semrepa.training"
LOG = "train.log"

POLL_SECONDS = 0.5
"""Time between two looks at a child."""

TAIL_LINES = 20
"""Last lines of a failed child's log that its error shows."""

_CLOCK_SLACK = 10.0
"""Seconds by which two readings of a process's start may differ, since clocks are set."""

Stage = Literal["structure", "identity", "finetune"]
"""What can be trained: either aligner, or the DiT."""
Status = Literal["running", "finished", "stopped", "failed", "crashed", "elsewhere"]
"""crashed: gone without an outcome; elsewhere: on another machine, and without an outcome yet."""


class NotFinishedError(RuntimeError):
    """A child has ended, but not at the end of its training.

    Attributes:
        status: how it ended.
    """

    def __init__(self, message: str, status: Status) -> None:
        """Say what happened.

        Args:
            message: what, where, and the end of the log.
            status: how it ended.
        """
        super().__init__(message)
        self.status: Status = status


@dataclass(frozen=True, kw_only=True)
class Child:
    """A training in processes of its own; made by `launch`, found again by `attach`."""

    run_dir: Path
    """Its run folder."""
    pid: int
    """Its launcher, the parent of all its processes."""
    started: float
    """When that process began, seconds since 1970: tells it from a later one with the same number."""
    host: str
    """Machine that it runs on."""
    command: tuple[str, ...]
    """What was started."""

    @property
    def outcome(self) -> Outcome | None:
        """How it ended; None while it runs, and when it died without a word."""
        return read_outcome(self.run_dir)

    @property
    def status(self) -> Status:
        """What it does or how it ended."""
        if self.processes():
            return "running"
        if outcome := self.outcome:
            return outcome.status
        return "crashed" if self.host == socket.gethostname() else "elsewhere"

    @property
    def step(self) -> int | None:
        """Last step in its log; None before the first."""
        logs = LogReader(self.run_dir).new()
        return logs[-1].step if logs else None

    def processes(self) -> list[psutil.Process]:
        """Find its living processes.

        torchrun puts each process into a session of its own, so that no group holds them all. When the
        launcher has died, those that still train are known by their command line.

        Returns:
            The processes, the launcher first; none on another machine.
        """
        if self.host != socket.gethostname():
            return []
        launcher = self._launcher()
        with suppress(psutil.NoSuchProcess):  # it has just ended
            if launcher is not None:
                return [launcher, *launcher.children(recursive=True)]
        return [process for process in psutil.process_iter() if self._is_trainer(process)]

    def _launcher(self) -> psutil.Process | None:
        """Its launcher, if that lives; a process that only has the same number began at another time."""
        try:
            process = psutil.Process(self.pid)
            is_reused = abs(process.create_time() - self.started) > _CLOCK_SLACK
            return None if is_reused or process.status() == psutil.STATUS_ZOMBIE else process
        except psutil.NoSuchProcess:
            return None

    def _is_trainer(self, process: psutil.Process) -> bool:
        """Whether a process trains in this run folder, or was forked from one that does."""
        try:
            words = process.cmdline()
        except psutil.Error:  # it has just ended, or is somebody else's
            return False
        return MODULE in words and LAUNCHER not in words and str(self.run_dir) in words

    def _trainers(self) -> list[psutil.Process]:
        """The processes that train, without those that they forked; before there are any, the launcher."""
        living = self.processes()
        trainers = {process.pid: process for process in living if self._is_trainer(process)}
        first = []
        for process in trainers.values():
            with suppress(psutil.NoSuchProcess):  # it has just ended
                if process.ppid() not in trainers:
                    first.append(process)
        return first or living[:1]

    def follow(self, *, past: int | None = None) -> Iterator[StepLog]:
        """Give the steps as they are logged, until the training ends; stopping to look does not stop it.

        Args:
            past: how many of the steps that are logged already come first; None: all.

        Yields:
            Each step once; steps that are trained again after a crash come again.

        Raises:
            NotFinishedError: it failed, was stopped or died; with the end of its log.
        """
        reader = LogReader(self.run_dir)
        known = reader.new()
        yield from known if past is None else known[len(known) - past :]
        while True:
            is_last = self.status not in ("running", "elsewhere")
            yield from reader.new()
            if is_last:
                break
            time.sleep(POLL_SECONDS)
        self._check()

    def steps(self) -> Iterator[StepLog]:
        """Give the new steps as a training in this process would: closing it, or Ctrl-C, stops and saves.

        Yields:
            Each step once.

        Raises:
            NotFinishedError: it failed, was stopped from elsewhere or died; with the end of its log.
            KeyboardInterrupt: Ctrl-C, after the child has saved and ended.
            GeneratorExit: closed, after the child has saved and ended.
        """
        try:
            yield from self.follow(past=0)
        except (KeyboardInterrupt, GeneratorExit):
            self.stop()
            self._until_end()
            logger.info("%s: %s", self.run_dir, self.describe())
            raise

    def stop(self, *, at_once: bool = False) -> None:
        """Ask the training to finish its step, save and end; does not wait for it.

        The request goes to the training processes alone. A launcher that is told as well would leave them
        behind or, after some time, kill them while they save.

        Args:
            at_once: end all processes now, which loses the steps since the last checkpoint.

        Raises:
            ValueError: it runs on another machine.
        """
        if self.status == "elsewhere":
            raise ValueError(
                f"got {self.run_dir}, which trains on {self.host}; expected a training on this machine "
                f"({socket.gethostname()}); stop it there, or send its processes SIGTERM by your scheduler"
            )
        number = signal.SIGKILL if at_once else signal.SIGTERM
        for process in self.processes() if at_once else self._trainers():
            try:
                process.send_signal(number)
            except psutil.NoSuchProcess:  # it has just ended
                continue

    def wait(self, seconds: float | None = None) -> Outcome:
        """Wait until the training ends. Ctrl-C ends the waiting, not the training.

        Args:
            seconds: longest time to wait; None: any.

        Returns:
            The outcome of a finished training.

        Raises:
            NotFinishedError: it failed, was stopped or died; with the end of its log.
            TimeoutError: it still runs.
        """
        self._until_end(seconds)
        return self._check()

    def _until_end(self, seconds: float | None = None) -> None:
        last = time.monotonic() + (seconds if seconds is not None else float("inf"))
        while self.status in ("running", "elsewhere"):
            if time.monotonic() > last:
                raise TimeoutError(f"{self.run_dir}: {self.describe()} after {seconds:g} s of waiting")
            time.sleep(POLL_SECONDS)

    def _check(self) -> Outcome:
        status, outcome = self.status, self.outcome
        if status == "finished" and outcome:
            return outcome
        message = f"{self.run_dir}: {self.describe()}\nend of {LOG}:\n{self.tail()}"
        raise NotFinishedError(message, status)

    def describe(self) -> str:
        """Say in one line what it does or how it ended, and what can be done."""
        status = self.status
        outcome = self.outcome if status != "running" else None
        step = outcome.step if outcome else self.step
        where = f"at step {step}" if step else "before the first step"
        if status == "running":
            return f"running, process {self.pid}, {where}"
        if status == "elsewhere":
            return f"running on {self.host}, {where}, or dead there; look on that machine"
        if status == "finished":
            return "finished" + (f" {where}" if step else "")
        if status == "stopped":
            return f"stopped {where}, nothing lost; start it again with resume=True to go on"
        if status == "failed" and outcome:
            return f"failed {where}: {outcome.error}"
        return f"died {where}, often for lack of memory; start it again with resume=True to go on"

    def tail(self, lines: int = TAIL_LINES) -> str:
        """Last lines that it printed.

        Args:
            lines: how many.

        Returns:
            Those of this start, without those of earlier ones in the same folder.
        """
        path = self.run_dir / LOG
        text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
        return "\n".join(text.rpartition(heading(self.command))[2].splitlines()[-lines:])


def heading(command: Sequence[str]) -> str:
    """Line of `train.log` with which a start begins.

    Args:
        command: what is started.

    Returns:
        The line.
    """
    return f"$ {' '.join(command)}\n"
