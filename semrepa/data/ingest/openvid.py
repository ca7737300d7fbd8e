"""OpenVid-1M: its table and its archives joined both ways, and never taken to be one to one."""

import hashlib
import re
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from semrepa.data.index import ClipRow
from semrepa.data.ingest.catalogue import is_new_id
from semrepa.data.ingest.names import Splitting, clip_id, join_key
from semrepa.data.ingest.problems import Problems
from semrepa.data.ingest.tables import CaptionRow


def _is_first(db: sqlite3.Connection, row: CaptionRow, key: str, problems: Problems) -> bool:
    """Note a row of the table; a second one of the same video is recorded."""
    digest = hashlib.blake2b(row.caption.encode(), digest_size=8).digest()
    if db.execute("INSERT OR IGNORE INTO rows VALUES (?, ?)", (key, digest)).rowcount:
        return True
    (before,) = db.execute("SELECT text FROM rows WHERE key = ?", (key,)).fetchone()
    problems.add("duplicate_row", key, line=row.line, same_caption="yes" if before == digest else "no")
    return False


def _is_usable(
    row: CaptionRow, key: str, db: sqlite3.Connection, problems: Problems, *, keep_uncaptioned: bool
) -> bool:
    """Whether a row that passed the filter has a video and a caption; records what it lacks."""
    if db.execute("SELECT 1 FROM members WHERE key = ? LIMIT 1", (key,)).fetchone() is None:
        problems.add("not_in_parts", row.name, line=row.line)
        return False
    if not row.caption and not keep_uncaptioned:
        problems.add("empty_caption", row.name, line=row.line)
        return False
    return True


def _new_id(db: sqlite3.Connection, key: str) -> str:
    """An id that no clip before has; videos that differ in their suffix alone are told apart."""
    if not is_new_id(db, made := clip_id(key)):
        made = clip_id(key, distinct=True)
        is_new_id(db, made)
    return made


def join(
    table: Iterable[CaptionRow],
    db: sqlite3.Connection,
    problems: Problems,
    counts: Counter[str],
    *,
    videos: Path,
    splitting: Splitting | None = None,
    keep_uncaptioned: bool = False,
    licence: str | None = None,
) -> Iterator[tuple[ClipRow, dict[str, str]]]:
    """Join the rows of a table with the members of archives by base name.

    Of videos that are named twice the first row counts. Members without a row are recorded at the end.

    Args:
        table: rows of the CSV file.
        db: database with the members loaded.
        problems: gets the misses of either side.
        counts: gets "rows", "filtered", "joined" and "heldout".
        videos: folder in which the videos are, or will be after they are extracted.
        splitting: how sides are chosen.
        keep_uncaptioned: keep clips with an empty caption.
        licence: SPDX name to write into each clip.

    Yields:
        Clips in the order of the table, each with the columns that were kept.
    """
    splitting = splitting or Splitting()
    for row in table:
        counts["rows"] += 1
        if row.fault is not None:
            problems.add(row.fault, row.name or f"line {row.line}", line=row.line)
        key = join_key(row.name)
        if not key or not _is_first(db, row, key, problems) or row.fault is not None:
            continue
        if not row.passes:
            counts["filtered"] += 1
            continue
        if not _is_usable(row, key, db, problems, keep_uncaptioned=keep_uncaptioned):
            continue
        split = splitting.side(key)
        counts["joined"] += 1
        counts["heldout"] += split == "heldout"
        clip = ClipRow(
            id=_new_id(db, key), path=videos / key, caption=row.caption, split=split, licence=licence
        )
        yield clip, row.columns
    _record_members_without_row(db, problems)


def _record_members_without_row(db: sqlite3.Connection, problems: Problems) -> None:
    for key, name, part in db.execute(
        "SELECT key, members.name, parts.name FROM members JOIN parts ON parts.number = part"
        " WHERE NOT EXISTS (SELECT 1 FROM rows WHERE rows.key = members.key) ORDER BY part, members.rowid"
    ):
        problems.add("not_in_csv", name, part=part, key=key)


def absent_numbers(names: Iterable[str], count: int = 186) -> list[int]:
    """Which of the published archives are not there.

    Args:
        names: names of archives; those of another style are passed over.
        count: archives that are published, numbered from 0.

    Returns:
        Numbers; empty when no name is of OpenVid-1M's style.
    """
    found = {int(match[1]) for name in names if (match := re.search(r"OpenVid_part(\d+)$", name))}
    return sorted(set(range(count)) - found) if found else []
