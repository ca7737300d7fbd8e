"""Runs that must stop, clips that fail for reasons that are not theirs, and what the next run does."""

import errno
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from semrepa.config import override
from semrepa.data import manifest
from semrepa.data.index import ClipRow
from semrepa.data.manifest import read_rows
from semrepa.data.store import FeatureStore, Written
from semrepa.data.video import ClipError
from semrepa.prepare import Teachers, prepare
from semrepa.prepare.features import remaining
from semrepa.prepare.limits import FAILURES, LEAST, RECENT, Limits, StoppedError, is_disk_full
from tests.prepare.room import TEACHERS, Room, Slope


def outcome(number: int, reason: str | None = None, status: str = "rejected") -> dict[str, Any]:
    return {"clip_id": f"c{number}", "status": status, "reject_reason": reason, "message": f"got c{number}"}


def until_stopped(reasons: list[str | None], share: float = 0.5) -> int:
    """Clips after which these outcomes stop a run; all of them if nothing does."""
    limits = Limits(share)
    for number, reason in enumerate(reasons, 1):
        try:
            limits.check(outcome(number, reason, "rejected" if reason else "done"))
        except StoppedError:
            return number
    return len(reasons)


def test_a_lost_mount_is_noticed_at_the_start_and_in_the_middle() -> None:
    assert until_stopped(["missing"] * 1000) == LEAST
    assert until_stopped([None] * 1000 + ["missing"] * 1000) == 1000 + RECENT // 2 + 1
    assert until_stopped(["timeout", None, None] * 1000) == 3000
    assert until_stopped(["timeout", None, None] * 1000, 0.3) == LEAST
    assert until_stopped(["missing", "unreadable"] * 500, 0.6) == 1000


def test_raw_footage_is_no_reason_to_stop() -> None:
    assert until_stopped(["no_person", "too_short", "static"] * 500) == 1500
    assert until_stopped(["no_person"] * 1000) == 1000
    assert until_stopped(["missing"] * 1000, 1.0) == 1000
    assert until_stopped(["missing"] * (LEAST - 1)) == LEAST - 1


def test_clips_that_fail_in_a_row_stop_a_run() -> None:
    limits = Limits(0.5)
    for number in range(4 * FAILURES):
        limits.check(outcome(number, status="failed" if number % FAILURES else "done"))
    limits.check(outcome(50, status="done"))
    for number in range(FAILURES - 1):
        limits.check(outcome(number, status="failed"))
    with pytest.raises(StoppedError, match=f"{FAILURES} clips in a row.*got c60"):
        limits.check(outcome(60, status="failed"))


def test_a_run_without_its_videos_stops_and_tries_them_again(
    room: Room, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [replace(room.rows[0], id=f"a{k}") for k in range(LEAST + 10)]

    def stale(row: ClipRow, *_: object) -> None:
        raise ClipError("not_video", f"got {row.path}, a stale file handle")

    with monkeypatch.context() as lost:
        lost.setattr("semrepa.prepare.ahead.read_row", stale)
        with pytest.raises(StoppedError) as stopped:
            prepare(room.cfg, rows, tmp_path, teachers=TEACHERS)
        for part in (f"{LEAST} of the latest {LEAST}", "'not_video'", "a.mp4, a stale", "max_reject_share=1"):
            assert part in str(stopped.value)
        (folder,) = tmp_path.glob("store-*")
        store = FeatureStore(folder)
        assert len(store.rejects()) == LEAST and '"rejected": 50' in (folder / "report.json").read_text()
        assert remaining(store, rows) == rows, "all clips are to be tried again"
        tolerant = override(room.cfg, {"data.max_reject_share": 1.0})
        assert len(prepare(tolerant, rows, tmp_path, teachers=TEACHERS).rejects()) == len(rows)
    assert remaining(store, rows) == []


class Fails(Slope):
    """A depth teacher that fails on some clips as a machine does."""

    def __init__(self, errors: dict[str, Exception]) -> None:
        self.errors = errors

    def __call__(self, row: ClipRow, frames: torch.Tensor) -> torch.Tensor:
        if row.id in self.errors:
            raise self.errors[row.id]
        return super().__call__(row, frames)


def failing(**errors: Exception) -> Teachers:
    return replace(TEACHERS, depth=Fails(errors))


def test_a_clip_that_fails_is_no_reject_and_is_tried_again(room: Room, tmp_path: Path) -> None:
    rows = room.rows[:3]
    store = prepare(room.cfg, rows, tmp_path, teachers=failing(b=torch.OutOfMemoryError("got no memory")))
    assert store.ids() == ["a", "tall"] and store.rejects() == {}
    failed = read_rows(store.folder)["b"]
    assert (failed["status"], failed["message"]) == ("failed", "OutOfMemoryError: got no memory")
    assert failed["path"].endswith("b.mp4") and "read" in failed["seconds"]
    assert '"failed": 1' in (store.folder / "report.json").read_text()
    assert remaining(store, rows) == [rows[1]]
    assert prepare(room.cfg, rows, tmp_path, teachers=TEACHERS).ids() == ["a", "b", "tall"]
    assert {row["status"] for row in read_rows(store.folder).values()} == {"done"}


def test_a_mistake_in_the_code_is_not_hidden(room: Room, tmp_path: Path) -> None:
    with pytest.raises(KeyError, match="a mistake"):
        prepare(room.cfg, room.rows[:3], tmp_path, teachers=failing(b=KeyError("a mistake")))
    (folder,) = tmp_path.glob("store-*")
    assert FeatureStore(folder).ids() == ["a"]


def test_failures_in_a_row_end_a_run(room: Room, tmp_path: Path) -> None:
    rows = [replace(room.rows[0], id=f"a{k}") for k in range(FAILURES + 2)]
    broken = failing(**{row.id: RuntimeError("CUDA error") for row in rows[1:]})
    with pytest.raises(StoppedError, match="RuntimeError: CUDA error.*run the same command again"):
        prepare(room.cfg, rows, tmp_path, teachers=broken)
    (folder,) = tmp_path.glob("store-*")
    assert remaining(FeatureStore(folder), rows) == rows[1:]


@pytest.mark.parametrize(("place", "name"), [(FeatureStore, "write"), (manifest, "append_line")])
def test_a_full_disk_ends_a_run_and_nothing_is_lost(
    place: Any, name: str, room: Room, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = room.rows[:3]
    real: Callable[..., Written | None] = getattr(place, name)
    calls: list[object] = []

    def full(*arguments: object) -> Written | None:
        calls.append(arguments)
        if len(calls) > 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(*arguments)

    with monkeypatch.context() as disk:
        disk.setattr(place, name, full)
        with pytest.raises(StoppedError, match="full disk.*the same command again"):
            prepare(room.cfg, rows, tmp_path, teachers=TEACHERS)
    store = prepare(room.cfg, rows, tmp_path, teachers=TEACHERS)
    assert store.ids() == ["a", "b", "tall"]
    assert {row["status"] for row in read_rows(store.folder).values()} == {"done"}


def test_which_errors_mean_a_full_disk() -> None:
    assert is_disk_full(OSError(errno.ENOSPC, "")) and is_disk_full(OSError(errno.EDQUOT, ""))
    assert not is_disk_full(OSError(errno.EIO, "")) and not is_disk_full(RuntimeError("full"))
