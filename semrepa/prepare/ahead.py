"""Clips are read ahead: while the networks look at one, a thread reads the next ones."""

import hashlib
import json
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import partial
from typing import Any, NamedTuple

from semrepa.config import Config
from semrepa.data.index import ClipRow
from semrepa.data.video import ClipError, VideoClip, probe
from semrepa.prepare.process import read_row


class Reading(NamedTuple):
    """A clip that is being read, or will be when it is asked for."""

    row: ClipRow
    """The clip."""
    source: str
    """Its `source_hash` before it was read."""
    facts: dict[str, Any]
    """Its row of the manifest; complete once `clip` has been called."""
    clip: Callable[[], VideoClip]
    """Waits for the clip; raises what reading raised."""


def read_ahead(rows: Sequence[ClipRow], cfg: Config) -> Generator[Reading]:
    """Read clips in a thread, in order.

    Args:
        rows: the clips.
        cfg: `data.read_ahead` clips are read, and kept in memory, before they are asked for; 0: each is read
            when it is asked for, without a thread.

    Yields:
        The clips in the order of the rows. Close the generator to end the thread; it ends with the clip that
        it is reading.
    """
    if not cfg.data.read_ahead:
        for row in rows:
            yield begin(row, cfg)
        return
    with ThreadPoolExecutor(1, "reading") as thread:
        coming: deque[Reading] = deque()
        try:
            for row in rows:
                later = begin(row, cfg)
                coming.append(later._replace(clip=thread.submit(later.clip).result))
                if len(coming) > cfg.data.read_ahead:
                    yield coming.popleft()
            while coming:
                yield coming.popleft()
        finally:
            thread.shutdown(wait=False, cancel_futures=True)


def begin(row: ClipRow, cfg: Config) -> Reading:
    """Prepare to read a clip.

    Args:
        row: the clip.
        cfg: resolved config.

    Returns:
        The clip, to be read when it is asked for.
    """
    facts: dict[str, Any] = {
        "clip_id": row.id,
        "path": str(row.path),
        "start": row.start,
        "caption": row.caption,
        "seconds": {},
    }
    return Reading(row, source_hash(row), facts, partial(_read, row, cfg, facts))


def source_hash(row: ClipRow, *, missing: bool = False) -> str:
    """Digits that change with the clip behind an id: its file's size, caption, start, or world arguments.

    Args:
        row: the clip.
        missing: whether its file counts as missing, whatever is there now.

    Returns:
        16 hexadecimal digits.
    """
    parts = [None if missing else _size(row), row.caption, row.start, row.seed, row.world]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def source_then(reading: Reading, reason: str) -> str:
    """What a reject of a clip is remembered for, so that it is tried again when that changes.

    Args:
        reading: the clip.
        reason: of the reject.

    Returns:
        A `source_hash`; empty where trying again may help though the file stays the same.
    """
    if reason in ("unreadable", "timeout"):
        return ""
    return source_hash(reading.row, missing=True) if reason == "missing" else reading.source


def _size(row: ClipRow) -> int | None:
    try:
        return row.path.stat().st_size if row.path.is_file() else None
    except OSError:  # a folder that may not be read, or has gone meanwhile
        return None


def _read(row: ClipRow, cfg: Config, facts: dict[str, Any]) -> VideoClip:
    """Read a clip, and note what its file is even when it cannot be used."""
    try:
        status, info = row.path.stat(), asdict(probe(row.path, timeout=cfg.data.read_timeout))
        del info["first_pts"]
        facts |= info | {"size": status.st_size, "mtime": status.st_mtime}
    except ClipError as error:
        if error.reason in ("timeout", "crashed"):  # once is enough
            raise
    except OSError:
        pass
    return read_row(row, cfg, facts)
