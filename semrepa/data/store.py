"""The feature store: what the frozen networks say about each clip, computed once, one file per clip.

A record exists only when it is finished, so a stopped run goes on where it was and several workers need not
talk to each other. A fingerprint of everything that changes the numbers guards the folder.
"""

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor

from semrepa.data.files import append_line, clear_unfinished, whole_lines, write_whole
from semrepa.data.index import SAFE_ID
from semrepa.runtime import write_json

log = logging.getLogger(__name__)

Record = dict[str, Tensor]
"""latents, depth_latents (f, c, h, w) float16; depth_range (2,) float32; first_frame (3, H, W) uint8;
prompt_embeds (l, e) float16; id_embeds (n, d) float16; face_mask (n,) bool; face_boxes (n, 4), face_scores,
face_sizes, face_cuts and face_yaws (n,) float32 as in `FaceTrack`; person_box (5,) float32: left, top, right,
bottom and score in the first frame that shows the person; and as in `VideoClip` content (4,) int32 and
timestamps (n,) float32."""


@dataclass(frozen=True)
class Reject:
    """A clip that was left out, and why."""

    id: str
    """Name of the clip."""
    reason: str
    """One word that can be counted, such as "too_short"."""
    message: str
    """What was got, expected, and what to do."""
    source: str = ""
    """What the clip was then, as given to `write`; while that stays, there is no use in trying again."""


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


