"""The command: one process or several end with the same bytes, and go on where they were stopped."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from semrepa.config import mini, override
from semrepa.data.index import read_index, write_index
from semrepa.prepare.__main__ import Printer, main
from semrepa.prepare.stores import open_store

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def index(tmp_path_factory) -> Path:
    """Three clips with people, the empty room, and a file that is not there."""
    folder = tmp_path_factory.mktemp("index")
    rows = read_index(ROOT / "data_samples" / "index.jsonl")
    chosen = [row for row in rows if row.identity is not None][:3]
    chosen += [row for row in rows if row.identity is None][:1]
    (folder / "lost.mp4").write_bytes(b"")
    chosen += [replace(rows[0], id="lost", path=folder / "lost.mp4")]
    return write_index(folder / "index.jsonl", chosen)


def command(index: Path, cache: Path, *more: str) -> list[str]:
    settings = {"data.index": index, "data.extra_train": 0, "data.extra_heldout": 0, "video.num_frames": 9}
    return [*(f"--override={name}={value}" for name, value in settings.items()), "--cache", str(cache), *more]


def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "semrepa.prepare", *arguments],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", **variables},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def contents(cache: Path) -> dict[str, bytes]:
    (store,) = cache.glob("store-*")
    return {path.name: path.read_bytes() for path in store.rglob("*.safetensors")}


@pytest.mark.slow
def test_one_process_two_workers_and_two_ranks_write_the_same_bytes(index, tmp_path):
    alone = run(*command(index, tmp_path / "alone"))
    assert alone.returncode == 0, alone.stderr
    assert "3 records, 2 left out (" in alone.stdout and "no_person 1" in alone.stdout
    together = run(*command(index, tmp_path / "together", "--workers", "2"))
    assert together.returncode == 0, together.stderr
    assert "3 records, 2 left out (" in together.stdout
    for rank in ("1", "0"):
        ranked = command(index, tmp_path / "ranks", "--ranks")
        assert run(*ranked, RANK=rank, WORLD_SIZE="2").returncode == 0
    (store,) = (tmp_path / "ranks").glob("store-*")
    reports = [json.loads((store / f"report-rank{rank}.json").read_text()) for rank in (0, 1)]
    assert [sum(report[name] for report in reports) for name in ("written", "rejected")] == [3, 2]
    expected = contents(tmp_path / "alone")
    assert len(expected) == 3
    assert contents(tmp_path / "together") == expected
    assert contents(tmp_path / "ranks") == expected
    again = run(*command(index, tmp_path / "alone"))
    assert again.returncode == 0 and "a minute" not in again.stdout, "clips were done again"


def test_workers_that_fail_are_named(index, tmp_path, monkeypatch, capsys):
    codes = {0: 0, 1: 7}

    class Worker:
        def __init__(self, arguments, env):
            self.rank = int(arguments[-1][0])
            assert arguments[-4:-1] == ["--workers", "1", "--share"]
            assert int(env["OMP_NUM_THREADS"]) >= 1

        def wait(self):
            return codes[self.rank]

        def terminate(self):
            pass

    monkeypatch.setattr("semrepa.prepare.__main__.subprocess.Popen", Worker)
    assert main(command(index, tmp_path, "--workers", "2")) == 1
    assert "workers that failed: 1 (exit code 7); the same command goes on" in capsys.readouterr().err
    cfg = override(mini(), {"video.num_frames": 9})
    assert open_store(cfg, tmp_path).ids() == []


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--share", "3/2"], "share: got '3/2'"),
        (["-o", "video.fpss=3"], "did you mean video.fps?"),
        (["--preset", "huge"], "expected one of mini, full"),
        (["-o", "face.pack=/nowhere/pack"], "/nowhere/pack"),
        (["-o", "data.index=/nowhere/index.jsonl"], "/nowhere/index.jsonl"),
        (["--ranks"], "start with a launcher"),
    ],
)
def test_bad_input_is_one_message(extra, message, index, tmp_path, capsys, monkeypatch):
    for name in ("RANK", "SLURM_PROCID", "SLURM_ARRAY_TASK_ID"):
        monkeypatch.delenv(name, raising=False)
    arguments = command(index, tmp_path)
    if extra[0] == "-o" and extra[1].startswith("data.index"):
        arguments = arguments[1:]
    assert main([*arguments, *extra]) == 2
    errors = capsys.readouterr().err
    assert errors.startswith("error: ") and message in errors


def test_progress_is_printed_now_and_then(capsys):
    printer = Printer(every=3600)
    printer(1, 3, "a")
    assert capsys.readouterr().out == ""
    printer(3, 3, "c")
    assert "3 of 3 clips" in capsys.readouterr().out
