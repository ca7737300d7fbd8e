"""The feature store: what the frozen networks say about each clip, computed once, one file per clip.

A record exists only when it is finished, so a stopped run goes on where it was and several workers need not
talk to each other. A fingerprint of everything that changes the numbers guards the folder.
"""

import hashlib
import json
import logging
import os
import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from semrepa.data.index import SAFE_ID
from semrepa.data.records import (
    Origin,
    Record,
    Written,
    differences,
    is_whole,
    measured,
    misplaced,
    read_file,
    read_origin,
    to_bytes,
)
from semrepa.data.rejects import Notes, Reject
from semrepa.files import clear_unfinished, write_whole
from semrepa.runtime import write_json

log = logging.getLogger(__name__)

PADDING = "padding.safetensors"
"""Text features behind those of a caption, for records that hold the caption's own only."""
LIMITS = "policy.json"
"""Limits for which clips were left out by the last run that filled the store."""
BEGUN = "begun"
"""Folder with a small file for each clip that a worker has begun and not let go."""
_PLACE = re.compile("[0-9a-f]{2}")


class FeatureStore:
    """A folder of records with the fingerprint of how they were made.

    Attributes:
        folder: where the records lie.
        fingerprint: everything that changes their numbers; each record says it too.
        notes: on clips that were left out.
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
        self.notes = Notes(self.folder)
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
            origin = read_origin(path)
        except (SafetensorError, OSError) as error:
            log.warning("damaged record %s (%s); it will be made again", path, error)
            return False
        return self._fits(origin, clip_id, source)

    def _fits(self, origin: Origin | None, clip_id: str, source: str) -> bool:
        """Whether a record is what this store would make from a source."""
        if problem := misplaced(origin, clip_id, self.fingerprint):
            log.warning("record of %r in %s %s; it will be made again", clip_id, self.folder, problem)
        return problem is None and origin is not None and origin.source == source

    def ids(self) -> list[str]:
        """Names of all clips with a record, sorted."""
        found = []
        for folder in _folders(self.folder):
            with os.scandir(folder) as entries:
                names = [entry.name.removesuffix(".safetensors") for entry in entries if _is_record(entry)]
            found += [name for name in names if SAFE_ID.fullmatch(name) and _folder_name(name) == folder.name]
        return sorted(found)

    def write(self, clip_id: str, tensors: Record, source: str = "") -> Written:
        """Keep a clip's record, whole or not at all; replaces an older one.

        Args:
            clip_id: name of the clip.
            tensors: its features by name.
            source: stands for what the record was made from, such as a hash of the clip's row.

        Returns:
            Size and checksum of its file. The same record gives the same bytes.
        """
        return self.write_bytes(clip_id, to_bytes(tensors, Origin(clip_id, source, self.fingerprint)))

    def write_bytes(self, clip_id: str, data: bytes) -> Written:
        """Keep the bytes of a record's file, as `read_bytes` gave them.

        Args:
            clip_id: name of the clip.
            data: a whole safetensors file.

        Returns:
            Size and checksum.
        """
        write_whole(self.path(clip_id), data, room=self.folder)
        return measured(data)

    def read(self, clip_id: str) -> Record:
        """A clip's record.

        Args:
            clip_id: name of the clip.

        Returns:
            Its features by name, on the CPU.

        Raises:
            KeyError: when there is no record of that name.
            ValueError: when its file is damaged, or was made for another clip or with other settings; shows
                both values.
        """
        try:
            record, origin = self._load(clip_id)
        except FileNotFoundError as error:
            raise KeyError(self._unknown(clip_id)) from error
        except SafetensorError as error:
            raise ValueError(
                f"got a damaged record of {clip_id!r} in {self.folder} ({error}); expected a whole file; "
                f"{mend(self.folder)}"
            ) from error
        return self._opened(clip_id, record, origin)

    def _opened(self, clip_id: str, record: Record, origin: Origin | None) -> Record:
        """A record whose origin fits, with the text features of padding; a ValueError when it does not."""
        if problem := misplaced(origin, clip_id, self.fingerprint):
            raise ValueError(
                f"got a record of {clip_id!r} in {self.folder} that {problem}\nexpected one that was made "
                f"for this store; {mend(self.folder)}"
            )
        if self._padding is not None:
            own = record["prompt_embeds"]
            record["prompt_embeds"] = torch.cat([own, self._padding[len(own) :]])
        return record

    def _load(self, clip_id: str) -> tuple[Record, Origin | None]:
        return read_file(self.path(clip_id))

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

    def measure(self, clip_id: str) -> Written:
        """Size and checksum of the file of a clip's record.

        Args:
            clip_id: name of the clip.

        Returns:
            As `write` has returned it.

        Raises:
            KeyError: when there is no record of that name.
            ValueError: when its file is damaged.
        """
        data = self.read_bytes(clip_id)
        if not is_whole(data):
            raise ValueError(
                f"got a damaged record of {clip_id!r} in {self.folder} (its own checksum is another one); "
                f"expected a whole file; {mend(self.folder)}"
            )
        return measured(data)

    def set_padding(self, padding: Float[Tensor, "l e"]) -> None:
        """Say which text features follow those of a caption, in records that hold the caption's own only.

        Args:
            padding: features of all tokens of an empty caption.
        """
        data = save({"padding": padding.contiguous()})
        write_whole(self.folder / PADDING, data, room=self.folder)
        self.__dict__.pop("_padding", None)

    @cached_property
    def _padding(self) -> Tensor | None:
        file = self.folder / PADDING
        return load_file(file)["padding"] if file.is_file() else None

    def reject(self, reject: Reject) -> None:
        """Note a clip that is left out; an older record of it goes."""
        self.path(reject.id).unlink(missing_ok=True)
        self.notes.add(reject)

    def rejects(self) -> dict[str, Reject]:
        """The latest reject of each clip that has no record."""
        noted = self.notes.newest().items()
        return {clip_id: reject for clip_id, reject in noted if not self.has(clip_id)}


def _folders(folder: Path) -> list[Path]:
    """Folders of records in a store that are there."""
    with os.scandir(folder) as entries:
        return sorted(folder / entry.name for entry in entries if _PLACE.fullmatch(entry.name))


def _is_record(entry: os.DirEntry[str]) -> bool:
    return entry.name.endswith(".safetensors") and not entry.name.startswith(".")


def _folder_name(clip_id: str) -> str:
    """Two hexadecimal digits that spread clips evenly over 256 folders."""
    return hashlib.sha256(clip_id.encode()).hexdigest()[:2]


def mend(folder: Path) -> str:
    """What to do about a record that cannot be used."""
    return f"run python -m semrepa.data verify {folder} --delete, then prepare"


def fingerprint_hash(fingerprint: Mapping[str, Any]) -> str:
    """Twelve hexadecimal digits that stand for a fingerprint, for folder names."""
    return hashlib.sha256(json.dumps(fingerprint, sort_keys=True).encode()).hexdigest()[:12]


def _difference(folder: Path, kept: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    lines = differences(kept, wanted, "this run")
    return (
        f"got feature store {folder}, made with other settings; expected the same, so that numbers fit; "
        f"set data.store to another folder, or go back to its settings:{lines}"
    )
