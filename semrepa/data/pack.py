"""Records into tar shards, for object storage and for moving, and back: the same bytes.

A shard holds `<key>.safetensors` and `<key>.json` for each clip, as WebDataset names them; an index says
where the bytes of each record lie. A key is the clip's id with "%2E" for ".", which would end a key.
"""

import io
import json
import os
import tarfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from safetensors import SafetensorError

from semrepa.data.manifest import copy_manifest, read_rows
from semrepa.data.packed import INDEX, PackedStore, Place, read_places
from semrepa.data.records import Origin, from_bytes, is_whole, measured, misplaced
from semrepa.data.rejects import TOGETHER, Notes
from semrepa.data.store import PADDING, FeatureStore, mend
from semrepa.files import whole_file, write_whole


def pack(store: FeatureStore, out_dir: str | Path, clips_per_shard: int = 256) -> PackedStore:
    """Pack all records of a store, or those that have come since it was packed.

    A shard is complete or not there, so a stopped run goes on at the shard where it was. A shard with a
    record that has changed or gone since is deleted in the end, and its other records are packed anew. One
    process may pack into a folder at a time.

    Args:
        store: records as single files.
        out_dir: folder for shards, index, fingerprint, rejects and manifest.
        clips_per_shard: records in a shard; 256 full-size ones take 1.7 GB.

    Returns:
        The packed store.

    Raises:
        ValueError: the folder holds records made with other settings, a record is damaged, or
            `clips_per_shard` is not positive.
    """
    if clips_per_shard < 1:
        raise ValueError(f"got clips_per_shard={clips_per_shard}; expected 1 or more; take 256")
    out = FeatureStore(out_dir, store.fingerprint).folder
    kept = {name: places for name, places in _finished(out).items() if _is_current(store, out / name, places)}
    packed = {unquote(place.key) for places in kept.values() for place in places}
    todo = [clip_id for clip_id in store.ids() if clip_id not in packed]
    rows = read_rows(store.folder) if todo else {}
    number = _next_number(out)
    for first in range(0, len(todo), clips_per_shard):
        name = f"shard-{number:06d}.tar"
        kept[name] = _write_shard(store, out, name, todo[first : first + clips_per_shard], rows)
        number += 1
    _copy_the_rest(store, out)
    write_whole(out / INDEX, _lines([place for name in sorted(kept) for place in kept[name]]), room=out)
    for stale in [path for path in out.glob("shard-*") if path.with_suffix(".tar").name not in kept]:
        stale.unlink()
    return PackedStore(out)


def unpack(packed: PackedStore, folder: str | Path) -> FeatureStore:
    """Make single files of all packed records; those that are there already are left alone.

    Args:
        packed: the packed store.
        folder: of the new store.

    Returns:
        The store; its records have the bytes of those that were packed.

    Raises:
        ValueError: a packed record is damaged, or the folder holds records made with other settings.
    """
    store = FeatureStore(folder, packed.fingerprint)
    for clip_id in packed.ids():
        if not store.has(clip_id):
            data = packed.read_bytes(clip_id)
            if measured(data).checksum != packed.places[clip_id].sha256:
                raise ValueError(
                    f"got {clip_id!r} in {packed.places[clip_id].shard} with another checksum than in the "
                    f"index; expected the same; copy the shard again"
                )
            store.write_bytes(clip_id, data)
    _copy_the_rest(packed, store.folder)
    return store


def _copy_the_rest(store: FeatureStore, to: Path) -> None:
    """What belongs to a store besides its records: padding of texts, rejects, manifest."""
    if (store.folder / PADDING).is_file():
        write_whole(to / PADDING, (store.folder / PADDING).read_bytes(), room=to)
    if notes := Notes(store.folder, to).together():
        write_whole(to / TOGETHER, notes, room=to)
    copy_manifest(store.folder, to)


def _finished(out: Path) -> dict[str, list[Place]]:
    """Shards that were written to their end, with what they hold."""
    indices = {path.with_suffix(".tar"): path for path in sorted(out.glob("shard-*.jsonl"))}
    return {tar.name: read_places(index) for tar, index in indices.items() if tar.is_file()}


def _next_number(out: Path) -> int:
    """The first number that no finished shard has."""
    return max((int(name[6:12]) for name in _finished(out)), default=-1) + 1


def _is_current(store: FeatureStore, shard: Path, places: Sequence[Place]) -> bool:
    """Whether every record in a shard is still the one in the store."""
    packed_at = shard.stat().st_mtime_ns
    for place in places:
        clip_id = unquote(place.key)
        if not store.has(clip_id):
            return False
        facts = store.path(clip_id).stat()
        if facts.st_size != place.size:
            return False
        if facts.st_mtime_ns >= packed_at and measured(store.read_bytes(clip_id)).checksum != place.sha256:
            return False
    return True


def _write_shard(
    store: FeatureStore, out: Path, name: str, ids: Sequence[str], rows: Mapping[str, Mapping[str, Any]]
) -> list[Place]:
    """Write one shard, then its index, each whole or not at all."""
    places, began = [], time.time_ns()
    with whole_file(out / name, room=out) as growing:
        with tarfile.open(growing, mode="w") as tar:
            for clip_id in ids:
                places.append(_add_clip(tar, name, store, clip_id, rows.get(clip_id)))
        # The time of the oldest record that can be in it, with a second for clocks of little precision.
        os.utime(growing, ns=(began, began - 10**9))
    write_whole((out / name).with_suffix(".jsonl"), _lines(places), room=out)
    return places


def _add_clip(
    tar: tarfile.TarFile, shard: str, store: FeatureStore, clip_id: str, row: Mapping[str, Any] | None
) -> Place:
    """Add a record and what is known about it to a tar; says where the record lies."""
    data, origin = _checked_bytes(store, clip_id)
    key = clip_id.replace(".", "%2E")
    offset = _add_file(tar, f"{key}.safetensors", data)
    about = {"id": clip_id, "source": origin.source, "manifest": row}
    _add_file(tar, f"{key}.json", json.dumps(about, ensure_ascii=False).encode())
    return Place(key, shard, offset, len(data), measured(data).checksum)


def _checked_bytes(store: FeatureStore, clip_id: str) -> tuple[bytes, Origin]:
    """Bytes of a record and what it says about itself; a ValueError when it is damaged or misplaced."""
    data = store.read_bytes(clip_id)
    try:
        _, origin = from_bytes(data)
        problem = misplaced(origin, clip_id, store.fingerprint)
        if origin is not None and problem is None and is_whole(data):
            return data, origin
    except SafetensorError as error:
        problem = str(error)
    raise ValueError(
        f"got a damaged record of {clip_id!r} in {store.folder} ({problem or 'its checksum is wrong'}); "
        f"expected a whole one of this store; {mend(store.folder)}"
    )


def _add_file(tar: tarfile.TarFile, name: str, data: bytes) -> int:
    """Add a file with nothing of this machine or moment in its header; the offset of its first byte."""
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(data), 0o644
    tar.addfile(member, io.BytesIO(data))
    return tar.offset - -(-len(data) // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE


def _lines(places: Sequence[Place]) -> bytes:
    return "".join(json.dumps(asdict(place)) + "\n" for place in places).encode()
