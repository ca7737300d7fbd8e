"""Records are compared with what their videos give now."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from semrepa.data.__main__ import main
from semrepa.data.decode_again import decode_again
from semrepa.data.manifest import ManifestWriter
from semrepa.data.pack import pack
from semrepa.data.store import FeatureStore
from semrepa.data.verify import verify
from semrepa.data.video import read_clip, reader_versions, write_video

VIDEO = {"num_frames": 5, "fps": 8.0, "height": 32, "width": 48}
START = 0.25


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    """Four clips with their videos, each of which begins a quarter of a second into its file."""
    store = FeatureStore(tmp_path / "store", {"readers": reader_versions(), "video": VIDEO})
    with ManifestWriter(store.folder, "w") as writer:
        for number in range(4):
            noise = np.random.default_rng(number).integers(0, 256, (9, 3, 48, 64), np.uint8)
            path = write_video(tmp_path / f"c{number}.mp4", noise)
            clip = read_clip(path, num_frames=5, fps=8.0, size=(32, 48), start=START)
            features = {
                "first_frame": clip.frames[0],
                "timestamps": torch.tensor(clip.timestamps),
                "content": torch.tensor(clip.content, dtype=torch.int32),
            }
            facts = store.write(f"c{number}", features)
            where = {"path": str(path), "start": START, "size": path.stat().st_size, "backend": clip.backend}
            writer.append({"clip_id": f"c{number}", "status": "done", "checksum": facts.checksum, **where})
    return store


def test_records_of_the_same_frames_are_sound(store: FeatureStore, tmp_path: Path) -> None:
    for one in (store, pack(store, tmp_path / "packed")):
        report = verify(one, look_again=decode_again(one), looks=3)
        assert report.is_sound and report.compared == 3 and report.not_compared == {}


def test_one_other_bit_of_one_pixel_is_damage(store: FeatureStore) -> None:
    for clip_id, change in {
        "c1": lambda features: features["first_frame"][1, 2, 3:4].add_(1),
        "c2": lambda features: features["timestamps"].add_(0.01),
        "c3": lambda features: features["content"].add_(1),
    }.items():
        features = store.read(clip_id)
        change(features)
        store.write(clip_id, features)
    damaged = verify(store, look_again=decode_again(store)).damaged
    assert damaged == {
        "c1": ("first_frame differs from its video in 1 of 4608 values, by 1",),
        "c2": ("timestamps differ from those of its video",),
        "c3": ("content is [1, 1, 33, 49]; its video gives [0, 0, 32, 48]",),
    }


def test_videos_that_are_gone_or_have_changed_say_nothing_of_a_record(store, tmp_path: Path, capsys) -> None:
    (tmp_path / "c0.mp4").unlink()
    with (tmp_path / "c1.mp4").open("ab") as file:
        file.write(b"more")
    (tmp_path / "c2.mp4").write_bytes(b"?" * (tmp_path / "c2.mp4").stat().st_size)
    store.write("new", store.read("c3"))
    assert main(["verify", str(store.folder), "--decode", "9", "--delete"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["compared"] == 1 and report["damaged"] == {} and report["deleted"] == []
    for clip_id, part in {
        "c0": "got no video",
        "c1": "run prepare, which makes the records of changed clips again",
        "c2": "c2.mp4",
        "new": "the manifest does not say where its video is",
    }.items():
        assert part in report["not_compared"].pop(clip_id)
    assert report["not_compared"] == {}


def test_other_readers_are_named_with_both_versions(store: FeatureStore, tmp_path: Path, capsys) -> None:
    older = FeatureStore(tmp_path / "older", {"readers": {"pyav": "1.2.3"}, "video": VIDEO})
    with pytest.raises(ValueError, match=r"got readers {'pyav': .* here and {'pyav': '1\.2\.3'} in .*older"):
        decode_again(older)
    with pytest.raises(ValueError, match="fingerprint lacks readers and video"):
        decode_again(FeatureStore(tmp_path / "none", {}))
    assert main(["verify", str(older.folder), "--decode", "1"]) == 2
    assert "install those of the store" in capsys.readouterr().err
    assert main(["verify", str(older.folder)]) == 0
