"""Rows about clips: kept through kills, the newest counts, thresholds are questions."""

import random
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from semrepa.data import manifest, manifest_files
from semrepa.data.complete import complete
from semrepa.data.manifest import (
    ManifestWriter,
    compact,
    copy_manifest,
    describe,
    query,
    read_manifest,
    read_rows,
    summary,
)
from semrepa.data.manifest_files import COLUMNS, FOLDER
from semrepa.data.rejects import Reject
from semrepa.data.store import FeatureStore
from tests.data.killing import killed_after

WHOLE = {
    "clip_id": "c1",
    "status": "done",
    "path": "videos/a b ü.mp4",
    "size": 1234567890123,
    "mtime": 1700000000.25,
    "width": 1280,
    "height": 720,
    "fps": 29.97,
    "duration": 6.5,
    "rotation": 90,
    "codec": "h264",
    "backend": "pyav",
    "valid_frames": 49,
    "person_box": [1.0, 2.0, 30.5, 40.0],
    "person_score": 0.75,
    "face_rate": 0.5,
    "face_size": 64.0,
    "caption": "a person\nwalks\u2028on",
    "seconds": {"read": 0.5, "vae": 2.0},
    "bytes": 6_570_000,
    "checksum": "ab" * 32,
}


def names(folder: Path) -> list[str]:
    return sorted(path.suffix for path in (folder / FOLDER).iterdir() if path.is_file())


def test_rows_come_back_from_journal_and_from_parquet(tmp_path: Path) -> None:
    writer = ManifestWriter(tmp_path, "rank0", every_rows=2)
    writer.append(WHOLE)
    assert names(tmp_path) == [".jsonl"]
    waiting = read_rows(tmp_path)["c1"]
    writer.append({"clip_id": "c0", "status": "rejected", "reject_reason": "too_short", "message": "got 3 s"})
    assert names(tmp_path) == [".parquet"]
    kept = read_rows(tmp_path)["c1"]
    assert kept == waiting and {name: kept[name] for name in WHOLE} == WHOLE
    assert kept["worker"] == "rank0" and kept["version"] and kept["written"] > 1e18
    assert next(iter(read_rows(tmp_path, ("status",)).items())) == ("c0", {"status": "rejected"})
    assert pq.read_table(next((tmp_path / FOLDER).glob("*.parquet"))).column_names == list(COLUMNS)


def test_rows_are_flushed_by_time_and_at_the_end(tmp_path: Path, monkeypatch) -> None:
    now = [0.0]
    monkeypatch.setattr(manifest.time, "monotonic", lambda: now[0])
    with ManifestWriter(tmp_path, "w", every_seconds=60) as writer:
        writer.append({"clip_id": "a", "status": "done"})
        assert names(tmp_path) == [".jsonl"]
        now[0] = 61
        writer.append({"clip_id": "b", "status": "done"})
        assert names(tmp_path) == [".parquet"]
        writer.append({"clip_id": "c", "status": "done"})
    assert names(tmp_path) == [".parquet"] * 2 and read_manifest(tmp_path).num_rows == 3


def test_the_newest_row_of_a_clip_counts(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(manifest.time, "time_ns", lambda: 5)  # a clock that stands still
    first, second = (ManifestWriter(tmp_path, worker, every_rows=3) for worker in ("a", "b"))
    for status in ("failed", "rejected", "done"):
        first.append({"clip_id": "c1", "status": status})
    assert read_rows(tmp_path)["c1"]["status"] == "done"
    monkeypatch.setattr(manifest.time, "time_ns", lambda: 50)
    second.append({"clip_id": "c1", "status": "rejected"})
    first.flush()
    assert summary(read_manifest(tmp_path)) == {"rejected": 1}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"clip_id": "a", "status": "done", "facerate": 1}, "got column 'facerate'.*try 'face_rate'"),
        ({"clip_id": "a", "status": "ok"}, "with status 'ok'; expected .* done, rejected, failed"),
        ({"status": "done"}, "got clip_id None"),
        ({"clip_id": "a", "status": "done", "fps": "fast"}, "does not fit its columns.*fast"),
    ],
)
def test_rows_that_make_no_sense_are_refused_when_added(tmp_path: Path, row, message) -> None:
    writer = ManifestWriter(tmp_path, "w")
    with pytest.raises(ValueError, match=message):
        writer.append(row)
    assert names(tmp_path) == []
    with pytest.raises(ValueError, match=r"got worker '\.\./w'"):
        ManifestWriter(tmp_path, "../w")


