"""Real Ray on this machine: the same bytes as without it, whatever dies on the way."""

import multiprocessing
import os
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from semrepa.data.index import ClipRow
from semrepa.data.manifest import read_rows
from semrepa.data.store import FeatureStore
from semrepa.prepare import cluster as runner
from semrepa.prepare import laptop, prepare
from semrepa.prepare.actors import ATTEMPTS
from semrepa.prepare.cluster import run_ray
from semrepa.prepare.limits import StoppedError
from tests.prepare.deadly import POISON, TRAVELLING, Faulty, contents, deadly_teachers, deaths_on
from tests.prepare.room import Room, video

pytest.importorskip("ray.data", reason="the extra ray is not installed")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def ray(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    """A cluster whose decoding children crash on files called poison."""
    hooks = tmp_path_factory.mktemp("hooks")
    (hooks / "sitecustomize.py").write_text(POISON)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(hooks)
        handler = signal.getsignal(signal.SIGTERM)
        with laptop.cluster(2) as ray:
            yield ray
        assert signal.getsignal(signal.SIGTERM) is handler, "Ray has kept SIGTERM"


@pytest.fixture(scope="module")
def rows(room: Room) -> list[ClipRow]:
    """Good and bad clips, and copies of a good one on which a stand-in may die."""
    return [*room.rows[:2], *(replace(room.rows[0], id=name) for name in ("once", "always")), *room.rows[2:]]


@pytest.fixture(scope="module")
def alone(room: Room, rows: list[ClipRow]) -> FeatureStore:
    """What one process makes of the rows."""
    return prepare(room.cfg, rows, room.cache, teachers=TRAVELLING)


def test_records_are_those_of_one_process_and_poison_is_left_out(
    ray: ModuleType, room: Room, rows: list[ClipRow], alone: FeatureStore, tmp_path: Path
) -> None:
    poison = replace(rows[0], id="poison", path=video(tmp_path / "poison.mp4", 9, 150))
    seen: list[tuple[int, int, str]] = []
    store = run_ray(
        room.cfg,
        [poison, *rows],
        tmp_path,
        workers=2,
        teachers=TRAVELLING,
        progress=lambda *step: seen.append(step),
    )
    records, rejects = contents(store)
    assert "on which the decoder crashed (exit status -6)" in rejects.pop("poison")
    assert (records, rejects) == contents(alone)
    manifest = read_rows(store.folder)
    assert manifest["poison"]["reject_reason"] == "crashed"
    assert manifest.keys() == {"poison", *(row.id for row in rows)}
    assert [step[:2] for step in seen] == [(k + 1, len(rows) + 1) for k in range(len(rows) + 1)]
    assert {step[2] for step in seen} == manifest.keys()
    assert ray.is_initialized(), "a cluster that was there before is gone"


def test_what_kills_actors_costs_one_clip_and_the_same_command_goes_on(
    ray: ModuleType,
    room: Room,
    rows: list[ClipRow],
    alone: FeatureStore,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    (graves := tmp_path / "graves").mkdir()
    run_ray(room.cfg, rows, tmp_path / "cache", workers=1, teachers=deadly_teachers(graves))
    assert f"failed: always, {ATTEMPTS} workers died on " in caplog.text
    assert "got 1 clips that failed: always; expected" in caplog.text
    assert (deaths_on(graves, "once"), deaths_on(graves, "always")) == (1, ATTEMPTS)
    (folder,) = (tmp_path / "cache").glob("store-*")
    store = FeatureStore(folder)
    records, rejects = contents(alone)
    assert contents(store) == ({name: records[name] for name in records if name != "always"}, rejects)
    manifest = read_rows(folder)
    assert manifest.keys() == {row.id for row in rows}
    assert [name for name, row in manifest.items() if row["status"] == "failed"] == ["always"]

    before = {path: path.stat().st_mtime_ns for path in folder.glob("??/*.safetensors")}
    address = ray.get_runtime_context().gcs_address
    assert elsewhere(join_and_run, room, rows, tmp_path / "cache", address) == ["always"]
    assert contents(store) == (records, rejects)
    assert all(path.stat().st_mtime_ns == time for path, time in before.items()), "made again"
    assert read_rows(folder)["always"]["status"] == "done"
    assert ray.nodes()[0]["Alive"], "a cluster that was joined is gone"


def test_an_error_of_an_actor_is_one_line(ray: ModuleType, room: Room, tmp_path: Path) -> None:
    faulty = replace(TRAVELLING, depth=Faulty())
    with pytest.raises(
        StoppedError, match=r"worker \(KeyError: 'a fault of the program'\); .* goes on"
    ) as caught:
        run_ray(room.cfg, room.rows[:1], tmp_path, workers=1, teachers=faulty)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.rglob(".shared-*"))


def test_a_cluster_of_its_own_leaves_nothing_behind(room: Room, tmp_path: Path) -> None:
    (home := tmp_path / "home").mkdir()
    folders = elsewhere(fail_alone, room, tmp_path / "cache", home)
    assert len(folders) == 1 and not Path(folders[0]).exists()
    running = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert folders[0] not in running
    assert not (home / ".ray").exists()


def elsewhere(work: Any, *given: Any) -> Any:
    """What a function returns in a fresh process."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(work, *given).result()


def join_and_run(room: Room, rows: list[ClipRow], cache: Path, address: str) -> list[str]:
    """Prepare on a cluster that another process has begun; returns the clips that were worked on."""
    os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # or Ray takes 127.0.0.1 for the outer address
    seen: list[str] = []
    run_ray(
        room.cfg,
        rows,
        cache,
        workers=1,
        address=address,
        teachers=TRAVELLING,
        progress=lambda *step: seen.append(step[2]),
    )
    return seen


def fail_alone(room: Room, cache: Path, home: Path) -> list[str]:
    """Prepare on a cluster begun for it and fail after the first clip; returns the cluster's folders."""
    os.environ["HOME"] = str(home)
    for name in [name for name in os.environ if name.startswith("RAY_")]:  # of the other cluster
        del os.environ[name]
    make, made = laptop.tempfile.mkdtemp, list[str]()

    def noted(*given: Any, **named: Any) -> str:
        made.append(make(*given, **named))
        return made[-1]

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    laptop.tempfile.mkdtemp = noted
    environment = dict(os.environ)
    with pytest.raises(KeyboardInterrupt):
        run_ray(room.cfg, room.rows, cache, workers=1, teachers=TRAVELLING, progress=interrupted)
    assert "RAY_AUTH_TOKEN" not in os.environ
    assert {name: os.environ.get(name) for name in environment} == environment
    (folder,) = cache.glob("store-*")
    assert FeatureStore(folder).ids() != []
    return [name for name in made if Path(name).name.startswith("ray-")]


@pytest.mark.parametrize(
    ("version", "sees", "message"),
    [
        ("0.0.9", True, "got semrepa 0.0.9 on far; expected .* as here; install the same"),
        (None, False, "that far cannot see; expected disk that all machines share"),
    ],
)
def test_machines_that_would_lose_records_are_refused(
    version: str | None, sees: bool, message: str, tmp_path: Path
) -> None:
    answer = ("far", version or runner.semrepa.__version__, sees)
    asked = SimpleNamespace(options=lambda **_: SimpleNamespace(remote=lambda: answer))
    far = {"NodeID": "ab" * 28, "Alive": True, "Resources": {"CPU": 4.0}}
    dead = {"NodeID": "cd" * 28, "Alive": False, "Resources": {"CPU": 4.0}}
    fake = SimpleNamespace(nodes=lambda: [far, dead], remote=lambda **_: lambda _: asked, get=list)
    module = ModuleType("ray")
    module.__dict__.update(vars(fake))
    with pytest.raises(ValueError, match=message):
        runner._check_machines(module, {"num_cpus": 1}, tmp_path)
    assert list(tmp_path.iterdir()) == []
