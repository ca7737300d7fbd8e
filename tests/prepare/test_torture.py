"""The whole torture set through the command in one run: each file ends as a record or with its reason."""

import contextlib
import io
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch

from semrepa.config import Config
from semrepa.data.decoding import pictures
from semrepa.data.index import ClipRow, write_index
from semrepa.data.manifest import read_rows
from semrepa.data.people import PersonFilter
from semrepa.data.store import FeatureStore
from semrepa.prepare import Teachers
from semrepa.prepare.__main__ import main
from semrepa.prepare.teachers import people_by_face
from semrepa.provenance import mini_asset
from semrepa.teachers import FaceTrack
from semrepa.teachers.face import InsightFaceTeacher
from tests.data.torture import FPS, NUM_FRAMES, SIZE, Expected, numbers, write_torture
from tests.data.torture_people import HEIGHT, LEAVES, WIDTH, write_people
from tests.prepare.room import Bright, Slope

PEOPLE = {
    "one_person.mp4": Expected(),
    "nobody.mp4": Expected("no_person"),
    "two_people.mp4": Expected(),
    "leaving.mp4": Expected(),
    "cut_between_people.mp4": Expected("cut"),
}


class Noting(Slope):
    """A depth teacher that notes which frames it was shown."""

    def __init__(self) -> None:
        self.seen: dict[str, tuple[int, ...]] = {}

    def __call__(self, row: ClipRow, frames: torch.Tensor) -> torch.Tensor:
        self.seen[row.path.name] = numbers(frames[0].numpy())
        return super().__call__(row, frames)


class Faces(Bright):
    """The shipped face teacher for clips of people; bar codes count as faces."""

    def __init__(self) -> None:
        self.real = InsightFaceTeacher(mini_asset("face"), detector_size=(576, 384), min_size=8.0)

    def __call__(self, frames: torch.Tensor, content: object = None) -> FaceTrack:
        if frames.shape[2:] == (HEIGHT, WIDTH):
            return self.real(frames, content)
        return super().__call__(torch.full_like(frames, 255), content)


@dataclass
class Run:
    """What one run of the command left behind."""

    arguments: list[str]
    expected: dict[str, Expected]
    depth: Noting
    status: int = -1
    said: str = ""
    store: FeatureStore = field(init=False)
    rows: dict[str, dict] = field(init=False)


def clip_id(name: str) -> str:
    return f"clip-{name.encode().hex()}"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, tiny_folder: Path) -> Run:
    folder = tmp_path_factory.mktemp("torture")
    expected = write_torture(folder / "videos")
    assert write_people(folder / "videos") == list(PEOPLE)
    expected |= PEOPLE
    videos = [ClipRow(id=clip_id(name), path=folder / "videos" / name, caption="a clip") for name in expected]
    settings = {
        "data.index": write_index(folder / "index.jsonl", videos),
        "data.extra_train": 0,
        "data.extra_heldout": 0,
        "data.read_timeout": 60,
        "data.picture_side": 1080,
        "data.max_jump": 8,
        "model.weights": tiny_folder,
        "video.num_frames": NUM_FRAMES,
        "video.fps": FPS,
        "video.height": SIZE[0],
        "video.width": SIZE[1],
    }
    overrides = [f"--override={name}={value}" for name, value in settings.items()]
    return Run([*overrides, "--cache", str(folder / "cache")], expected, Noting())


@pytest.fixture(scope="module")
def done(run: Run) -> Run:
    """The command after its first run."""
    go(run)
    (folder,) = Path(run.arguments[-1]).glob("store-*")
    run.store, run.rows = FeatureStore(folder), read_rows(folder)
    return run


def go(run: Run) -> None:
    """Run the command with stand-in teachers."""
    face = Faces()
    teachers = Teachers(
        depth=run.depth, face=face, people=PersonFilter(detector=people_by_face(face), looks=5)
    )

    def load(cfg: Config) -> Teachers:
        return teachers

    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(io.StringIO()) as said:
        patch.setattr("semrepa.prepare.features.load_teachers", load)
        run.status = main(run.arguments)
    run.said = said.getvalue()


def outcome(run: Run, name: str) -> tuple[str | None, tuple[int, ...] | None, str | None]:
    """Reason, frames that the networks saw, and reader of one file."""
    row = run.rows[clip_id(name)]
    if row["status"] == "rejected":
        return row["reject_reason"], None, None
    return None, run.depth.seen[name], row["backend"]


