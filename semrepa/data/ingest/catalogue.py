"""Which archive holds which video: from the zip files themselves, or from a file kept of them.

The kept file is JSONL, with a line for each archive and a line for each video in it:

    {"part": "OpenVid_part0", "bytes": 51, "problem": null}
    {"part": "OpenVid_part0", "name": "a/b.mp4", "size": 7, "crc": 1, "fault": null}

"part" and "name" are enough for a plan, so that lists from elsewhere can be brought into this form.
"""

import dataclasses
import json
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from semrepa.data.ingest.archives import BrokenPartError, Member, opened, video_members
from semrepa.data.ingest.names import join_key
from semrepa.data.ingest.pieces import find_parts
from semrepa.data.ingest.problems import Problems

CACHE_KB = 65_536
"""Memory of the temporary database; the rest lies on disk."""

TABLES = """
    CREATE TABLE parts (number INTEGER PRIMARY KEY, name TEXT UNIQUE, bytes INTEGER, problem TEXT);
    CREATE TABLE members (key TEXT, part INTEGER, name TEXT, size INTEGER, crc INTEGER);
    CREATE TABLE rows (key TEXT PRIMARY KEY, text BLOB) WITHOUT ROWID;
    CREATE TABLE ids (id TEXT PRIMARY KEY) WITHOUT ROWID;
"""


@dataclass(frozen=True, kw_only=True)
class PartLine:
    """What is known of an archive besides its members."""

    part: str
    """Its name."""
    bytes: int | None = None
    """Size to download; None when unknown."""
    problem: str | None = None
    """Why its members are not known, or None."""


def database() -> sqlite3.Connection:
    """Make an empty private database in a temporary file that vanishes when it is closed.

    Returns:
        The connection, with the tables of this package.
    """
    made = sqlite3.connect("", isolation_level=None)
    made.executescript(f"PRAGMA cache_size=-{CACHE_KB}; PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF;")
    made.executescript(TABLES)
    made.execute("BEGIN")
    return made


def is_new_id(db: sqlite3.Connection, name: str) -> bool:
    """Note an id.

    Args:
        db: answer of `database`.
        name: the id.

    Returns:
        False when it was noted before.
    """
    return db.execute("INSERT OR IGNORE INTO ids VALUES (?)", (name,)).rowcount == 1


def scan(folder: Path) -> Iterator[PartLine | Member]:
    """Read the central directories of all archives of a folder.

    Args:
        folder: where the zip files are, whole or in pieces.

    Yields:
        Each archive, then its videos.

    Raises:
        FileNotFoundError: no such folder, or no archive in it.
    """
    parts = find_parts(folder)
    if not parts:
        raise FileNotFoundError(
            f"got parts folder {folder} without zip files; expected OpenVid_part0.zip,"
            " OpenVid_part73_partaa, ...; download some"
        )
    for part in parts:
        size = part.size
        try:
            with opened(part) as archive:
                yield PartLine(part=part.name, bytes=size)
                for _, member in video_members(archive, part.name):
                    yield member
        except BrokenPartError as error:
            yield PartLine(part=part.name, bytes=size, problem=str(error))


def kept_in(file: IO[str], records: Iterable[PartLine | Member]) -> Iterator[PartLine | Member]:
    """Write records to a file as they pass.

    Args:
        file: open JSONL file.
        records: archives and videos.

    Yields:
        The same records.
    """
    for record in records:
        file.write(json.dumps(dataclasses.asdict(record), ensure_ascii=False) + "\n")
        yield record


def _record(text: str) -> PartLine | Member | None:
    """Content of one line of a kept file; None when it has another form."""
    try:
        fields: Any = json.loads(text)
    except json.JSONDecodeError:
        return None
    if not isinstance(fields, dict) or not isinstance(fields.get("part"), str):
        return None
    kind = Member if isinstance(fields.get("name"), str) else PartLine
    known = {field.name for field in dataclasses.fields(kind)}
    numbers = (fields.get(name) for name in ("bytes", "size", "crc"))
    if not all(number is None or type(number) is int for number in numbers):
        return None
    return kind(**{name: value for name, value in fields.items() if name in known})


def read_members(path: Path) -> Iterator[PartLine | Member]:
    """Read a file that `kept_in` wrote, or one of the same form.

    Args:
        path: JSONL file.

    Yields:
        Archives and videos in the order of the file.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a line of another form.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"got members file {path}; expected an existing JSONL file; make it with the command members"
        )
    with path.open(encoding="utf-8-sig") as file:
        for number, text in enumerate(file, 1):
            if not text.strip():
                continue
            record = _record(text)
            if record is None:
                raise ValueError(
                    f'got line {number} of {path}; expected {{"part": ..., "name": ...}}; make it with the'
                    " command members"
                )
            yield record


def load(db: sqlite3.Connection, records: Iterable[PartLine | Member], problems: Problems) -> None:
    """Put archives and videos into the database, and record broken archives and videos.

    Args:
        db: answer of `database`.
        records: archives and videos.
        problems: gets "broken_part", "unusable_member" and "duplicate_member".
    """
    numbers: dict[str, int] = {}

    def number_of(part: str) -> int:
        if part not in numbers:
            numbers[part] = len(numbers)
            db.execute("INSERT INTO parts VALUES (?, ?, NULL, NULL)", (numbers[part], part))
        return numbers[part]

    for record in records:
        number = number_of(record.part)
        if isinstance(record, PartLine):
            db.execute(
                "UPDATE parts SET bytes = ?, problem = ? WHERE number = ?",
                (record.bytes, record.problem, number),
            )
            if record.problem is not None:
                problems.add("broken_part", record.part, reason=record.problem)
        elif record.fault is not None:
            problems.add("unusable_member", record.name, part=record.part, reason=record.fault)
        else:
            db.execute(
                "INSERT INTO members VALUES (?, ?, ?, ?, ?)",
                (join_key(record.name), number, record.name, record.size, record.crc),
            )
    db.execute("CREATE INDEX members_key ON members (key, part)")
    _record_duplicates(db, problems)


def _record_duplicates(db: sqlite3.Connection, problems: Problems) -> None:
    """Record videos that are there twice; readers of OpenVid-1M that unzip flat keep the last one."""
    twice = db.execute(
        "SELECT key, group_concat(parts.name, ' '), count(DISTINCT crc), count(crc), count(*) FROM members"
        " JOIN parts ON parts.number = part GROUP BY key HAVING count(*) > 1"
    )
    for key, parts, kinds, known, count in twice:
        same = "unknown" if known < count else "yes" if kinds == 1 else "no"
        problems.add("duplicate_member", key, parts=parts, same_content=same)