class FeatureStore:
    """A folder of records with the fingerprint of how they were made.

    Attributes:
        folder: where the records lie.
        fingerprint: everything that changes their numbers.
    """

    def __init__(self, folder: str | Path, fingerprint: Mapping[str, Any] | None = None) -> None:
        """Open a store, or begin one.

        Args:
            folder: its folder.
            fingerprint: JSON values by name, to write records; what dead processes left unfinished goes.
                None opens an existing store as it is.

        Raises:
            FileNotFoundError: when no fingerprint is given and there is no store.
            ValueError: when the store was made differently; names each difference with both values.
        """
        self.folder = Path(folder)
        file = self.folder / "fingerprint.json"
        kept: Any = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None
        if fingerprint is None and kept is None:
            raise FileNotFoundError(
                f"got {self.folder}, which holds no feature store; expected one; run prepare first"
            )
        wanted = kept if fingerprint is None else json.loads(json.dumps(fingerprint))
        if kept is None:
            write_json(file, wanted)
        elif kept != wanted:
            raise ValueError(_difference(self.folder, kept, wanted))
        self.fingerprint: dict[str, Any] = wanted
        self._noted: dict[str, Reject] = {}
        self._rejects_end = 0
        if fingerprint is not None:
            clear_unfinished(self.folder)

    def path(self, clip_id: str) -> Path:
        """Where a clip's record lies, or would.

        Args:
            clip_id: name of the clip.

        Returns:
            Its file.

        Raises:
            ValueError: that is no name of a clip.
        """
        if not SAFE_ID.fullmatch(clip_id):
            raise ValueError(
                f"got clip id {clip_id!r}; expected letters, digits, '.', '_' and '-'; rename it in the index"
            )
        return self.folder / _folder_name(clip_id) / f"{clip_id}.safetensors"

    def has(self, clip_id: str, source: str | None = None) -> bool:
        """Whether the clip's record is there.

        Args:
            clip_id: name of the clip.
            source: what the record must have been made from, as given to `write`; None: anything.

        Returns:
            True when there is such a record.
        """
        path = self.path(clip_id)
        if not path.is_file() or source is None:
            return path.is_file()
        try:
            with safe_open(path, framework="pt") as file:
                return (file.metadata() or {}).get("source") == source
        except (SafetensorError, OSError) as error:
            log.warning("damaged record %s (%s); it will be made again", path, error)
            return False

    def ids(self) -> list[str]:
        """Names of all clips with a record, sorted."""
        paths = self.folder.glob("[0-9a-f][0-9a-f]/[!.]*.safetensors")
        return sorted(path.stem for path in paths if self._is_own(path))

    def _is_own(self, path: Path) -> bool:
        """Whether a file lies where this store would put a clip of that name."""
        return bool(SAFE_ID.fullmatch(path.stem)) and path.parent.name == _folder_name(path.stem)

    def write(self, clip_id: str, tensors: Record, source: str = "") -> Written:
        """Keep a clip's record, whole or not at all; replaces an older one.

        Args:
            clip_id: name of the clip.
            tensors: its features by name.
            source: stands for what the record was made from, such as a hash of the clip's row.

        Returns:
            Size and checksum of its file. The same record gives the same bytes.
        """
        whole = {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}
        # One entry only: safetensors writes several in an order that changes from process to process.
        return self.write_bytes(clip_id, save(whole, metadata={"source": source}))

    def write_bytes(self, clip_id: str, data: bytes) -> Written:
        """Keep the bytes of a record's file, as `read_bytes` gave them.

        Args:
            clip_id: name of the clip.
            data: a whole safetensors file.

        Returns:
            Size and checksum.
        """
        write_whole(self.path(clip_id), data, self.folder)
        return measured(data)

    def read(self, clip_id: str) -> Record:
        """A clip's record.

        Args:
            clip_id: name of the clip.

        Returns:
            Its features by name, on the CPU.

        Raises:
            KeyError: when there is no record of that name.
            ValueError: when its file is damaged.
        """
        try:
            record = self._load(clip_id)
        except FileNotFoundError as error:
            raise KeyError(self._unknown(clip_id)) from error
        except SafetensorError as error:
            raise ValueError(
                f"got a damaged record of {clip_id!r} in {self.folder} ({error}); expected a whole file; "
                f"run python -m semrepa.data verify {self.folder} --delete, then prepare"
            ) from error
        return self._padded(record)

    def _padded(self, record: Record) -> Record:
        if self._padding is not None:
            own = record["prompt_embeds"]
            record["prompt_embeds"] = torch.cat([own, self._padding[len(own) :]])
        return record

    def _load(self, clip_id: str) -> Record:
        return load_file(self.path(clip_id))

    def _unknown(self, clip_id: str) -> str:
        return f"got clip id {clip_id!r}; expected one of the {len(self.ids())} in {self.folder}; run prepare"

    def read_bytes(self, clip_id: str) -> bytes:
        """The file of a clip's record as it is.

        Args:
            clip_id: name of the clip.

        Returns:
            Its bytes.

        Raises:
            KeyError: when there is no record of that name.
        """
        try:
            return self.path(clip_id).read_bytes()
        except FileNotFoundError as error:
            raise KeyError(self._unknown(clip_id)) from error

    def set_padding(self, padding: Float[Tensor, "l e"]) -> None:
        """Say which text features follow those of a caption, in records that hold the caption's own only.

        Args:
            padding: features of all tokens of an empty caption.
        """
        write_whole(self.folder / "padding.safetensors", save({"padding": padding.contiguous()}))
        self.__dict__.pop("_padding", None)

    @cached_property
    def _padding(self) -> Tensor | None:
        file = self.folder / "padding.safetensors"
        return load_file(file)["padding"] if file.is_file() else None

    def reject(self, reject: Reject) -> None:
        """Note a clip that is left out, in `rejects.jsonl`; an older record of it goes."""
        self.path(reject.id).unlink(missing_ok=True)
        if self._latest_notes().get(reject.id) != reject:
            append_line(self.folder / "rejects.jsonl", json.dumps(asdict(reject), ensure_ascii=False))

    def rejects(self) -> dict[str, Reject]:
        """The latest reject of each clip that has no record."""
        noted = self._latest_notes().items()
        return {clip_id: reject for clip_id, reject in noted if not self.has(clip_id)}

    def _latest_notes(self) -> dict[str, Reject]:
        """The last line on each clip in `rejects.jsonl`; what was read before is not read again."""
        file = self.folder / "rejects.jsonl"
        lines, self._rejects_end = whole_lines(file, self._rejects_end)
        for line in filter(None, lines):
            try:
                reject = Reject(**json.loads(line))
            except (ValueError, TypeError):
                log.warning("a line of %s is torn, so that its clip will be tried again: %s", file, line[:80])
                continue
            self._noted[reject.id] = reject
        return self._noted


def _folder_name(clip_id: str) -> str:
    """Two hexadecimal digits that spread clips evenly over 256 folders."""
    return hashlib.sha256(clip_id.encode()).hexdigest()[:2]


def fingerprint_hash(fingerprint: Mapping[str, Any]) -> str:
    """Twelve hexadecimal digits that stand for a fingerprint, for folder names."""
    return hashlib.sha256(json.dumps(fingerprint, sort_keys=True).encode()).hexdigest()[:12]


def _difference(folder: Path, kept: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    names = [name for name in sorted({**kept, **wanted}) if kept.get(name) != wanted.get(name)]
    lines = "".join(f"\n  {name}: store {kept.get(name)!r}, this run {wanted.get(name)!r}" for name in names)
    return (
        f"got feature store {folder}, made with other settings; expected the same, so that numbers fit; "
        f"set data.store to another folder, or go back to its settings:{lines}"
    )
