"""The feature store and its batches."""

import json
import os
import random
import subprocess
import sys
from collections import Counter
from multiprocessing import get_context
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save

from semrepa.data.dataset import StoreDataset, batch_indices
from semrepa.data.records import Origin, Record, is_whole, measured, read_origin
from semrepa.data.rejects import Reject
from semrepa.data.store import FeatureStore, fingerprint_hash
from semrepa.files import UNFINISHED
from tests.data.killing import killed_after

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
    finished = store.path("c0")
    finished.rename(finished.with_name(f".{finished.name}.123"))
    assert not store.has("c0") and "c0" not in store.ids()


def test_writing_tells_size_and_checksum_and_repeats_its_bytes(store: FeatureStore) -> None:
    first = store.write("c1", record(1), "source")
    data = store.path("c1").read_bytes()
    assert first == measured(data) and first.bytes == len(data) == store.path("c1").stat().st_size
    assert store.read_bytes("c1") == data and store.write("c1", record(1), "source") == first
    assert store.write("c1", record(2), "source").checksum != first.checksum
    with pytest.raises(KeyError, match="got clip id 'c9'"):
        store.read_bytes("c9")


def test_damaged_records_are_named_and_made_again(store: FeatureStore) -> None:
    store.write("c1", record(1), "source")
    for data in (store.read_bytes("c1")[:-3], store.read_bytes("c1")[:40], b"text", b""):
        store.path("c1").write_bytes(data)
        assert store.has("c1") and not store.has("c1", "source")
        with pytest.raises(ValueError, match=r"damaged record of 'c1'.*semrepa\.data verify"):
            store.read("c1")


def test_only_records_in_their_place_are_listed(store: FeatureStore) -> None:
    data, folder = store.read_bytes("c1"), store.path("c1").parent
    (folder / "not a clip.safetensors").write_bytes(data)
    wrong = next(path.parent for path in map(store.path, store.ids()) if path.parent != folder)
    (wrong / "c1.safetensors").write_bytes(data)
    (store.folder / UNFINISHED / "c8.safetensors").write_bytes(data)
    assert store.ids() == [f"c{n}" for n in range(7)] and not store.has("c8")


def test_a_record_found_alone_says_what_made_it(store: FeatureStore, tmp_path: Path) -> None:
    store.write("c1", record(1), "a ü caption")
    (tmp_path / "found").write_bytes(store.read_bytes("c1"))
    assert read_origin(tmp_path / "found") == Origin("c1", "a ü caption", FINGERPRINT)
    with safe_open(tmp_path / "found", framework="pt") as file:
        assert list(file.metadata()) == ["semrepa"], "safetensors writes several in an order that changes"


def test_all_processes_write_the_same_bytes(store: FeatureStore, tmp_path: Path) -> None:
    code = f"""if True:
        import torch
        from semrepa.data.store import FeatureStore
        from tests.data.test_store import record
        store = FeatureStore({str(tmp_path / "other")!r}, {dict(reversed(FINGERPRINT.items()))!r})
        print(store.write("c1", record(1), "source").checksum)"""
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == store.write("c1", record(1), "source").checksum


def test_records_of_another_store_or_clip_are_refused_with_both_values(store, tmp_path: Path) -> None:
    other = FeatureStore(tmp_path / "other", {**FINGERPRINT, "vae": "xyz"})
    other.write("c1", record(1), "source")
    store.write("c2", record(2), "source")
    assert store.has("c2", "source")
    for data, said in {
        other.read_bytes("c1"): "made with other settings:\n  vae: store 'abc', record 'xyz'\nexpected",
        store.read_bytes("c2"): "says that it is of clip 'c2'\nexpected",
        save({"latents": torch.zeros(1)}, metadata={"source": "source"}): "does not say how it was made",
        save({"latents": torch.zeros(1)}, metadata={"semrepa": "[]"}): "does not say how it was made",
    }.items():
        store.path("c1").write_bytes(data)
        with pytest.raises(ValueError, match=f"got a record of 'c1' .* that .*{said}(.|\n)*verify"):
            store.read("c1")
        assert store.has("c1") and not store.has("c1", "source"), "it must be made again"


def test_one_wrong_bit_anywhere_is_found_without_a_manifest(store: FeatureStore) -> None:
    good = store.read_bytes("c1")
    assert is_whole(good) and store.measure("c1") == measured(good)
    for place in range(0, len(good), 7):
        data = bytearray(good)
        data[place] ^= 4
        assert not is_whole(bytes(data)), place
    assert not is_whole(good[:-1]) and not is_whole(good + b"x") and not is_whole(b"")
    store.path("c1").write_bytes(data)
    with pytest.raises(ValueError, match="its own checksum is another one"):
        store.measure("c1")


