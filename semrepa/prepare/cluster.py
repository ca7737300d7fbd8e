"""Prepare features on a Ray cluster: rows of the index are dealt to a pool of actors with all networks.

Each actor reads, encodes and writes its clips itself, so that only rows and results travel. Records on a disk
that all machines share are what a dead actor leaves behind; the one that takes its place goes on from there.
"""

import json
import logging
import math
import pickle
import secrets
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from socket import gethostname
from types import ModuleType
from typing import Any, TypeVar

import torch

import semrepa
from semrepa.config import Config, override
from semrepa.data.complete import complete
from semrepa.data.index import ClipRow
from semrepa.data.manifest import ManifestWriter, compact
from semrepa.data.store import FeatureStore
from semrepa.prepare.actors import Job, Preparer, begin_store, encode
from semrepa.prepare.attempts import Attempts
from semrepa.prepare.disk import check_disk
from semrepa.prepare.features import Progress, follow, remaining, report_name
from semrepa.prepare.laptop import cluster
from semrepa.prepare.limits import Limits, StoppedError
from semrepa.prepare.process import timed
from semrepa.prepare.progress import Tally
from semrepa.prepare.teachers import Teachers
from semrepa.prepare.text import new_captions, text_folder
from semrepa.runtime import write_json

log = logging.getLogger(__name__)

T = TypeVar("T")

READ_SECONDS = 60.0
"""Limit for reading a clip where the config has none; with one, a decoder that crashes costs no actor."""
BLOCK = 8
"""Most rows dealt out at a time."""


def run_ray(
    cfg: Config,
    rows: Sequence[ClipRow],
    cache_dir: str | Path,
    *,
    workers: int,
    address: str | None = None,
    teachers: Teachers | None = None,
    progress: Progress | None = None,
) -> FeatureStore:
    """Do what `prepare` does with a pool of Ray actors; the records are the same byte for byte.

    Every clip is decoded in a child process, so that a decoder that crashes costs that clip alone. A clip on
    which workers die again and again is given up: it fails, is named at the end, and is tried again by the
    next run.

    Args:
        cfg: resolved config.
        rows: the clips.
        cache_dir: see `open_store`; on disk that all machines of the cluster share.
        workers: actors; they share the cluster's GPUs, or its cores where it has none.
        address: "auto" or host:port of a running cluster; None starts one on this machine for the time of
            the run, unless this process has joined one.
        teachers: teachers that can be pickled; None: each actor loads what the config names.
        progress: called after each clip.

    Returns:
        The store.

    Raises:
        ModuleNotFoundError: Ray is not installed.
        ConnectionError: nothing answers at the address.
        FileNotFoundError: when weights are missing; lists all of them.
        ValueError: no workers; a machine of the cluster has another version of the library or another disk;
            or `data.store` was made with other settings.
        StoppedError: going on makes no sense, or an actor failed otherwise than by a clip.
    """
    if workers < 1:
        raise ValueError(f"got workers={workers}; expected 1 or more; take one for each GPU")
    patient = override(cfg, {"data.read_timeout": cfg.data.read_timeout or READ_SECONDS})
    job = Job(cfg=patient, cache=Path(cache_dir), place=Path.cwd(), teachers=teachers)
    with cluster(workers, address) as ray, _plain_errors(ray):
        needs = needs_of(ray.cluster_resources(), workers)
        _check_machines(ray, needs, job.cache)
        folder = _where_networks_run(ray, needs, begin_store, job)
        store, job = FeatureStore(folder), replace(job, cfg=override(patient, {"data.store": folder}))
        try:
            if todo := remaining(store, rows):
                _fill(ray, job, store, todo, workers, needs, progress)
        finally:
            with ManifestWriter(store.folder, "ray") as manifest:  # rows that dead workers did not write
                complete(store, manifest, {row.id for row in rows})
            compact(store.folder)
    return store


def _fill(
    ray: ModuleType,
    job: Job,
    store: FeatureStore,
    rows: Sequence[ClipRow],
    workers: int,
    needs: Mapping[str, float],
    progress: Progress | None,
) -> None:
    """Have the records of clips written by actors, and follow what they report."""
    log.info("preparing %d clips in %s", len(rows), store.folder)
    captions = new_captions(text_folder(store, job.cache), (row.caption for row in rows))
    check_disk(job.cfg, store, len(rows), len(captions), job.cache)
    tally, failed = Tally(len(rows)), list[str]()
    with timed(tally.seconds, "text"):
        _where_networks_run(ray, needs, encode, job, captions)
    Attempts(store.folder).clear()
    try:
        with closing(_dealt(ray, job, rows, workers, needs)) as found:
            follow(store, _noting(found, failed), tally, Limits(job.cfg.data.max_reject_share), progress)
    finally:
        write_json(store.folder / report_name(), tally.report())
    if failed:
        log.warning(
            "got %d clips that failed: %s; expected each to end as record or reject; the manifest says why; "
            "see whether memory ran out, or leave them out of the index; all other clips are done, and the "
            "same command tries these again",
            len(failed),
            ", ".join(failed),
        )


