"""The file of one record: tensors, and what it says about itself: whose it is, from what and how it was made.

Found alone, a file can be told from any other one, and be checked, since its own checksum is in it.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load, save

Record = dict[str, torch.Tensor]
"""latents, depth_latents (f, c, h, w) float16; depth_range (2,) float32; first_frame (3, H, W) uint8;
prompt_embeds (l, e) float16; id_embeds (n, d) float16; face_mask (n,) bool; face_boxes (n, 4), face_scores,
face_sizes, face_cuts and face_yaws (n,) float32 as in `FaceTrack`; person_box (5,) float32: left, top, right,
bottom and score in the first frame that shows the person; and as in `VideoClip` content (4,) int32 and
timestamps (n,) float32."""

ENTRY = "semrepa"
"""The one entry of the file's metadata; safetensors writes several in an order that changes."""
_BLANK = b"0" * 64
_BEFORE = f'{{"__metadata__":{{"{ENTRY}":"{{\\"checksum\\":\\"'.encode()
_DIGITS = slice(8 + len(_BEFORE), 8 + len(_BEFORE) + len(_BLANK))
"""Where the checksum lies in the file, behind the length of the header."""


@dataclass(frozen=True)
class Origin:
    """What a record says about itself."""

    id: str
    """Name of the clip."""
    source: str
    """What it was made from, such as a hash of the clip's row."""
    fingerprint: Mapping[str, Any]
    """Everything that changes its numbers, as in its store."""


@dataclass(frozen=True)
class Written:
    """What a record's file holds, to be checked later."""

    bytes: int
    """Its size."""
    checksum: str
    """SHA-256 of its bytes, hexadecimal."""


def measured(data: bytes) -> Written:
    """Size and checksum of the bytes of a record's file."""
    return Written(len(data), hashlib.sha256(data).hexdigest())


def to_bytes(record: Record, origin: Origin) -> bytes:
    """The file of a record. The same record and origin give the same bytes.

    Args:
        record: features by name.
        origin: what the file says about itself.

    Returns:
        A whole safetensors file.

    Raises:
        RuntimeError: this version of safetensors puts something else first.
    """
    whole = {name: tensor.cpu().contiguous() for name, tensor in record.items()}
    rest = json.dumps(asdict(origin), sort_keys=True, separators=(",", ":"))
    data = bytearray(save(whole, metadata={ENTRY: f'{{"checksum":"{_BLANK.decode()}",{rest[1:]}'}))
    if data[8 : _DIGITS.stop] != _BEFORE + _BLANK:
        raise RuntimeError(
            f"got a header {bytes(data[8:90])!r} from safetensors; expected its metadata first"
        )
    data[_DIGITS] = hashlib.sha256(data).hexdigest().encode()
    return bytes(data)


def is_whole(data: bytes) -> bool:
    """Whether the bytes of a record's file are those that were written.

    Args:
        data: the file.

    Returns:
        True when its own checksum fits.
    """
    found = hashlib.sha256(data[: _DIGITS.start] + _BLANK)
    found.update(memoryview(data)[_DIGITS.stop :])
    return data[8 : _DIGITS.start] == _BEFORE and data[_DIGITS] == found.hexdigest().encode()


def read_origin(path: Path) -> Origin | None:
    """What the file of a record says about itself.

    Args:
        path: the file.

    Returns:
        Its origin; None when it does not say.

    Raises:
        FileNotFoundError: there is no such file.
        SafetensorError: it is damaged.
    """
    with safe_open(path, framework="pt") as file:
        return _origin(file.metadata())


def origin_in(data: bytes) -> Origin | None:
    """What a record says about itself.

    Args:
        data: its file, or the beginning of it up to the end of the header.

    Returns:
        Its origin; None when it does not say.
    """
    length = int.from_bytes(data[:8], "little")
    return _origin(json.loads(data[8 : 8 + length]).get("__metadata__"))


def _origin(metadata: Mapping[str, str] | None) -> Origin | None:
    try:
        said = json.loads((metadata or {})[ENTRY])
        return Origin(id=said["id"], source=said["source"], fingerprint=said["fingerprint"])
    except (KeyError, ValueError, TypeError):
        return None


def read_file(path: Path) -> tuple[Record, Origin | None]:
    """Features and origin out of a file, as `from_bytes`; errors as in `read_origin`."""
    with safe_open(path, framework="pt") as file:
        return file.get_tensors(), _origin(file.metadata())


def from_bytes(data: bytes) -> tuple[Record, Origin | None]:
    """Features and origin out of the bytes of a file.

    Args:
        data: the file.

    Returns:
        Features by name, and as `origin_in`.

    Raises:
        SafetensorError: they are damaged.
    """
    record = load(data)
    return record, origin_in(data)


def misplaced(origin: Origin | None, clip_id: str, fingerprint: Mapping[str, Any]) -> str | None:
    """Why a record cannot be the one of this clip in a store of this fingerprint, with both values.

    Args:
        origin: what it says about itself.
        clip_id: name it lies under.
        fingerprint: of the store.

    Returns:
        What was got and expected; None when it is in its place.
    """
    if origin is None:
        return "does not say how it was made, as those of other versions of this library"
    if origin.id != clip_id:
        return f"says that it is of clip {origin.id!r}"
    if origin.fingerprint != fingerprint:
        return f"was made with other settings:{differences(fingerprint, origin.fingerprint, 'record')}"
    return None


def differences(kept: Mapping[str, Any], other: Mapping[str, Any], what: str) -> str:
    """A line for each name of a fingerprint whose value is not that of the store.

    Args:
        kept: fingerprint of the store.
        other: the other fingerprint.
        what: whose it is, such as "this run".

    Returns:
        Lines, each after a line break.
    """
    names = [name for name in sorted({**kept, **other}) if kept.get(name) != other.get(name)]
    return "".join(f"\n  {name}: store {kept.get(name)!r}, {what} {other.get(name)!r}" for name in names)
