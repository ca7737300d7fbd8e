"""How the manifest lies on the disk: columns, journals of workers at work, Parquet files.

The one place that knows pyarrow, which is imported where it is used, so reading records needs none of it.
"""

import difflib
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from semrepa.files import is_abandoned, whole_lines, write_whole

if TYPE_CHECKING:
    import pyarrow

log = logging.getLogger(__name__)

FOLDER = "manifest"
"""Where the manifest lies in a store."""
STATUS = ("done", "rejected", "failed")
"""A record; a clip that cannot be used; one to be tried again, such as after a full disk."""
COLUMNS = {
    "clip_id": "text",
    "status": "text",  # one of STATUS
    "reject_reason": "text",  # one word that can be counted
    "message": "text",
    "path": "text",  # the source file
    "start": "number",  # where the clip begins in it, seconds
    "size": "count",  # of the source file, bytes
    "mtime": "number",  # of the source file, seconds since 1970
    "width": "count",  # as shown, pixels
    "height": "count",
    "fps": "number",
    "duration": "number",  # seconds
    "rotation": "count",  # degrees
    "codec": "text",
    "backend": "text",  # which reader gave the frames
    "valid_frames": "count",  # frames that are not repeated to fill up
    "person_box": "numbers",  # left, top, right, bottom, pixels
    "person_score": "number",
    "face_rate": "number",  # share of frames with a usable face
    "face_size": "number",  # median over those frames, pixels
    "person_area": "number",  # share of the content rectangle
    "motion": "number",  # mean absolute difference of neighbouring frames inside the content, 0 to 255
    "jump": "number",  # the largest such difference as a multiple of the usual one; a cut gives 10 or more
    "caption": "text",
    "seconds": "seconds",  # by stage
    "bytes": "count",  # of the record
    "checksum": "text",  # SHA-256 of the record's file
    "worker": "text",
    "version": "text",  # of this library
    "written": "count",  # nanoseconds since 1970; the newest row counts
}
ATTEMPTS = 20
"""Times that a reader begins anew when files vanish under it because another process compacts them."""


def misnamed(what: str, name: str, known: list[str]) -> str:
    """A message about an unknown name, with the nearest one that is known."""
    near = difflib.get_close_matches(name, known, 1)
    return f"got {what} {name!r}; expected one of {', '.join(known)}" + (f"; try {near[0]!r}" if near else "")


def checked(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row as plain values of the columns' types, without empty ones."""
    for name in row:
        if name not in COLUMNS:
            raise ValueError(misnamed("column", name, list(COLUMNS)))
    if not row.get("clip_id") or row.get("status") not in STATUS:
        raise ValueError(
            f"got clip_id {row.get('clip_id')!r} with status {row.get('status')!r}; "
            f"expected a name and one of {', '.join(STATUS)}"
        )
    try:
        (plain,) = table_of([row]).to_pylist(maps_as_pydicts="strict")
    except (ValueError, TypeError) as error:  # the two that pyarrow derives its own from
        raise ValueError(f"got a manifest row that does not fit its columns: {error}; row {row}") from error
    return {name: value for name, value in plain.items() if value is not None}


def table_of(rows: list[Any]) -> "pyarrow.Table":
    """A table with all columns from rows that may lack some."""
    import pyarrow as pa

    types = {
        "text": pa.string(),
        "count": pa.int64(),
        "number": pa.float64(),
        "numbers": pa.list_(pa.float64()),
        "seconds": pa.map_(pa.string(), pa.float64()),
    }
    schema = pa.schema([(name, types[kind]) for name, kind in COLUMNS.items()])
    pairs = [{**row, "seconds": list(row["seconds"].items())} if row.get("seconds") else row for row in rows]
    return pa.Table.from_pylist(pairs, schema=schema)


def within(table: "pyarrow.Table", column: str, side: str, bound: float | str) -> "pyarrow.Table":
    """Rows whose value passes a comparison of `pyarrow.compute`, such as "less_equal"; empty ones do not."""
    import pyarrow.compute as pc

    return table.filter(pc.call_function(side, [table[column], bound]))


def newest(table: "pyarrow.Table") -> "pyarrow.Table":
    """The newest row of each clip, sorted by clip."""
    import pyarrow as pa

    ordered = table.sort_by([("clip_id", "ascending"), ("written", "descending")])
    ids = ordered["clip_id"].to_pylist()
    first = [i for i in range(len(ids)) if i == 0 or ids[i] != ids[i - 1]]
    return ordered.take(pa.array(first, pa.int64()))


def write_table(path: Path, table: "pyarrow.Table") -> None:
    """Write a Parquet file, whole or not at all."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    write_whole(path, sink.getvalue().to_pybytes(), room=path.parents[1])


def read_files(folder: Path, *, journals: bool = True) -> tuple["pyarrow.Table", list[Path]]:
    """All rows, and the Parquet files among their sources."""
    import pyarrow as pa

    for _ in range(ATTEMPTS):
        # Journals first: one that turns into a Parquet file meanwhile is then seen twice, not missed.
        rows = [row for path in folder.glob("*.jsonl") for row in _journal_rows(path)] if journals else []
        parts = sorted(folder.glob("*.parquet"))
        try:
            tables = [_read_part(path) for path in parts]
        except FileNotFoundError:
            continue
        empty = table_of(rows)
        table = pa.concat_tables([empty, *tables], promote_options="default")
        return table.select(empty.column_names), parts
    raise FileNotFoundError(
        f"got files of {folder} that vanish while they are read; expected one process to compact; try again"
    )


def _read_part(path: Path) -> "pyarrow.Table":
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_table(pa.BufferReader(path.read_bytes()))
    except (pa.ArrowInvalid, OSError) as error:
        if isinstance(error, FileNotFoundError):
            raise
        raise ValueError(
            f"got damaged {path} ({error}); expected Parquet; delete it, then run "
            f"python -m semrepa.data manifest {path.parents[1]} --complete"
        ) from error


def _journal_rows(path: Path) -> list[dict[str, Any]]:
    """Rows of a journal; torn lines are left out."""
    try:
        lines = whole_lines(path)[0]
    except FileNotFoundError:
        return []
    rows = []
    for line in filter(None, lines):
        try:
            known = {name: value for name, value in json.loads(line).items() if name in COLUMNS}
            rows.append(checked(known))
        except ValueError:
            log.warning("left out a torn line of %s: %s", path, line[:80])
    return rows


def take_over(folder: Path) -> None:
    """Make Parquet files of the journals of dead processes; two that do so at once write the same."""
    for path in folder.glob("*.jsonl"):
        try:
            if not is_abandoned(path):
                continue
        except FileNotFoundError:
            continue
        rows = _journal_rows(path)
        if rows:
            write_table(path.with_suffix(".parquet"), table_of(rows))
        path.unlink(missing_ok=True)
