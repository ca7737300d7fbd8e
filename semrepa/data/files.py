"""Files that are whole or absent, whenever a process or a machine dies, and lines that processes append.

A file grows in a folder for unfinished ones and is renamed when every byte is on the disk. Its name there
tells which process writes it, so that what dead processes left can be told from work in progress.
"""

import hashlib
import os
import socket
import time
from functools import cache
from itertools import count
from pathlib import Path

UNFINISHED = ".unfinished"
"""Folder of files that are being written, inside the folder that `write_whole` is told."""
LONGEST_WRITE = 24 * 3600.0
"""Seconds after which an unfinished file is given up when nobody can say whether its process lives."""

_number = count()


def write_whole(path: Path, data: bytes, room: Path | None = None) -> None:
    """Write a file so that it is there with all its bytes or not at all, even after a power cut.

    Args:
        path: file to make or replace; its folder is made.
        data: its bytes.
        room: folder on the same disk in which `.unfinished` is made; None: the file's own.
    """
    growing = unfinished(path.name, room or path.parent)
    try:
        with growing.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        publish(growing, path)
    finally:
        growing.unlink(missing_ok=True)


def unfinished(name: str, room: Path) -> Path:
    """A new name under which this process can write a file before `publish` gives it its own.

    Args:
        name: its name in the end.
        room: folder on the same disk.

    Returns:
        A path in `.unfinished`, which is made.
    """
    folder = room / UNFINISHED
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{name[-80:]}.{process()}-{next(_number)}"


def publish(growing: Path, path: Path) -> None:
    """Give a file that is complete and on the disk its name, at once; an older one is replaced.

    Args:
        growing: where it was written.
        path: its name; the folder is made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    growing.replace(path)
    try:
        folder = os.open(path.parent, os.O_RDONLY)
    except OSError:  # a system on which folders cannot be opened
        return
    try:
        os.fsync(folder)
    except OSError:  # a file system that has no fsync for folders
        return
    finally:
        os.close(folder)


def clear_unfinished(room: Path) -> int:
    """Delete what dead processes left unfinished; files of living ones stay.

    Args:
        room: folder in which `.unfinished` is.

    Returns:
        Files deleted.
    """
    cleared = 0
    for path in (room / UNFINISHED).glob("*"):
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
            raise OSError(f"got a full disk; expected room for a line of {path}; free some and run again")


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
