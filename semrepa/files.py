"""Files that are whole or absent, whenever a process or a machine dies, and lines that processes append.

A file grows under another name and is renamed when it is complete. That name tells which process writes it,
so that what dead processes left can be told from work in progress.
"""

import errno
import hashlib
import os
import re
import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from itertools import count
from pathlib import Path
from typing import IO

UNFINISHED = ".unfinished"
"""Folder of files that are being written, inside the room that `whole_file` is told."""
LONGEST_WRITE = 24 * 3600.0
"""Seconds after which an unfinished file is given up when nobody can say whether its process lives."""
LONGEST_NAME = 80
"""Bytes of a name that are kept in the name of its unfinished file; a longer one is hashed."""

_HIDDEN = re.compile(r"\..+\.x[0-9a-f]{11}-\d+-\d+-\d+", re.DOTALL)
"""What `whole_file` writes to outside a room."""
_number = count()


@contextmanager
def whole_file(path: Path, *, room: Path | None = None, durable: bool = True) -> Iterator[Path]:
    """A place to write a file at, which gets its name when the block ends, and goes when the block fails.

    Args:
        path: file to make or replace; its folder is made.
        room: folder on the same disk in which `.unfinished` is made, for `clear_unfinished`; None: the file
            grows under a hidden name beside its own.
        durable: the bytes are on the disk before the name is, so that a power cut leaves no half file either.

    Yields:
        Where to write.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    growing = unfinished(path.name, room) if room else path.with_name(f".{_new_name(path.name)}")
    try:
        yield growing
        _publish(growing, path, durable=durable)
    finally:
        growing.unlink(missing_ok=True)


@contextmanager
def whole_text(path: Path, *, errors: str = "strict") -> Iterator[IO[str]]:
    """A UTF-8 file, open for writing, that appears under its name when the block ends without an error.

    Args:
        path: file to make or replace; its folder is made.
        errors: what becomes of text that cannot be encoded, as `open` takes it.

    Yields:
        The open file.
    """
    with (
        whole_file(path, durable=False) as growing,
        growing.open("w", encoding="utf-8", errors=errors, newline="\n") as file,
    ):
        yield file


def write_whole(path: Path, data: bytes, *, room: Path | None = None, durable: bool = True) -> None:
    """Write a file so that it is there with all its bytes or not at all.

    Args:
        path: file to make or replace; its folder is made.
        data: its bytes.
        room: see `whole_file`.
        durable: see `whole_file`.
    """
    with whole_file(path, room=room, durable=durable) as growing:
        growing.write_bytes(data)


def unfinished(name: str, room: Path) -> Path:
    """A new name under which this process can write a file before it gets its own.

    Args:
        name: its name in the end.
        room: folder on the same disk.

    Returns:
        A path in `.unfinished`, which is made.
    """
    folder = room / UNFINISHED
    folder.mkdir(parents=True, exist_ok=True)
    return folder / _new_name(name)


def _new_name(name: str) -> str:
    """A name that is short enough for every file system and says which process writes."""
    long = len(os.fsencode(name)) > LONGEST_NAME
    short = hashlib.sha256(os.fsencode(name)).hexdigest()[:16] if long else name
    return f"{short}.{process()}-{next(_number)}"


def _publish(growing: Path, path: Path, *, durable: bool = True) -> None:
    """Give a file that is complete its name, at once; an older one is replaced.

    Args:
        growing: where it was written.
        path: its name.
        durable: see `whole_file`.
    """
    if not durable:
        growing.replace(path)
        return
    with growing.open("rb+") as file:
        os.fsync(file.fileno())
    growing.replace(path)
    to_disk(path.parent)


def to_disk(path: Path) -> None:
    """Force a file, or the names in a folder, to the disk, as far as the system can.

    Args:
        path: file or folder.
    """
    try:
        number = os.open(path, os.O_RDONLY)
    except OSError:  # a system on which folders cannot be opened
        return
    try:
        os.fsync(number)
    except OSError:  # a file system that has no fsync for folders
        return
    finally:
        os.close(number)


def clear_unfinished(room: Path) -> int:
    """Delete what dead processes left unfinished; files of living ones stay.

    Args:
        room: folder in which `.unfinished` is.

    Returns:
        Files deleted.
    """
    return _clear((room / UNFINISHED).glob("*"))


def clear_beside(folder: Path) -> int:
    """Delete what dead processes left unfinished under hidden names in a folder, as `clear_unfinished`.

    Args:
        folder: the folder; those inside it are not looked at.

    Returns:
        Files deleted.
    """
    with os.scandir(folder) as entries:
        return _clear([folder / entry.name for entry in entries if _HIDDEN.fullmatch(entry.name)])


def _clear(paths: Iterable[Path]) -> int:
    cleared = 0
    for path in paths:
        try:
            if is_abandoned(path):
                path.unlink()
                cleared += 1
        except FileNotFoundError:  # finished, or cleared by another process
            continue
    return cleared


def is_abandoned(path: Path) -> bool:
    """Whether nobody writes a file any more whose name ends in `.<process>-<number>`, maybe with a suffix.

    Args:
        path: the file.

    Returns:
        True when its process is dead; for one of another machine: when the file is a day old.
    """
    for part in reversed(path.name.split(".")):
        place, _, rest = part.partition("-")
        if place == _place() and rest.count("-") >= 1:
            pid, began = rest.split("-")[:2]
            return _began(pid) != began
    return time.time() - path.stat().st_mtime > LONGEST_WRITE


def process() -> str:
    """A name of this process that no other one has, on any machine at any time: place-pid-start."""
    return f"{_place()}-{os.getpid()}-{_began(str(os.getpid()))}"


@cache
def _place() -> str:
    """Digits that stand for this boot of this machine and its container, where a pid means something."""
    parts = [socket.gethostname()]
    for source in ("/proc/sys/kernel/random/boot_id", "/proc/self/ns/pid"):
        path = Path(source)
        try:
            parts.append(str(path.readlink()) if path.is_symlink() else path.read_text(encoding="ascii"))
        except OSError:  # not Linux: unfinished files are then told by their age alone
            return "x" + hashlib.sha256(os.urandom(16)).hexdigest()[:11]
    return "x" + hashlib.sha256("\n".join(parts).encode()).hexdigest()[:11]


def _began(pid: str) -> str | None:
    """Start time of a living process in clock ticks; None when it is dead, "0" where nobody can say."""
    if not Path("/proc/self/stat").is_file():
        return "0"
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2]
    except OSError:
        return None
    state, *rest = fields.split()
    return None if state in ("Z", "X") else rest[18]


def append_line(path: Path, line: str) -> None:
    """Add a line to a file that several processes append to; lines never mix.

    Args:
        path: file to begin or go on with.
        line: text without a line break.

    Raises:
        OSError: the disk is full.
    """
    with path.open("ab+", buffering=0) as file:
        end = file.seek(0, os.SEEK_END)
        file.seek(max(0, end - 1))
        torn = end > 0 and file.read(1) != b"\n"
        data = (b"\n" if torn else b"") + line.encode() + b"\n"
        if file.write(data) != len(data):
            raise OSError(
                errno.ENOSPC, f"got a full disk; expected room for a line of {path}; free some and run again"
            )


def whole_lines(path: Path, start: int = 0) -> tuple[list[str], int]:
    """Lines of a file that is appended to, without a last one that is not yet complete.

    Args:
        path: the file; none gives no lines.
        start: byte to begin at, as returned by an earlier call.

    Returns:
        Lines without their breaks, and the byte to go on from.
    """
    if not path.is_file():
        return [], 0
    with path.open("rb") as file:
        file.seek(start)
        data = file.read()
    end = data.rfind(b"\n") + 1
    return data[:end].decode("utf-8", errors="replace").split("\n")[:-1], start + end
