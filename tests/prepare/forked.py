"""The command with stand-in teachers, in processes that are forked and so start at once."""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from semrepa.data.index import write_index
from semrepa.prepare import features, workers
from semrepa.prepare.__main__ import main
from tests.prepare.room import TEACHERS, Room

PIDS = "FORKED_PIDS"
"""Environment variable with a file in which workers note who they are."""


def fork(work: Callable[[], int]) -> int:
    """Run something in a new process, whose exit status is what it returns.

    Returns:
        Its process id.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        return pid
    status = 99
    try:
        status = work()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def exit_code(pid: int) -> int:
    """Wait for a process; negative when a signal killed it."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


class Worker:
    """Stands for `subprocess.Popen`: runs the command's `main` in a fork, with a pipe as standard input."""

    def __init__(self, command: Sequence[str], env: Mapping[str, str], stdin: int) -> None:
        self.command = command
        reading, self._writing = os.pipe()
        # A process that `subprocess` starts inherits no pipe of its siblings.
        others = [worker._writing for worker in started]
        self.pid = fork(lambda: self._run(reading, [*others, self._writing]))
        os.close(reading)
        started.append(self)
        if PIDS in os.environ:
            with Path(os.environ[PIDS]).open("a") as file:
                file.write(f"{self.pid}\n")

    def _run(self, reading: int, others: Sequence[int]) -> int:
        for descriptor in others:
            os.close(descriptor)
        os.dup2(reading, 0)
        assert self.command[1:3] == ["-m", "semrepa.prepare"]
        return main(self.command[3:])

    def wait(self) -> int:
        return exit_code(self.pid)

    def terminate(self) -> None:
        os.close(self._writing)
        started.remove(self)


started: list[Worker] = []


def patch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the command fork its workers and take stand-in teachers."""
    monkeypatch.setattr(workers.subprocess, "Popen", Worker)
    monkeypatch.setattr(features, "load_teachers", lambda _: TEACHERS)


def command(room: Room, folder: Path, *more: str) -> list[str]:
    """Arguments that prepare the videos of a room, but for the missing one, into `folder`."""
    there = [row for row in room.rows if row.path.is_file()]
    index = write_index(folder.parent / "index.jsonl", there)
    video, data = room.cfg.video, room.cfg.data
    settings = {
        "data.index": index,
        "data.extra_train": data.extra_train,
        "data.extra_heldout": data.extra_heldout,
        "video.num_frames": video.num_frames,
        "video.height": video.height,
        "video.width": video.width,
        "model.weights": room.cfg.model.weights,
    }
    return [*(f"--override={name}={value}" for name, value in settings.items()), f"--cache={folder}", *more]
