"""Room on the disk before a run: what records will take, and what happens when it is not there."""

import shutil
from collections import namedtuple
from pathlib import Path

import pytest

from semrepa.prepare import prepare
from semrepa.prepare.disk import record_bytes, text_bytes
from semrepa.prepare.limits import StoppedError
from semrepa.prepare.stores import open_store
from tests.prepare.room import IDLE, TEACHERS, Room
from tests.tiny import TEXT_LENGTH, TEXT_WIDTH

Usage = namedtuple("Usage", "total used free")


def test_size_of_a_record_is_known_before_and_measured_after(room: Room, tmp_path: Path) -> None:
    guess = record_bytes(room.cfg, open_store(room.cfg, tmp_path))
    store = prepare(room.cfg, room.rows[:2], tmp_path, teachers=TEACHERS)
    true = [len(store.read_bytes(name)) for name in ("a", "b")]
    assert true[0] <= guess <= 2 * true[0]  # so small a record is half header
    assert record_bytes(room.cfg, store) == sum(true) // 2
    assert text_bytes(room.cfg) == 2 * TEXT_LENGTH * TEXT_WIDTH


def test_a_disk_that_is_too_small_is_said_before_anything_is_done(
    room: Room, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needed = 6 * record_bytes(room.cfg, open_store(room.cfg, tmp_path)) + 2 * text_bytes(room.cfg)
    for free, is_enough in ((needed, True), (needed - 1, False)):
        monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(0, 0, free))  # noqa: B023
        if is_enough:
            with pytest.raises(AssertionError, match="asked again"):
                prepare(room.cfg, room.rows, tmp_path / "new", teachers=IDLE)
        else:
            with pytest.raises(StoppedError, match=r"GB of free disk.*6 clips.*2 new captions.*data\.store"):
                prepare(room.cfg, room.rows, tmp_path / "other", teachers=IDLE)


def test_disks_are_looked_at_one_by_one(room: Room, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Path] = []

    def usage(folder: Path) -> Usage:
        asked.append(folder)
        return Usage(0, 0, 10**12)

    monkeypatch.setattr(shutil, "disk_usage", usage)
    prepare(room.cfg, room.rows[:1], tmp_path, teachers=TEACHERS)
    assert len(asked) == 1 and asked[0].name.startswith("store-")
