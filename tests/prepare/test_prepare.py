"""The feature store as it is filled: with tiny networks, stand-in teachers, and real little videos."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from semrepa.config import override
from semrepa.data.index import ClipRow
from semrepa.data.manifest import query, read_manifest, read_rows
from semrepa.data.store import FeatureStore
from semrepa.data.verify import verify
from semrepa.data.video import ClipError, VideoClip, read_clip
from semrepa.depth import colorize, decolorize, normalize
from semrepa.models.cogvideox import encode_prompts, load_cogvideox
from semrepa.models.latents import encode
from semrepa.prepare import load_teachers, prepare
from semrepa.prepare.attempts import Attempts
from semrepa.prepare.teachers import people_by_face
from tests.prepare.room import IDLE, TEACHERS, Bright, Room, Slope
from tests.tiny import TEXT_LENGTH, TEXT_WIDTH


@pytest.fixture(scope="module")
def store(room: Room) -> FeatureStore:
    """The filled store."""
    return prepare(room.cfg, room.rows, room.cache, teachers=TEACHERS)


def test_records_hold_what_the_networks_say(room: Room, store: FeatureStore) -> None:
    assert store.ids() == ["a", "b", "tall"]
    parts = load_cogvideox(room.cfg.model.weights, parts=("vae", "tokenizer", "text_encoder"))
    for row in room.rows[:2]:
        record = store.read(row.id)
        clip = read_clip(row.path, num_frames=9, fps=8, size=(32, 48), start=row.start)
        depth = colorize(normalize(Slope()(row, clip.frames[None]), kind="metric"), room.cfg.depth.colormap)
        latents = encode(parts.vae, torch.cat([clip.frames[None], depth]))
        assert torch.equal(record["latents"], latents[0].half()) and latents.shape == (2, 3, 16, 4, 6)
        assert torch.equal(record["depth_latents"], latents[1].half())
        assert not torch.equal(record["latents"], record["depth_latents"])
        prompt = encode_prompts([row.caption], parts.tokenizer, parts.text_encoder, TEXT_LENGTH)[0]
        assert torch.allclose(record["prompt_embeds"].float(), prompt, atol=2e-3)
        assert torch.equal(record["first_frame"], clip.frames[0])
        assert torch.allclose(record["timestamps"], torch.tensor(clip.timestamps))
        assert torch.allclose(record["depth_range"], torch.tensor([1 / 3, 1.0]))
        assert torch.allclose(record["person_box"], torch.tensor([12, 4, 36, 32, 0.9]))
        assert [record[name][0].item() for name in ("face_sizes", "face_yaws")] == [8, 0.5]


def test_record_layout(store: FeatureStore) -> None:
    layout = {name: (tuple(value.shape), value.dtype) for name, value in store.read("a").items()}
    assert layout == {
        "latents": ((3, 16, 4, 6), torch.float16),
        "depth_latents": ((3, 16, 4, 6), torch.float16),
        "depth_range": ((2,), torch.float32),
        "first_frame": ((3, 32, 48), torch.uint8),
        "prompt_embeds": ((TEXT_LENGTH, TEXT_WIDTH), torch.float16),
        "id_embeds": ((9, 512), torch.float16),
        "face_mask": ((9,), torch.bool),
        "face_boxes": ((9, 4), torch.float32),
        "face_scores": ((9,), torch.float32),
        "face_sizes": ((9,), torch.float32),
        "face_cuts": ((9,), torch.float32),
        "face_yaws": ((9,), torch.float32),
        "person_box": ((5,), torch.float32),
        "content": ((4,), torch.int32),
        "timestamps": ((9,), torch.float32),
    }


def test_bad_clips_are_noted_with_their_reason(store: FeatureStore) -> None:
    rejects = store.rejects()
    reasons = {clip_id: reject.reason for clip_id, reject in rejects.items()}
    assert reasons == {"short": "too_short", "dark": "no_person", "gone": "missing"}
    assert all("got" in r.message and "expected" in r.message for r in rejects.values())
    report = (store.folder / "report.json").read_text()
    assert '"written": 3' in report and '"rejected": 3' in report and '"vae"' in report


def test_a_filled_store_is_sound_and_has_no_foreign_files(store: FeatureStore) -> None:
    Attempts(store.folder).begin("a")
    report = verify(store)
    Attempts(store.folder).clear()
    assert report.is_sound and report.checked == 3 and not report.foreign


def test_the_manifest_has_a_row_for_every_clip(room: Room, store: FeatureStore) -> None:
    rows = read_rows(store.folder)
    assert {name: row["status"] for name, row in rows.items()} == {
        **dict.fromkeys(("a", "b", "tall"), "done"),
        **dict.fromkeys(("short", "dark", "gone"), "rejected"),
    }
    assert rows["dark"]["reject_reason"] == "no_person" and "nobody in it" in rows["dark"]["message"]
    good, gone = rows["a"], rows["gone"]
    assert (good["width"], good["height"], good["codec"], good["valid_frames"]) == (48, 32, "h264", 9)
    assert good["person_box"] == [12, 4, 36, 32] and good["face_rate"] == 1
    assert {"read", "people", "face", "depth", "vae"} <= good["seconds"].keys()
    assert good["bytes"] == len(store.read_bytes("a")) and good["size"] == room.rows[0].path.stat().st_size
    assert gone["path"].endswith("gone.mp4") and gone["reject_reason"] == "missing" and gone["size"] is None
    assert query(read_manifest(store.folder), min_face_rate=0.5) == ["a", "b", "tall"]


def test_rows_that_a_dead_process_did_not_write_are_made_up_for(room: Room, tmp_path: Path) -> None:
    rows = room.rows[:1] + room.rows[3:4]
    store = prepare(room.cfg, rows, tmp_path, teachers=TEACHERS)
    shutil.rmtree(store.folder / "manifest")
    prepare(room.cfg, rows, tmp_path, teachers=IDLE)
    made_up = read_rows(store.folder)
    assert {name: row["status"] for name, row in made_up.items()} == {"a": "done", "short": "rejected"}
    assert made_up["a"]["bytes"] == len(store.read_bytes("a")) and made_up["a"]["face_rate"] == 1
    prepare(room.cfg, room.rows[:2], tmp_path, teachers=TEACHERS)
    assert len(list((store.folder / "manifest").iterdir())) == 1, "one file of all that ended"
    assert read_rows(store.folder)["b"]["path"].endswith("b.mp4")


def test_a_clip_without_usable_depth_is_noted(room: Room, tmp_path: Path) -> None:
    class Blind(Slope):
        def __call__(self, row: ClipRow, frames: torch.Tensor) -> torch.Tensor:
            if row.id == "a":
                raise ClipError("no_depth", "got black depth; expected depth that varies")
            return super().__call__(row, frames)

    store = prepare(room.cfg, room.rows[:2], tmp_path, teachers=replace(TEACHERS, depth=Blind()))
    assert store.ids() == ["b"]
    assert {clip: reject.reason for clip, reject in store.rejects().items()} == {"a": "no_depth"}


def test_a_clip_that_takes_too_long_is_left_out(
    room: Room, store: FeatureStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[float | None] = []

    def slow(path: Path, *, timeout: float | None, **settings: object) -> VideoClip:
        asked.append(timeout)
        if path.stem == "a":
            raise ClipError("timeout", "got nothing in time")
        return read_clip(path, **settings)

    monkeypatch.setattr("semrepa.prepare.process.read_clip", slow)
    patient = override(room.cfg, {"data.read_timeout": 5})
    left = prepare(patient, room.rows[:2], tmp_path, teachers=TEACHERS)
    assert asked == [5, 5] and left.folder.name == store.folder.name
    assert {clip: reject.reason for clip, reject in left.rejects().items()} == {"a": "timeout"}


def test_second_run_does_only_what_is_new(room: Room, store: FeatureStore, tmp_path: Path) -> None:
    own = override(room.cfg, {"data.store": shutil.copytree(store.folder, tmp_path / "store").as_posix()})
    prepare(own, room.rows, room.cache, teachers=IDLE)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")}
    rows = [replace(room.rows[0], caption="a person dances"), *room.rows[1:]]
    seen: list[tuple[int, int, str]] = []
    prepare(own, rows, room.cache, teachers=TEACHERS, progress=lambda *step: seen.append(step))
    assert seen == [(1, 1, "a")]
    assert [path.stem for path, time in before.items() if path.stat().st_mtime_ns != time] == ["a"]


def test_captions_are_encoded_once_for_all_stores(
    room: Room, store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("encoded again")

    monkeypatch.setattr("semrepa.prepare.text.encode_prompts", refuse)
    other = prepare(
        override(room.cfg, {"depth.colormap": "gray"}), room.rows[:2], room.cache, teachers=TEACHERS
    )
    assert other.folder != store.folder
    assert torch.equal(other.read("b")["prompt_embeds"], store.read("b")["prompt_embeds"])
    new = [replace(room.rows[0], caption="a person squats")]
    with pytest.raises(AssertionError, match="again"):
        prepare(room.cfg, new, room.cache, teachers=TEACHERS)


def test_trimmed_text_is_filled_with_the_padding_of_an_empty_caption(
    room: Room, store: FeatureStore, tmp_path: Path
) -> None:
    trimmed = prepare(
        override(room.cfg, {"data.trim_text": True}), room.rows[:1], tmp_path, teachers=TEACHERS
    )
    (file,) = trimmed.folder.glob("*/a.safetensors")
    own = load_file(file)["prompt_embeds"]
    full, filled = store.read("a")["prompt_embeds"], trimmed.read("a")["prompt_embeds"]
    assert len(own) == 4 and filled.shape == full.shape  # a, person, walks and the end of the text
    assert torch.equal(filled[:4], full[:4])
    parts = load_cogvideox(room.cfg.model.weights, parts=("tokenizer", "text_encoder"))
    empty = encode_prompts([""], parts.tokenizer, parts.text_encoder, TEXT_LENGTH)[0]
    assert torch.allclose(filled[4:].float(), empty[4:], atol=2e-3)


def test_other_settings_never_share_a_store(room: Room, store: FeatureStore) -> None:
    gray = override(room.cfg, {"depth.colormap": "gray"})
    assert prepare(gray, [], room.cache, teachers=IDLE).folder != store.folder
    fixed = {"data.store": str(store.folder)}
    assert prepare(override(room.cfg, fixed), room.rows[:3], room.cache, teachers=IDLE).folder == store.folder
    with pytest.raises(ValueError, match="colormap: store 'inferno', this run 'gray'"):
        prepare(override(gray, fixed), room.rows, room.cache, teachers=IDLE)


def test_depth_teacher_sees_the_picture_without_its_padding(
    room: Room, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    painted: list[torch.Tensor] = []

    def note(values: torch.Tensor, colormap: str) -> torch.Tensor:
        painted.append(colorize(values, colormap))
        return painted[-1]

    monkeypatch.setattr("semrepa.prepare.process.colorize", note)
    store = prepare(room.cfg, room.rows[2:3], tmp_path, teachers=TEACHERS)
    assert store.read("tall")["content"].tolist() == [0, 16, 32, 16]
    values, _ = decolorize(painted[0], room.cfg.depth.colormap)
    assert values[..., 16:32].amax() > 0.99 and values[..., 31].abs().max() < 0.01
    assert values[..., :16].max() < 0.01 and values[..., 32:].max() < 0.01


def test_face_box_grows_to_a_person() -> None:
    (person,) = people_by_face(Bright())(torch.full((3, 32, 48), 200, dtype=torch.uint8)).tolist()
    assert person == pytest.approx([12, 4, 36, 32, 0.9])
    assert people_by_face(Bright())(torch.zeros(3, 32, 48, dtype=torch.uint8)).shape == (0, 5)


def test_missing_weights_are_all_named(room: Room) -> None:
    lost = override(room.cfg, {"model.weights": "/nowhere/model", "face.pack": "/nowhere/pack"})
    with pytest.raises(FileNotFoundError, match=r"(?s)2 of 2 missing.*/nowhere/model.*/nowhere/pack"):
        prepare(lost, room.rows, room.cache)
    with pytest.raises(FileNotFoundError, match="/nowhere/pack"):
        load_teachers(lost)
