"""The person detector on hand-made ONNX files in the format of an ultralytics export, metadata included."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto

from semrepa.data.people import PersonFilter
from semrepa.provenance import sha256_of
from semrepa.teachers.letterbox import Letterbox
from semrepa.teachers.people import YoloPersonDetector, people_in
from tests.teachers.yolo import GREEN, RED, write_constant, write_yolo

SIZES = [(480, 720), (720, 480), (640, 640), (333, 517), (1080, 1920), (37, 53), (481, 719), (1200, 90)]


@pytest.fixture(scope="module")
def yolo(tmp_path_factory: pytest.TempPathFactory) -> YoloPersonDetector:
    return YoloPersonDetector(write_yolo(tmp_path_factory.mktemp("yolo") / "yolov8n.onnx"))


def scene(size: tuple[int, int], colour: tuple[int, int, int] = RED) -> tuple[torch.Tensor, torch.Tensor]:
    """A dull frame with a block, and left, top, right, bottom of the block."""
    height, width = size
    left, top, right, bottom = int(0.2 * width), int(0.1 * height), int(0.7 * width), int(0.85 * height)
    frame = torch.full((3, height, width), 90, dtype=torch.uint8)
    frame[:, top:bottom, left:right] = torch.tensor(colour, dtype=torch.uint8)[:, None, None]
    return frame, torch.tensor([left, top, right, bottom], dtype=torch.float32)


@pytest.mark.parametrize("size", SIZES)
def test_a_person_is_where_they_are(yolo: YoloPersonDetector, size: tuple[int, int]) -> None:
    frame, truth = scene(size)
    (found,) = yolo(frame)
    scale = 640 / max(size)
    torch.testing.assert_close(found[:4], truth, atol=0.15 + 0.5 / scale, rtol=0)
    assert 0.8 < found[4] <= 0.9


@pytest.mark.parametrize("size", SIZES)
def test_free_input_sizes_give_the_same_boxes(tmp_path: Path, size: tuple[int, int]) -> None:
    free = YoloPersonDetector(write_yolo(tmp_path / "free.onnx", size=("height", "width"), batch="batch"))
    frame, truth = scene(size)
    torch.testing.assert_close(free(frame)[0, :4], truth, atol=0.15 + 0.5 * max(size) / 640, rtol=0)


def test_a_person_at_the_border_stays_in_the_frame(yolo: YoloPersonDetector) -> None:
    frame = torch.zeros(3, 333, 517, dtype=torch.uint8)
    frame[0] = 255
    torch.testing.assert_close(yolo(frame)[0, :4], torch.tensor([0.0, 0.0, 517.0, 333.0]), atol=0.8, rtol=0)
    assert (yolo(frame)[0, :4] <= torch.tensor([517, 333, 517, 333])).all()


def test_cars_are_nobody_and_channels_are_rgb(yolo: YoloPersonDetector) -> None:
    assert yolo(scene((480, 720), GREEN)[0]).shape == (0, 5)
    assert yolo(torch.full((3, 480, 720), 128, dtype=torch.uint8)).shape == (0, 5)
    assert len(yolo(scene((480, 720), RED)[0])) == 1
    assert yolo(scene((480, 720), RED)[0].flip(0)).shape == (0, 5)


def test_the_filter_records_its_box(yolo: YoloPersonDetector) -> None:
    frame, truth = scene((480, 720))
    sighting = PersonFilter(detector=yolo)(frame[None])
    assert sighting.present and sighting.frame == 0
    np.testing.assert_allclose(sighting.box, truth, atol=1)
    assert abs(sighting.area - 0.375) < 0.01
    assert not PersonFilter(detector=yolo, min_area=0.5)(frame[None]).present
    assert not PersonFilter(detector=yolo, min_score=0.95)(frame[None]).present


def test_a_low_score_is_nobody(tmp_path: Path) -> None:
    path = write_yolo(tmp_path / "yolov8n.onnx")
    assert len(YoloPersonDetector(path, min_score=0.95)(scene((480, 720))[0])) == 0
    with pytest.raises(ValueError, match="min_score: got 25"):
        YoloPersonDetector(path, min_score=25)


def test_provenance_and_providers(yolo: YoloPersonDetector, tmp_path: Path) -> None:
    path = Path(yolo.provenance.source)
    assert (yolo.provenance.kind, yolo.provenance.sha256) == ("random", sha256_of(path))
    assert yolo.provenance.name == "person detector yolov8n.onnx"
    assert "CPUExecutionProvider" in yolo.providers
    real = YoloPersonDetector(write_yolo(tmp_path / "y.onnx", **{"semrepa.kind": None}))
    assert real.provenance.kind == "real"


def test_a_cpu_build_of_onnxruntime_is_warned_of(
    yolo: YoloPersonDetector, caplog: pytest.LogCaptureFixture
) -> None:
    wanted = ("CUDAExecutionProvider", "CPUExecutionProvider")
    detector = YoloPersonDetector(yolo.provenance.source, providers=wanted)
    if "CUDAExecutionProvider" in detector.providers:
        pytest.skip("there is a GPU")
    assert "pip install onnxruntime-gpu" in caplog.text
    assert len(detector(scene((480, 720))[0])) == 1


def test_letterbox_of_the_paper_size() -> None:
    assert Letterbox.fit((480, 720), (640, 640)) == ((480, 720), (427, 640), (640, 640))
    assert Letterbox.fit((480, 720), (640, 640)).offset == (106, 0)
    assert Letterbox.fit((480, 720), (640, 640), 32) == ((480, 720), (427, 640), (448, 640))
    assert Letterbox.fit((480, 720), (640, 640), 32).offset == (10, 0)
    assert Letterbox.fit((1, 3000), (640, 640)).inner == (1, 640)


@pytest.mark.parametrize("stride", [None, 32])
def test_letterbox_rounds_as_ultralytics_does(stride: int | None) -> None:
    rng = np.random.default_rng(0)
    for height, width in rng.integers(1, 2000, (300, 2)).tolist():
        ratio = min(640 / height, 640 / width)
        new = max(round(width * ratio), 1), max(round(height * ratio), 1)
        pad = 640 - new[0], 640 - new[1]
        pad = pad if stride is None else (pad[0] % stride, pad[1] % stride)
        top, bottom = round(pad[1] / 2 - 0.1), round(pad[1] / 2 + 0.1)
        left, right = round(pad[0] / 2 - 0.1), round(pad[0] / 2 + 0.1)
        ours = Letterbox.fit((height, width), (640, 640), stride)
        assert ours.inner == (new[1], new[0])
        assert ours.offset == (top, left)
        assert ours.outer == (new[1] + top + bottom, new[0] + left + right)


def test_letterbox_draws_on_grey_and_back() -> None:
    box = Letterbox.fit((100, 200), (640, 640))
    canvas = box.apply(np.full((100, 200, 3), 7, np.uint8))
    assert (canvas[:160] == 114).all() and (canvas[480:] == 114).all() and (canvas[160:480] == 7).all()
    back = box.undo(np.array([[32, 160, 640, 480, 0.5], [-9, 0, 700, 640, 0.4]], np.float32))
    np.testing.assert_allclose(back, [[10, 0, 200, 100, 0.5], [0, 0, 200, 100, 0.4]], rtol=1e-6)


def rows(*boxes: tuple[float, ...], classes: int = 3) -> np.ndarray:
    """An answer from centre, size and class scores of each place."""
    return np.array(boxes, np.float32).reshape(-1, 4 + classes).T[None]


def test_the_weaker_of_two_overlapping_boxes_is_dropped() -> None:
    near = rows((50, 50, 40, 80, 0.6, 0, 0), (52, 50, 40, 80, 0.9, 0, 0), (75, 50, 40, 80, 0.5, 0, 0))
    found = people_in(near, 0, 7, 0.25)
    np.testing.assert_allclose(found, [[32, 10, 72, 90, 0.9], [55, 10, 95, 90, 0.5]], rtol=1e-6)


def test_a_place_is_a_person_only_when_no_other_class_is_surer() -> None:
    answer = rows((50, 50, 40, 80, 0.6, 0.7, 0), (150, 50, 40, 80, 0.6, 0.5, 0), (250, 50, 40, 80, 0.2, 0, 0))
    assert people_in(answer, 0, 7, 0.25)[:, 0].tolist() == [130]
    assert people_in(answer, 1, 7, 0.25)[:, 0].tolist() == [30]
    assert people_in(rows(), 0, 7, 0.25).shape == (0, 5)


def test_models_that_drop_boxes_themselves_are_read(tmp_path: Path) -> None:
    answer = np.zeros((1, 300, 6), np.float32)
    answer[0, :3] = [(64, 160, 320, 480, 0.5, 0), (0, 160, 64, 480, 0.9, 2), (320, 160, 640, 480, 0.8, 0)]
    detector = YoloPersonDetector(write_constant(tmp_path / "end2end.onnx", answer))
    found = detector(torch.zeros(3, 100, 200, dtype=torch.uint8))
    np.testing.assert_allclose(found, [[100, 0, 200, 100, 0.8], [20, 0, 100, 100, 0.5]], rtol=1e-5)


def test_exports_without_names_but_with_the_80_classes_are_read(tmp_path: Path) -> None:
    assert len(YoloPersonDetector(write_yolo(tmp_path / "bare.onnx", names=None))(scene((480, 720))[0])) == 1
    with pytest.raises(ValueError, match=r"no list of classes \(its metadata say None\)"):
        YoloPersonDetector(write_constant(tmp_path / "few.onnx", np.zeros((1, 9, 8400)), names=None))


@pytest.mark.parametrize(
    ("shape", "changes", "message"),
    [
        ((1, 116, 8400), {}, r"got output \[1, 116, 8400\] .*expected \[1, 84, places\]"),
        ((1, 116, 8400), {"task": "segment"}, "a segment model with input .*expected a detect model"),
        (
            (1, 56, 8400),
            {"names": "{0: 'person'}"},
            r"got output \[1, 56, 8400\] .*expected \[1, 5, places\]",
        ),
        ((1, 1000), {}, r"got output \[1, 1000\]"),
        (
            (1, 84, 8400),
            {"names": "{0: 'car', 1: 'dog'}"},
            r"with the classes \['car', 'dog'\].*'person' among them",
        ),
        ((1, 84, 8400), {"names": "car; dog"}, r"no list of classes \(its metadata say 'car; dog'\)"),
    ],
)
def test_other_models_are_refused(tmp_path: Path, shape: tuple, changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        YoloPersonDetector(write_constant(tmp_path / "other.onnx", np.zeros(shape, np.float32), **changes))


def test_a_batch_of_a_fixed_size_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"input \[4, 3, 640, 640\]; expected .* \[1, 3, 640, 640\]"):
        YoloPersonDetector(write_constant(tmp_path / "four.onnx", np.zeros((4, 84, 8400)), batch=4))


def test_a_surprising_answer_is_refused() -> None:
    with pytest.raises(ValueError, match=r"got output \[2, 84, 8400\] from the detector"):
        people_in(np.zeros((2, 84, 8400), np.float32), 0, 84, 0.25)


def test_files_that_are_no_export_are_refused(yolo: YoloPersonDetector, tmp_path: Path) -> None:
    with pytest.raises(
        FileNotFoundError, match="absent.onnx, which is no file; .*yolo export model=yolov8n.pt"
    ):
        YoloPersonDetector(tmp_path / "absent.onnx")
    with pytest.raises(FileNotFoundError, match="which is no file"):
        YoloPersonDetector(tmp_path)
    (tmp_path / "yolov8x.pt").write_bytes(b"PK\x03\x04")
    with pytest.raises(
        ValueError, match=r"a PyTorch pickle, which is never loaded; .*export model=yolov8x.pt"
    ):
        YoloPersonDetector(tmp_path / "yolov8x.pt")
    whole = Path(yolo.provenance.source).read_bytes()
    for content in (b"<!DOCTYPE html>", b"", whole[: len(whole) // 2]):
        (tmp_path / "yolov8n.onnx").write_bytes(content)
        with pytest.raises(
            ValueError, match=rf"yolov8n.onnx \({len(content)} bytes\), which is no complete ONNX"
        ):
            YoloPersonDetector(tmp_path / "yolov8n.onnx")


@pytest.mark.parametrize(
    ("frame", "error", "message"),
    [
        (torch.rand(3, 64, 96), TypeError, "torch.float32; expected a torch.uint8"),
        (np.zeros((3, 64, 96), np.uint8), TypeError, "ndarray; expected a torch.uint8"),
        (torch.zeros(1, 3, 64, 96, dtype=torch.uint8), ValueError, r"expected \(3, H, W\); pass frames\[0\]"),
        (torch.zeros(64, 96, 3, dtype=torch.uint8), ValueError, r"expected \(3, H, W\)"),
    ],
)
def test_wrong_frames_are_refused(frame: object, error: type, message: str) -> None:
    from semrepa.teachers.people import check_frame

    with pytest.raises(error, match=message):
        check_frame(frame)


def test_the_detector_checks_its_frame(yolo: YoloPersonDetector) -> None:
    with pytest.raises(TypeError):
        yolo(torch.rand(3, 64, 96))
    with pytest.raises(ValueError, match=r"expected \(3, H, W\)"):
        yolo(torch.zeros(3, 0, 96, dtype=torch.uint8))


def test_half_precision_is_fed_and_read(yolo: YoloPersonDetector, tmp_path: Path) -> None:
    model = onnx.load(yolo.provenance.source)
    for node in model.graph.node:
        node.input[:] = ["wide" if name == "images" else name for name in node.input]
        node.output[:] = ["exact" if name == "output0" else name for name in node.output]
    model.graph.node.insert(0, onnx.helper.make_node("Cast", ["images"], ["wide"], to=TensorProto.FLOAT))
    model.graph.node.append(onnx.helper.make_node("Cast", ["exact"], ["output0"], to=TensorProto.FLOAT16))
    for port in (model.graph.input[0], model.graph.output[0]):
        port.type.tensor_type.elem_type = TensorProto.FLOAT16
    onnx.save(model, tmp_path / "half.onnx")
    frame, truth = scene((480, 720))
    found = YoloPersonDetector(tmp_path / "half.onnx")(frame)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found[0, :4], truth, atol=1, rtol=0)
