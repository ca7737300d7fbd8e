"""Archives on disk, whole or cut into pieces that are read as one file where they lie."""

import bisect
import io
import itertools
import re
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PIECES = (
    re.compile(r"(.+?)(?:\.zip)?[_.-]part_?([a-z]{2})(?:\.zip)?", re.IGNORECASE),
    re.compile(r"(.+?part_?\d+)(?:\.zip)?[_.-]part_?(\d{2,3})", re.IGNORECASE),
    re.compile(r"(.+)\.zip\.([a-z]{2}|\d{2,3})", re.IGNORECASE),
)
"""Names of pieces: name of the archive, mark of the piece."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """One archive on disk."""

    name: str
    """Path below the folder without suffix and piece, such as "OpenVid_part73"."""
    files: tuple[Path, ...]
    """The whole file, or its pieces in order."""
    spare: tuple[Path, ...] = ()
    """The pieces, where there is a whole file too: used when that one is broken."""

    @property
    def size(self) -> int:
        """Bytes of the whole file or of its pieces together."""
        return sum(file.stat().st_size for file in self.files)


class SplitFile(io.RawIOBase):
    """Files read as one, end to end.

    Args:
        files: the pieces in order.
    """

    def __init__(self, files: Sequence[Path]) -> None:
        super().__init__()
        with ExitStack() as stack:
            self._files = [stack.enter_context(file.open("rb", buffering=0)) for file in files]
            self._stack = stack.pop_all()
        sizes = (file.stat().st_size for file in files)
        self._ends = list(itertools.accumulate(sizes))
        self._at = 0

    def readable(self) -> bool:
        """Say that it can be read.

        Returns:
            True.
        """
        return True

    def seekable(self) -> bool:
        """Say that it can be read from anywhere.

        Returns:
            True.
        """
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a byte of the whole.

        Args:
            offset: bytes.
            whence: from the beginning, from here, or from the end.

        Returns:
            The new position.

        Raises:
            OSError: before the beginning.
        """
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._ends[-1]}[whence]
        if base + offset < 0:
            raise OSError(f"got position {base + offset}; expected one from 0 on")
        self._at = base + offset
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Read up to the end of the current piece.

        Args:
            buffer: bytes are written here.

        Returns:
            Number of bytes; 0 at the end of the last piece.
        """
        number = bisect.bisect_right(self._ends, self._at)
        if number == len(self._files):
            return 0
        file = self._files[number]
        file.seek(self._at - (self._ends[number - 1] if number else 0))
        got = file.readinto(buffer) or 0
        self._at += got
        return got

    def close(self) -> None:
        """Close all pieces."""
        if not self.closed:
            self._stack.close()
        super().close()


def _natural(name: str) -> list[tuple[int, str]]:
    """Sorting key that puts part2 before part10."""
    return [(int(text), "") if text.isdigit() else (-1, text) for text in re.split(r"(\d+)", name)]


def find_parts(folder: Path) -> list[Part]:
    """Archives of a folder and its sub-folders, pieces put together.

    Args:
        folder: where the zip files are.

    Returns:
        Parts in natural order; empty when there are none.

    Raises:
        FileNotFoundError: no such folder.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"got parts folder {folder}; expected an existing folder with zip files")
    whole: dict[str, Path] = {}
    pieces: dict[str, list[tuple[str, Path]]] = {}
    for path in sorted(file for file in folder.rglob("*") if file.is_file()):
        inside = path.parent.relative_to(folder)
        if match := _piece(path):
            pieces.setdefault((inside / match[1]).as_posix(), []).append((match[2].lower(), path))
        elif path.suffix.lower() == ".zip":
            whole[(inside / path.stem).as_posix()] = path
    parts = []
    for name in sorted(whole.keys() | pieces.keys(), key=_natural):
        cut = tuple(path for _, path in sorted(pieces.get(name, [])))
        files = (whole[name],) if name in whole else cut
        parts.append(Part(name=name, files=files, spare=cut if name in whole else ()))
    return parts


def _piece(path: Path) -> re.Match[str] | None:
    """Name of the archive and mark of the piece, for a file that is a piece."""
    return next((match for pattern in PIECES if (match := pattern.fullmatch(path.name))), None)


def missing_piece(files: Sequence[Path]) -> str | None:
    """See whether pieces leave one out; those missing at the end show only in the contents.

    Args:
        files: pieces in order, or one whole file.

    Returns:
        Mark of a missing piece, such as "ab"; None when there is none.
    """
    marks = [match[2].lower() for file in files if (match := _piece(file))]
    if not marks:
        return None
    if marks[0].isdigit():
        first = min(int(marks[0]), 1)
        expected = [f"{first + number:0{len(marks[0])}}" for number in range(len(marks))]
    else:
        letters = "abcdefghijklmnopqrstuvwxyz"
        expected = [letters[number // 26] + letters[number % 26] for number in range(len(marks))]
    return next((want for want, got in zip(expected, marks, strict=True) if want != got), None)


def is_piece(path: Path) -> bool:
    """Whether a name is that of a piece.

    Args:
        path: the file.

    Returns:
        True for names such as OpenVid_part73_partaa.
    """
    return _piece(path) is not None