def _noting(found: Iterable[dict[str, Any]], failed: list[str]) -> Iterator[dict[str, Any]]:
    """Pass rows of the manifest on, and note the clips that have failed."""
    for one in found:
        if one["status"] == "failed":
            log.warning("failed: %s, %s", one["clip_id"], one["message"])
            failed.append(one["clip_id"])
        yield one


def needs_of(resources: Mapping[str, float], workers: int) -> dict[str, float]:
    """What each actor takes of a cluster, so that all of them find room.

    Args:
        resources: of the cluster, as Ray names them.
        workers: actors.

    Returns:
        A GPU, or a share of one; the same of a core where there is no GPU.
    """
    name = "GPU" if resources.get("GPU", 0) >= 1 else "CPU"
    return {f"num_{name.lower()}s": 1 / math.ceil(workers / max(1.0, resources.get(name, 0)))}


def _check_machines(ray: ModuleType, needs: Mapping[str, float], cache: Path) -> None:
    """Refuse a cluster on whose machines records would get lost, or become others."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    kind = "GPU" if "num_gpus" in needs else "CPU"
    nodes = [node["NodeID"] for node in ray.nodes() if node["Alive"] and node["Resources"].get(kind)]
    cache.mkdir(parents=True, exist_ok=True)
    mark = cache.absolute() / f".shared-{secrets.token_hex(8)}"
    mark.touch()
    # A lambda travels whole, so that the machine need not import what only the work itself needs.
    look = ray.remote(num_cpus=0)(lambda: (gethostname(), __import__("semrepa").__version__, mark.is_file()))
    try:
        there = [NodeAffinitySchedulingStrategy(node, soft=False) for node in nodes]
        found = ray.get([look.options(scheduling_strategy=one).remote() for one in there])
    finally:
        mark.unlink(missing_ok=True)
    if others := {
        f"{version} on {machine}" for machine, version, _ in found if version != semrepa.__version__
    }:
        raise ValueError(
            f"got semrepa {', '.join(sorted(others))}; expected {semrepa.__version__} as here; install the "
            "same everywhere"
        )
    if blind := {machine for machine, _, sees in found if not sees}:
        raise ValueError(
            f"got a cache {cache} that {', '.join(sorted(blind))} cannot see; expected disk that all "
            "machines share; give a folder there"
        )


def _where_networks_run(
    ray: ModuleType, needs: Mapping[str, float], work: Callable[..., T], *given: object
) -> T:
    """Do work here, unless actors have a GPU and this process has none."""
    if "num_gpus" in needs and not torch.cuda.is_available():
        return ray.get(ray.remote(**needs)(work).remote(*given))
    return work(*given)


def _dealt(
    ray: ModuleType, job: Job, rows: Sequence[ClipRow], workers: int, needs: Mapping[str, float]
) -> Generator[dict[str, Any]]:
    """Rows of the manifest as the actors report them, in any order."""
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = context.print_on_execution_start = False
    size = max(1, min(BLOCK, len(rows) // (4 * workers)))
    packed = ray.data.from_items(
        [{"row": pickle.dumps(row)} for row in rows], override_num_blocks=math.ceil(len(rows) / size)
    )
    # An actor that dies is replaced without end: `Attempts` counts the deaths, by clip.
    found = packed.map_batches(
        Preparer,
        fn_constructor_args=(job,),
        batch_size=None,
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(size=workers),
        **needs,
    )
    yield from (json.loads(one["found"]) for one in found.iter_rows())


@contextmanager
def _plain_errors(ray: ModuleType) -> Iterator[None]:
    """Raise errors of actors as what they were, without Ray's pages of traceback."""
    try:
        yield
    except ray.exceptions.RayTaskError as error:
        cause = error.cause
        while isinstance(cause, ray.exceptions.RayTaskError):
            cause = cause.cause
        if isinstance(cause, ValueError | FileNotFoundError | TypeError | StoppedError):
            raise cause from error
        raise StoppedError(_failure(error)) from error
    except ray.exceptions.RayError as error:
        raise StoppedError(_failure(error)) from error


def _failure(error: Exception) -> str:
    """One line of the pages that Ray tells: the first error, from which all others came."""
    first = str(error).split("The above exception was the direct cause")[0].strip().splitlines()[-1]
    return (
        f"got a failure of a Ray worker ({first}); expected none; the same command goes on where it stopped"
    )
