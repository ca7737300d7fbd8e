"""Clips read ahead: the same records in the same order, bounded memory, and a thread that ends."""

import gc
import threading
import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from semrepa.config import Config, override
from semrepa.data.index import ClipRow
from semrepa.data.manifest import read_rows
from semrepa.data.store import FeatureStore
from semrepa.data.video import ClipError, VideoClip
from semrepa.prepare import ahead, prepare
from semrepa.prepare.ahead import Reading, begin, read_ahead, source_hash, source_then
from tests.prepare.room import TEACHERS, Room, Slope

read_row = ahead.read_row


def readers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("reading")]


def ahead_by(room: Room, count: int) -> Config:
    return override(room.cfg, {"data.read_ahead": count})


def several(room: Room, count: int) -> list[ClipRow]:
    return [replace(room.rows[0], id=f"a{k}") for k in range(count)]


def filled(cfg: Config, room: Room, folder: Path) -> tuple[dict[str, bytes], dict[str, Any]]:
    store = prepare(cfg, room.rows, folder, teachers=TEACHERS)
    return {name: store.read_bytes(name) for name in store.ids()}, store.rejects()


def test_records_do_not_depend_on_reading_ahead(room: Room, tmp_path: Path) -> None:
    records, rejects = filled(ahead_by(room, 0), room, tmp_path / "0")
    assert len(records) == len(rejects) == 3
    for count in (1, 4):
        assert filled(ahead_by(room, count), room, tmp_path / str(count)) == (records, rejects)


def test_no_more_clips_are_read_than_asked_for(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[str] = []
    alive: weakref.WeakSet[VideoClip] = weakref.WeakSet()

    def noted(row: ClipRow, cfg: Config) -> Reading:
        begun.append(row.id)
        return begin(row, cfg)

    def kept(row: ClipRow, cfg: Config, facts: dict[str, Any]) -> VideoClip:
        clip = read_row(row, cfg, facts)
        alive.add(clip)
        return clip

    monkeypatch.setattr(ahead, "begin", noted)
    monkeypatch.setattr(ahead, "read_row", kept)
    rows = several(room, 8)
    for count in (0, 2):
        begun.clear()
        for place, reading in enumerate(read_ahead(rows, ahead_by(room, count)), 1):
            clip = reading.clip()
            assert reading.facts["backend"] == clip.backend and reading.row.id == rows[place - 1].id
            assert begun == [row.id for row in rows[: place + count]]
            del clip, reading
            assert len(alive) <= count + 1
        assert not readers()


def test_errors_belong_to_their_clips(room: Room, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    errors = {"a1": ClipError("corrupt", "got noise"), "a2": OSError("got no more files")}

    def some(row: ClipRow, cfg: Config, facts: dict[str, Any]) -> VideoClip:
        if row.id in errors:
            raise errors[row.id]
        return read_row(row, cfg, facts)

    monkeypatch.setattr(ahead, "read_row", some)
    rows, seen = several(room, 5), list[str]()
    store = prepare(room.cfg, rows, tmp_path, teachers=TEACHERS, progress=lambda *step: seen.append(step[2]))
    assert seen == [row.id for row in rows]
    assert store.ids() == ["a0", "a3", "a4"] and store.rejects()["a1"].reason == "corrupt"
    failed = read_rows(store.folder)["a2"]
    assert (failed["status"], failed["message"]) == ("failed", "OSError: got no more files")


@pytest.mark.parametrize("error", [KeyError("a mistake"), KeyboardInterrupt()])
def test_the_thread_ends_when_reading_goes_wrong(
    error: BaseException, room: Room, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(row: ClipRow, cfg: Config, facts: dict[str, Any]) -> VideoClip:
        if row.id == "a2":
            raise error
        return read_row(row, cfg, facts)

    monkeypatch.setattr(ahead, "read_row", wrong)
    with pytest.raises(type(error)):
        prepare(room.cfg, several(room, 4), tmp_path, teachers=TEACHERS)
    assert not readers()
    (folder,) = tmp_path.glob("store-*")
    assert FeatureStore(folder).ids() == ["a0", "a1"] == sorted(read_rows(folder))


def test_the_thread_ends_when_a_user_interrupts(room: Room, tmp_path: Path) -> None:
    class Interrupted(Slope):
        def __call__(self, row: ClipRow, frames: torch.Tensor) -> torch.Tensor:
            assert readers()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(room.cfg, several(room, 4), tmp_path, teachers=replace(TEACHERS, depth=Interrupted()))
    assert not readers()


def test_ten_times_the_clips_take_no_more_memory(room: Room, tmp_path: Path) -> None:
    def alive() -> int:
        gc.collect()
        return sum(isinstance(thing, torch.Tensor | VideoClip | Reading) for thing in gc.get_objects())

    counts: dict[int, int] = {}
    for count in (4, 40):
        rows, cfg = several(room, count), ahead_by(room, 1)

        def progress(done: int, total: int, _: str) -> None:
            if done == total - 1:
                counts[total] = alive()

        prepare(cfg, rows, tmp_path / str(count), teachers=TEACHERS, progress=progress)
    assert counts[40] <= counts[4], "something of every clip is kept"


def test_a_file_is_never_asked_without_the_time_limit(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    def hangs(path: Path, *, timeout: float | None) -> None:
        assert timeout == 7
        raise ClipError("timeout", "got nothing in time")

    monkeypatch.setattr(ahead, "probe", hangs)
    monkeypatch.setattr(ahead, "read_row", lambda *_: pytest.fail("asked again"))
    reading = begin(room.rows[0], override(room.cfg, {"data.read_timeout": 7.0}))
    with pytest.raises(ClipError, match="nothing in time"):
        reading.clip()


def test_what_a_reject_is_remembered_for(room: Room, tmp_path: Path) -> None:
    lost = replace(room.rows[0], path=tmp_path / "lost.mp4")
    reading = begin(lost, room.cfg)
    missing = source_then(reading, "missing")
    assert missing == source_hash(lost) == reading.source
    assert source_then(reading, "timeout") == source_then(reading, "unreadable") == ""
    lost.path.write_bytes(b"back again")
    assert source_hash(lost) != missing == source_then(begin(lost, room.cfg), "missing")
    assert source_then(begin(lost, room.cfg), "corrupt") == source_hash(lost)
    assert source_hash(replace(lost, path=lost.path / "below" / "a.mp4")) == missing
