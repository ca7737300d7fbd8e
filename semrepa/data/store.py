"""The feature store: what the frozen networks say about each clip, computed once, one file per clip.

A record exists only when it is finished, so a stopped run goes on where it was and several workers need not
talk to each other. A fingerprint of everything that changes the numbers guards the folder.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from semrepa.data.index import SAFE_ID
from semrepa.runtime import write_json

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
            fingerprint: JSON values by name; None opens an existing store as it is.

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

    def _path(self, clip_id: str) -> Path:
        if not SAFE_ID.fullmatch(clip_id):
            raise ValueError(
                f"got clip id {clip_id!r}; expected letters, digits, '.', '_' and '-'; rename it in the index"
            )
        return self.folder / hashlib.sha256(clip_id.encode()).hexdigest()[:2] / f"{clip_id}.safetensors"

    def has(self, clip_id: str, source: str | None = None) -> bool:
        """Whether the clip's record is there.

        Args:
            clip_id: name of the clip.
            source: what the record must have been made from, as given to `write`; None: anything.

        Returns:
            True when there is such a record.
        """
        path = self._path(clip_id)
        if not path.is_file() or source is None:
            return path.is_file()
        with safe_open(path, framework="pt") as file:
            return (file.metadata() or {}).get("source") == source

    def ids(self) -> list[str]:
        """Names of all clips with a record, sorted."""
        return sorted(path.stem for path in self.folder.glob("[0-9a-f][0-9a-f]/[!.]*.safetensors"))

    def write(self, clip_id: str, tensors: Record, source: str = "") -> None:
        """Keep a clip's record, whole or not at all; replaces an older one.

        Args:
            clip_id: name of the clip.
            tensors: its features by name.
            source: stands for what the record was made from, such as a hash of the clip's row.
        """
        path = self._path(clip_id)
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f".{path.name}.{os.getpid()}")
        whole = {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}
        save_file(whole, unfinished, metadata={"source": source})
        unfinished.replace(path)

    def read(self, clip_id: str) -> Record:
        """A clip's record.

        Args:
            clip_id: name of the clip.

        Returns:
            Its features by name, on the CPU.

        Raises:
            KeyError: when there is no record of that name.
        """
        path = self._path(clip_id)
        if not path.is_file():
            known = f"one of the {len(self.ids())} in {self.folder}"
            raise KeyError(f"got clip id {clip_id!r}; expected {known}; run prepare")
        record = load_file(path)
        if self._padding is not None:
            own = record["prompt_embeds"]
            record["prompt_embeds"] = torch.cat([own, self._padding[len(own) :]])
        return record

    def set_padding(self, padding: Float[Tensor, "l e"]) -> None:
        """Say which text features follow those of a caption, in records that hold the caption's own only.

        Args:
            padding: features of all tokens of an empty caption.
        """
        save_file({"padding": padding.contiguous()}, self.folder / "padding.safetensors")
        self.__dict__.pop("_padding", None)

    @cached_property
    def _padding(self) -> Tensor | None:
        file = self.folder / "padding.safetensors"
        return load_file(file)["padding"] if file.is_file() else None

    def reject(self, reject: Reject) -> None:
        """Note a clip that is left out, in `rejects.jsonl`; an older record of it goes."""
        self._path(reject.id).unlink(missing_ok=True)
        if self.rejects().get(reject.id) == reject:
            return
        with (self.folder / "rejects.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(reject), ensure_ascii=False) + "\n")

    def rejects(self) -> dict[str, Reject]:
        """The latest reject of each clip that has no record."""
        file = self.folder / "rejects.jsonl"
        lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
        noted = {reject.id: reject for line in lines for reject in [Reject(**json.loads(line))]}
        return {clip_id: reject for clip_id, reject in noted.items() if not self.has(clip_id)}


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