def test_killed_writers_leave_whole_records_only(tmp_path: Path) -> None:
    big = {"latents": torch.zeros(64, 1024, dtype=torch.float16)}

    def write_for_ever(tell) -> None:
        store, number = FeatureStore(tmp_path, FINGERPRINT), 0
        while True:
            store.write(f"c{number % 20}", {"latents": big["latents"] + number}, str(number))
            tell(number)
            number += 1

    for _ in range(10):
        told = killed_after(random.uniform(0.005, 0.08), write_for_ever)
        store = FeatureStore(tmp_path, FINGERPRINT)
        assert list((tmp_path / UNFINISHED).glob("*")) == []
        for clip_id in store.ids():
            values = store.read(clip_id)["latents"]
            assert (values == values[0, 0]).all() and values[0, 0] % 20 == int(clip_id[1:])
        assert all(store.has(f"c{number % 20}") for number in told)


def test_opening_for_reading_clears_nothing(store: FeatureStore) -> None:
    dead = store.folder / UNFINISHED / "c0.safetensors.dead"
    dead.write_bytes(b"half")
    os.utime(dead, (0, 0))
    FeatureStore(store.folder)
    assert dead.exists()
    FeatureStore(store.folder, FINGERPRINT)
    assert not dead.exists()


def test_reading_records_needs_no_pyarrow() -> None:
    modules = "semrepa.data.store, semrepa.data.dataset, semrepa.data.manifest"
    code = f"import sys, {modules}; print('pyarrow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


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


def lines(store: FeatureStore) -> list[str]:
    """All lines on rejects of all processes."""
    return [line for path in (store.folder / "rejects").iterdir() for line in path.read_text().splitlines()]


def test_rejects_are_kept_until_a_record_comes(store: FeatureStore) -> None:
    for message in ("first", "second", "second"):
        store.reject(Reject("bad", "too_short", message))
    assert FeatureStore(store.folder).rejects() == {"bad": Reject("bad", "too_short", "second")}
    assert json.loads(lines(store)[0])["reason"] == "too_short" and len(lines(store)) == 2
    store.write("bad", record(1))
    assert store.rejects() == {}
    store.reject(Reject("bad", "too_short", "third"))
    assert store.rejects()["bad"].message == "third" and not store.has("bad")


def test_torn_and_foreign_lines_among_rejects_are_left_out(store: FeatureStore) -> None:
    store.reject(Reject("bad", "too_short", "breaks\u2028here"))
    (file,) = (store.folder / "rejects").iterdir()
    with file.open("a") as open_file:
        open_file.write('[1]\n{"other": 2}\n{"id": "worse", "rea')
    assert set(store.rejects()) == {"bad"}
    other = FeatureStore(store.folder)
    other.reject(Reject("dark", "no_person", "nobody"))
    assert set(store.rejects()) == set(other.rejects()) == {"bad", "dark"}


def test_each_process_notes_rejects_in_a_file_of_its_own(store: FeatureStore) -> None:
    def note(process: int) -> None:
        own = FeatureStore(store.folder, FINGERPRINT)
        for number in range(100):
            own.reject(Reject(f"bad{process}-{number}", "too_short", "x" * 5000))
        own.reject(Reject("both", "too_short", f"of {process}"))

    fork = get_context("fork")
    workers = [fork.Process(target=note, args=(process,)) for process in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(list((store.folder / "rejects").iterdir())) == 2
    assert len(lines(store)) == 202 and len(store.rejects()) == 201


def test_the_newest_reject_counts_whichever_file_it_is_in(store: FeatureStore, monkeypatch) -> None:
    old = {"id": "bad", "reason": "too_short", "message": "of one file for all", "source": ""}
    (store.folder / "rejects.jsonl").write_text(json.dumps(old) + "\n")
    assert store.rejects()["bad"].message == "of one file for all"
    for name, written in {"a": 30, "z": 20}.items():
        line = {**old, "message": name, "written": written}
        (store.folder / "rejects").mkdir(exist_ok=True)
        (store.folder / "rejects" / f"{name}.jsonl").write_text(json.dumps(line) + "\n")
    assert store.rejects()["bad"].message == "a"
    monkeypatch.setattr("semrepa.data.rejects.time.time_ns", lambda: 5)  # a clock that is behind
    store.reject(Reject("bad", "too_short", "new"))
    assert store.rejects()["bad"].message == FeatureStore(store.folder).rejects()["bad"].message == "new"


def test_noting_a_reject_reads_only_what_is_new(store: FeatureStore, monkeypatch) -> None:
    read: list[int] = []
    monkeypatch.setattr(
        "semrepa.data.rejects.json.loads", lambda line: read.append(1) or json.JSONDecoder().decode(line)
    )
    for number in range(50):
        store.reject(Reject(f"bad{number}", "too_short", "short"))
    assert len(read) <= 50 and len(store.rejects()) == 50


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


def test_datasets_need_clips_with_records(store: FeatureStore) -> None:
    with pytest.raises(ValueError, match=r"got 2 clips without a record .* \(x, y\); run prepare"):
        StoreDataset(store, ["c1", "x", "y"])
    with pytest.raises(ValueError, match="got no clips"):
        StoreDataset(store, [])
