"""Teachers, VAE and text encoder, once over every clip, into a feature store."""

import hashlib
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from semrepa.config import Config
from semrepa.data.index import ClipRow
from semrepa.data.manifest import ManifestWriter, describe
from semrepa.data.store import FeatureStore, Reject
from semrepa.data.video import ClipError, probe
from semrepa.prepare.process import Models, process_clip, timed
from semrepa.prepare.stores import open_store, text_hash
from semrepa.prepare.teachers import Teachers, load_teachers
from semrepa.prepare.text import embed_captions, read_caption
from semrepa.runtime import write_json
from semrepa.weights import load_base

log = logging.getLogger(__name__)

Progress = Callable[[int, int, str], None]
"""Called after each clip with clips done, clips in all, and the clip's id."""


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
    """
    store, seconds = open_store(cfg, cache_dir), dict[str, float]()
    left_out = {(reject.id, reject.source) for reject in store.rejects().values()}
    sources = {row.id: source_hash(row) for row in rows}
    todo = [row for row in rows if not store.has(row.id, sources[row.id])]
    todo = [row for row in todo if (row.id, sources[row.id]) not in left_out]
    if not todo:
        return store
    log.info("preparing %d of %d clips in %s", len(todo), len(rows), store.folder)
    with timed(seconds, "text"):
        read = _read_captions(cfg, store, [row.caption for row in todo], Path(cache_dir))
    vae: Any = load_base(cfg, ("vae",)).vae
    models = Models(vae=vae, teachers=teachers or load_teachers(cfg), read_caption=read)
    written = _fill(store, todo, cfg, models, seconds, worker or "alone", progress)
    counts = {"written": written, "rejected": len(todo) - written, "seconds": seconds}
    write_json(store.folder / (f"report-{worker}.json" if worker else "report.json"), counts)
    return store


def _read_captions(
    cfg: Config, store: FeatureStore, captions: Sequence[str], cache_dir: Path
) -> Callable[[str], Tensor]:
    """Encode captions that are new to the cache; returns what gives the features of each."""
    folder, trim = cache_dir / f"text-{text_hash(store.fingerprint)}", cfg.data.trim_text
    embed_captions(cfg, [*captions, *([""] if trim else [])], store.fingerprint["text_length"], folder)
    if trim:
        store.set_padding(read_caption(folder, ""))
    return partial(read_caption, folder, trim=trim)


def source_hash(row: ClipRow) -> str:
    """Digits that change with the clip behind an id: its file's size, caption, start, or world arguments."""
    size = row.path.stat().st_size if row.path.is_file() else None
    parts = json.dumps([size, row.caption, row.start, row.seed, row.world], sort_keys=True)
    return hashlib.sha256(parts.encode()).hexdigest()[:16]


def _fill(
    store: FeatureStore,
    rows: Sequence[ClipRow],
    cfg: Config,
    models: Models,
    seconds: dict[str, float],
    worker: str,
    progress: Progress | None,
) -> int:
    """Write the records of all rows, note every outcome in the manifest, and count the records."""
    written = 0
    with ManifestWriter(store.folder, worker) as manifest:
        for done, row in enumerate(rows, 1):
            facts = _source_facts(row)
            outcome = process_clip(row, models, cfg, facts)
            if isinstance(outcome, Reject):
                log.info("left out: %s", outcome.message)
                store.reject(replace(outcome, source=source_hash(row)))
                found = {"status": "rejected", "reject_reason": outcome.reason, "message": outcome.message}
            else:
                size = store.write(row.id, outcome, source_hash(row))
                found = {"status": "done", **asdict(size), **describe(outcome)}
                written += 1
            manifest.append(found | facts)
            for stage, taken in facts["seconds"].items():
                seconds[stage] = seconds.get(stage, 0.0) + taken
            if progress:
                progress(done, len(rows), row.id)
    return written


def _source_facts(row: ClipRow) -> dict[str, Any]:
    """What the manifest notes of a clip before it is read."""
    facts = {"clip_id": row.id, "path": str(row.path), "caption": row.caption, "seconds": {}}
    try:
        status, info = row.path.stat(), asdict(probe(row.path))
    except (ClipError, OSError):
        return facts
    info.pop("first_pts")
    return facts | info | {"size": status.st_size, "mtime": status.st_mtime}
