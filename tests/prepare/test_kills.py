"""A killed process loses the clip it was at and nothing else, be it a worker or the parent of workers."""

import os
import random
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from semrepa.data.index import ClipRow
from semrepa.data.manifest import read_rows
from semrepa.data.store import FeatureStore
from semrepa.files import UNFINISHED, is_abandoned, unfinished
from semrepa.prepare import features
from semrepa.prepare.__main__ import main
from tests.prepare.forked import PIDS, command, exit_code, fork, patch
from tests.prepare.room import Room

KILLS = 20
COPIES = 5
PATIENCE = 120.0
"""Seconds after which something that must happen has not: a machine of any speed is done long before."""


@pytest.fixture(scope="module")
def many(room: Room) -> Room:
    """Every clip of the room several times over, under other names."""
    rows = [replace(row, id=f"{row.id}{copy}") for copy in range(COPIES) for row in room.rows]
    return Room(room.cfg, rows, room.cache)


@pytest.fixture(autouse=True)
def _forked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    patch(monkeypatch)
    monkeypatch.setenv(PIDS, str(tmp_path / "pids"))
    (tmp_path / "pids").touch()


def finished(cache: Path) -> dict[str, Path]:
    """All finished records and text features by name."""
    return {path.name: path for path in cache.rglob("[!.]*.safetensors") if path.parent.name != UNFINISHED}


def contents(cache: Path) -> dict[str, bytes]:
    return {name: path.read_bytes() for name, path in finished(cache).items()}


def left_over(cache: Path) -> list[Path]:
    return [path for folder in cache.rglob(UNFINISHED) for path in folder.iterdir()]


def left_out(cache: Path) -> dict[str, tuple[str, str, str]]:
    (folder,) = cache.glob("store-*")
    rejects = FeatureStore(folder).rejects().items()
    return {clip_id: (reject.reason, reject.message, reject.source) for clip_id, reject in rejects}


def statuses(cache: Path) -> dict[str, tuple[str, str | None]]:
    (folder,) = cache.glob("store-*")
    return {name: (row["status"], row["reject_reason"]) for name, row in read_rows(folder).items()}


def workers_since(cache: Path, known: int) -> list[int]:
    return [int(pid) for pid in (cache.parent / "pids").read_text().split()[known:]]


