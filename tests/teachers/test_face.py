"""The face teacher on hand-made packs in the official layout, through insightface's own FaceAnalysis."""

import dataclasses
import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from insightface.app import FaceAnalysis

from semrepa.data.sampling import ClipError
from semrepa.provenance import sha256_of
from semrepa.teachers import FaceTeacher
from semrepa.teachers.face import CROWD, InsightFaceTeacher, check_frames, load_app
from semrepa.teachers.pack import find_pack
from tests.teachers.packs import blank, build_pack, draw_face, face_crop, key_points, write_detector

ANN, BOB, CAT = 1, 2, 3
SMALL = ("scrfd_10g_bnkps.onnx", "arcface.onnx")


def clip(*frames: torch.Tensor) -> torch.Tensor:
    return torch.stack(frames)


def seen(person: int, x: float, y: float, **pose: float) -> torch.Tensor:
    return draw_face(blank(), person, x, y, **pose)


def test_one_face_is_found_placed_and_known_again(teacher: InsightFaceTeacher) -> None:
    poses = [(300, 200, 0.5, 0.5), (400.5, 250.3, 1.2, -0.5), (350, 220, 0.8, 0.0)]
    track = teacher(clip(*(seen(ANN, x, y, scale=s, angle=a) for x, y, s, a in poses)))
    assert track.mask.all()
    assert track.embeds.shape == (3, 512)
    torch.testing.assert_close(track.embeds.norm(dim=1), torch.ones(3))
    for k, (x, y, s, a) in enumerate(poses):
        np.testing.assert_allclose(track.points[k], key_points(x, y, s, a), atol=1.2)
        middle = track.boxes[k].reshape(2, 2).mean(dim=0)
        assert (middle - track.points[k].mean(dim=0)).abs().max() < 8 * s
        assert track.sizes[k] == (track.boxes[k, 2:] - track.boxes[k, :2]).min()
    assert (track.embeds @ track.embeds.T).min() > 0.95
    assert (track.embeds @ teacher(seen(BOB, 300, 200)[None]).embeds[0]).max() < 0.5
    assert track.scores.min() > 0.8
    assert track.cuts.max() == 0
    assert track.yaws.abs().max() < 0.05
    assert isinstance(teacher, FaceTeacher)


@pytest.mark.parametrize("people", [(), (ANN,), (ANN, BOB)])
def test_insightface_itself_runs_the_pack_and_agrees(
    pack: Path, teacher: InsightFaceTeacher, people: tuple[int, ...]
) -> None:
    app = FaceAnalysis(
        str(pack), allowed_modules=["detection", "recognition"], providers=["CPUExecutionProvider"]
    )
    app.prepare(ctx_id=0, det_size=(640, 640))
    frame = blank()
    for person, (x, y) in zip(people, [(180, 240), (520, 200)], strict=False):
        draw_face(frame, person, x, y, scale=0.8, angle=0.2)
    bgr = np.ascontiguousarray(frame.permute(1, 2, 0).numpy()[..., ::-1])
    theirs, ours = app.get(bgr), teacher.find(frame[None])[0]
    assert len(theirs) == len(ours.scores) == len(people)
    for k, face in enumerate(theirs):
        np.testing.assert_array_equal(ours.boxes[k], face.bbox)
        np.testing.assert_array_equal(ours.points[k], face.kps)
        assert face.normed_embedding @ ours.embeds[k] > 0.9999
    assert not people or app.get(bgr[..., ::-1].copy()) == [], "RGB passed for BGR: the red dots are gone"


