"""Packed stores: the same bytes in tars, by offset, as a stream, and back."""

import io
import json
import re
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load

from semrepa.data import pack as packing
from semrepa.data.dataset import StoreDataset
from semrepa.data.manifest import ManifestWriter, read_rows
from semrepa.data.pack import pack, unpack
from semrepa.data.packed import PackedStore, ShardStream, open_for_reading, read_places
from semrepa.data.store import FeatureStore, Reject
from semrepa.files import UNFINISHED
from tests.data.test_store import FINGERPRINT, record

# How WebDataset takes a name apart (webdataset/tariterators.py, `base_plus_ext`).
WEBDATASET_NAME = re.compile(r"^((?:.*/|)[^.]+)[.]([^/]*)$")


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    """Clips c0 to c5 and one with dots, rows for some, and a reject."""
    store = FeatureStore(tmp_path / "store", FINGERPRINT)
    with ManifestWriter(store.folder, "w") as writer:
        for number in range(6):
            facts = store.write(f"c{number}", record(number), f"source {number}")
            row = {"clip_id": f"c{number}", "status": "done", "caption": "ü", "checksum": facts.checksum}
            writer.append(row)
    store.write("v1.5.mp4", record(7), "dots")
    store.reject(Reject("bad", "too_short", "short"))
    return store


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_packed_records_are_the_same_bytes_and_read_alike(store: FeatureStore, tmp_path: Path) -> None:
    packed = pack(store, tmp_path / "packed", 3)
    assert packed.ids() == store.ids() and packed.fingerprint == FINGERPRINT
    assert packed.shards() == [f"shard-00000{number}.tar" for number in range(3)]
    for clip_id in store.ids():
        assert packed.read_bytes(clip_id) == store.read_bytes(clip_id)
        ours, theirs = packed.read(clip_id), store.read(clip_id)
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[name].nan_to_num(9), theirs[name].nan_to_num(9)) for name in ours)
    assert packed.has("c3") and packed.has("c3", "source 3") and not packed.has("c3", "source 4")
    assert not packed.has("c9") and packed.rejects() == store.rejects()
    assert read_rows(packed.folder) == read_rows(store.folder)
    for ask in (packed.read, packed.read_bytes, packed.path):
        with pytest.raises(KeyError, match="got clip id 'c9'; expected one of the 7"):
            ask("c9")


def test_tars_are_what_webdataset_expects(store: FeatureStore, tmp_path: Path) -> None:
    packed = pack(store, tmp_path / "packed", 3)
    places = {place.key: place for place in read_places(packed.folder / "index.jsonl")}
    seen: list[str] = []
    for shard in packed.shards():
        with tarfile.open(packed.folder / shard) as tar:
            for data, about in zip(*[iter(tar)] * 2, strict=True):
                parts = [WEBDATASET_NAME.fullmatch(member.name) for member in (data, about)]
                assert all(parts) and parts[0][1] == parts[1][1]
                assert (parts[0][2], parts[1][2]) == ("safetensors", "json")
                place = places[parts[0][1]]
                assert (place.shard, place.offset, place.size) == (shard, data.offset_data, data.size)
                told = json.load(tar.extractfile(about))
                assert tar.extractfile(data).read() == store.read_bytes(told["id"])
                assert (data.mtime, data.uid, data.uname) == (0, 0, "")
                seen.append(told["id"])
    assert seen == store.ids() and told == {"id": "v1.5.mp4", "source": "dots", "manifest": None}
    assert packing.PackedStore(packed.folder).places["c1"].sha256 == read_rows(store.folder)["c1"]["checksum"]


def test_training_data_is_the_same(store: FeatureStore, tmp_path: Path) -> None:
    packed = pack(store, tmp_path / "packed", 3)
    loose, tarred = (StoreDataset(one, store.ids()).batch([4, 0, 2]) for one in (store, packed))
    assert torch.equal(loose.latents, tarred.latents) and loose.ids == tarred.ids
    assert isinstance(open_for_reading(packed.folder), PackedStore)
    assert type(open_for_reading(store.folder)) is FeatureStore