def wait_until(happened: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < deadline, f"{what} has not happened"
        time.sleep(0.002)


def is_dead(pid: int) -> bool:
    """Whether a process has ended; one that nobody has asked about is still listed, as a zombie."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return True
    return state in "ZX"


def refuse_unfinished() -> None:
    """From here on this process ends when Python opens an unfinished file to read it."""

    def hook(event: str, details: tuple[object, ...]) -> None:
        if event == "open" and UNFINISHED in str(details[0]) and details[1] in ("r", "rb"):
            os.write(2, f"read {details[0]}\n".encode())
            os._exit(98)

    sys.addaudithook(hook)


def checked_main(arguments: list[str]) -> int:
    refuse_unfinished()
    return main(arguments)


def run_and_kill(arguments: list[str], cache: Path, chance: random.Random) -> int | None:
    """Start the command and kill it or a worker at some moment; its exit code if it ended before."""
    goal, known = len(finished(cache)) + chance.choice([0, 1, 2, 3]), len(workers_since(cache, 0))
    parent, codes = fork(lambda: checked_main(arguments)), list[int]()

    def is_time() -> bool:
        pid, status = os.waitpid(parent, os.WNOHANG)
        codes.extend([os.waitstatus_to_exitcode(status)] if pid else [])
        return bool(codes) or len(finished(cache)) >= goal

    wait_until(is_time, f"record {goal}")
    if codes:
        return codes[0]
    time.sleep(chance.uniform(0, 0.3))
    victim = chance.choice([parent, *workers_since(cache, known)])
    with suppress(ProcessLookupError):  # it has ended by itself
        os.kill(victim, signal.SIGKILL)
    code = exit_code(parent)
    wait_until(lambda: all(map(is_dead, workers_since(cache, known))), "the end of all workers")
    assert code in ((0, -signal.SIGKILL) if victim == parent else (0, 1))
    return None if code else 0


@pytest.mark.slow
def test_a_store_filled_between_kills_is_that_of_one_run(many: Room, tmp_path: Path) -> None:
    calm = tmp_path / "calm"
    assert main(command(many, calm)) == 0
    chance = random.Random(0)
    killed = rounds = 0
    while killed < KILLS:
        cache, kept, code = tmp_path / f"killed{rounds}", dict[str, int](), None
        arguments = command(many, cache, "--workers", "2")
        while code is None:
            if killed < KILLS:
                code = run_and_kill(arguments, cache, chance)
                killed += code is None
            else:
                code = exit_code(fork(lambda: checked_main(arguments)))  # noqa: B023
            times = {name: path.stat().st_mtime_ns for name, path in finished(cache).items()}
            assert kept.items() <= times.items(), "what was done has been done again, or is gone"
            kept = times
        assert code == 0
        assert contents(cache) == contents(calm)
        assert left_out(cache) == left_out(calm)
        assert statuses(cache) == statuses(calm)
        assert left_over(cache) == []
        rounds += 1


def test_what_a_dead_process_left_unfinished_goes_and_is_never_read(
    room: Room, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    calm, cache = tmp_path / "calm", tmp_path / "cache"
    assert main(command(room, calm)) == 0
    (store,), (texts,) = calm.glob("store-*"), calm.glob("text-*")
    torn: list[Path] = []
    for folder, name in ((store.name, "a.safetensors"), (texts.name, "x.safetensors")):
        (cache / folder).mkdir(parents=True)
        dead = fork(lambda: unfinished(name, cache / folder).write_bytes(b"torn"))  # noqa: B023
        exit_code(dead)
        alive = unfinished(name, cache / folder)
        alive.write_bytes(b"torn")
        torn.append(alive)
    assert len(left_over(cache)) == 4 and sum(map(is_abandoned, left_over(cache))) == 2
    assert main(command(room, cache)) == 0
    assert sorted(left_over(cache)) == sorted(torn), "files of living processes stay, those of dead ones go"
    for path in torn:
        path.unlink()
    assert contents(cache) == contents(calm)
    assert "record" in capfd.readouterr().out


def test_a_worker_that_dies_is_named_and_the_same_command_goes_on(
    room: Room, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = command(room, tmp_path / "cache", "--workers", "2")
    assert main(command(room, tmp_path / "calm")) == 0
    prepared, begun = features.Worker.work_all, os.getpid()

    def die(self: features.Worker, rows: Sequence[ClipRow]) -> Iterator[dict[str, Any]]:
        if "a" in {row.id for row in rows} and os.getpid() != begun:
            os.kill(os.getpid(), signal.SIGKILL)
        yield from prepared(self, rows)

    monkeypatch.setattr(features.Worker, "work_all", die)
    assert main(arguments) == 1
    errors = capfd.readouterr().err
    assert "(killed by SIGKILL); the same command goes on" in errors
    monkeypatch.setattr(features.Worker, "work_all", prepared)
    assert 0 < len(finished(tmp_path / "cache")) < len(finished(tmp_path / "calm"))
    assert main(arguments) == 0
    assert contents(tmp_path / "cache") == contents(tmp_path / "calm")


def test_workers_end_with_their_parent(room: Room, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def hang(self: features.Worker, rows: Sequence[ClipRow]) -> Iterator[dict[str, Any]]:
        while True:
            time.sleep(1)

    monkeypatch.setattr(features.Worker, "work_all", hang)
    cache = tmp_path / "cache"
    parent = fork(lambda: main(command(room, cache, "--workers", "2")))
    wait_until(lambda: len(workers_since(cache, 0)) == 2, "the start of two workers")
    wait_until(lambda: len(list(cache.glob("text-*/*.safetensors"))) == 2, "features of the captions")
    assert not any(map(is_dead, workers_since(cache, 0)))
    os.kill(parent, signal.SIGKILL)
    exit_code(parent)
    try:
        wait_until(lambda: all(map(is_dead, workers_since(cache, 0))), "the end of all workers")
    finally:
        for pid in workers_since(cache, 0):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
