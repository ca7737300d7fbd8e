"""Tables of captions: OpenVid-1M's CSV files, and a user's own in CSV or JSONL, read row by row."""

import csv
import json
import operator
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

NAMES = ("video", "path", "file", "file_name", "filename", "name")
CAPTIONS = ("caption", "text", "prompt", "description")
OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    ">=": operator.ge, "<=": operator.le, "==": operator.eq,
    "!=": operator.ne, ">": operator.gt, "<": operator.lt,
}  # fmt: skip
SWALLOWED = re.compile(r"\n[^\n,]{1,250}\.(?:mp4|mov|webm|mkv|avi|m4v),", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Condition:
    """One comparison that rows must pass, such as seconds >= 6."""

    column: str
    """Name of the column, in lower case."""
    sign: str
    """One of OPERATORS."""
    value: str
    """Compared as a number where it is one."""

    def holds(self, cell: str) -> bool:
        """Whether a cell passes.

        Args:
            cell: text of the cell.

        Returns:
            The answer.

        Raises:
            ValueError: the value is a number and the cell is none.
        """
        try:
            limit: Any = float(self.value)
        except ValueError:
            return OPERATORS[self.sign](cell.strip(), self.value)
        return OPERATORS[self.sign](float(cell), limit)


@dataclass(frozen=True, kw_only=True)
class CaptionRow:
    """One row of a table."""

    line: int
    """Where the row ends in the file, counted from 1."""
    name: str
    """Video as the table names it."""
    caption: str = ""
    """Text without surrounding white space; may be empty."""
    columns: dict[str, str] = field(default_factory=dict)
    """The further columns that were asked for."""
    fault: str | None = None
    """Why the row cannot be used, or None."""
    passes: bool = True
    """Whether all conditions hold."""


def parse_condition(text: str) -> Condition:
    """Read a condition such as "aesthetic score >= 5".

    Args:
        text: column, sign, value.

    Returns:
        The condition.

    Raises:
        ValueError: no such form.
    """
    match = re.fullmatch(r"\s*(.+?)\s*(>=|<=|==|!=|>|<)\s*(.+?)\s*", text)
    if match is None:
        raise ValueError(
            f"got condition {text!r}; expected COLUMN SIGN VALUE, such as 'seconds>=6'; signs are"
            f" {', '.join(OPERATORS)}"
        )
    return Condition(column=match[1].lower(), sign=match[2], value=match[3])


def _column(header: list[str], known: Sequence[str], fallback: int) -> int:
    return next((header.index(name) for name in known if name in header), fallback)


def _check_columns(path: Path, header: list[str], wanted: Sequence[str]) -> None:
    absent = [name for name in wanted if name.lower() not in header]
    if absent:
        raise ValueError(
            f"got {path} without column {', '.join(map(repr, absent))}; expected one of {', '.join(header)};"
            " correct --where or --keep"
        )


def _open_text(path: Path) -> IO[str]:
    if not path.is_file():
        raise FileNotFoundError(f"got captions {path}; expected an existing CSV or JSONL file")
    with path.open("rb") as file:
        start = file.read(64)
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise ValueError(f"got {path} in UTF-16; expected UTF-8; save it as UTF-8")
    if start.startswith(b"version https://git-lfs"):
        raise ValueError(f"got {path}, a Git LFS pointer; expected the file itself; run git lfs pull")
    if b"\x00" in start or start.startswith(b"PK"):
        raise ValueError(f"got {path}, a binary file; expected a text table in UTF-8")
    if start.lstrip().lower().startswith((b"<!doctype", b"<html")):
        raise ValueError(f"got {path}, a web page; expected a CSV file; download it again")
    return path.open(encoding="utf-8-sig", errors="surrogateescape", newline="")


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


@dataclass(frozen=True, kw_only=True)
class _Layout:
    """Where the columns of a CSV file are."""

    name: int
    caption: int
    others: dict[str, int]


def _csv_row(cells: list[str], line: int, layout: _Layout, conditions: Sequence[Condition]) -> CaptionRow:
    """One row of a CSV file; what is wrong with it becomes its fault."""
    if len(cells) <= max(layout.name, layout.caption):
        return CaptionRow(line=line, name=cells[0] if cells else "", fault="too_few_columns")
    name, caption = cells[layout.name].strip(), cells[layout.caption].strip()
    if not name:
        return CaptionRow(line=line, name="", fault="no_name")
    if not _is_text(name + caption):
        return CaptionRow(line=line, name=name.encode("ascii", "backslashreplace").decode(), fault="not_utf8")
    if SWALLOWED.search(caption):
        return CaptionRow(line=line, name=name, fault="quote_never_closed")
    columns = {other: cells[at].strip() if at < len(cells) else "" for other, at in layout.others.items()}
    try:
        passes = all(condition.holds(columns[condition.column]) for condition in conditions)
    except ValueError:
        return CaptionRow(line=line, name=name, fault="no_number_in_column")
    return CaptionRow(line=line, name=name, caption=caption, columns=columns, passes=passes)


def _is_headless(cells: list[str]) -> bool:
    return bool(re.search(r"\.(?:mp4|mov|webm|mkv|avi|m4v)$", cells[0].strip(), re.IGNORECASE))


def read_csv(
    path: Path, *, keep: Sequence[str] = (), conditions: Sequence[Condition] = ()
) -> Iterator[CaptionRow]:
    """Read a table of videos and captions.

    Columns are found by their header in any case ("video", "caption", ...), else the first two are taken.
    A file without a header begins with a video.

    Args:
        path: CSV file in UTF-8, with or without byte order mark.
        keep: further columns to hand on.
        conditions: what rows must pass.

    Yields:
        Rows in order, wrong ones with their fault.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a text table, empty, columns that are not there, or a quote that is never closed.
    """
    wanted = [*keep, *(condition.column for condition in conditions)]
    with _open_text(path) as file:
        lines = csv.reader(file)
        try:
            first = next((cells for cells in lines if cells), None)
            if first is None or len(first) < 2:
                raise ValueError(f"got {path} with {first or 'no rows'}; expected columns video,caption,...")
            header = [] if _is_headless(first) else [cell.strip().lower() for cell in first]
            _check_columns(path, header, wanted)
            layout = _Layout(
                name=_column(header, NAMES, 0),
                caption=_column(header, CAPTIONS, 1),
                others={name.lower(): header.index(name.lower()) for name in wanted},
            )
            if not header:
                yield _csv_row(first, lines.line_num, layout, conditions)
            for cells in lines:
                if cells:
                    yield _csv_row(cells, lines.line_num, layout, conditions)
        except csv.Error as error:
            raise ValueError(
                f"got {path} with an unreadable row near line {lines.line_num} ({error}); expected every"
                " opened quote to be closed; correct that row"
            ) from error


def read_jsonl(path: Path) -> Iterator[CaptionRow]:
    """Read captions from one JSON object per line, with the same names of fields as the columns of a CSV.

    Args:
        path: JSONL file.

    Yields:
        Rows in order, wrong ones with their fault.
    """
    with _open_text(path) as file:
        for line, text in enumerate(file, 1):
            if not text.strip():
                continue
            try:
                fields: Any = json.loads(text)
            except json.JSONDecodeError:
                fields = None
            if not isinstance(fields, dict):
                yield CaptionRow(line=line, name="", fault="no_json_object")
                continue
            name = next((fields[key] for key in NAMES if isinstance(fields.get(key), str)), "")
            caption = next((fields[key] for key in CAPTIONS if isinstance(fields.get(key), str)), "")
            fault = "no_name" if not name else None if _is_text(name + caption) else "not_utf8"
            yield CaptionRow(line=line, name=name, caption=caption.strip(), fault=fault)


def read_captions(path: Path) -> Iterator[CaptionRow]:
    """Read captions from CSV or JSONL, by the suffix.

    Args:
        path: the file.

    Returns:
        Its rows.
    """
    return read_jsonl(path) if path.suffix.lower() in (".jsonl", ".ndjson") else read_csv(path)
