"""What becomes of one clip: faults of the data end as rejects, faults of the program do not."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from semrepa.config import Config, override
from semrepa.data.index import ClipRow
from semrepa.data.people import PersonFilter
from semrepa.data.store import Record, Reject
from semrepa.data.video import write_video
from semrepa.models.cogvideox import load_cogvideox
from semrepa.prepare import Teachers, prepare
from semrepa.prepare.process import Models, process_clip
from semrepa.prepare.stores import fingerprint
from semrepa.provenance import mini_asset
from semrepa.teachers import FaceTrack
from semrepa.teachers.face import InsightFaceTeacher
from semrepa.weights import check_weights
from tests.prepare.room import IDLE, TEACHERS, Bright, Room, Slope, video
from tests.tiny import TEXT_LENGTH, TEXT_WIDTH

Asked = tuple[tuple[int, ...], object]


class Watching(Bright):
    """A face teacher that notes what it is asked."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []

    def __call__(self, frames: torch.Tensor, content: object = None) -> FaceTrack:
        self.asked.append((tuple(frames.shape), content))
        return super().__call__(frames, content)


@pytest.fixture(scope="module")
def models(room: Room) -> Models:
    def read_caption(caption: str) -> torch.Tensor:
        return torch.zeros(TEXT_LENGTH, TEXT_WIDTH)

    vae: Any = load_cogvideox(room.cfg.model.weights, parts=("vae",)).vae
    return Models(vae=vae, teachers=TEACHERS, read_caption=read_caption)


def work(path: Path, models: Models, cfg: Config) -> tuple[Record | Reject, dict[str, Any]]:
    facts: dict[str, Any] = {"seconds": {}}
    return process_clip(ClipRow(id="a", path=path, caption="x"), models, cfg, facts), facts


def made(path: Path, models: Models, cfg: Config) -> tuple[Record, dict[str, Any]]:
    """The record of a clip, and its facts."""
    outcome, facts = work(path, models, cfg)
    assert not isinstance(outcome, Reject), outcome
    return outcome, facts


def reason(path: Path, models: Models, cfg: Config) -> str:
    """Why a clip is left out."""
    outcome, _ = work(path, models, cfg)
    assert isinstance(outcome, Reject)
    return outcome.reason


def seen_by(models: Models, **teachers: object) -> Models:
    return replace(models, teachers=replace(models.teachers, **teachers))


def everyone(picture: torch.Tensor) -> torch.Tensor:
    """A detector of people that puts a box around the left half."""
    height, width = picture.shape[1:]
    return torch.tensor([[0, 0, width / 2, height, 0.9]])


@pytest.fixture
def wide(tmp_path: Path) -> Path:
    """A clip of 64 x 192, three times as wide as it is high, read as 32 x 48."""
    return video(tmp_path / "wide.mp4", 9, 150, size=(64, 192))


@pytest.mark.parametrize(("side", "expected"), [(None, (32, 48)), (1080, (64, 192)), (48, (48, 144))])
def test_teachers_look_at_pictures_of_the_source(
    room: Room, models: Models, wide: Path, side: int | None, expected: tuple[int, int]
) -> None:
    face, people = Watching(), []

    def detect(picture: torch.Tensor) -> torch.Tensor:
        people.append(tuple(picture.shape))
        return everyone(picture)

    cfg = override(room.cfg, {"data.picture_side": side})
    record, facts = made(wide, seen_by(models, face=face, people=PersonFilter(detector=detect)), cfg)
    assert face.asked == [((9, 3, *expected), (0, 0, 32, 48))] and people == [(3, *expected)]
    assert record["person_box"].tolist() == pytest.approx([0, 0, 24, 32, 0.9])
    assert facts["person_area"] == pytest.approx(0.5) and facts["person_score"] == pytest.approx(0.9)
    assert record["first_frame"].shape == (3, 32, 48)


def test_black_bars_are_no_part_of_the_picture(room: Room, models: Models) -> None:
    face = Watching()
    record, facts = made(
        room.rows[2].path, seen_by(models, face=face, people=PersonFilter(detector=everyone)), room.cfg
    )
    assert face.asked == [((9, 3, 32, 16), (0, 16, 32, 16))]
    assert record["person_box"].tolist() == pytest.approx([16, 0, 24, 32, 0.9])
    assert facts["person_area"] == pytest.approx(0.5)


def test_what_decides_where_faces_are_measured_is_in_the_fingerprint(room: Room) -> None:
    weights = check_weights(room.cfg, ("model", "depth", "face", "people"))
    one = fingerprint(room.cfg, weights)
    changed = {"data.picture_side": 720}
    assert fingerprint(override(room.cfg, changed), weights) != one
    for harmless in ({"data.min_change": 3}, {"data.max_repeats": 0.1}, {"data.max_jump": 9}):
        assert fingerprint(override(room.cfg, harmless), weights) == one


