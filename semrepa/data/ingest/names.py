"""Names of clips: what two lists are joined by, what a clip is called, and which video it was cut from."""

import hashlib
import re
import unicodedata
from dataclasses import dataclass
from pathlib import PurePosixPath

from semrepa.data.index import SAFE_ID

VIDEO_SUFFIXES = frozenset({".avi", ".m4v", ".mkv", ".mov", ".mp4", ".webm"})
LONGEST_ID = 120
"""Characters of an id; longer ones would not fit a file name together with a suffix."""

YOUTUBE = re.compile(r"(?:celebv_)?([A-Za-z0-9_-]{11})_\d+(?:_\d+to\d+)?")
"""Both styles of OpenVid-1M: "---_iRTHryQ_13_0to241" and "celebv_-_Bdf9C0SAU_0"."""
SEGMENT = re.compile(
    r"(?:(?:^|[ ._-]+)(?:clip|scene|shot|part|seg|segment|chunk)[ ._-]*\d+"
    r"|[ ._-]+\d+(?:\.\d+)?(?:to|-)\d+(?:\.\d+)?)+$",
    re.IGNORECASE,
)
"""Endings that say which piece of a video a file is: "_scene-003", "_12to40"."""


def join_key(name: str) -> str:
    """What two lists are joined by: the name without its folders, in one Unicode form.

    Args:
        name: path inside an archive, in a table or on disk, with either slash.

    Returns:
        The base name, in composed form (NFC).
    """
    return unicodedata.normalize("NFC", re.split(r"[\\/]", name)[-1])


def is_video(name: str) -> bool:
    """Whether a name is that of a video, and not of a hidden file beside it.

    Args:
        name: path with either slash.

    Returns:
        True for the suffixes of `VIDEO_SUFFIXES` in either case.
    """
    base = join_key(name)
    return not base.startswith("._") and PurePosixPath(base).suffix.lower() in VIDEO_SUFFIXES


def unsafe_reason(name: str) -> str | None:
    """Why a name from an archive must not be written to disk.

    Args:
        name: path inside the archive.

    Returns:
        The reason; None for a name that stays inside its folder.
    """
    if re.match(r"[\\/]|[A-Za-z]:", name):
        return "absolute path"
    if ".." in re.split(r"[\\/]", name):
        return "path with '..'"
    if re.search(r"[\x00-\x1f\x7f]", name):
        return "control character"
    return None


def clip_id(relative: str, *, distinct: bool = False, start: float = 0.0) -> str:
    """Name of a clip that is safe as a file name and does not depend on the order of a list.

    Args:
        relative: path below the folder of the collection, with forward slashes.
        distinct: another clip has the same file name, so the whole path and the start must tell them apart.
        start: seconds after the first shown frame.

    Returns:
        The file's stem where it is safe and single, else a readable beginning with a hash of the path.
    """
    relative = unicodedata.normalize("NFC", relative)
    stem = PurePosixPath(relative).stem
    if SAFE_ID.fullmatch(stem) and len(stem) <= LONGEST_ID and not distinct:
        return stem
    told = f"{relative}@{start}" if start else relative
    digest = hashlib.sha256(told.encode("utf-8", "surrogateescape")).hexdigest()[:12]
    readable = re.sub(r"[^A-Za-z0-9_-]+", "_", stem)[:40].strip("_") or "clip"
    return f"{readable}-{digest}"


def source_of(relative: str, pattern: re.Pattern[str] | None = None) -> str:
    """The video that a clip was cut from, as far as its name tells.

    Args:
        relative: path below the folder of the collection, with forward slashes.
        pattern: searched in the path; its first group (or all of it) names the source.

    Returns:
        A key; the same for all clips of one source video.
    """
    relative = unicodedata.normalize("NFC", relative)
    if pattern is not None and (found := pattern.search(relative)):
        return f"pattern:{found[1] if pattern.groups else found[0]}"
    path = PurePosixPath(relative)
    if found := YOUTUBE.fullmatch(path.stem):
        return f"youtube:{found[1]}"
    folder = "" if path.parent == PurePosixPath() else path.parent.as_posix()
    whole = SEGMENT.sub("", path.stem)
    if not whole:
        return folder or path.stem
    return f"{folder}/{whole}"


def split_of(source: str, share: float, seed: int) -> str:
    """The side of a source video, from a hash: independent of all other videos and of their order.

    Args:
        source: answer of `source_of`.
        share: part of the sources that is held out, 0 to 1.
        seed: another seed draws others.

    Returns:
        "train" or "heldout".
    """
    digest = hashlib.sha256(f"{seed}:{source}".encode("utf-8", "surrogateescape")).digest()
    return "heldout" if int.from_bytes(digest[:8], "big") < share * 2**64 else "train"


@dataclass(frozen=True, kw_only=True)
class Splitting:
    """How sides are chosen."""

    heldout: float = 0.0
    """Share of the source videos that is held out."""
    seed: int = 0
    """Another seed draws others."""
    pattern: re.Pattern[str] | None = None
    """Names the source video, see `source_of`."""

    def side(self, relative: str) -> str:
        """The side of a clip.

        Args:
            relative: its path below the folder of the collection.

        Returns:
            "train" or "heldout".
        """
        return split_of(source_of(relative, self.pattern), self.heldout, self.seed)
