"""Files that are whole or absent, and lines of many processes."""

import os
import time
from multiprocessing import get_context
from pathlib import Path

import pytest

from semrepa import files
from semrepa.files import (
    append_line,
    clear_beside,
    clear_unfinished,
    is_abandoned,
    unfinished,
    whole_file,
    whole_lines,
    write_whole,
)


def fail(*_: object) -> None:
    raise OSError("disk gone")


@pytest.mark.parametrize("durable", [True, False])
def test_a_failed_write_leaves_the_old_file_and_no_trace(tmp_path: Path, monkeypatch, durable) -> None:
    write_whole(tmp_path / "a", b"old")
    monkeypatch.setattr(Path, "replace", fail)
    for room in (None, tmp_path):
        with pytest.raises(OSError, match="disk gone"):
            write_whole(tmp_path / "a", b"new", room=room, durable=durable)
    assert (tmp_path / "a").read_bytes() == b"old"
    assert {path.name for path in tmp_path.iterdir()} == {"a", files.UNFINISHED}
    assert list((tmp_path / files.UNFINISHED).iterdir()) == []


def test_a_file_whose_block_fails_never_gets_its_name(tmp_path: Path) -> None:
    def stop() -> None:
        with whole_file(tmp_path / "new" / "a") as growing:
            growing.write_bytes(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stop()
    assert list((tmp_path / "new").iterdir()) == []


def test_bytes_are_on_the_disk_before_the_name_is(tmp_path: Path, monkeypatch) -> None:
    steps: list[str] = []
    fsync, replace = os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (steps.append("fsync"), fsync(fd)))
    monkeypatch.setattr(Path, "replace", lambda *a: (steps.append("rename"), replace(*a))[1])
    write_whole(tmp_path / "a", b"x")
    assert steps == ["fsync", "rename", "fsync"]
    write_whole(tmp_path / "a", b"y", durable=False)
    assert steps[3:] == ["rename"] and (tmp_path / "a").read_bytes() == b"y"


@pytest.mark.parametrize("name", ["n" * 255, "\U0001f600" * 63])
@pytest.mark.parametrize("inside", [True, False])
def test_the_longest_names_can_be_written(tmp_path: Path, name: str, inside: bool) -> None:
    write_whole(tmp_path / name, b"x", room=tmp_path if inside else None)
    assert (tmp_path / name).read_bytes() == b"x"


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


@pytest.mark.skipif(not Path("/proc/self/stat").is_file(), reason="tells processes apart by /proc")
def test_hidden_leftovers_are_told_from_hidden_files_of_others(tmp_path: Path) -> None:
    with whole_file(tmp_path / "a.mp4") as mine:
        mine.write_bytes(b"in progress")
        dead = mine.with_name(mine.name.replace(f"-{os.getpid()}-", "-999999-"))
        others = [tmp_path / ".a.mp4", tmp_path / ".a.x-1-2-3", tmp_path / dead.name[1:]]
        for path in (dead, *others):
            path.write_bytes(b"")
            os.utime(path, (0, 0))
        assert clear_beside(tmp_path) == 1 and not dead.exists() and mine.exists()
        assert all(path.exists() for path in others)


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