def test_trimmed_text_is_filled_up(store: FeatureStore, tmp_path: Path) -> None:
    padding = torch.arange(5 * 6).reshape(5, 6).half()
    store.set_padding(padding)
    packed = pack(store, tmp_path / "packed")
    for text in (packed.read("c1")["prompt_embeds"], next(iter(ShardStream(packed)))[1]["prompt_embeds"]):
        assert text.shape == (5, 6) and torch.equal(text[3:], padding[3:]) and not text[:3].any()


def test_a_stopped_run_goes_on_and_ends_the_same(store: FeatureStore, tmp_path: Path, monkeypatch) -> None:
    whole = files(pack(store, tmp_path / "whole", 2).folder)
    write, out = packing._add_clip, tmp_path / "packed"

    def die(tar, shard, store, clip_id, row):
        if clip_id == "c3":
            raise KeyboardInterrupt
        return write(tar, shard, store, clip_id, row)

    with monkeypatch.context() as patch:
        patch.setattr(packing, "_add_clip", die)
        with pytest.raises(KeyboardInterrupt):
            pack(store, out, 2)
    assert [path.name for path in out.glob("*.tar")] == ["shard-000000.tar"]
    assert list((out / UNFINISHED).iterdir()) == []
    with pytest.raises(FileNotFoundError, match="packed store; run python -m semrepa.data pack"):
        PackedStore(out)
    (out / "shard-000001.tar").write_bytes(b"a tar whose index was never written")
    asked: list[str] = []
    monkeypatch.setattr(packing, "_add_clip", lambda *a: (asked.append(a[3]), write(*a))[1])
    pack(store, out, 2)
    assert asked == ["c2", "c3", "c4", "c5", "v1.5.mp4"] and files(out) == whole


def test_new_records_get_new_shards_and_changed_ones_are_packed_anew(
    store: FeatureStore, tmp_path: Path
) -> None:
    out = tmp_path / "packed"
    before = files(pack(store, out, 3).folder)
    store.write("c9", record(3))
    facts = store.write("c4", record(2), "source 4")
    with ManifestWriter(store.folder, "again") as writer:
        row = {"clip_id": "c4", "status": "done", "checksum": facts.checksum}
        writer.append(row)
    packed = pack(store, out, 3)
    assert packed.ids() == store.ids()
    assert all(packed.read_bytes(clip_id) == store.read_bytes(clip_id) for clip_id in store.ids())
    assert packed.shards() == [f"shard-00000{number}.tar" for number in (0, 2, 3, 4)]
    assert files(out)["shard-000000.tar"] == before["shard-000000.tar"] and "shard-000001.jsonl" not in files(
        out
    )
    store.reject(Reject("c0", "too_short", "short"))
    assert not pack(store, out, 3).has("c0")


def test_damaged_records_are_not_packed(store: FeatureStore, tmp_path: Path) -> None:
    good = store.read_bytes("c1")
    for data in (good[:-1], good[:-1] + bytes([good[-1] ^ 1])):
        store.path("c1").write_bytes(data)
        with pytest.raises(ValueError, match=r"damaged record of 'c1'.*verify .* --delete"):
            pack(store, tmp_path / "packed")
    other = FeatureStore(tmp_path / "foreign", {**FINGERPRINT, "vae": "other"})
    other.write("c1", record(1))
    store.path("c1").write_bytes(other.read_bytes("c1"))
    with pytest.raises(ValueError, match=r"damaged record of 'c1'.*other settings:\n  vae: store 'abc'"):
        pack(store, tmp_path / "packed")
    with pytest.raises(ValueError, match="got clips_per_shard=0"):
        pack(store, tmp_path / "packed", 0)
    with pytest.raises(ValueError, match=r"vae: store 'abc', this run 'other'"):
        pack(FeatureStore(tmp_path / "other", {**FINGERPRINT, "vae": "other"}), tmp_path / "packed")


def test_a_record_whose_row_is_older_is_packed(store: FeatureStore, tmp_path: Path) -> None:
    store.write("c1", record(2), "made again, killed before the row")
    packed = pack(store, tmp_path / "packed")
    assert packed.has("c1", "made again, killed before the row") and packed.measure("c1")


