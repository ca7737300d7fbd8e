"""Files that are whole or absent, and lines of many processes."""

import os
import time
from multiprocessing import get_context
from pathlib import Path

import pytest

from semrepa.data import files
from semrepa.data.files import (
    append_line,
    clear_unfinished,
    is_abandoned,
    unfinished,
    whole_lines,
    write_whole,
)


def test_a_failed_write_leaves_the_old_file_and_no_trace(tmp_path: Path, monkeypatch) -> None:
    write_whole(tmp_path / "a", b"old")
    monkeypatch.setattr(files, "publish", lambda *_: (_ for _ in ()).throw(OSError("disk gone")))
    with pytest.raises(OSError, match="disk gone"):
        write_whole(tmp_path / "a", b"new")
    assert (tmp_path / "a").read_bytes() == b"old"
    assert list((tmp_path / files.UNFINISHED).iterdir()) == []


def test_bytes_are_on_the_disk_before_the_name_is(tmp_path: Path, monkeypatch) -> None:
    steps: list[str] = []
    fsync, replace = os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (steps.append("fsync"), fsync(fd)))
    monkeypatch.setattr(Path, "replace", lambda *a: (steps.append("rename"), replace(*a))[1])
    write_whole(tmp_path / "a", b"x")
    assert steps == ["fsync", "rename", "fsync"]


@pytest.mark.skipif(not Path("/proc/self/stat").is_file(), reason="tells processes apart by /proc")
def test_only_what_dead_processes_left_is_cleared(tmp_path: Path) -> None:
    mine = unfinished("mine", tmp_path)
    mine.write_bytes(b"in progress")
    dead, reused = (mine.with_name(mine.name.replace(f"-{os.getpid()}-", to)) for to in ("-999999-", "-1-"))
    far = mine.with_name("far.xanothermach-1-1-0")
    for path in (dead, reused, far):
        path.write_bytes(b"half")
    assert clear_unfinished(tmp_path) == 2
    assert sorted(path.name for path in mine.parent.iterdir()) == sorted([mine.name, far.name])
    old = time.time() - 2 * files.LONGEST_WRITE
    os.utime(far, (old, old))
    os.utime(mine, (old, old))
    assert is_abandoned(far) and not is_abandoned(mine)
    assert clear_unfinished(tmp_path) == 1 and mine.exists()


def _append(path: Path, worker: int, together) -> None:
    together.wait(20)
    for number in range(1500):
        append_line(path, f"{worker} {number} " + "x" * (number * 37 % 5000))


def test_lines_of_several_processes_never_mix(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    fork = get_context("fork")
    together = fork.Barrier(3)
    workers = [fork.Process(target=_append, args=(path, worker, together)) for worker in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    lines = [line.split(" ") for line in whole_lines(path)[0] if line]
    assert sorted((int(a), int(b)) for a, b, _ in lines) == [(a, b) for a in range(3) for b in range(1500)]
    assert all(len(rest) == int(number) * 37 % 5000 for _, number, rest in lines)


def test_a_torn_line_waits_and_does_not_swallow_the_next(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    assert whole_lines(path) == ([], 0)
    append_line(path, "one\u2028line")
    with path.open("ab") as file:
        file.write(b"tor")
    lines, end = whole_lines(path)
    assert lines == ["one\u2028line"]
    append_line(path, "two")
    assert whole_lines(path, end)[0] == ["tor", "two"]