def test_the_whole_canvas_asked_for_is_used(
    teacher: InsightFaceTeacher, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes, detect = [], teacher.detector.forward
    monkeypatch.setattr(
        teacher.detector, "forward", lambda image, t: sizes.append(image.shape) or detect(image, t)
    )
    teacher.find(clip(blank(128, 192)))
    teacher.find(clip(blank(720, 480)))
    assert sizes == [(640, 640, 3)] * 2, "one pass each, never insightface's second one of 128 x 128"


def test_channels_are_rgb(teacher: InsightFaceTeacher) -> None:
    frames = seen(ANN, 300, 200)[None]
    assert teacher(frames).mask.all()
    assert not teacher(frames.flip(1)).mask.any()


def test_of_a_group_the_largest_is_followed_and_nobody_else(teacher: InsightFaceTeacher) -> None:
    group = draw_face(draw_face(seen(ANN, 360, 240, scale=0.9), BOB, 100, 200), CAT, 620, 200)
    gone = draw_face(seen(BOB, 120, 200), CAT, 600, 200)
    back = draw_face(seen(BOB, 360, 240, scale=1.0), ANN, 150, 240, scale=0.7)
    track = teacher(clip(group, gone, gone, gone, gone, back))
    assert track.mask.tolist() == [True, False, False, False, False, True]
    assert abs(track.points[-1, 2, 0] - 150) < 5
    assert track.embeds[0] @ track.embeds[-1] > 0.95


def test_a_second_person_who_enters_is_not_taken_for_the_first(teacher: InsightFaceTeacher) -> None:
    alone, both = seen(ANN, 200, 240), draw_face(seen(ANN, 215, 240), BOB, 520, 240, scale=1.1)
    track = teacher(clip(alone, both, seen(BOB, 500, 240, scale=1.1)))
    assert track.mask.tolist() == [True, True, False]
    assert abs(track.points[1, 2, 0] - 215) < 5
    assert track.boxes[2].isnan().all()


def test_a_clip_without_a_face_is_masked(teacher: InsightFaceTeacher) -> None:
    track = teacher(clip(blank(), blank()))
    assert not track.mask.any()
    assert not track.embeds.any()
    assert not track.scores.any()
    for field in (track.boxes, track.points, track.sizes, track.cuts, track.yaws):
        assert field.isnan().all()


def test_a_frame_without_a_face_is_masked(teacher: InsightFaceTeacher) -> None:
    track = teacher(clip(blank(), seen(ANN, 300, 200), blank()))
    assert track.mask.tolist() == [False, True, False]
    assert track.boxes[1].isfinite().all()
    assert track.boxes[[0, 2]].isnan().all()


def test_faces_cut_by_the_border_are_measured_and_can_be_refused(
    pack: Path, teacher: InsightFaceTeacher
) -> None:
    left = seen(ANN, 55.5 - 30, 200, scale=1)  # 30 columns of the crop are outside, left of the first dot
    right = seen(ANN, 720 - 112 + 55.5 + 30, 200, scale=1)
    track = teacher(clip(seen(ANN, 300, 200, scale=1), left, right))
    assert track.mask.all()
    assert track.cuts[0] == 0
    np.testing.assert_allclose(track.cuts[1:], [0.24, 0.24], atol=0.03)  # the box covers 6 to 106 of the crop
    strict = InsightFaceTeacher(pack, max_cut=0.1)(clip(seen(ANN, 300, 200, scale=1), left))
    assert strict.mask.tolist() == [True, False]
    assert not strict.embeds[1].any()
    assert strict.boxes[1].isfinite().all() and strict.cuts[1] > 0.1 and strict.scores[1] > 0.5


def test_turned_heads_are_measured_and_can_be_refused(pack: Path, teacher: InsightFaceTeacher) -> None:
    frames = clip(*(seen(ANN, 300, 200, angle=0.4, yaw=yaw) for yaw in (0.0, 0.4, -0.4)))
    np.testing.assert_allclose(teacher(frames).yaws, [0, 0.4, -0.4], atol=0.05)
    assert InsightFaceTeacher(pack, max_yaw=0.3)(frames).mask.tolist() == [True, False, False]


def test_small_faces_keep_their_quality_but_are_masked(pack: Path, teacher: InsightFaceTeacher) -> None:
    frames = clip(
        seen(BOB, 150, 200, scale=0.5), draw_face(seen(BOB, 150, 200, scale=0.5), ANN, 450, 240, scale=1)
    )
    assert teacher(frames).mask.tolist() == [True, True]
    track = InsightFaceTeacher(pack, min_size=80)(frames)
    assert track.mask.tolist() == [False, True]
    assert abs(track.points[1, 2, 0] - 450) < 5, "the track begins with the first face that is good enough"
    alone = InsightFaceTeacher(pack, min_size=80)(frames[:1])
    assert not alone.mask.any() and 30 < alone.sizes[0] < 80


def test_faces_of_a_picture_are_given_in_pixels_of_the_frame(pack: Path, teacher: InsightFaceTeacher) -> None:
    picture = clip(seen(ANN, 300, 200), seen(ANN, 55.5 - 30, 200, scale=1))  # the second is cut off
    height, width = picture.shape[2:]
    whole, shown = teacher(picture), teacher(picture, (10, 40, height // 4, width // 2))
    assert torch.equal(whole.embeds, shown.embeds) and torch.equal(whole.yaws, shown.yaws)
    assert torch.equal(whole.cuts, shown.cuts) and shown.cuts[1] > 0.2
    torch.testing.assert_close(
        shown.points, whole.points * torch.tensor([0.5, 0.25]) + torch.tensor([40, 10])
    )
    torch.testing.assert_close(shown.boxes[:, ::2], whole.boxes[:, ::2] * 0.5 + 40)
    torch.testing.assert_close(shown.boxes[:, 1::2], whole.boxes[:, 1::2] * 0.25 + 10)
    torch.testing.assert_close(shown.sizes, (shown.boxes[:, 2:] - shown.boxes[:, :2]).min(1).values)
    least = 0.7 * whole.sizes[1].item()
    strict = InsightFaceTeacher(pack, min_size=least)
    assert strict(picture).mask[1] and not strict(picture, (10, 40, height // 4, width // 2)).mask[1]
    assert torch.equal(teacher(picture, (0, 0, height, width)).boxes, whole.boxes)


def test_unsure_faces_are_not_found(pack: Path) -> None:
    frames = seen(ANN, 300, 200)[None]
    score = InsightFaceTeacher(pack, min_score=0.3)(frames).scores.item()
    assert not InsightFaceTeacher(pack, min_score=(1 + score) / 2)(frames).mask.any()


def test_only_the_largest_of_a_crowd_are_looked_at(teacher: InsightFaceTeacher) -> None:
    frame = blank(960, 960)
    for k in range(12):
        draw_face(frame, k, 130 + 230 * (k % 4), 130 + 230 * (k // 4), scale=0.8 + 0.02 * k)
    found = teacher.find(frame[None])[0]
    columns, rows = (np.round((found.points[:, 2] - 130) / 230)).astype(int).T
    assert sorted(4 * rows + columns) == list(range(12 - CROWD, 12))
    assert (np.diff(found.scores) <= 0).all()


def test_batches_equal_singles_and_one_is_fine(teacher: InsightFaceTeacher, tmp_path: Path) -> None:
    single = InsightFaceTeacher(build_pack(tmp_path / "one", SMALL, batch=1))
    crops = [face_crop(person)[..., ::-1].copy() for person in range(5)]
    one_by_one = np.concatenate([teacher.embed([crop]) for crop in crops])
    np.testing.assert_allclose(teacher.embed(crops), one_by_one, atol=1e-6)
    np.testing.assert_allclose(single.embed(crops), one_by_one, atol=1e-6)
    assert teacher.embed([]).shape == (0, 512)


def test_batches_are_really_used(teacher: InsightFaceTeacher, monkeypatch: pytest.MonkeyPatch) -> None:
    counts, embed = [], teacher.recogniser.get_feat
    monkeypatch.setattr(
        teacher.recogniser, "get_feat", lambda crops: counts.append(len(crops)) or embed(crops)
    )
    teacher(clip(*(seen(ANN, 300 + k, 200) for k in range(5))))
    assert counts == [5]


def test_a_recogniser_that_fails_on_batches_is_fed_singly(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    broken = InsightFaceTeacher(build_pack(tmp_path / "breaks", SMALL, breaks=True))
    frames = clip(seen(ANN, 300, 200), seen(ANN, 310, 200), seen(ANN, 320, 200))
    assert broken(frames).mask.all()
    assert broken(frames).embeds[0] @ broken(frames).embeds[2] > 0.95
    assert [r.levelname for r in caplog.records if "takes no batches" in r.message] == ["WARNING"]


def test_numbers_that_are_not_finite_are_refused(
    teacher: InsightFaceTeacher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(teacher.recogniser, "get_feat", lambda crops: np.full((len(crops), 512), np.nan))
    with pytest.raises(ClipError, match=r"\(2, 512\) features for 2 faces .* finite") as caught:
        teacher.embed(2 * [face_crop(0)])
    assert caught.value.reason == "no_face_features"
    monkeypatch.setattr(teacher.recogniser, "get_feat", lambda crops: np.zeros((len(crops), 128)))
    with pytest.raises(ValueError, match=r"\(2, 128\) features for 2 faces .* 512 finite"):
        teacher.embed(2 * [face_crop(0)])


def test_a_recogniser_that_hides_its_width_is_found_out_at_once(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"\(2, 128\) features for 2 faces"):
        InsightFaceTeacher(build_pack(tmp_path, SMALL, width=128, says="features"))


def test_both_files_are_logged_with_their_hashes(pack: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        teacher = InsightFaceTeacher(pack)
    for name in SMALL:
        assert f"{pack / name} (sha256 {sha256_of(pack / name)}) runs on CPUExecutionProvider" in caplog.text
    assert "glintr100" not in caplog.text
    assert teacher.provenance.kind == "random"
    assert teacher.provenance.name == "insightface scrfd_10g_bnkps.onnx + arcface.onnx"
    assert teacher.provenance.source == str(pack)
    assert len(teacher.provenance.sha256) == 64


def test_another_file_than_the_checked_one_is_refused(pack: Path) -> None:
    other = dataclasses.replace(find_pack(pack), recogniser=pack / "glintr100.onnx")
    with pytest.raises(ValueError, match=r"insightface took .*arcface.onnx.*; expected .*glintr100.onnx"):
        load_app(other, None)


def test_a_detector_of_one_size_must_be_asked_for_that_size(tmp_path: Path) -> None:
    build_pack(tmp_path, ("arcface.onnx",))
    write_detector(tmp_path / "scrfd_10g_bnkps.onnx", size=(320, 320))
    with pytest.raises(
        ValueError, match=r"\(640, 640\), but scrfd_10g_bnkps.onnx was exported for \(320, 320\)"
    ):
        InsightFaceTeacher(tmp_path)
    assert InsightFaceTeacher(tmp_path, detector_size=(320, 320))(
        seen(ANN, 300, 200, scale=1.2)[None]
    ).mask.all()


@pytest.mark.parametrize(
    ("frames", "error", "message"),
    [
        (torch.rand(2, 3, 64, 96), TypeError, "torch.float32; expected a torch.uint8"),
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
    with pytest.raises(TypeError):
        teacher.find(torch.rand(2, 3, 64, 96))
    with pytest.raises(ValueError, match=r"expected \(n, 3, H, W\)"):
        teacher.find(torch.zeros(0, 3, 64, 96, dtype=torch.uint8))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"detector_size": (700, 480)}, "multiples of 32"),
        ({"min_score": 50}, "between 0 and 1"),
        ({"max_cut": 1.5}, "from 0 to 1"),
        ({"max_yaw": 0.0}, "above 0"),
        ({"providers": ["NoSuchProvider"]}, "NoSuchProvider"),
    ],
)
def test_wrong_settings_are_refused(pack: Path, settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        InsightFaceTeacher(pack, **settings)


def test_without_a_gpu_it_warns_and_goes_on(pack: Path, caplog: pytest.LogCaptureFixture) -> None:
    teacher = InsightFaceTeacher(pack, providers=("CUDAExecutionProvider", "CPUExecutionProvider"))
    if "CUDAExecutionProvider" in teacher.providers:
        pytest.skip("there is a GPU")
    assert teacher.providers == ("CPUExecutionProvider",)
    assert "pip install onnxruntime-gpu" in caplog.text
    assert teacher(seen(ANN, 300, 200)[None]).mask.all()
