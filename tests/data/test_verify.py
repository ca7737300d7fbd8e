"""Damage in a store is named, and can be deleted to be made again; the commands."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from semrepa.data.__main__ import main
from semrepa.data.manifest import ManifestWriter, read_rows
from semrepa.data.pack import pack
from semrepa.data.store import FeatureStore, Record, Reject
from semrepa.data.verify import verify


def record(number: int, **changes: torch.Tensor) -> Record:
    """A tiny record with noise for latents."""
    noise = torch.randn(2, 3, 4, 8, 8, generator=torch.Generator().manual_seed(number)).half()
    return {
        "latents": noise[0],
        "depth_latents": noise[1],
        "prompt_embeds": torch.zeros(3 + number % 2, 6, dtype=torch.float16),
        "face_mask": torch.tensor([True, False]),
        "face_boxes": torch.tensor([[1.0, 2, 3, 4], [torch.nan] * 4]),
        **changes,
    }


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    """Twelve sound clips with their rows."""
    store = FeatureStore(tmp_path / "store", {"version": 1})
    with ManifestWriter(store.folder, "w") as writer:
        for number in range(12):
            facts = store.write(f"c{number:02d}", record(number))
            row = {"clip_id": f"c{number:02d}", "status": "done", "checksum": facts.checksum, "fps": number}
            writer.append(row)
        writer.append({"clip_id": "bad", "status": "rejected", "reject_reason": "too_short"})
    return store


def test_a_sound_store_is_sound(store: FeatureStore, tmp_path: Path) -> None:
    store.set_padding(torch.zeros(5, 6).half())
    store.reject(Reject("bad", "too_short", "short"))
    (store.folder / "report-3.json").write_text("{}")
    report = verify(store)
    assert report.is_sound and report.checked == 12
    found = (report.damaged, report.odd, report.foreign, report.without_row, report.without_record)
    assert not any(found)
    packed = verify(pack(store, tmp_path / "packed"))
    assert packed.is_sound and packed.checked == 12 and not packed.foreign


def test_every_kind_of_damage_is_named(store: FeatureStore) -> None:
    good = store.read_bytes("c00")
    store.path("c00").write_bytes(good[:-1])
    store.path("c01").write_bytes(b"")
    store.path("c02").write_bytes(b"<html>not found</html>")
    flipped = bytearray(store.read_bytes("c03"))
    flipped[len(flipped) // 2] ^= 1
    store.path("c03").write_bytes(flipped)
    one_inf = torch.zeros(3, 4, 8, 8).half().index_fill_(0, torch.tensor(0), torch.inf)
    for clip_id, wrong in {
        "c04": {"latents": torch.zeros(3, 4, 8, 9).half()},
        "c05": {"latents": record(5)["latents"].float()},
        "c06": {"depth_latents": one_inf},
        "c07": {"face_boxes": torch.full((2, 4), torch.inf)},
        "c08": {"extra": torch.zeros(1)},
    }.items():
        store.path(clip_id).write_bytes(save(record(int(clip_id[1:]), **wrong)))
    lacking = record(9)
    del lacking["face_mask"]
    store.path("c09").write_bytes(save(lacking))
    report = verify(store)
    assert sorted(report.damaged) == [f"c{number:02d}" for number in range(10)] and not report.is_sound
    said = {clip_id: " / ".join(problems) for clip_id, problems in report.damaged.items()}
    assert all("cannot be read" in said[clip_id] for clip_id in ("c00", "c01", "c02"))
    assert said["c03"] == "its checksum is not the one that was noted when it was made"
    for clip_id, part in {
        "c04": "latents is torch.float16 (3, 4, 8, 9); most records have torch.float16 (3, 4, 8, 8)",
        "c05": "latents is torch.float32",
        "c06": "depth_latents has 256 of 768 values that are not finite",
        "c07": "face_boxes has 8 of 8",
        "c08": "extra is torch.float32 (1,); most records have no such feature",
        "c09": "face_mask is missing",
    }.items():
        assert part in said[clip_id]


def test_records_that_belong_elsewhere_are_damage(store: FeatureStore, tmp_path: Path) -> None:
    other = FeatureStore(tmp_path / "other", {"version": 2})
    other.write("c01", record(1))
    store.path("c01").write_bytes(other.read_bytes("c01"))
    store.path("c02").write_bytes(store.read_bytes("c03"))
    assert verify(store).damaged == {
        "c01": ("it was made with other settings:\n  version: store 1, record 2",),
        "c02": ("it says that it is of clip 'c03'",),
    }


def test_frames_with_a_face_must_have_its_measures(store: FeatureStore) -> None:
    for number, boxes in enumerate(
        ([[1, 2, 3, torch.nan], [torch.nan] * 4], [[1, 2, 3, 4], [torch.inf] * 4])
    ):
        store.write(f"c{number:02d}", record(number, face_boxes=torch.tensor(boxes)))
    assert verify(store).damaged == {
        "c00": ("face_boxes has 1 of 8 values that are not finite",),
        "c01": ("face_boxes has 4 of 8 values that are not finite",),
    }


def test_a_kill_between_record_and_row_is_no_damage(store: FeatureStore) -> None:
    store.write("c04", record(14), "its caption has changed")
    store.reject(Reject("c05", "too_short", "its video has changed"))
    report = verify(store, delete=True)
    assert report.is_sound and not report.damaged and store.has("c04", "its caption has changed")
    assert report.old_row == ("c04", "c05") and report.without_record == ()
    assert main(["manifest", str(store.folder), "--complete"]) == 0
    mended = verify(store)
    assert mended.is_sound and mended.old_row == () and mended.checked == 11
    data = store.read_bytes("c04")
    store.path("c04").write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert list(verify(store).damaged) == ["c04"]


def test_damaged_records_can_be_deleted_to_be_made_again(store: FeatureStore, tmp_path: Path) -> None:
    store.path("c05").write_bytes(b"?")
    before = {clip_id: store.read_bytes(clip_id) for clip_id in store.ids() if clip_id != "c05"}
    report = verify(store, delete=True)
    assert report.deleted == ("c05",) and report.is_sound and not store.has("c05")
    assert {clip_id: store.read_bytes(clip_id) for clip_id in store.ids()} == before
    again = verify(store)
    assert again.without_record == ("c05",) and not again.is_sound
    store.write("c05", record(5))
    assert verify(store).is_sound
    packed = pack(store, tmp_path / "packed")
    with pytest.raises(ValueError, match="got packed store .* to delete from"):
        verify(packed, delete=True)


def test_damage_in_a_shard_is_named(store: FeatureStore, tmp_path: Path) -> None:
    packed = pack(store, tmp_path / "packed", 4)
    shard, data = packed.path("c05"), bytearray(packed.path("c05").read_bytes())
    data[packed.places["c05"].offset + packed.places["c05"].size - 1] ^= 1
    shard.write_bytes(data)
    assert list(verify(packed).damaged) == ["c05"]
    shard.write_bytes(data[: packed.places["c06"].offset + 10])
    assert list(verify(packed).damaged) == ["c05", "c06", "c07"]
    packed.path("c00").unlink()
    assert list(verify(packed).damaged)[:4] == ["c00", "c01", "c02", "c03"]


def test_odd_latents_and_foreign_files_are_told_but_stay(store: FeatureStore) -> None:
    facts = store.write("c11", record(11, latents=record(11)["latents"] * 20))
    store.write("new", record(12))
    (store.path("c00").parent / "notes.txt").write_text("mine")
    (store.path("c00").parent / "zz.safetensors").write_bytes(b"not here")
    with ManifestWriter(store.folder, "w") as writer:
        writer.append({"clip_id": "c11", "status": "done", "checksum": facts.checksum})
    report = verify(store, delete=True)
    assert report.is_sound and list(report.odd) == ["c11"] and "spread of latents" in report.odd["c11"][-1]
    place = store.path("c00").parent.name
    assert report.foreign == (f"{place}/notes.txt", f"{place}/zz.safetensors")
    assert report.without_row == ("new",) and store.has("c11")


def test_samples_and_second_looks(store: FeatureStore) -> None:
    seen: list[str] = []

    def look_again(clip_id: str, features: Record) -> str | None:
        seen.append(clip_id)
        return "another first frame" if clip_id == "c03" else None

    assert verify(store, sample=5, look_again=look_again, looks=2).checked == 5 and len(seen) == 2
    first, second, other = (sorted(verify_ids(store, seed)) for seed in (1, 1, 2))
    assert first == second != other and len(first) == 5
    assert verify(store, look_again=look_again).damaged == {"c03": ("another first frame",)}
    report = verify(store, look_again=look_again)
    assert report.compared == 12 and report.not_compared == {}
    assert verify(store, sample=100).checked == 12 and verify(store, sample=0).checked == 0


def verify_ids(store: FeatureStore, seed: int) -> list[str]:
    """Clips of a sample of five."""
    seen: list[str] = []
    verify(store, sample=5, seed=seed, look_again=lambda clip_id, _: seen.append(clip_id))
    return seen


def test_few_records_do_not_outvote_each_other(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path, {})
    for number in range(2):
        store.write(f"c{number}", {"latents": torch.zeros(1 + number, 2)})
    assert verify(store, delete=True).damaged == {} and len(store.ids()) == 2
    assert verify(FeatureStore(tmp_path / "empty", {})).checked == 0


def test_commands_and_their_exit_codes(store: FeatureStore, tmp_path: Path, capsys) -> None:
    folder, out, back = str(store.folder), str(tmp_path / "out"), str(tmp_path / "back")
    assert main(["pack", folder, out, "--clips-per-shard", "5"]) == 0
    assert "12 records in 3 shards" in capsys.readouterr().out
    assert main(["unpack", out, back]) == 0 and FeatureStore(back).ids() == store.ids()
    assert main(["verify", back]) == main(["verify", out]) == 0
    capsys.readouterr()
    store.path("c05").unlink()
    assert main(["manifest", folder, "--compact", "--where", "min_fps=3", "max_fps=8"]) == 0
    assert capsys.readouterr().out.split("\n") == [
        "      12 done",
        "       1 rejected: too_short",
        "       6 done with min_fps=3 max_fps=8",
        "",
    ]
    assert main(["manifest", folder, "--ids", "--where", "min_fps=10"]) == 0
    assert capsys.readouterr().out.split() == ["c10", "c11"]
    store.write("new", record(0))
    assert main(["manifest", folder, "--complete"]) == 0 and "new" in read_rows(store.folder)
    store.path("c07").write_bytes(b"?")
    capsys.readouterr()
    assert main(["verify", folder]) == 1
    told = json.loads(capsys.readouterr().out)
    assert list(told["damaged"]) == ["c07"] and told["without_record"] == ["c05"] and not told["is_sound"]
    assert main(["verify", folder, "--delete"]) == 1 and not store.has("c07")


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["verify", "nowhere"], "holds no feature store"),
        (["unpack", "STORE", "out"], "without index.jsonl"),
        (["manifest", "STORE", "--where", "fps"], "got --where fps; expected NAME=NUMBER"),
        (["manifest", "STORE", "--where", "min_fp=1"], "try 'min_fps'"),
        (["pack", "STORE", "out", "--clips-per-shard", "0"], "got clips_per_shard=0"),
    ],
)
def test_requests_that_cannot_be_met(store, monkeypatch, tmp_path: Path, capsys, command, message) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([str(store.folder) if part == "STORE" else part for part in command]) == 2
    assert message in capsys.readouterr().err
