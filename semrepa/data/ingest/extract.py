"""Wanted videos out of archives, whole or in pieces, each all at once or not at all."""

import os
import shutil
import sqlite3
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from semrepa.data.index import ClipRow, read_line
from semrepa.data.ingest.archives import BrokenPartError, opened, video_members
from semrepa.data.ingest.names import join_key
from semrepa.data.ingest.pieces import Part, find_parts
from semrepa.data.ingest.problems import Problems
from semrepa.files import clear_beside, whole_file

CHUNK = 2**20
SPARE_BYTES = 2**28
"""Free space that extraction leaves."""


def is_complete(path: Path, size: int, crc: int) -> bool:
    """Whether a file has the contents of a member already; it is read only where nothing else tells.

    Args:
        path: the file; need not be there.
        size: bytes it should have.
        crc: CRC-32 it should have.

    Returns:
        True when both are right.
    """
    if not path.is_file() or (status := path.stat()).st_size != size:
        return False
    if status.st_mtime_ns % 10**9 == _mark(crc):
        return True
    found = 0
    with path.open("rb") as file:
        while block := file.read(CHUNK):
            found = zlib.crc32(block, found)
    return found == crc


def extract_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, target: Path) -> bool:
    """Unpack one member under a temporary name, check it, and give it its name.

    Args:
        archive: open archive.
        info: the member.
        target: file to write; what is there is replaced unless it is complete.

    Returns:
        False when it was complete already.
    """
    if is_complete(target, info.file_size, info.CRC):
        return False
    with whole_file(target) as growing:
        with archive.open(info) as source, growing.open("wb") as file:
            shutil.copyfileobj(source, file, CHUNK)
        status = growing.stat()
        seconds = status.st_mtime_ns // 10**9 * 10**9
        os.utime(growing, ns=(status.st_atime_ns, seconds + _mark(info.CRC)))
    return True


def _mark(crc: int) -> int:
    """Fraction of a second, in nanoseconds, of the modification time of a file that was extracted whole."""
    # Whoever writes to the file changes it. Whole microseconds, since some file systems keep no more.
    return crc % 10**6 * 1000


def _check_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed + SPARE_BYTES > free:
        raise ValueError(
            f"got {free / 1e9:.2f} GB free in {folder}; expected {needed / 1e9:.2f} GB for the next part and"
            f" {SPARE_BYTES / 1e9:.2f} GB to spare; free some or give another folder, what is done stays"
        )


def _is_open(db: sqlite3.Connection, key: str) -> bool:
    return db.execute("SELECT 1 FROM wanted WHERE key = ? AND NOT done", (key,)).fetchone() is not None


def _extract_part(
    part: Part, db: sqlite3.Connection, videos: Path | None, problems: Problems, counts: Counter[str]
) -> None:
    with opened(part) as archive:
        chosen: list[tuple[str, zipfile.ZipInfo]] = []
        for info, member in video_members(archive, part.name):
            key = join_key(member.name)
            if not _is_open(db, key):
                continue
            if member.fault is not None:
                problems.add("unusable_member", member.name, part=part.name, reason=member.fault)
                continue
            chosen.append((key, info))
        if videos is not None:
            missing = (info for key, info in chosen if not (videos / key).exists())
            _check_space(videos, sum(info.file_size for info in missing))
        for key, info in chosen:
            if not _is_open(db, key):
                continue
            try:
                is_new = extract_member(archive, info, videos / key) if videos is not None else True
            except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
                problems.add("broken_member", key, part=part.name, reason=str(error))
                continue
            counts["extracted" if is_new else "already_there"] += 1
            counts["bytes"] += info.file_size if is_new else 0
            db.execute("UPDATE wanted SET done = 1 WHERE key = ?", (key,))


def extract(db: sqlite3.Connection, folder: Path, videos: Path | None, problems: Problems) -> Counter[str]:
    """Unpack the wanted videos into one flat folder; of several members of one name the first that is whole.

    A run that was stopped is repeated: complete files are passed over.

    Args:
        db: database with wanted clips; those that are there afterwards are marked done.
        folder: where the zip files are.
        videos: folder to write to; None only looks which there are.
        problems: gets "broken_part", "broken_member", "unusable_member" and "not_in_parts".

    Returns:
        Counts: "parts", "extracted", "already_there", "bytes".
    """
    counts: Counter[str] = Counter()
    if videos is not None:
        videos.mkdir(parents=True, exist_ok=True)
        clear_beside(videos)
    for part in find_parts(folder):
        if db.execute("SELECT 1 FROM wanted WHERE NOT done LIMIT 1").fetchone() is None:
            break
        counts["parts"] += 1
        try:
            _extract_part(part, db, videos, problems, counts)
        except BrokenPartError as error:
            problems.add("broken_part", part.name, reason=str(error))
    for (key,) in db.execute("SELECT key FROM wanted WHERE NOT done"):
        problems.add("not_extracted", key)
    return counts


def extracted_rows(db: sqlite3.Connection, index: Path, videos: Path) -> Iterator[ClipRow]:
    """Rows of an index whose videos were extracted.

    Args:
        db: database with wanted clips after `extract`.
        index: index they were taken from.
        videos: folder of the videos.

    Yields:
        Rows with the path of the extracted file.
    """
    with index.open(encoding="utf-8-sig") as file:
        for text in filter(str.strip, file):
            row, _ = read_line(text, index.parent)
            if row is None:
                continue
            key = join_key(row.path.name)
            if db.execute("SELECT 1 FROM wanted WHERE key = ? AND done", (key,)).fetchone():
                yield ClipRow(**{**vars(row), "path": videos / key})
