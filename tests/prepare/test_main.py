"""The command: one process or several end with the same bytes, and go on where they were stopped."""

import errno
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pytest

from semrepa.config import mini, override
from semrepa.data.index import read_index, write_index
from semrepa.prepare import process
from semrepa.prepare.__main__ import main
from semrepa.prepare.shares import Share
from semrepa.prepare.stores import open_store
from tests.prepare.forked import command as command_of
from tests.prepare.forked import patch

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
def test_one_process_two_workers_two_ranks_and_two_actors_write_the_same_bytes(index, tmp_path):
    alone = run(*command(index, tmp_path / "alone"))
    assert alone.returncode == 0, alone.stderr
    assert "3 records, 2 left out (" in alone.stdout and "static 1" in alone.stdout
    together = run(*command(index, tmp_path / "together", "--workers", "2"))
    assert together.returncode == 0, together.stderr
    assert "3 records, 2 left out (" in together.stdout
    for rank in ("1", "0"):
        ranked = command(index, tmp_path / "ranks", "--runner", "ranks")
        assert run(*ranked, RANK=rank, WORLD_SIZE="2").returncode == 0
    (store,) = (tmp_path / "ranks").glob("store-*")
    assert len(list((store / "manifest").iterdir())) == 1, "the first rank, which ended last, compacts"
    reports = [json.loads((store / f"report-rank{rank}.json").read_text()) for rank in (0, 1)]
    (together,) = (tmp_path / "together").glob("store-*/report.json")
    reports.append(json.loads(together.read_text()))
    for name, count in (("written", 3), ("rejected", 2), ("failed", 0)):
        assert reports[0][name] + reports[1][name] == count == reports[2][name]
    assert reports[2]["reasons"]["empty"] == 1 and reports[2]["seconds"]["vae"] > 0
    expected = contents(tmp_path / "alone")
    assert len(expected) == 3
    assert contents(tmp_path / "together") == expected
    assert contents(tmp_path / "ranks") == expected
    if find_spec("ray"):
        actors = run(*command(index, tmp_path / "ray", "--runner", "ray", "--workers", "2"))
        assert actors.returncode == 0, actors.stderr
        assert "3 records, 2 left out (" in actors.stdout
        assert contents(tmp_path / "ray") == expected
    again = run(*command(index, tmp_path / "alone"))
    assert again.returncode == 0 and "a minute" not in again.stderr, "clips were done again"


def test_workers_that_fail_are_named(index, tmp_path, monkeypatch, capsys):
    codes = {0: 0, 1: 7, 2: -9}

    class Worker:
        def __init__(self, arguments, env, stdin):
            share = Share.read(arguments[-1])
            assert share.world == 3
            self.rank = share.rank
            assert arguments[-6:-1] == ["local", "--workers", "1", "--under-parent", "--share"]
            assert int(env["OMP_NUM_THREADS"]) >= 1 and stdin == subprocess.PIPE

        def wait(self):
            return codes[self.rank]

        def terminate(self):
            pass

    monkeypatch.setattr("semrepa.prepare.workers.subprocess.Popen", Worker)
    arguments = command(index, tmp_path, "--workers", "3")
    assert main(arguments) == 1
    named = "did not end well: 1 (exit status 7), 2 (killed by SIGKILL); the same command goes on"
    assert named in capsys.readouterr().err
    cfg = override(mini(), {"video.num_frames": 9})
    assert open_store(cfg, tmp_path).ids() == []
    codes[1] = 3
    assert main(arguments) == 3, "a limit that stopped a worker is what the command says"


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--share", "3/2"], "share: got '3/2'"),
        (["-o", "video.fpss=3"], "did you mean video.fps?"),
        (["--preset", "huge"], "expected one of mini, full"),
        (["-o", "face.pack=/nowhere/pack"], "/nowhere/pack"),
        (["-o", "data.index=/nowhere/index.jsonl"], "/nowhere/index.jsonl"),
        (["--runner", "ranks"], "start with a launcher"),
        (["--workers", "0"], "--workers: got 0"),
        (["--address", "auto"], "--address: got one without --runner ray"),
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


def test_clips_that_fail_are_told_by_the_exit_status(room, tmp_path, monkeypatch, capsys, caplog):
    patch(monkeypatch)
    arguments, real = command_of(room, tmp_path / "cache"), process.look
    some = {"tall", "dark"}

    def look(row, *others):
        if row.id in some:
            raise MemoryError("got no memory")
        return real(row, *others)

    monkeypatch.setattr(process, "look", look)
    assert main(arguments) == 1
    assert "2 records, 1 left out (too_short 1), 2 failed, to be tried again" in capsys.readouterr().out
    assert caplog.messages[-1].endswith("2 failed, to be tried again")
    some.clear()
    assert main(arguments) == 0
    assert capsys.readouterr().out.endswith("3 records, 2 left out (no_person 1, too_short 1)\n")


@pytest.mark.parametrize("workers", ["1", "2"])
def test_too_little_disk_stops_the_command(workers, room, tmp_path, monkeypatch, capsys):
    patch(monkeypatch)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    assert main(command_of(room, tmp_path / "cache", "--workers", workers)) == 3
    said = capsys.readouterr()
    assert said.err.startswith("stopped: got 1e-06 GB of free disk") and "5 clips" in said.err
    assert "0 records, 0 left out (none)" in said.out
    assert not list(tmp_path.glob("cache/text-*/*")), "nothing was begun"


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (OSError(errno.ENOSPC, "No space left"), 3, "stopped: got a full disk"),
        (PermissionError(errno.EACCES, "Permission denied", "/cache"), 2, "Permission denied: '/cache'"),
        (KeyboardInterrupt(), 130, "stopped by hand; the same command goes on"),
    ],
)
def test_how_a_run_ended_is_said_in_a_line(error, status, message, room, tmp_path, monkeypatch, capsys):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr("semrepa.prepare.__main__.prepare", fail)
    assert main(command_of(room, tmp_path / "cache")) == status
    assert message in capsys.readouterr().err


def test_shares_of_machines_are_divided_among_their_workers(room, tmp_path, monkeypatch, capsys):
    patch(monkeypatch)
    for share in ("0/2", "1/2"):
        assert main(command_of(room, tmp_path / "cache", "--workers", "2", "--share", share)) == 0
    assert capsys.readouterr().out.endswith("3 records, 2 left out (no_person 1, too_short 1)\n")
    assert main(command_of(room, tmp_path / "alone")) == 0
    assert contents(tmp_path / "cache") == contents(tmp_path / "alone")


def test_ray_gets_what_the_command_line_says(room, tmp_path, monkeypatch, capsys):
    asked = []

    def run_ray(cfg, rows, cache, **options):
        asked.append((cfg.video.num_frames, [row.id for row in rows], cache, options))
        return open_store(cfg, cache)

    monkeypatch.setitem(sys.modules, "semrepa.prepare.cluster", SimpleNamespace(run_ray=run_ray))
    cache = tmp_path / "cache"
    assert main(command_of(room, cache, "--runner", "ray", "--workers", "3", "--address", "auto")) == 0
    ids = ["a", "b", "tall", "short", "dark"]
    assert asked == [(9, ids, cache, {"workers": 3, "address": "auto"})]
    assert "0 records" in capsys.readouterr().out
