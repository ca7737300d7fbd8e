"""The feature store and its batches."""

import json
from collections import Counter
from pathlib import Path

import pytest
import torch

from semrepa.data.dataset import StoreDataset, batch_indices, batches
from semrepa.data.store import FeatureStore, Record, Reject, fingerprint_hash

FINGERPRINT = {"version": 1, "size": [16, 16], "vae": "abc"}


def record(number: int) -> Record:
    """A tiny record that carries its number."""
    return {
        "latents": torch.full((2, 4, 2, 2), number / 8, dtype=torch.float16),
        "depth_latents": torch.ones(2, 4, 2, 2, dtype=torch.float16).transpose(2, 3),
        "depth_range": torch.tensor([0.5, 2.0]),
        "first_frame": torch.full((3, 16, 16), number, dtype=torch.uint8),
        "prompt_embeds": torch.zeros(3, 6, dtype=torch.float16),
        "id_embeds": torch.zeros(5, 512, dtype=torch.float16),
        "face_mask": torch.arange(5) < number,
        "face_boxes": torch.full((5, 4), torch.nan),
    }


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    """A store with clips c0 to c6."""
    store = FeatureStore(tmp_path / "store", FINGERPRINT)
    for number in range(7):
        store.write(f"c{number}", record(number))
    return store


def test_records_come_back_as_written(store: FeatureStore) -> None:
    assert store.ids() == [f"c{n}" for n in range(7)] and store.has("c3") and not store.has("c7")
    for name, tensor in record(3).items():
        read = store.read("c3")[name]
        assert read.dtype == tensor.dtype and torch.equal(read.nan_to_num(9), tensor.nan_to_num(9))


def test_unfinished_records_do_not_count(store: FeatureStore) -> None:
    files = [path for path in store.folder.rglob("*") if path.is_file()]
    assert len(files) == 7 + 1 and not any(path.name.startswith(".") for path in files)
    finished = store._path("c0")
    finished.rename(finished.with_name(f".{finished.name}.123"))
    assert not store.has("c0") and "c0" not in store.ids()


def test_records_remember_what_they_were_made_from(store: FeatureStore) -> None:
    store.write("c1", record(1), "old caption")
    assert store.has("c1") and store.has("c1", "old caption") and not store.has("c1", "new caption")


def test_same_fingerprint_reopens_and_another_names_both_values(store: FeatureStore) -> None:
    assert FeatureStore(store.folder, {"vae": "abc", "version": 1, "size": (16, 16)}).ids() == store.ids()
    assert FeatureStore(store.folder).fingerprint == FINGERPRINT
    with pytest.raises(ValueError, match="made with other settings") as caught:
        FeatureStore(store.folder, {"version": 1, "size": [16, 16], "vae": "xyz", "colormap": "gray"})
    lines = str(caught.value).splitlines()[1:]
    assert lines == ["  colormap: store None, this run 'gray'", "  vae: store 'abc', this run 'xyz'"]
    assert fingerprint_hash(FINGERPRINT) == fingerprint_hash(dict(reversed(FINGERPRINT.items())))


def test_opening_nothing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="holds no feature store"):
        FeatureStore(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_unknown_and_unsafe_ids(store: FeatureStore) -> None:
    with pytest.raises(KeyError, match="got clip id 'c9'; expected one of the 7"):
        store.read("c9")
    with pytest.raises(ValueError, match="got clip id '../c1'"):
        store.write("../c1", record(1))


def test_rejects_are_kept_until_a_record_comes(store: FeatureStore) -> None:
    for message in ("first", "second", "second"):
        store.reject(Reject("bad", "too_short", message))
    assert FeatureStore(store.folder).rejects() == {"bad": Reject("bad", "too_short", "second")}
    assert json.loads((store.folder / "rejects.jsonl").read_text().splitlines()[0])["reason"] == "too_short"
    assert len((store.folder / "rejects.jsonl").read_text().splitlines()) == 2
    store.write("bad", record(1))
    assert store.rejects() == {}
    store.reject(Reject("bad", "too_short", "third"))
    assert store.rejects()["bad"].message == "third" and not store.has("bad")


def test_batch_is_float32_and_in_order(store: FeatureStore) -> None:
    batch = StoreDataset(store, store.ids()).batch([4, 2])
    assert batch.ids == ("c4", "c2") and batch.latents.shape == (2, 2, 4, 2, 2)
    floats = (batch.latents, batch.depth_latents, batch.prompt_embeds, batch.id_embeds)
    assert all(tensor.dtype == torch.float32 for tensor in floats)
    assert batch.first_frames[:, 0, 0, 0].tolist() == [4, 2] and batch.face_mask.sum(1).tolist() == [4, 2]
    moved = batch.to("meta")
    assert moved.latents.is_meta and moved.face_mask.is_meta and moved.ids == batch.ids


def test_every_pass_sees_every_clip_once_in_a_new_order() -> None:
    steps = [batch_indices(7, 3, seed=5, step=step) for step in range(14)]
    seen = [index for step in steps for index in step]
    passes = [seen[start : start + 7] for start in range(0, 42, 7)]
    assert all(Counter(one) == Counter(range(7)) for one in passes)
    assert len({tuple(one) for one in passes}) > 3
    assert seen != [index for step in range(14) for index in batch_indices(7, 3, seed=6, step=step)]


def test_resumed_stream_goes_on_exactly(store: FeatureStore) -> None:
    dataset = StoreDataset(store, store.ids())
    stream = batches(dataset, 3, seed=1)
    whole = [next(stream).ids for _ in range(6)]
    resumed = batches(dataset, 3, seed=1, start_step=4)
    assert [next(resumed).ids for _ in range(2)] == whole[4:]


def test_datasets_need_clips_with_records(store: FeatureStore) -> None:
    with pytest.raises(ValueError, match=r"got 2 clips without a record .* \(x, y\); run prepare"):
        StoreDataset(store, ["c1", "x", "y"])
    with pytest.raises(ValueError, match="got no clips"):
        StoreDataset(store, [])
