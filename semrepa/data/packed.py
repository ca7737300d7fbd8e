"""Packed stores: records in tar shards, read by offset like single files, or as a stream."""

import io
import json
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from semrepa.data.records import Origin, Record, Written, from_bytes, origin_in
from semrepa.data.rejects import Reject
from semrepa.data.store import FeatureStore

INDEX = "index.jsonl"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a packed record lies: a line of the index."""

    key: str
    """Name of the clip as WebDataset sees it."""
    shard: str
    """File name of the tar."""
    offset: int
    """First byte of the record in it."""
    size: int
    """Bytes of the record."""
    sha256: str
    """Checksum of the record, hexadecimal."""


def open_for_reading(folder: str | Path) -> FeatureStore:
    """Open a store to read from it, whether its records are packed or single files.

    Args:
        folder: its folder.

    Returns:
        The store.
    """
    return PackedStore(folder) if (Path(folder) / INDEX).is_file() else FeatureStore(folder)


class PackedStore(FeatureStore):
    """A packed store, read like one of single files; it cannot be written to.

    Attributes:
        places: where each record lies, by clip id.
    """

    def __init__(self, folder: str | Path) -> None:
        """Open a packed store.

        Args:
            folder: its folder.

        Raises:
            FileNotFoundError: there is none, or it has not been packed to its end.
        """
        super().__init__(folder)
        if not (self.folder / INDEX).is_file():
            raise FileNotFoundError(
                f"got {self.folder} without {INDEX}; expected a packed store; run python -m semrepa.data pack"
            )
        places = read_places(self.folder / INDEX)
        self.places = {unquote(place.key): place for place in places}

    def has(self, clip_id: str, source: str | None = None) -> bool:
        """Whether the clip's record is there, and made from `source` where that is given."""
        if clip_id not in self.places or source is None:
            return clip_id in self.places
        place = self.places[clip_id]
        length = int.from_bytes(self._bytes(place, 8), "little")
        return self._fits(origin_in(self._bytes(place, 8 + length)), clip_id, source)

    def ids(self) -> list[str]:
        """Names of all packed clips, sorted."""
        return sorted(self.places)

    def shards(self) -> list[str]:
        """File names of the shards, in the order they were written."""
        return sorted({place.shard for place in self.places.values()})

    def read_bytes(self, clip_id: str) -> bytes:
        """The bytes of a clip's record; a KeyError when there is none."""
        if clip_id not in self.places:
            raise KeyError(self._unknown(clip_id))
        place = self.places[clip_id]
        return self._bytes(place, place.size)

    def _bytes(self, place: Place, size: int) -> bytes:
        # Nothing stays open: the store may be copied to other processes.
        with (self.folder / place.shard).open("rb", buffering=0) as file:
            file.seek(place.offset)
            return file.read(size)

    def _load(self, clip_id: str) -> tuple[Record, Origin | None]:
        return from_bytes(self.read_bytes(clip_id))

    def read_shard(self, shard: str) -> Iterator[tuple[str, Record]]:
        """The records of one shard from its first byte to its last.

        Args:
            shard: one of `shards()`.

        Yields:
            Clip id and record, as `read` gives it.
        """
        with tarfile.open(self.folder / shard, "r|") as tar:
            for member in tar:
                key, _, kind = member.name.partition(".")
                content = tar.extractfile(member) if kind == "safetensors" else None
                if content is not None:
                    yield unquote(key), self._opened(unquote(key), *from_bytes(content.read()))

    def path(self, clip_id: str) -> Path:
        """The shard that holds a clip; a KeyError when none does."""
        if clip_id not in self.places:
            raise KeyError(self._unknown(clip_id))
        return self.folder / self.places[clip_id].shard

    def write_bytes(self, clip_id: str, data: bytes) -> Written:
        """Refused: always an error."""
        raise self._read_only(f"{len(data)} bytes of {clip_id!r}")

    def set_padding(self, padding: Float[Tensor, "l e"]) -> None:
        """Refused: always an error."""
        raise self._read_only(f"padding of {len(padding)} tokens")

    def reject(self, reject: Reject) -> None:
        """Refused: always an error."""
        raise self._read_only(f"a reject of {reject.id!r}")

    def _read_only(self, what: str) -> io.UnsupportedOperation:
        message = (
            f"got {what} for packed store {self.folder}; expected a store of single files; unpack it first"
        )
        return io.UnsupportedOperation(message)


class ShardStream(torch.utils.data.IterableDataset[tuple[str, Record]]):
    """One pass over a packed store, shard after shard; each process and loader worker has its own.

    Shards come in an order that depends on the seed and the pass only, their records in that of the file.
    Some processes get one shard more than others, so they do not end at the same step.
    """

    def __init__(
        self, store: PackedStore, *, seed: int = 0, epoch: int = 0, rank: int = 0, world: int = 1
    ) -> None:
        """Choose a share.

        Args:
            store: the packed store.
            seed: fixes the order of shards.
            epoch: number of the pass, from 0.
            rank: number of this process, from 0.
            world: processes in all.

        Raises:
            ValueError: `rank` is not below `world`.
        """
        if not 0 <= rank < world:
            raise ValueError(f"got rank={rank} of world={world}; expected 0 to {world - 1}")
        self.store, self._seeds, self._share = store, [seed, epoch], (rank, world)

    def __iter__(self) -> Iterator[tuple[str, Record]]:
        """Clip id and record, one after the other."""
        worker = torch.utils.data.get_worker_info()
        number, workers = (worker.id, worker.num_workers) if worker else (0, 1)
        rank, world = self._share
        shards = self.store.shards()
        order = np.random.default_rng(self._seeds).permutation(len(shards))
        for index in order[rank * workers + number :: world * workers]:
            yield from self.store.read_shard(shards[index])


def read_places(path: Path) -> list[Place]:
    """The lines of an index."""
    with path.open(encoding="utf-8") as file:
        places = [Place(**json.loads(line)) for line in file]
    # One name for all records of a shard instead of one each.
    return [replace(place, shard=sys.intern(place.shard)) for place in places]
