"""The manifest of a store: one row for each clip, kept or left out, with what is known about it.

Workers add rows without knowing of each other. A row stands at once as a line in a journal of its worker; now
and then the journal becomes a small Parquet file, and `compact` makes one file of many. The newest row of a
clip counts, so a file that is there twice, or not yet deleted, changes nothing. Thresholds are questions to
the manifest: no record is deleted because of one.
"""

import json
import logging
import time
from collections import Counter
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeAlias

import torch

import semrepa
from semrepa.data.index import SAFE_ID
from semrepa.data.manifest_files import (
    COLUMNS,
    FOLDER,
    STATUS,
    checked,
    misnamed,
    newest,
    read_files,
    table_of,
    take_over,
    within,
    write_table,
)
from semrepa.data.records import Record
from semrepa.files import append_line, process

if TYPE_CHECKING:
    import pyarrow

    Manifest: TypeAlias = pyarrow.Table

log = logging.getLogger(__name__)

_SIDES = ("min_", "max_")
_number = count()


class ManifestWriter:
    """Adds rows to the manifest of a store; each worker has its own.

    No row is lost when its process is killed: the journal of a dead one is taken over by the next writer, and
    readers see it in the meantime.
    """

    def __init__(
        self, folder: str | Path, worker: str, *, every_rows: int = 256, every_seconds: float = 60.0
    ) -> None:
        """Open the manifest of a store.

        Args:
            folder: the store's folder.
            worker: name of this worker, such as "rank3".
            every_rows: rows after which the journal becomes a Parquet file.
            every_seconds: or seconds, whichever comes first; looked at when a row is added.

        Raises:
            ValueError: the name is not safe in a file name.
        """
        if not SAFE_ID.fullmatch(worker):
            raise ValueError(f"got worker {worker!r}; expected letters, digits, '.', '_' and '-'; e.g. rank3")
        self.folder, self.worker = Path(folder) / FOLDER, worker
        self.folder.mkdir(parents=True, exist_ok=True)
        self._every = every_rows, every_seconds
        self._written = 0
        take_over(self.folder)
        self._begin()

    def _begin(self) -> None:
        self._rows: list[dict[str, Any]] = []
        self._flush_at = time.monotonic() + self._every[1]
        self._journal = self.folder / f"{self.worker}.{process()}-{next(_number)}.jsonl"

    def append(self, row: Mapping[str, Any]) -> None:
        """Add a row; from here on every reader sees it.

        Args:
            row: values by the names of `COLUMNS`, at least `clip_id` and `status`; `worker`, `version` and
                `written` are added. What is not given is empty.

        Raises:
            ValueError: an unknown name, a missing one, or a value of another type.
        """
        self._written = max(time.time_ns(), self._written + 1)
        own = {"worker": self.worker, "version": semrepa.__version__, "written": self._written}
        plain = checked({**own, **row})
        append_line(self._journal, json.dumps(plain))
        self._rows.append(plain)
        if len(self._rows) >= self._every[0] or time.monotonic() >= self._flush_at:
            self.flush()

    def flush(self) -> None:
        """Make a Parquet file of the journal."""
        if self._rows:
            write_table(self._journal.with_suffix(".parquet"), table_of(self._rows))
            self._journal.unlink(missing_ok=True)
        self._begin()

    def close(self) -> None:
        """Flush; the writer can still be used."""
        self.flush()

    def __enter__(self) -> "ManifestWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def describe(record: Record) -> dict[str, Any]:
    """The columns that a record itself can tell: person, faces, frames.

    Args:
        record: as it is written to the store.

    Returns:
        Values by name; names whose features the record does not hold are left out.
    """
    found: dict[str, Any] = {}
    if "person_box" in record:
        *box, score = record["person_box"].tolist()
        found |= {"person_box": box, "person_score": score}
    if "face_mask" in record:
        found["face_rate"] = record["face_mask"].float().mean().item()
        sizes = record.get("face_sizes", torch.empty(0))
        seen = sizes[record["face_mask"]] if len(sizes) else sizes
        found["face_size"] = seen.median().item() if len(seen) else None
    if "timestamps" in record:
        found["valid_frames"] = len(record["timestamps"])
    return found


def read_manifest(folder: str | Path) -> "pyarrow.Table":
    """The newest row of each clip.

    Args:
        folder: the store's folder.

    Returns:
        A table with `COLUMNS`, sorted by `clip_id`; without rows when there is no manifest.

    Raises:
        ValueError: a file of the manifest is damaged.
    """
    return newest(read_files(Path(folder) / FOLDER)[0])


def read_rows(folder: str | Path, columns: tuple[str, ...] | None = None) -> dict[str, dict[str, Any]]:
    """The newest row of each clip as plain values.

    Args:
        folder: the store's folder.
        columns: names of the columns; None: all.

    Returns:
        Rows by clip id.
    """
    table = read_manifest(folder)
    rows = table.select(list(columns or COLUMNS)).to_pylist(maps_as_pydicts="strict")
    return dict(zip(table["clip_id"].to_pylist(), rows, strict=True))


def compact(folder: str | Path) -> int:
    """Make one Parquet file of many, in which each clip has one row.

    The new file is complete before any old one goes, and workers may write meanwhile.

    Args:
        folder: the store's folder.

    Returns:
        Rows in the files that are one now; journals of workers at work are left alone.
    """
    place = Path(folder) / FOLDER
    take_over(place)
    table, parts = read_files(place, journals=False)
    table = newest(table)
    if len(parts) > 1:
        write_table(place / f"compacted.{process()}-{next(_number)}.parquet", table)
        for part in parts:
            part.unlink(missing_ok=True)
    return table.num_rows


def copy_manifest(folder: str | Path, to: str | Path) -> None:
    """Put the newest row of each clip into another store's manifest, as one file.

    Args:
        folder: folder of the store that has the rows; without any nothing is written.
        to: folder of the other store.
    """
    table = read_manifest(folder)
    if table.num_rows:
        write_table(Path(to) / FOLDER / "copied.parquet", table)


def query(table: "pyarrow.Table", *, status: str | None = "done", **bounds: float) -> list[str]:
    """Clips whose values lie within bounds; a clip without a value does not.

    Args:
        table: from `read_manifest`.
        status: only rows of that status; None: all.
        **bounds: `min_` or `max_` and a numeric column, such as `min_face_rate=0.5, max_duration=20`.

    Returns:
        Names of the clips, in the order of the table.

    Raises:
        ValueError: unknown status or bound.
    """
    if status is not None and status not in STATUS:
        raise ValueError(misnamed("status", status, list(STATUS)))
    if status is not None:
        table = within(table, "status", "equal", status)
    known = [side + name for name, kind in COLUMNS.items() if kind in ("count", "number") for side in _SIDES]
    for name, bound in bounds.items():
        if name not in known:
            raise ValueError(misnamed("bound", name, known))
        side = "greater_equal" if name.startswith("min_") else "less_equal"
        table = within(table, name[4:], side, bound)
    return table["clip_id"].to_pylist()


def summary(table: "pyarrow.Table") -> dict[str, int]:
    """Clips by outcome.

    Args:
        table: from `read_manifest`.

    Returns:
        Counts by status, with the reason behind a colon where there is one; the largest first.
    """
    pairs = zip(table["status"].to_pylist(), table["reject_reason"].to_pylist(), strict=True)
    counts = Counter(f"{status}: {reason}" if reason else status for status, reason in pairs)
    return dict(counts.most_common())
