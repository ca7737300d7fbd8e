"""Zip archives, whole or cut into pieces, read through their central directory without unpacking.

OpenVid-1M is published as OpenVid_part0.zip ... OpenVid_part185.zip; files over 50 GB are cut, such as
OpenVid_part73_partaa and OpenVid_part73_partab, and are meant to be put together with `cat`. Here the pieces
are read as one file where they lie.
"""

import io
import stat
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from semrepa.data.ingest.names import is_video, unsafe_reason
from semrepa.data.ingest.pieces import Part, SplitFile, is_piece, missing_piece

LOCAL_HEADER, ENCRYPTED, IS_UTF8 = b"PK\x03\x04", 0x1, 0x800


class BrokenPartError(ValueError):
    """An archive that cannot be read; the message is the reason."""


@dataclass(frozen=True, kw_only=True)
class Member:
    """One video inside an archive."""

    part: str
    """Name of the archive."""
    name: str
    """Path inside the archive."""
    size: int | None = None
    """Bytes after unpacking; None when unknown."""
    crc: int | None = None
    """CRC-32 of the contents; None when unknown."""
    fault: str | None = None
    """Why it must not be unpacked, or None."""


def _why_no_zip(file: io.BufferedReader, files: Sequence[Path]) -> str:
    """What a file without a central directory seems to be."""
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    start = file.read(64).lstrip()
    if size == 0:
        return "the file is empty; download it again"
    if start.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer, not the file; run git lfs pull"
    if start.startswith(b"<"):
        return "a web page, not the file; download it again"
    if not start.startswith(b"PK"):
        return "no zip file: its first bytes are not PK; download it again"
    if is_piece(files[-1]):
        return f"no central directory after {files[-1].name}: it is cut short, or later pieces are missing"
    return f"cut short after {size:,} bytes: no central directory at its end; download it again"


def _check_offsets(archive: zipfile.ZipFile, file: io.BufferedReader) -> None:
    """See that the first and the last member begin where the directory says."""
    infos = archive.infolist()
    if not infos:
        return
    for info in (min(infos, key=_offset), max(infos, key=_offset)):
        if info.header_offset >= 0:
            file.seek(info.header_offset)
            if file.read(4) == LOCAL_HEADER:
                continue
        raise BrokenPartError(
            f"{info.filename} is not where the directory says: bytes before it are missing, or a piece is cut"
            " short; download it again"
        )


def _offset(info: zipfile.ZipInfo) -> int:
    return info.header_offset


@contextmanager
def _opened(files: Sequence[Path]) -> Iterator[zipfile.ZipFile]:
    if missing := missing_piece(files):
        raise BrokenPartError(f"piece {missing!r} is missing; download it into the same folder")
    with ExitStack() as stack:
        try:
            file = stack.enter_context(io.BufferedReader(SplitFile(files), 2**16))
        except OSError as error:
            raise BrokenPartError(f"cannot be opened: {error}") from error
        try:
            archive = stack.enter_context(zipfile.ZipFile(file))
            _check_offsets(archive, file)
        except zipfile.BadZipFile as error:
            plain = "File is not a zip file" in str(error)
            raise BrokenPartError(_why_no_zip(file, files) if plain else f"broken zip: {error}") from error
        except (OSError, ValueError, NotImplementedError, zipfile.LargeZipFile) as error:
            if isinstance(error, BrokenPartError):
                raise
            raise BrokenPartError(f"cannot be read: {error}") from error
        yield archive


@contextmanager
def opened(part: Part) -> Iterator[zipfile.ZipFile]:
    """Open an archive; its pieces where the whole file is broken.

    Args:
        part: the archive.

    Yields:
        The archive with its central directory read and checked.

    Raises:
        BrokenPartError: pieces are missing, or bytes are.
    """
    with ExitStack() as stack:
        try:
            archive = stack.enter_context(_opened(part.files))
        except BrokenPartError:
            if not part.spare:
                raise
            archive = stack.enter_context(_opened(part.spare))
        yield archive


def member_name(info: zipfile.ZipInfo) -> str:
    """Name of a member, also of archives that hold UTF-8 without saying so.

    Args:
        info: entry of the central directory.

    Returns:
        The name.
    """
    if info.flag_bits & IS_UTF8:
        return info.filename
    try:
        return info.filename.encode("cp437").decode("utf-8")
    except UnicodeError:
        return info.filename


def video_members(archive: zipfile.ZipFile, part: str) -> Iterator[tuple[zipfile.ZipInfo, Member]]:
    """Videos of an archive, in the order of their bytes; folders and other files are left out.

    Args:
        archive: open archive.
        part: its name.

    Yields:
        Entry of the directory, and what is known of it.
    """
    for info in sorted(archive.infolist(), key=_offset):
        name = member_name(info)
        if info.is_dir() or not is_video(name):
            continue
        fault = unsafe_reason(name)
        if stat.S_ISLNK(info.external_attr >> 16):
            fault = "link"
        elif info.flag_bits & ENCRYPTED:
            fault = "encrypted"
        yield info, Member(part=part, name=name, size=info.file_size, crc=info.CRC, fault=fault)
