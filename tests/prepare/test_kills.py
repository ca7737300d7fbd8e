"""A killed process loses the clip it was at and nothing else."""

import multiprocessing
import random
import time
from dataclasses import replace
from pathlib import Path

from semrepa.prepare import prepare
from tests.prepare.room import TEACHERS, Room

KILLS = 20
COPIES = 6


def fill(room: Room, cache: Path) -> None:
    """Prepare every clip of the room several times over, under other names."""
    rows = [replace(row, id=f"{row.id}{copy}") for copy in range(COPIES) for row in room.rows]
    prepare(room.cfg, rows, cache, teachers=TEACHERS)


def contents(cache: Path) -> dict[str, bytes]:
    """Bytes of all finished records and text features by name."""
    return {path.name: path.read_bytes() for path in cache.rglob("[!.]*.safetensors")}


def rejects(cache: Path) -> list[str]:
    """Lines of the rejects, in any order."""
    (store,) = cache.glob("store-*")
    return sorted((store / "rejects.jsonl").read_text().splitlines())


def test_a_store_filled_between_kills_is_that_of_one_run(room: Room, tmp_path: Path) -> None:
    began = time.monotonic()
    fill(room, tmp_path / "calm")
    seconds = time.monotonic() - began
    fork, moments = multiprocessing.get_context("fork"), random.Random(0)
    kept: dict[str, int] = {}
    killed, rounds = 0, 0
    while killed < KILLS or kept:
        cache = tmp_path / f"killed{rounds}"
        worker = fork.Process(target=fill, args=(room, cache))
        worker.start()
        worker.join(moments.uniform(0, seconds / 3) if killed < KILLS else None)
        if worker.is_alive():
            worker.kill()
            killed += 1
        worker.join()
        found = {path.name: path.stat().st_mtime_ns for path in cache.rglob("[!.]*.safetensors")}
        assert kept.items() <= found.items(), "what was done has been done again, or is gone"
        kept = found
        if worker.exitcode == 0:
            assert contents(cache) == contents(tmp_path / "calm")
            assert rejects(cache) == rejects(tmp_path / "calm")
            rounds, kept = rounds + 1, {}
    assert rounds >= 1, "no clip was written between the kills"
