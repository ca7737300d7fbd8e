"""Plain folders of videos with captions, and lists of clips in JSONL."""

import dataclasses
import json
import os
import re
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from semrepa.data.index import ClipRow, read_line
from semrepa.data.ingest.catalogue import is_new_id
from semrepa.data.ingest.names import Splitting, clip_id, is_video, join_key, source_of
from semrepa.data.ingest.problems import Problems
from semrepa.data.ingest.tables import CAPTIONS, CaptionRow

FIELDS = ("identity", "licence", "start", "split")
"""Fields of a clip that a JSON file beside it may give, besides its caption."""


def find_videos(folder: Path) -> Iterator[str]:
    """Videos of a folder and its sub-folders, without hidden ones; links to folders are not followed.

    Args:
        folder: the folder.

    Yields:
        Paths below it with forward slashes, sorted within each folder.

    Raises:
        FileNotFoundError: no such folder.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"got folder {folder}; expected an existing folder with videos")
    for here, below, files in os.walk(folder):
        below[:] = sorted(name for name in below if not name.startswith("."))
        inside = Path(here).relative_to(folder)
        for name in sorted(files):
            if is_video(name) and not name.startswith("."):
                yield (inside / name).as_posix()


def note_captions(
    db: sqlite3.Connection, rows: Iterable[CaptionRow], folder: Path, problems: Problems
) -> None:
    """Put a file of captions into the database, by path below the folder.

    Args:
        db: answer of `database`.
        rows: its rows.
        folder: names may be absolute paths inside it.
        problems: gets wrong and doubled rows.
    """
    db.execute(
        "CREATE TABLE captions (path TEXT PRIMARY KEY, base TEXT, caption TEXT, used INTEGER DEFAULT 0)"
    )
    for row in rows:
        if row.fault is not None:
            problems.add(row.fault, row.name or f"line {row.line}", line=row.line)
            continue
        name = row.name.replace("\\", "/")
        if Path(name).is_absolute() and Path(name).is_relative_to(folder.absolute()):
            name = Path(name).relative_to(folder.absolute()).as_posix()
        name = name.removeprefix("./")
        found = db.execute(
            "INSERT OR IGNORE INTO captions (path, base, caption) VALUES (?, ?, ?)",
            (name, join_key(name), row.caption),
        )
        if not found.rowcount:
            problems.add("duplicate_row", row.name, line=row.line)
    db.execute("CREATE INDEX captions_base ON captions (base)")


def _listed(db: sqlite3.Connection, relative: str) -> str | None:
    """Caption of the captions file: by whole path, else by a base name that is single on both sides."""
    found = db.execute("SELECT path, caption FROM captions WHERE path = ?", (relative,)).fetchall()
    if not found:
        base = join_key(relative)
        (count,) = db.execute("SELECT count(*) FROM files WHERE base = ?", (base,)).fetchone()
        matches = db.execute("SELECT path, caption FROM captions WHERE base = ?", (base,)).fetchall()
        found = matches if count == 1 and len(matches) == 1 else []
    for path, caption in found:
        db.execute("UPDATE captions SET used = 1 WHERE path = ?", (path,))
        return caption
    return None


def _beside(video: Path) -> tuple[dict[str, Any], str | None]:
    """Fields from the JSON or text file beside a video, and what is wrong with it."""
    for path in (video.with_suffix(".json"), video.with_name(video.name + ".json")):
        if path.is_file():
            try:
                given: Any = json.loads(path.read_text(encoding="utf-8-sig"))
            except (json.JSONDecodeError, UnicodeDecodeError) as error:
                return {}, f"{path.name}: {error}"
            if not isinstance(given, dict):
                return {}, f"{path.name}: expected an object"
            caption = next((given[name] for name in CAPTIONS if isinstance(given.get(name), str)), "")
            return {
                "caption": caption.strip(),
                **{name: given[name] for name in FIELDS if name in given},
            }, None
    for path in (video.with_suffix(".txt"), video.with_name(video.name + ".txt")):
        if path.is_file():
            try:
                return {"caption": path.read_text(encoding="utf-8-sig").strip()}, None
            except UnicodeDecodeError as error:
                return {}, f"{path.name}: {error}"
    return {}, None


def _note_files(db: sqlite3.Connection, folder: Path, problems: Problems) -> None:
    """Put all videos into the database, with the names that decide whether their ids are single."""
    db.execute("CREATE TABLE files (number INTEGER PRIMARY KEY, path TEXT, id TEXT, base TEXT)")
    for relative in find_videos(folder):
        try:
            relative.encode()
        except UnicodeEncodeError:
            shown = relative.encode("utf-8", "backslashreplace").decode()
            problems.add("name_not_utf8", shown, do="rename it")
            continue
        values = (relative, clip_id(relative).lower(), join_key(relative))
        db.execute("INSERT INTO files (path, id, base) VALUES (?, ?, ?)", values)
    db.execute("CREATE INDEX files_id ON files (id)")
    db.execute("CREATE INDEX files_base ON files (base)")


def folder_rows(
    folder: Path,
    db: sqlite3.Connection,
    problems: Problems,
    counts: Counter[str],
    *,
    captions: Iterable[CaptionRow] | None = None,
    splitting: Splitting | None = None,
    keep_uncaptioned: bool = False,
    licence: str | None = None,
) -> Iterator[ClipRow]:
    """Clips of a folder, with captions from a file of captions or from files beside the videos.

    Args:
        folder: searched with its sub-folders.
        db: answer of `database`.
        problems: gets videos without caption, captions without video, unreadable files.
        counts: gets "videos", "joined" and "heldout".
        captions: rows of a file of captions; names are paths below the folder, or single base names.
        splitting: how sides are chosen; a "split" beside the video comes first.
        keep_uncaptioned: keep clips without caption, with an empty one.
        licence: SPDX name for clips that do not name theirs.

    Yields:
        Clips sorted by path.
    """
    splitting = splitting or Splitting()
    _note_files(db, folder, problems)
    if captions is not None:
        note_captions(db, captions, folder, problems)
    for relative, short in db.execute("SELECT path, id FROM files ORDER BY number"):
        counts["videos"] += 1
        listed = _listed(db, relative) if captions is not None else None
        fields = _captioned(folder, relative, listed, problems, keep_uncaptioned=keep_uncaptioned)
        if fields is None:
            continue
        (count,) = db.execute("SELECT count(*) FROM files WHERE id = ?", (short,)).fetchone()
        fields = {"licence": licence, "split": splitting.side(relative), **fields}
        fields |= {"id": clip_id(relative, distinct=count > 1), "path": relative}
        row, found = read_line(json.dumps(fields), folder)
        if row is None:
            problems.add("wrong_fields", relative, reason="; ".join(found))
            continue
        counts["joined"] += 1
        counts["heldout"] += row.split == "heldout"
        yield row
    if captions is not None:
        for (path,) in db.execute("SELECT path FROM captions WHERE NOT used ORDER BY rowid"):
            problems.add("caption_without_video", path)


def _captioned(
    folder: Path, relative: str, listed: str | None, problems: Problems, *, keep_uncaptioned: bool
) -> dict[str, Any] | None:
    """Caption and further fields of a video; None when it was recorded as a problem."""
    fields, wrong = _beside(folder / relative)
    if wrong is not None:
        problems.add("unreadable_caption", relative, reason=wrong)
        return None
    if listed is not None:
        fields["caption"] = listed
    if re.search("[\ud800-\udfff]", fields.get("caption", "")):
        problems.add("unreadable_caption", relative, reason="not UTF-8")
        return None
    if not fields.get("caption") and not keep_uncaptioned:
        problems.add("empty_caption" if "caption" in fields else "no_caption", relative)
        return None
    return {"caption": "", **fields}


def jsonl_rows(
    path: Path,
    db: sqlite3.Connection,
    problems: Problems,
    counts: Counter[str],
    *,
    splitting: Splitting | None = None,
    keep_uncaptioned: bool = False,
) -> Iterator[ClipRow]:
    """Clips of an index file that pass its checks; the others are recorded.

    Clips of one file without an id of their own get one each, from path and start.

    Args:
        path: JSONL file; paths in it are relative to its folder.
        db: answer of `database`.
        problems: gets wrong lines, doubled ids, missing videos and captions.
        counts: gets "rows", "joined" and "heldout".
        splitting: sides of clips without a "split" of their own.
        keep_uncaptioned: keep clips with an empty caption.

    Yields:
        Clips in the order of the file.

    Raises:
        FileNotFoundError: no such file.
    """
    if not path.is_file():
        raise FileNotFoundError(f"got list {path}; expected an existing JSONL file")
    splitting = splitting or Splitting()
    db.execute("CREATE TABLE sides (source TEXT, side TEXT, PRIMARY KEY (source, side)) WITHOUT ROWID")
    with path.open(encoding="utf-8-sig", errors="surrogateescape") as file:
        for number, text in enumerate(file, 1):
            if not text.strip():
                continue
            counts["rows"] += 1
            row = _checked_line(text, number, path.parent, db, problems, splitting)
            if row is None:
                continue
            if not row.caption.strip() and not keep_uncaptioned:
                problems.add("empty_caption", row.id, line=number)
                continue
            source = source_of(_below(row.path, path.parent), splitting.pattern)
            db.execute("INSERT OR IGNORE INTO sides VALUES (?, ?)", (source, row.split))
            counts["joined"] += 1
            counts["heldout"] += row.split == "heldout"
            yield row
    for (source,) in db.execute("SELECT source FROM sides GROUP BY source HAVING count(*) > 1"):
        problems.add("source_on_both_sides", source)


def _below(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else path.as_posix()


def _checked_line(
    text: str, number: int, folder: Path, db: sqlite3.Connection, problems: Problems, splitting: Splitting
) -> ClipRow | None:
    """The row of one line with its id and side; None when it was recorded as a problem."""
    try:
        text.encode()
        row, found = read_line(text, folder)
        if row is not None:
            row.caption.encode()
    except UnicodeEncodeError:
        row, found = None, ["not UTF-8"]
    if row is None:
        problems.add("wrong_line", f"line {number}", reason="; ".join(found))
        return None
    if not row.path.is_file():
        problems.add("missing_video", row.id, line=number, path=str(row.path))
        return None
    given = json.loads(text)
    relative = _below(row.path, folder)
    if "split" not in given:
        row = dataclasses.replace(row, split=splitting.side(relative))
    if is_new_id(db, row.id):
        return row
    if "id" not in given:
        row = dataclasses.replace(row, id=clip_id(relative, distinct=True, start=row.start))
        if is_new_id(db, row.id):
            return row
    problems.add("duplicate_id", row.id, line=number)
    return None