def test_queries_and_counts(tmp_path: Path) -> None:
    with ManifestWriter(tmp_path, "w") as writer:
        for number in range(5):
            rate = {} if number == 2 else {"face_rate": number / 4}
            writer.append({"clip_id": f"c{number}", "status": "done", "duration": number, **rate})
        for number, reason in enumerate(("too_short", "no_person", "too_short")):
            writer.append(
                {"clip_id": f"r{number}", "status": "rejected", "reject_reason": reason, "duration": 4}
            )
    table = read_manifest(tmp_path)
    assert query(table) == ["c0", "c1", "c2", "c3", "c4"]
    assert query(table, min_face_rate=0.25) == ["c1", "c3", "c4"]
    assert query(table, min_face_rate=0.25, max_duration=3) == ["c1", "c3"]
    assert query(table, status=None, min_duration=4) == ["c4", "r0", "r1", "r2"]
    assert summary(table) == {"done": 5, "rejected: too_short": 2, "rejected: no_person": 1}
    with pytest.raises(ValueError, match="got bound 'min_facerate'.*try 'min_face_rate'"):
        query(table, min_facerate=1)
    with pytest.raises(ValueError, match="got status 'fine'"):
        query(table, status="fine")


def test_no_manifest_is_an_empty_one(tmp_path: Path) -> None:
    table = read_manifest(tmp_path)
    assert table.num_rows == 0 and query(table, min_fps=1) == [] and summary(table) == {}
    assert compact(tmp_path) == 0 and list(tmp_path.iterdir()) == []


def test_compacting_keeps_one_row_of_each_clip(tmp_path: Path) -> None:
    alive = ManifestWriter(tmp_path, "alive")
    alive.append({"clip_id": "c0", "status": "rejected"})
    with ManifestWriter(tmp_path, "w", every_rows=1) as writer:
        for number in range(9):
            writer.append({"clip_id": f"c{number % 4}", "status": "done", "fps": number})
    before = read_manifest(tmp_path)
    assert compact(tmp_path) == 4 and names(tmp_path) == [".jsonl", ".parquet"]
    assert read_manifest(tmp_path) == before and before["fps"].to_pylist() == [8, 5, 6, 7]
    part = next((tmp_path / FOLDER).glob("*.parquet"))
    assert compact(tmp_path) == 4 and part.exists()


