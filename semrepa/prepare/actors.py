"""What Ray runs on other machines: opening the store, encoding captions, and an actor that prepares clips.

Nothing here needs Ray, so that it can be tested without.
"""

import json
import os
import pickle
import socket
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from semrepa.config import Config
from semrepa.data.index import ClipRow
from semrepa.data.manifest import ManifestWriter
from semrepa.files import process
from semrepa.prepare.attempts import Attempts
from semrepa.prepare.features import Worker, load_models, remaining
from semrepa.prepare.stores import open_store
from semrepa.prepare.teachers import Teachers
from semrepa.prepare.text import encode_captions

ATTEMPTS = 3
"""Deaths of workers on a clip after which it is given up."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """What a worker must know; it travels, so it is small."""

    cfg: Config
    """Resolved config."""
    cache: Path
    """Folder for stores and text features."""
    place: Path
    """Working folder of the driver, from which relative paths count."""
    teachers: Teachers | None = None
    """Teachers that can be pickled; None: those that the config names."""

    def here(self) -> "Job":
        """Make relative paths of the job mean the same in this process.

        Returns:
            The job.
        """
        with suppress(OSError):  # another machine may lack the folder; absolute paths need none
            os.chdir(self.place)
        return self


def begin_store(job: Job) -> str:
    """Open or begin the store on a machine that fills it: its device is part of the fingerprint.

    Args:
        job: the job.

    Returns:
        The store's folder.
    """
    return str(open_store(job.here().cfg, job.cache).folder.absolute())


def encode(job: Job, captions: Sequence[str]) -> None:
    """Encode captions that are new to the cache.

    Args:
        job: the job; `data.store` names the folder.
        captions: texts.
    """
    encode_captions(job.here().cfg, open_store(job.cfg, job.cache), captions, job.cache)


class Preparer:
    """An actor with all networks, which makes and keeps the records of the rows that it is given."""

    def __init__(self, job: Job) -> None:
        """Load the networks.

        Args:
            job: the job; `data.store` names a folder with a store.

        Raises:
            FileNotFoundError: there is no store, as on a machine that does not share the disk.
        """
        job.here()
        if not Path(job.cfg.data.store or "", "fingerprint.json").is_file():
            raise FileNotFoundError(
                f"got no store {job.cfg.data.store} on {socket.gethostname()}; expected the driver's; "
                "put the cache on disk that all machines share"
            )
        self._store = open_store(job.cfg, job.cache)
        self._attempts = Attempts(self._store.folder)
        models = load_models(job.cfg, self._store, [], job.cache, job.teachers)
        self._worker = Worker(job.cfg, self._store, models, f"ray-{process()}").__enter__()

    def __call__(self, block: Any) -> dict[str, list[str]]:
        """Prepare some clips.

        Args:
            block: table of Arrow with rows of the index, pickled, in a column `row`.

        Returns:
            The clips' rows of the manifest as JSON, in a column `found`.
        """
        rows: list[ClipRow] = [pickle.loads(data) for data in block["row"].to_pylist()]
        is_first = not any(self._attempts.of(row.id) for row in rows)
        found = list(self._first(rows) if is_first else self._again(rows))
        # Not sooner: should the actor die, the next one must know which clips of the block have been begun.
        for row, facts in zip(rows, found, strict=True):
            if facts["status"] != "failed":
                self._attempts.let_go(row.id)
        return {"found": [json.dumps(facts) for facts in found]}

    def _first(self, rows: Sequence[ClipRow]) -> Iterator[dict[str, Any]]:
        """Work on clips while the next ones are read."""
        with closing(self._worker.work_all(rows)) as found:
            for row in rows:
                self._attempts.begin(row.id)
                yield next(found)

    def _again(self, rows: Sequence[ClipRow]) -> Iterator[dict[str, Any]]:
        """Go on with clips on which an actor has died; one by one, so that each dies of its own."""
        left = {row.id for row in remaining(self._store, rows)}
        rejects = self._store.rejects()
        for row in rows:
            if row.id not in left:
                reject = rejects.get(row.id)
                known = (
                    {"status": "rejected", "reject_reason": reject.reason} if reject else {"status": "done"}
                )
                yield {"clip_id": row.id, **known}
            elif self._attempts.of(row.id) >= ATTEMPTS:
                yield self._give_up(row)
            else:
                self._attempts.begin(row.id)
                yield self._worker.work(row)

    def _give_up(self, row: ClipRow) -> dict[str, Any]:
        """Note a clip on which actors die again and again."""
        message = f"{ATTEMPTS} workers died on {row.path}"
        found = {"clip_id": row.id, "status": "failed", "message": message, "path": str(row.path)}
        with ManifestWriter(self._store.folder, "ray") as manifest:
            manifest.append(found)
        return found

    def __del__(self) -> None:
        """Close the worker's part of the manifest; Ray deletes an actor's object before it ends it."""
        if hasattr(self, "_worker"):
            self._worker.__exit__()
