"""The index of a video collection: one JSON object per line, one line per clip.

    {"path": "videos/a.mp4", "caption": "A woman waves in a kitchen.", "split": "train", "licence": "CC0-1.0"}

Only `path` and `caption` are needed. Paths are relative to the folder of the index file.
"""

import dataclasses
import difflib
import json
import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from semrepa.files import whole_text

SPLITS = ("train", "heldout")
SAFE_ID = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")
SHOWN = 10
"""Problems listed in one message; the rest is counted."""


@dataclass(frozen=True, kw_only=True)
class ClipRow:
    """One clip of a collection."""

    id: str
    """Name of the clip, unique in the index and safe as a file name; by default from the file's name."""
    path: Path
    """Video file."""
    caption: str
    """What the clip shows, as the text encoder will read it."""
    identity: int | str | None = None
    """Who is in the clip; None when nobody is, or nobody knows."""
    seed: int | None = None
    """Seed of a clip of the sample world; None for other videos."""
    split: str = "train"
    """"train" or "heldout"."""
    start: float = 0.0
    """Seconds after the first shown frame at which the clip begins."""
    licence: str | None = None
    """SPDX name of the licence, such as "CC0-1.0"."""
    world: dict[str, Any] | None = None
    """Arguments of `semrepa.world.sample_spec` besides the seed, which re-render the clip exactly."""

    @property
    def person(self) -> int | str:
        """Who is in the clip; where nobody knows, a person of its own, as in the paper's Table 3."""
        return self.id if self.identity is None else self.identity


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, float) or _is_whole(value)


CHECKS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "id": (
        lambda value: isinstance(value, str) and bool(SAFE_ID.fullmatch(value)),
        "letters, digits, '.', '_' and '-'",
    ),
    "path": (lambda value: isinstance(value, str) and bool(value), "a file name"),
    "caption": (lambda value: isinstance(value, str), "a text"),
    "identity": (
        lambda value: value is None or isinstance(value, str) or _is_whole(value),
        "a number or name",
    ),
    "seed": (lambda value: value is None or (_is_whole(value) and value >= 0), "a whole number from 0 on"),
    "split": (lambda value: value in SPLITS, f"one of {', '.join(SPLITS)}"),
    "start": (lambda value: _is_number(value) and float(value) >= 0, "seconds from 0 on"),
    "licence": (lambda value: value is None or isinstance(value, str), "an SPDX licence name"),
    "world": (
        lambda value: value is None or isinstance(value, dict),
        "an object with arguments of sample_spec",
    ),
}
"""By field: whether a value is one of it, and what is expected."""


def _problem(name: str, value: Any) -> str | None:
    """What is wrong with one field of a line, or None."""
    if name not in CHECKS:
        near = difflib.get_close_matches(name, CHECKS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known fields are {', '.join(CHECKS)}"
        return f"got unknown field {name!r}; {hint}"
    is_fine, expected = CHECKS[name]
    return None if is_fine(value) else f"{name}: got {value!r}; expected {expected}"


def read_line(text: str, folder: Path) -> tuple[ClipRow | None, list[str]]:
    """Read and check one line; whether the video is there is not looked at.

    Args:
        text: one JSON object.
        folder: paths are relative to it.

    Returns:
        The row, or None and what is wrong with the line.
    """
    try:
        fields: Any = json.loads(text)
    except json.JSONDecodeError as error:
        return None, [f"got no valid JSON ({error}); expected one object per line"]
    if not isinstance(fields, dict):
        return None, [
            f'got {type(fields).__name__}; expected an object such as {{"path": ..., "caption": ...}}'
        ]
    problems = [found for name, value in fields.items() if (found := _problem(name, value))]
    problems += [
        f"got no field {name!r}; expected it on every line"
        for name in ("path", "caption")
        if name not in fields
    ]
    if problems:
        return None, problems
    path = folder / fields["path"]
    named = re.sub(r"[^A-Za-z0-9._-]+", "_", path.stem).lstrip(".") or "clip"
    fields = {"id": named, **fields, "path": path}
    return ClipRow(**fields), []


def _listed(items: list[str]) -> str:
    more = f"\n  and {len(items) - SHOWN} more" if len(items) > SHOWN else ""
    return "".join(f"\n  {item}" for item in items[:SHOWN]) + more


def read_index(path: str | Path, *, allow_missing: bool = False) -> list[ClipRow]:
    """Read an index file and check every line, and that every video is there.

    Args:
        path: JSONL file.
        allow_missing: whether videos may be gone, as long as some are there; preparing them notes each.

    Returns:
        The rows in the order of the file, with paths resolved against its folder.

    Raises:
        FileNotFoundError: when the index or videos it names are missing; lists all of them.
        ValueError: when the index is empty, or lines are wrong or share an id; names lines and fields.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"got index {path}; expected an existing JSONL file; see data_samples/index.jsonl"
        )
    rows: list[ClipRow] = []
    problems: list[str] = []
    first_line: dict[str, int] = {}
    with path.open(encoding="utf-8-sig") as file:
        for number, text in enumerate(file, 1):
            if not text.strip():
                continue
            row, found = read_line(text, path.parent)
            if row is not None:
                first = first_line.setdefault(row.id, number)
                if first != number:
                    found.append(f'got id {row.id!r} again (first on line {first}); give each its own "id"')
                rows.append(row)
            problems += [f"line {number}: {problem}" for problem in found]
    if problems:
        raise ValueError(
            f"got index {path} with {len(problems)} wrong lines or fields; correct them:{_listed(problems)}"
        )
    if not rows:
        raise ValueError(
            f"got empty index {path}; expected one JSON object per clip; see data_samples/index.jsonl"
        )
    missing = [str(row.path) for row in rows if not row.path.is_file()]
    if missing and not (allow_missing and len(missing) < len(rows)):
        message = (
            f"got index {path} naming {len(missing)} missing videos; expected paths relative to {path.parent}"
        )
        raise FileNotFoundError(f"{message}; copy them there or correct the paths:{_listed(missing)}")
    return rows


def write_index(path: str | Path, rows: Iterable[ClipRow]) -> Path:
    """Write an index file, all at once or not at all; fields that hold their default are left out.

    Args:
        path: JSONL file.
        rows: the clips; videos may lie anywhere, paths are written relative to the index.

    Returns:
        The path.
    """
    path = Path(path)
    defaults = {field.name: field.default for field in dataclasses.fields(ClipRow)}
    with whole_text(path) as file:
        for row in rows:
            fields = {
                name: value for name, value in vars(row).items() if name == "split" or value != defaults[name]
            }
            fields["path"] = Path(os.path.relpath(row.path, path.parent)).as_posix()
            file.write(json.dumps(fields, ensure_ascii=False) + "\n")
    return path