def wanted(expected: Expected) -> tuple[str | None, tuple[int, ...] | None, str | None]:
    reason = expected.reason or expected.unchanging
    backend = expected.backend if pictures.decord is not None else "pyav"
    return reason, None if reason else expected.numbers, None if reason else backend


def test_each_file_ends_as_a_record_or_with_its_reason(done: Run) -> None:
    videos = {name: expected for name, expected in done.expected.items() if name not in PEOPLE}
    found = {name: outcome(done, name) for name in videos}
    assert {n: (o, wanted(videos[n])) for n, o in found.items() if o != wanted(videos[n])} == {}
    assert {name: outcome(done, name)[0] for name in PEOPLE} == {n: e.reason for n, e in PEOPLE.items()}
    assert len(done.rows) == len(done.expected) > 50
    kept = {clip_id(name) for name, e in done.expected.items() if wanted(e)[0] is None}
    assert set(done.store.ids()) == kept
    assert done.store.rejects().keys() == {clip_id(name) for name in done.expected} - kept
    assert all(row["message"] for row in done.rows.values() if row["status"] == "rejected")


def test_the_command_says_what_happened(done: Run) -> None:
    reasons = Counter(reason for e in done.expected.values() if (reason := wanted(e)[0]))
    assert done.status == 0
    last = done.said.strip().splitlines()[-1]
    assert f": {len(done.store.ids())} records, {reasons.total()} left out (" in last
    assert all(f"{reason} {count}" in last for reason, count in reasons.items())
    assert {
        "empty",
        "not_video",
        "corrupt",
        "too_short",
        "missing",
        "static",
        "cut",
        "no_person",
    } <= reasons.keys()


def test_the_same_file_twice_gives_the_same_record(done: Run) -> None:
    one, other = (done.store.read(clip_id(name)) for name in ("plain.mp4", "duplicate.mp4"))
    assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_facts_of_good_and_bad_clips_are_noted(done: Run) -> None:
    rows = {name: done.rows[clip_id(name)] for name in done.expected}
    assert rows["static.mp4"]["motion"] < 0.1 and rows["plain.mp4"]["motion"] > 5
    assert rows["static.mp4"]["codec"] == "h264" and rows["frames_48.mp4"]["width"] == SIZE[1]
    assert rows["nobody.mp4"]["person_area"] == 0 and rows["one_person.mp4"]["person_area"] > 0.1
    jumps = {name: rows[name]["jump"] for name in PEOPLE}
    assert jumps.pop("cut_between_people.mp4") > 10 and max(jumps.values()) < 6, jumps


def face(run: Run, name: str) -> dict[str, torch.Tensor]:
    record = run.store.read(clip_id(f"{name}.mp4"))
    return {key: record[key].float() for key in ("face_mask", "face_boxes", "id_embeds", "face_sizes")}


def test_faces_are_found_in_the_source_and_given_in_the_frame(done: Run) -> None:
    one = face(done, "one_person")
    assert one["face_mask"].mean() == 1
    middle = one["face_boxes"].view(-1, 2, 2).mean(1)
    assert ((middle - torch.tensor([SIZE[1] / 2, SIZE[0] / 3])).abs() < 12).all()
    assert one["face_sizes"].min() > 8


def test_one_of_two_people_is_followed(done: Run) -> None:
    two = face(done, "two_people")
    assert two["face_mask"].mean() == 1
    middle = two["face_boxes"][:, ::2].mean(1)
    assert (middle < SIZE[1] / 2).all() or (middle > SIZE[1] / 2).all()
    assert (two["id_embeds"] @ two["id_embeds"].T).min() > 0.5


def test_a_face_that_leaves_is_masked_from_then_on(done: Run) -> None:
    mask = face(done, "leaving")["face_mask"]
    assert mask[:LEAVES].all() and not mask[-5:].any()
    assert 0.3 < done.rows[clip_id("leaving.mp4")]["face_rate"] < 0.9


def test_a_second_run_does_nothing_anew(done: Run) -> None:
    before = {path: path.stat().st_mtime_ns for path in done.store.folder.rglob("*.safetensors")}
    done.depth.seen.clear()
    go(done)
    assert done.status == 0 and not done.depth.seen
    assert {path: path.stat().st_mtime_ns for path in done.store.folder.rglob("*.safetensors")} == before
