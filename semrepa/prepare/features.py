"""Teachers, VAE and text encoder, once over every clip, into a feature store."""

import logging
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import closing, nullcontext, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from semrepa.config import Config
from semrepa.data.complete import complete
from semrepa.data.index import ClipRow
from semrepa.data.manifest import ManifestWriter, compact, describe
from semrepa.data.records import Record
from semrepa.data.rejects import Reject
from semrepa.data.store import FeatureStore
from semrepa.prepare.ahead import Reading, begin, read_ahead, source_hash, source_then
from semrepa.prepare.disk import check_disk
from semrepa.prepare.limits import MACHINE, Limits, StoppedError, forget, full_disk, is_disk_full
from semrepa.prepare.process import Models, process_clip, timed
from semrepa.prepare.progress import Tally
from semrepa.prepare.stores import open_store
from semrepa.prepare.teachers import Teachers, load_teachers
from semrepa.prepare.text import encode_captions, new_captions, text_folder
from semrepa.runtime import write_json
from semrepa.weights import load_base

log = logging.getLogger(__name__)

Progress = Callable[[int, int, str], None]
"""Called after each clip with clips done, clips in all, and the clip's id."""
ALONE = "alone"
"""Name in the manifest of a process that is not one of several."""


def prepare(
    cfg: Config,
    rows: Sequence[ClipRow],
    cache_dir: str | Path,
    *,
    teachers: Teachers | None = None,
    progress: Progress | None = None,
    worker: str = "",
) -> FeatureStore:
    """Fill a feature store with the records of all clips that are new, or have changed, since it was filled.

    A clip that cannot be used is no error: it is noted in the store's `rejects()` with its reason. Counts and
    seconds by stage are written to the store's folder. Several processes may fill one store, each with clips
    of its own.

    Args:
        cfg: resolved config.
        rows: the clips.
        cache_dir: see `open_store`.
        teachers: loaded teachers; None loads what the config names.
        progress: called after each clip.
        worker: name of this process among several, such as "rank3".

    Returns:
        The store.

    Raises:
        FileNotFoundError: when weights are missing; lists all of them.
        ValueError: when `data.store` was made with other settings.
        StoppedError: too little disk, too many videos that cannot be read, or clips that fail in a row.
    """
    store = open_store(cfg, cache_dir)
    if todo := take_stock(store, rows, worker or ALONE):
        _fill(cfg, store, todo, cache_dir, teachers, progress, worker)
    if not worker:
        compact(store.folder)
    return store


def take_stock(store: FeatureStore, rows: Sequence[ClipRow], name: str) -> list[ClipRow]:
    """Say what is to do, and give rows of the manifest to what processes have done that died before.

    Args:
        store: the store.
        rows: clips that no other process is at.
        name: of this worker.

    Returns:
        The clips that `remaining` names.
    """
    with ManifestWriter(store.folder, name) as manifest:
        complete(store, manifest, {row.id for row in rows})
    return remaining(store, rows)


def _fill(
    cfg: Config,
    store: FeatureStore,
    todo: Sequence[ClipRow],
    cache_dir: str | Path,
    teachers: Teachers | None,
    progress: Progress | None,
    worker: str,
) -> None:
    """Write the records of clips, note every outcome in the manifest, and the counts in a report."""
    log.info("preparing %d clips in %s", len(todo), store.folder)
    captions = new_captions(text_folder(store, cache_dir), (row.caption for row in todo))
    check_disk(cfg, store, len(todo), len(captions), Path(cache_dir))
    tally = Tally(len(todo), worker)
    with timed(tally.seconds, "text"):
        encode_captions(cfg, store, captions, cache_dir)
    models = load_models(cfg, store, [], cache_dir, teachers)
    try:
        with Worker(cfg, store, models, worker or ALONE) as at_work, closing(at_work.work_all(todo)) as found:
            follow(store, found, tally, Limits(cfg.data.max_reject_share), progress)
    finally:
        write_json(store.folder / report_name(worker), tally.report())


def follow(
    store: FeatureStore,
    found: Iterable[Mapping[str, Any]],
    tally: Tally,
    limits: Limits,
    progress: Progress | None = None,
) -> None:
    """Count the outcomes of clips as they come, and stop where going on makes no sense.

    Args:
        store: the store that is filled.
        found: the clips' rows of the manifest.
        tally: counts them.
        limits: say when to stop.
        progress: called after each clip.

    Raises:
        StoppedError: a limit was passed; clips that were left out for it are tried again by the next run.
    """
    tally.begin()
    for row in found:
        tally.add(row)
        if progress:
            progress(tally.done, tally.total, row["clip_id"])
        try:
            limits.check(row)
        except StoppedError:
            forget(store, limits.suspects)
            raise


