import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from semrepa.teachers.align import TEMPLATE
from semrepa.teachers.face import InsightFaceTeacher, canvas_size, check_frames
from tests.teachers.packs import MARK, SIDE, toy_frame, write_pack

GREEN, BLUE = (30, 200, 60), (20, 60, 220)


def clip(*frames: torch.Tensor) -> torch.Tensor:
    return torch.stack(frames)


def test_one_face_is_found_placed_and_embedded(teacher: InsightFaceTeacher) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        track = teacher(clip(toy_frame((32, 48, GREEN)), toy_frame((36, 52, GREEN))))
    assert track.mask.tolist() == [True, True]
    assert track.embeds.shape == (2, 512)
    torch.testing.assert_close(track.embeds.norm(dim=1), torch.ones(2))
    assert track.embeds[0] @ track.embeds[1] > 0.99
    middle = torch.tensor([48 + MARK / 2, 32 + MARK / 2])
    torch.testing.assert_close(
        track.boxes[0], torch.cat([middle - SIDE / 2, middle + SIDE / 2]), atol=0.5, rtol=0
    )
    expected = torch.from_numpy((TEMPLATE / 112 - 0.5) * SIDE) + middle
    torch.testing.assert_close(track.points[0], expected, atol=0.5, rtol=0)
    torch.testing.assert_close(track.boxes[1] - track.boxes[0], torch.full((4,), 4.0), atol=0.1, rtol=0)
    assert (track.scores > 0.75).all()


def test_two_faces_are_both_found_and_one_person_is_followed(teacher: InsightFaceTeacher) -> None:
    both = toy_frame((32, 24, GREEN), (32, 72, BLUE))
    assert [len(found.scores) for found in teacher.find(clip(both))] == [2]
    alone, swapped = toy_frame((32, 24, GREEN)), toy_frame((32, 72, GREEN), (32, 24, BLUE))
    track = teacher(clip(alone, both, toy_frame((32, 72, BLUE)), swapped))
    assert track.mask.tolist()[:2] == [True, True]
    assert track.boxes[1, 0] < 30


def test_a_clip_without_a_face_is_masked(teacher: InsightFaceTeacher) -> None:
    track = teacher(clip(toy_frame(), toy_frame()))
    assert not track.mask.any()
    assert not track.embeds.any()
    assert not track.scores.any()
    assert track.boxes.isnan().all()
    assert track.points.isnan().all()


def test_a_frame_without_a_face_is_masked(teacher: InsightFaceTeacher) -> None:
    track = teacher(clip(toy_frame(), toy_frame((32, 48, GREEN)), toy_frame()))
    assert track.mask.tolist() == [False, True, False]
    assert track.boxes[1].isfinite().all()
    assert track.boxes[[0, 2]].isnan().all()


def test_same_frames_give_same_answer(teacher: InsightFaceTeacher) -> None:
    frames = clip(toy_frame((32, 48, GREEN)), toy_frame((32, 60, BLUE)))
    assert torch.equal(teacher(frames).embeds, teacher(frames).embeds)


def test_channel_order_is_rgb(teacher: InsightFaceTeacher) -> None:
    frames = clip(toy_frame((32, 48, GREEN)))
    assert teacher(frames).mask.all()
    assert not teacher(frames.flip(1)).mask.any(), "a blue square is no face"


def test_batched_and_single_embeddings_agree(teacher: InsightFaceTeacher, tmp_path: Path) -> None:
    single = InsightFaceTeacher(write_pack(tmp_path / "one", free_batch=False), detector_size=(192, 128))
    crops = list(np.random.default_rng(0).integers(0, 256, (5, 112, 112, 3), dtype=np.uint8))
    np.testing.assert_allclose(single.embed(crops), teacher.embed(crops), atol=1e-6)
    assert teacher.embed([]).shape == (0, 512)


