"""What runs on other machines of a Ray cluster, here without Ray."""

import json
import pickle
import socket
import sys
from dataclasses import replace
from pathlib import Path

import pyarrow
import pytest

from semrepa.config import override
from semrepa.data.index import ClipRow
from semrepa.data.manifest import read_rows
from semrepa.data.store import FeatureStore
from semrepa.prepare import prepare
from semrepa.prepare.actors import ATTEMPTS, Job, Preparer, begin_store, encode
from semrepa.prepare.attempts import Attempts
from semrepa.prepare.cluster import needs_of, run_ray
from tests.prepare.deadly import contents
from tests.prepare.room import TEACHERS, Room


@pytest.fixture
def job(room: Room, tmp_path: Path) -> Job:
    """A job whose store has been begun, with captions encoded."""
    first = Job(cfg=room.cfg, cache=tmp_path / "cache", place=Path.cwd(), teachers=TEACHERS)
    job = replace(first, cfg=override(room.cfg, {"data.store": begin_store(first)}))
    encode(job, [row.caption for row in room.rows])
    return job


def deal(actor: Preparer, rows: list[ClipRow]) -> dict[str, str]:
    """Outcomes that an actor reports, by clip."""
    table = pyarrow.table({"row": [pickle.dumps(row) for row in rows]})
    found = [json.loads(text) for text in actor(table)["found"]]
    assert [one["clip_id"] for one in found] == [row.id for row in rows]
    return {one["clip_id"]: one.get("reject_reason") or one["status"] for one in found}


def test_an_actor_writes_what_one_process_writes(room: Room, job: Job, tmp_path: Path) -> None:
    actor = Preparer(job)
    outcomes = deal(actor, room.rows[:4]) | deal(actor, room.rows[4:])
    assert outcomes == {
        **dict.fromkeys(("a", "b", "tall"), "done"),
        "short": "too_short",
        "dark": "no_person",
        "gone": "missing",
    }
    calm = prepare(room.cfg, room.rows, tmp_path / "calm", teachers=TEACHERS)
    store = FeatureStore(job.cfg.data.store)
    assert contents(store) == contents(calm)
    assert list((store.folder / "begun").iterdir()) == []
    del actor
    assert list((store.folder / "manifest").glob("*.jsonl")) == [], "the manifest was not closed"
    assert read_rows(store.folder).keys() == outcomes.keys()


def test_an_actor_goes_on_where_another_died(room: Room, job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    first, attempts = Preparer(job), Attempts(job.cfg.data.store)
    rows = [room.rows[k] for k in (0, 3, 1, 2)]
    deal(first, rows[:2])
    for row, times in zip(rows, (1, 1, ATTEMPTS, ATTEMPTS - 1), strict=True):
        for _ in range(times):
            attempts.begin(row.id)
    second, worked = Preparer(job), []
    work = second._worker.work
    monkeypatch.setattr(second._worker, "work", lambda row: worked.append(row.id) or work(row))
    monkeypatch.setattr(second._worker, "work_all", lambda _: pytest.fail("read ahead"))
    outcomes = {"a": "done", "short": "too_short", "b": "failed", "tall": "done"}
    assert deal(second, rows) == outcomes and worked == ["tall"]
    assert deal(second, rows) == outcomes and worked == ["tall"], "what was given up is tried again"
    noted = read_rows(job.cfg.data.store)["b"]
    assert noted["status"] == "failed" and f"{ATTEMPTS} workers died on {rows[2].path}" in noted["message"]


def test_an_actor_begins_no_store_of_its_own(job: Job, tmp_path: Path) -> None:
    elsewhere = replace(job, cfg=override(job.cfg, {"data.store": str(tmp_path / "not_mounted")}))
    with pytest.raises(
        FileNotFoundError, match="got no store .*not_mounted on .*disk that all machines share"
    ):
        Preparer(elsewhere)
    assert not (tmp_path / "not_mounted").exists()


def test_attempts_are_counted_by_clip_for_all(tmp_path: Path) -> None:
    one, other = Attempts(tmp_path), Attempts(tmp_path)
    assert one.of("a") == 0
    one.begin("a")
    other.begin("a")
    one.begin("b")
    assert (one.of("a"), other.of("b")) == (2, 1)
    other.let_go("a")
    other.let_go("a")
    assert one.of("a") == 0
    one.clear()
    one.clear()
    assert other.of("b") == 0


@pytest.mark.parametrize(
    ("resources", "workers", "needs"),
    [
        ({"CPU": 8}, 2, {"num_cpus": 1}),
        ({"CPU": 2}, 3, {"num_cpus": 0.5}),
        ({"CPU": 64, "GPU": 8}, 8, {"num_gpus": 1}),
        ({"CPU": 64, "GPU": 2}, 3, {"num_gpus": 0.5}),
        ({}, 2, {"num_cpus": 0.5}),
    ],
)
def test_all_actors_find_room(resources: dict, workers: int, needs: dict) -> None:
    assert needs_of(resources, workers) == needs


def test_what_cannot_be_is_one_message(room: Room, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        free = server.getsockname()[1]
    for error, message, settings in (
        (ValueError, "got workers=0; expected 1 or more", {"workers": 0}),
        (ValueError, "got address 'nonsense'; expected auto or host:port", {"address": "nonsense"}),
        (
            ConnectionError,
            f"got no Ray cluster at 127.0.0.1:{free} .*start it",
            {"address": f"127.0.0.1:{free}"},
        ),
    ):
        with pytest.raises(error, match=message):
            run_ray(room.cfg, room.rows, tmp_path, **{"workers": 1, **settings})
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(
        ModuleNotFoundError, match=r'pip install "ray\[data\]>=2\.50,<3", or use --runner local'
    ):
        run_ray(room.cfg, room.rows, tmp_path, workers=1)
    assert list(tmp_path.iterdir()) == []
