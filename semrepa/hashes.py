"""SHA-256 of files and folders, without reading 20 GB again at each start.

A file of a hub cache is a link to a blob that has its hash as name. The hash of any other big file is kept,
with size and times of the file, in a small file of the user's cache folder, and is good while they stay.
"""

import hashlib
import json
import logging
import os
import re
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from semrepa.files import write_whole

log = logging.getLogger(__name__)

REMEMBERED_FROM = 64 * 2**20
"""Bytes from which a file's hash is remembered."""

_DIGEST = re.compile("[0-9a-f]{64}")


def sha256_of(path: str | Path, *, trust_names: bool = True) -> str:
    """Hash of a file, or of a folder's files by sorted relative name and content.

    Args:
        path: file or folder.
        trust_names: take the name of a blob in a hub cache for its hash; False reads the file.

    Returns:
        64 hexadecimal digits.

    Raises:
        FileNotFoundError: nothing is there.
    """
    path = Path(path)
    if path.is_file():
        return (_blob_name(path) if trust_names else None) or _remembered(path)
    if not path.is_dir():
        raise FileNotFoundError(f"hash: got {path}, which is not there; expected a file or a folder")
    return sha256_of_files(path, filter(Path.is_file, path.rglob("*")), trust_names=trust_names)


def sha256_of_files(folder: Path, files: Iterable[Path], *, trust_names: bool = True) -> str:
    """Hash of some files of a folder, by sorted relative name and content.

    Args:
        folder: names count from here.
        files: files inside it, in any order.
        trust_names: see `sha256_of`.

    Returns:
        64 hexadecimal digits.
    """
    digests = {file: sha256_of(file, trust_names=trust_names) for file in sorted(files)}
    lines = [f"{digest}  {file.relative_to(folder).as_posix()}\n" for file, digest in digests.items()]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def cache_folder() -> Path | None:
    """The user's folder for what can be made again, as the platform has it; None: the user has no home."""
    try:
        usual = {
            "win32": Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local")),
            "darwin": Path.home() / "Library" / "Caches",
        }.get(sys.platform, Path.home() / ".cache")
    except RuntimeError:
        return None
    return Path(os.environ.get("XDG_CACHE_HOME") or usual) / "semrepa"


def _blob_name(path: Path) -> str | None:
    """The hash that a hub cache has given as name to the blob behind a link."""
    if not path.is_symlink():
        return None
    blob = path.resolve()
    in_cache = blob.parent.name == "blobs" and blob.parent.parent.name.startswith("models--")
    return blob.name if in_cache and _DIGEST.fullmatch(blob.name) else None


def _remembered(path: Path) -> str:
    status = path.stat()
    folder = cache_folder()
    if status.st_size < REMEMBERED_FROM or folder is None:
        return _digest(path)
    key, now = str(path.resolve()), [status.st_size, status.st_mtime_ns, status.st_ctime_ns]
    match _read(folder / "sha256.json").get(key):
        case [size, modified, changed, str(digest)] if [size, modified, changed] == now:
            return digest
    log.info("reading %s (%.1f GB) for its hash, which is then remembered", path, status.st_size / 1e9)
    digest = _digest(path)
    _write(folder / "sha256.json", key, [*now, digest])
    return digest


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read(file: Path) -> dict[str, object]:
    """What is remembered; nothing where the file cannot be read or is no JSON object."""
    try:
        kept = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return kept if isinstance(kept, dict) else {}


def _write(file: Path, key: str, value: list[object]) -> None:
    """Remember one hash; where the folder cannot be written, nothing is remembered."""
    text = json.dumps(_read(file) | {key: value}, indent=1) + "\n"
    with suppress(OSError):
        write_whole(file, text.encode(), durable=False)