def test_small_faces_can_be_refused(pack: Path) -> None:
    frames = clip(toy_frame((32, 48, GREEN)))
    assert not InsightFaceTeacher(pack, detector_size=(192, 128), min_size=SIDE + 4)(frames).mask.any()


def test_provenance_names_files_and_kind(teacher: InsightFaceTeacher, pack: Path) -> None:
    assert teacher.provenance.kind == "random"
    assert "detector.onnx + recogniser.onnx" in teacher.provenance.name
    assert teacher.provenance.source == str(pack)
    assert len(teacher.provenance.sha256) == 64


@pytest.mark.parametrize(
    ("frames", "error", "message"),
    [
        (torch.zeros(2, 3, 64, 96), TypeError, "torch.float32; expected a torch.uint8"),
        (np.zeros((2, 3, 64, 96), np.uint8), TypeError, "ndarray; expected a torch.uint8"),
        (torch.zeros(1, 2, 3, 64, 96, dtype=torch.uint8), ValueError, r"expected \(n, 3, H, W\)"),
        (torch.zeros(2, 64, 96, 3, dtype=torch.uint8), ValueError, r"expected \(n, 3, H, W\)"),
        (torch.zeros(0, 3, 64, 96, dtype=torch.uint8), ValueError, r"expected \(n, 3, H, W\)"),
    ],
)
def test_wrong_frames_are_refused(frames: object, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        check_frames(frames)


def test_the_teacher_checks_its_frames(teacher: InsightFaceTeacher) -> None:
    with pytest.raises((TypeError, ValueError)):
        teacher.find(torch.zeros(2, 3, 64, 96))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"detector_size": (700, 480)}, "multiples of 32"),
        ({"min_score": 50}, "between 0 and 1"),
        ({"providers": ["NoSuchProvider"]}, "NoSuchProvider"),
    ],
)
def test_wrong_settings_are_refused(pack: Path, settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        InsightFaceTeacher(pack, **settings)


def test_missing_folder_and_files_are_named(pack: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no folder; expected .*detector.onnx"):
        InsightFaceTeacher(tmp_path / "absent")
    with pytest.raises(FileNotFoundError, match=r"no .onnx file; missing: detector, recogniser"):
        InsightFaceTeacher(tmp_path)
    shutil.copy(pack / "detector.onnx", tmp_path)
    with pytest.raises(FileNotFoundError, match=r"with detector.onnx; missing: recogniser; .*arcface.onnx"):
        InsightFaceTeacher(tmp_path)


def test_a_doubled_folder_is_looked_through(pack: Path, tmp_path: Path) -> None:
    shutil.copytree(pack, tmp_path / "antelopev2" / "antelopev2")
    teacher = InsightFaceTeacher(tmp_path / "antelopev2", detector_size=(192, 128))
    assert teacher(clip(toy_frame((32, 48, GREEN)))).mask.all()


def test_a_recogniser_of_another_width_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="128 output features; expected 512"):
        InsightFaceTeacher(write_pack(tmp_path, width=128))


def test_a_file_that_is_no_model_is_refused(pack: Path, tmp_path: Path) -> None:
    shutil.copy(pack / "detector.onnx", tmp_path)
    (tmp_path / "recogniser.onnx").write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(ValueError, match="not an ONNX model"):
        InsightFaceTeacher(tmp_path)


@pytest.mark.parametrize(
    ("height", "width", "asked", "canvas"),
    [
        (480, 720, (640, 640), (640, 448)),
        (720, 480, (640, 640), (448, 640)),
        (640, 640, (640, 640), (640, 640)),
        (128, 192, (640, 640), (576, 384)),
        (128, 192, (384, 256), (384, 256)),
        (192, 128, (384, 256), (192, 256)),
    ],
)
def test_canvas_fits_the_frame_and_small_frames_are_enlarged_at_most_three_times(
    height: int, width: int, asked: tuple[int, int], canvas: tuple[int, int]
) -> None:
    assert canvas_size(height, width, asked) == canvas