def test_motion_is_noted_and_still_pictures_are_left_out(room: Room, models: Models, tmp_path: Path) -> None:
    grey = np.full((9, 3, 32, 48), 150, np.uint8)
    still, jump = grey.copy(), grey.copy()
    jump[5:] = 250
    jump += np.arange(9, dtype=np.uint8)[:, None, None, None] % 2 * 4
    found = {}
    for name, frames in {"still": still, "jump": jump}.items():
        found[name], facts = work(write_video(tmp_path / f"{name}.mp4", frames), models, room.cfg)
        assert facts["motion"] == pytest.approx({"still": 0, "jump": 16}[name], abs=1)
        assert facts["jump"] == pytest.approx({"still": 0, "jump": 30}[name], abs=8)
    assert isinstance(found["still"], Reject) and found["still"].reason == "static"
    assert not isinstance(found["jump"], Reject)
    strict = override(room.cfg, {"data.max_jump": 8})
    assert reason(tmp_path / "jump.mp4", models, strict) == "cut"
    lenient = override(room.cfg, {"data.min_change": 0})
    made(tmp_path / "still.mp4", models, lenient)
    slow = write_video(tmp_path / "slow.mp4", jump, fps=2)
    assert reason(slow, models, room.cfg) == "too_many_duplicate_frames"
    made(slow, models, override(room.cfg, {"data.max_repeats": 1}))


def test_another_limit_has_clips_tried_again(room: Room, tmp_path: Path) -> None:
    still = write_video(tmp_path / "still.mp4", np.full((9, 3, 32, 48), 150, np.uint8))
    rows = [replace(room.rows[0], id="still", path=still)]

    def outcome(cfg: Config, **networks: Teachers) -> tuple[list[str], list[str]]:
        store = prepare(cfg, rows, tmp_path, **networks)
        return store.ids(), [reject.reason for reject in store.rejects().values()]

    assert outcome(room.cfg, teachers=TEACHERS) == ([], ["static"])
    other = override(room.cfg, {"data.max_repeats": 0.7})  # has nothing to do with it
    assert outcome(other, teachers=IDLE) == ([], ["static"])
    assert outcome(override(room.cfg, {"data.min_change": 0}), teachers=TEACHERS) == (["still"], [])


def test_a_clip_of_one_colour_comes_to_an_end(room: Room, models: Models, tmp_path: Path) -> None:
    class Flat(Slope):
        kind = "disparity"

        def __call__(self, row: ClipRow, frames: torch.Tensor) -> torch.Tensor:
            return torch.zeros(frames[:, :, 0].shape)

    grey = write_video(tmp_path / "grey.mp4", np.full((9, 3, 32, 48), 150, np.uint8))
    allowed = override(room.cfg, {"data.min_change": 0})
    record, _ = made(grey, seen_by(models, depth=Flat()), allowed)
    assert record["depth_range"].tolist() == [0, 0] and record["depth_latents"].isfinite().all()


def test_a_person_without_a_face_is_kept(room: Room, models: Models) -> None:
    looks = seen_by(models, people=PersonFilter(detector=everyone))
    record, _ = made(next(row.path for row in room.rows if row.id == "dark"), looks, room.cfg)
    assert not record["face_mask"].any() and record["face_sizes"].isnan().all()


def spoil(value: float) -> Callable[..., Any]:
    def get_feat(crops: list[np.ndarray]) -> np.ndarray:
        return np.full((len(crops), 512), value, np.float32)

    return get_feat


def test_numbers_that_are_none_end_as_rejects(
    room: Room, models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = room.rows[0].path
    with monkeypatch.context() as patch:
        patch.setattr("semrepa.prepare.process.encode", lambda vae, frames: torch.full((2, 1), torch.nan))
        assert reason(path, models, room.cfg) == "no_latents"
        patch.setattr("semrepa.prepare.process.encode", lambda vae, frames: torch.full((2, 1), 1e6))
        assert reason(path, models, room.cfg) == "no_latents"
    teacher = InsightFaceTeacher(mini_asset("face"), detector_size=(192, 128))
    monkeypatch.setattr(teacher, "_detect", lambda image: (np.ones((1, 4)), np.eye(5, 2)[None], np.ones(1)))
    monkeypatch.setattr(teacher.recogniser, "get_feat", spoil(np.nan))
    assert reason(path, seen_by(models, face=teacher), room.cfg) == "no_face_features"


def test_facts_are_optional(room: Room, models: Models) -> None:
    record, _ = made(room.rows[0].path, models, room.cfg)
    alone = process_clip(replace(room.rows[0], caption="x"), models, room.cfg)
    assert not isinstance(alone, Reject) and alone.keys() == record.keys()
    assert isinstance(process_clip(room.rows[-1], models, room.cfg), Reject)


def test_faults_of_the_program_are_raised(room: Room, models: Models) -> None:
    class Wrong(Slope):
        def __call__(self, *_: object) -> Any:
            raise TypeError("got nonsense")

    for teachers in ({"face": Wrong()}, {"depth": Wrong()}, {"people": PersonFilter(detector=Wrong())}):
        with pytest.raises(TypeError, match="nonsense"):
            work(room.rows[0].path, seen_by(models, **teachers), room.cfg)