def test_shards_of_another_store_are_refused_with_both_values(store: FeatureStore, tmp_path: Path) -> None:
    packed = pack(store, tmp_path / "packed")
    other = FeatureStore(tmp_path / "other", {**FINGERPRINT, "vae": "other"})
    for clip_id in store.ids():
        features = store.read(clip_id)
        other.write(clip_id, features, "source")
    foreign = pack(other, tmp_path / "packed other")
    for file in foreign.folder.iterdir():
        if file.name.startswith("shard") or file.name == "index.jsonl":
            shutil.copy(file, packed.folder / file.name)
    mixed = PackedStore(packed.folder)
    assert not mixed.has("c1", "source") and foreign.has("c1", "source")
    for read in (lambda: mixed.read("c1"), lambda: next(iter(ShardStream(mixed)))):
        with pytest.raises(ValueError, match="vae: store 'abc', record 'other'"):
            read()


def test_rejects_of_both_sides_stay(store: FeatureStore, tmp_path: Path) -> None:
    packed = pack(store, tmp_path / "packed")
    back = FeatureStore(tmp_path / "back", FINGERPRINT)
    back.reject(Reject("bad", "too_short", "newer"))
    back.reject(Reject("own", "no_person", "only here"))
    unpack(packed, back.folder)
    assert {key: reject.message for key, reject in FeatureStore(back.folder).rejects().items()} == {
        "bad": "newer",
        "own": "only here",
    }


def test_unpacking_gives_the_store_back(store: FeatureStore, tmp_path: Path) -> None:
    store.set_padding(torch.ones(4, 6).half())
    packed = pack(store, tmp_path / "packed", 3)
    back = unpack(packed, tmp_path / "back")
    assert {clip_id: back.read_bytes(clip_id) for clip_id in back.ids()} == {
        clip_id: store.read_bytes(clip_id) for clip_id in store.ids()
    }
    assert back.rejects() == store.rejects() and read_rows(back.folder) == read_rows(store.folder)
    assert torch.equal(back.read("c1")["prompt_embeds"], store.read("c1")["prompt_embeds"])
    shard = packed.folder / "shard-000000.tar"
    damaged = bytearray(shard.read_bytes())
    damaged[packed.places["c1"].offset + 700] ^= 1
    shard.write_bytes(damaged)
    with pytest.raises(ValueError, match=r"got 'c1' in shard-000000\.tar with another checksum"):
        unpack(packed, tmp_path / "again")


def test_packed_stores_cannot_be_written_to(store: FeatureStore, tmp_path: Path) -> None:
    packed = pack(store, tmp_path / "packed")
    for change in (
        lambda: packed.write("c1", record(1)),
        lambda: packed.reject(Reject("c1", "a", "b")),
        lambda: packed.set_padding(torch.ones(1, 6)),
    ):
        with pytest.raises(io.UnsupportedOperation, match="unpack it first"):
            change()
    assert files(packed.folder) == files(pack(store, tmp_path / "packed").folder)


def test_streams_see_every_record_once_over_all_processes_and_workers(store, tmp_path: Path) -> None:
    packed = pack(store, tmp_path / "packed", 1)
    shares = [
        [clip_id for clip_id, _ in ShardStream(packed, seed=3, rank=rank, world=3)] for rank in range(3)
    ]
    assert sorted(clip_id for share in shares for clip_id in share) == store.ids() and [
        len(share) for share in shares
    ] == [3, 2, 2]
    orders = [[key for key, _ in ShardStream(packed, seed=3, epoch=epoch)] for epoch in (0, 1, 0)]
    assert orders[0] == orders[2] != orders[1] and orders[0] != store.ids()
    assert [share for place, share in enumerate(orders[0]) if place % 3 == 1] == shares[1]
    for clip_id, features in ShardStream(packed):
        assert torch.equal(features["latents"], load(store.read_bytes(clip_id))["latents"])
    loader = torch.utils.data.DataLoader(ShardStream(packed, seed=3), batch_size=None, num_workers=2)
    assert sorted(clip_id for clip_id, _ in loader) == store.ids()
    with pytest.raises(ValueError, match="got rank=2 of world=2"):
        ShardStream(packed, rank=2, world=2)
    assert np.unique([place.shard for place in packed.places.values()]).size == 7