def report_name(worker: str = "") -> str:
    """File in a store's folder with what `prepare` did last.

    Args:
        worker: as given to `prepare`.

    Returns:
        A file name.
    """
    return f"report-{worker}.json" if worker else "report.json"


def remaining(store: FeatureStore, rows: Sequence[ClipRow]) -> list[ClipRow]:
    """The clips that are new, or have changed, since the store was filled.

    Args:
        store: the store.
        rows: clips.

    Returns:
        Those that have neither a record nor a reject, in order.
    """
    left_out = {(reject.id, reject.source) for reject in store.rejects().values()}
    sources = [(row, source_hash(row)) for row in rows]
    return [
        row for row, source in sources if (row.id, source) not in left_out and not store.has(row.id, source)
    ]


def load_models(
    cfg: Config,
    store: FeatureStore,
    captions: Sequence[str],
    cache_dir: str | Path,
    teachers: Teachers | None = None,
) -> Models:
    """Load all networks; captions that are new to the cache are encoded before.

    Args:
        cfg: resolved config.
        store: the store to fill.
        captions: of the clips to come.
        cache_dir: text features are kept there.
        teachers: loaded teachers; None loads what the config names.

    Returns:
        The networks.

    Raises:
        FileNotFoundError: when weights are missing; lists all of them.
    """
    read = encode_captions(cfg, store, captions, cache_dir)
    vae: Any = load_base(cfg, ("vae",)).vae
    return Models(vae=vae, teachers=teachers or load_teachers(cfg), read_caption=read)


class Worker:
    """Makes records of clips and writes them to a store, whoever deals the clips out."""

    def __init__(self, cfg: Config, store: FeatureStore, models: Models, name: str) -> None:
        """Begin a part of the store's manifest.

        Args:
            cfg: resolved config.
            store: the store to fill.
            models: all networks.
            name: of this worker, such as "rank3".
        """
        self._cfg, self._store, self._models = cfg, store, models
        self._manifest = ManifestWriter(store.folder, name)

    def work(self, row: ClipRow) -> dict[str, Any]:
        """Make and keep one clip's record, or note why there is none.

        Args:
            row: the clip.

        Returns:
            The clip's row of the manifest. Its status is "failed" when not the clip but the machine is at
            fault, such as for want of memory; such a clip is tried again by the next run.

        Raises:
            StoppedError: the disk is full.
        """
        return self._finish(begin(row, self._cfg))

    def work_all(self, rows: Sequence[ClipRow]) -> Generator[dict[str, Any]]:
        """Do `work` on clips in order, while the next ones are read.

        Args:
            rows: the clips.

        Yields:
            Each clip's row of the manifest. Close the generator to end the reading.
        """
        with closing(read_ahead(rows, self._cfg)) as readings:
            for reading in readings:
                yield self._finish(reading)

    def _finish(self, reading: Reading) -> dict[str, Any]:
        row, facts = reading.row, reading.facts
        try:
            outcome = process_clip(row, self._models, self._cfg, facts, reading.clip)
            found = self._keep(outcome, reading) | facts
            self._manifest.append(found)
            return found
        except MACHINE as error:
            log.warning("failed: %s", row.id, exc_info=error)
            found = {"status": "failed", "message": f"{type(error).__name__}: {error}"} | facts
            is_full = is_disk_full(error)
        torch.cuda.empty_cache()  # not sooner: the error holds on to what the networks were at
        with suppress(OSError) if is_full else nullcontext():
            self._manifest.append(found)
        if is_full:
            raise full_disk(self._store.folder)
        return found

    def _keep(self, outcome: Record | Reject, reading: Reading) -> dict[str, Any]:
        """Write what became of a clip to the store; returns what the manifest says of it."""
        if isinstance(outcome, Reject):
            log.info("left out: %s", outcome.message)
            self._store.reject(replace(outcome, source=source_then(reading, outcome.reason)))
            return {"status": "rejected", "reject_reason": outcome.reason, "message": outcome.message}
        size = self._store.write(reading.row.id, outcome, reading.source)
        return {"status": "done", **asdict(size), **describe(outcome)}

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._manifest.close()
        except OSError as error:  # its rows are in a journal, which the next writer takes over
            log.warning("rows of %s stay in a journal: %s", self._store.folder, error)