def test_compacting_that_dies_before_it_deletes_changes_nothing(tmp_path: Path, monkeypatch) -> None:
    with ManifestWriter(tmp_path, "w", every_rows=1) as writer:
        for number in range(6):
            writer.append({"clip_id": f"c{number % 4}", "status": "done", "fps": number})
    before = read_manifest(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            compact(tmp_path)
    assert names(tmp_path) == [".parquet"] * 7 and read_manifest(tmp_path) == before
    compact(tmp_path)
    assert names(tmp_path) == [".parquet"] and read_manifest(tmp_path) == before


def test_files_may_vanish_under_a_reader(tmp_path: Path, monkeypatch) -> None:
    with ManifestWriter(tmp_path, "w", every_rows=1) as writer:
        for number in range(4):
            writer.append({"clip_id": f"c{number}", "status": "done"})
    read, times = manifest_files._read_part, []

    def slow(path: Path) -> pa.Table:
        times.append(path)
        if len(times) == 2:
            monkeypatch.setattr(manifest_files, "_read_part", read)
            compact(tmp_path)
            monkeypatch.setattr(manifest_files, "_read_part", slow)
        return read(path)

    monkeypatch.setattr(manifest_files, "_read_part", slow)
    assert read_manifest(tmp_path).num_rows == 4 and len(times) == 3


def test_killed_workers_lose_and_double_no_row(tmp_path: Path) -> None:
    read_manifest(tmp_path)  # pyarrow is there before the forks
    kept: Counter[str] = Counter()

    def write_for_ever(tell) -> None:
        number = 0
        with ManifestWriter(tmp_path, "w", every_rows=3) as writer:
            while True:
                writer.append({"clip_id": f"{sum(kept.values())}-{number}", "status": "done", "fps": number})
                tell(number)
                number += 1
                if number % 7 == 0:
                    compact(tmp_path)

    for _ in range(10):
        start = sum(kept.values())
        told = killed_after(random.uniform(0.03, 0.12), write_for_ever)
        kept.update(f"{start}-{number}" for number in told)
        ids = read_manifest(tmp_path)["clip_id"].to_pylist()
        assert len(ids) == len(set(ids)) and set(kept) <= set(ids) and len(ids) - len(kept) <= 10
    ManifestWriter(tmp_path, "next")
    assert ".jsonl" not in names(tmp_path)
    assert read_manifest(tmp_path)["clip_id"].to_pylist() == ids
    compact(tmp_path)
    assert read_manifest(tmp_path)["clip_id"].to_pylist() == ids and names(tmp_path) == [".parquet"]


def test_damaged_files_and_torn_lines(tmp_path: Path) -> None:
    writer = ManifestWriter(tmp_path, "w")
    writer.append({"clip_id": "a", "status": "done"})
    with writer._journal.open("a") as file:
        file.write('{"clip_id": "b", "sta\n{}\n{"clip_id": "c", "status": "done"')
    assert read_manifest(tmp_path)["clip_id"].to_pylist() == ["a"]
    (tmp_path / FOLDER / "x.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(ValueError, match=r"damaged .*x\.parquet.*delete it"):
        read_manifest(tmp_path)


def test_columns_of_other_versions_are_read(tmp_path: Path) -> None:
    with ManifestWriter(tmp_path, "w") as writer:
        writer.append({"clip_id": "b", "status": "done", "fps": 8, "motion": 1.5})
    old = pa.table({"clip_id": ["a"], "status": ["done"], "written": [1], "gone": [2]})
    pq.write_table(old, tmp_path / FOLDER / "old.parquet")
    new = ["clip_id", "fps", "motion", "person_area"]
    assert read_manifest(tmp_path).select(new).to_pylist() == [
        {"clip_id": "a", "fps": None, "motion": None, "person_area": None},
        {"clip_id": "b", "fps": 8, "motion": 1.5, "person_area": None},
    ]


def test_records_tell_their_columns_and_missing_rows_are_added(tmp_path: Path) -> None:
    record = {
        "person_box": torch.tensor([1.0, 2, 3, 4, 0.5]),
        "face_mask": torch.tensor([True, False, True, False]),
        "face_sizes": torch.tensor([8.0, torch.nan, 8, torch.nan]),
        "timestamps": torch.arange(4.0),
    }
    told = {
        "person_box": [1, 2, 3, 4],
        "person_score": 0.5,
        "face_rate": 0.5,
        "face_size": 8,
        "valid_frames": 4,
    }
    assert describe(record) == told and describe({"latents": torch.zeros(1)}) == {}
    assert describe(record | {"face_mask": torch.zeros(4, dtype=torch.bool)})["face_size"] is None
    store = FeatureStore(tmp_path, {})
    facts = {clip_id: store.write(clip_id, record) for clip_id in ("a", "b", "c")}
    store.path("c").write_bytes(b"damaged")
    with ManifestWriter(tmp_path, "w") as writer:
        writer.append({"clip_id": "a", "status": "done", "fps": 8})
        assert complete(store, writer) == ["b"] and complete(store, writer) == []
    rows = read_rows(tmp_path)
    assert set(rows) == {"a", "b"} and rows["a"]["fps"] == 8
    assert {name: rows["b"][name] for name in told} == told and rows["b"]["checksum"] == facts["b"].checksum
    copy_manifest(tmp_path, tmp_path / "copy")
    assert read_rows(tmp_path / "copy") == rows


def test_rows_of_what_was_replaced_before_a_kill_are_mended(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path, {})
    outcomes = ("same", "again", "left_out", "cut", "damaged", "retried")
    with ManifestWriter(tmp_path, "w") as writer:
        for clip_id in outcomes:
            facts = store.write(clip_id, {"latents": torch.zeros(4)}, "old")
            row = {"clip_id": clip_id, "status": "done", "checksum": facts.checksum, "fps": 8}
            writer.append(row)
        store.reject(Reject("retried", "too_short", "at first"))
        writer.append({"clip_id": "retried", "status": "failed"})
        # What a worker does before the row of each clip, and there it is killed.
        same = store.write("same", {"latents": torch.zeros(4)}, "old")
        again = store.write("again", {"latents": torch.ones(4)}, "new")
        store.reject(Reject("left_out", "too_short", "short"))
        store.reject(Reject("new", "no_person", "nobody"))
        store.write("cut", {"latents": torch.ones(4)}, "old")
        store.path("damaged").write_bytes(store.read_bytes("damaged")[:-1] + b"?")
        assert complete(store, writer) == ["again", "cut", "left_out", "new"]
        assert complete(store, writer) == []
    rows = read_rows(tmp_path)
    assert rows["same"]["checksum"] == same.checksum and rows["same"]["fps"] == 8
    assert rows["again"]["checksum"] == again.checksum and rows["again"]["fps"] is None
    assert {key: row["reject_reason"] for key, row in rows.items() if row["status"] == "rejected"} == {
        "left_out": "too_short",
        "new": "no_person",
    }
    assert rows["damaged"]["fps"] == 8 and rows["retried"]["status"] == "failed"
