"""Training of the mini face pack, in small, on one person's pictures."""

import dataclasses
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from semrepa.miniature import detector, faces, recogniser, windows
from semrepa.miniature.blocks import settle_norms
from semrepa.miniature.detector import ANCHORS, STRIDES, Flat
from semrepa.miniature.faces import Pictures
from semrepa.miniature.windows import WINDOW, Windows
from semrepa.teachers.face import InsightFaceTeacher


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("faces")


@pytest.fixture(scope="module")
def pictures(folder: Path) -> Pictures:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(faces, "SHARD", 2)
        patch.setattr(faces, "CLIPS", 1)
        patch.setattr(faces, "SIZE", (128, 192))
        return faces.load_pictures(folder, first=0, people=4)


def test_pictures_are_kept_and_read_again(folder: Path, pictures: Pictures) -> None:
    assert sorted(path.name for path in folder.iterdir()) == ["faces_00000000.npz", "faces_00000002.npz"]
    assert np.unique(pictures.identity).tolist() == [-1, 0, 1, 2, 3]
    assert len(pictures.jpegs) == 2 * (2 * 1 + 1) * faces.MOMENTS
    assert np.isnan(pictures.boxes[pictures.identity == -1]).all()
    assert pictures.visible.any()
    assert {pictures.image(i).shape for i in range(len(pictures.jpegs))} <= {(128, 192, 3), (192, 128, 3)}


def test_windows_depend_on_the_generator_alone(pictures: Pictures) -> None:
    first, second = (windows.draw_windows(pictures, np.random.default_rng(3), batch=8) for _ in range(2))
    assert torch.equal(first.images, second.images)
    assert first.images.shape == (8, 3, WINDOW, WINDOW)
    assert first.images.abs().max() <= 1


def test_answers_follow_the_picture_when_it_is_moved_or_mirrored() -> None:
    box, points = np.array([10.0, 20, 50, 80]), np.array([[20.0, 40], [40, 40], [30, 50], [22, 70], [38, 70]])
    for turn in ([[2.0, 0, 5], [0, 2, -8]], [[-2.0, 0, 150], [0, 2, -8]]):
        moved, spots, wanted = windows._moved(box, points, True, np.array(turn))
        assert wanted == 1
        assert moved[2] - moved[0] == 80
        assert spots[0, 0] < spots[2, 0] < spots[1, 0]
        assert (spots > moved[:2]).all()
        assert (spots < moved[2:]).all()
    assert windows._moved(box, points, True, np.array([[2.0, 0, -70], [0, 2, 0]]))[2] == -1
    assert windows._moved(box, points, False, np.eye(3)[:2])[2] == 0


class Perfect(nn.Module):
    """Stands for a detector that gives exactly its targets."""

    def __init__(self, windows: Windows) -> None:
        super().__init__()
        self.windows = windows

    def forward(self, image: torch.Tensor) -> list[torch.Tensor]:
        answers = [detector.targets(self.windows, *grid) for grid in zip(STRIDES, ANCHORS, strict=True)]
        return [torch.cat([20 * (t[0][..., None] > 0) - 10.0, t[1], t[2]], dim=-1) for t in answers]


@pytest.mark.parametrize("side", [18.0, 40.0, 75.0, 200.0])
def test_targets_read_by_scrfd_rules_give_the_face_back(side: float) -> None:
    box = torch.tensor([[30.0, 20.0, 30 + side, 20 + 1.2 * side]])
    points = (torch.rand(1, 5, 2) * side + 25).float()
    windows = Windows(torch.zeros(1, 3, WINDOW, WINDOW), box, points, torch.ones(1, dtype=torch.int8))
    answers = Flat(Perfect(windows))(windows.images)
    assert [a.shape[1] for a in answers] == [1, 1, 1, 4, 4, 4, 10, 10, 10]
    found = 0
    for stride, score, sides, offsets in zip(STRIDES, answers[:3], answers[3:6], answers[6:], strict=True):
        n = WINDOW // stride
        cell = torch.stack(torch.meshgrid(torch.arange(n), torch.arange(n), indexing="xy"), -1).reshape(
            -1, 1, 2
        )
        corner = (cell.expand(-1, 2, -1).reshape(-1, 2) * stride).float()
        hit = score[:, 0] > 0.5
        found += int(hit.sum())
        boxes = torch.cat([corner - sides[:, :2] * stride, corner + sides[:, 2:] * stride], dim=1)[hit]
        torch.testing.assert_close(boxes, box.expand_as(boxes), atol=1e-3, rtol=0)
        spots = (corner[:, None] + offsets.reshape(-1, 5, 2) * stride)[hit]
        torch.testing.assert_close(spots, points.expand_as(spots), atol=1e-3, rtol=0)
    assert found >= 1


def test_generalised_iou_of_known_boxes() -> None:
    unit, shifted = torch.ones(1, 4), torch.tensor([[0.0, 1.0, 2.0, 1.0]])
    torch.testing.assert_close(detector.generalized_iou(unit, unit), torch.ones(1))
    torch.testing.assert_close(detector.generalized_iou(unit, shifted), torch.tensor([1 / 3]))


def test_loss_is_least_for_the_right_answer() -> None:
    box, points = torch.tensor([[40.0, 40.0, 100.0, 110.0]]), torch.rand(1, 5, 2) * 50 + 45
    windows = Windows(torch.zeros(1, 3, WINDOW, WINDOW), box, points, torch.ones(1, dtype=torch.int8))
    right = Perfect(windows)(windows.images)
    best = detector.detection_loss(right, windows)
    assert best < 1e-3
    assert detector.detection_loss([m + 0.1 for m in right], windows) > best + 0.1
    nobody = dataclasses.replace(windows, wanted=torch.zeros(1, dtype=torch.int8))
    assert detector.detection_loss(right, nobody) > best + 1


def test_margin_makes_the_right_person_harder() -> None:
    torch.manual_seed(0)
    head, embeds = recogniser.ArcFace(6), torch.randn(4, recogniser.EMBED_DIM)
    person = torch.arange(4)
    losses = [float(head(embeds, person, margin)) for margin in (0.0, 0.2, 0.4)]
    assert losses == sorted(losses)
    assert losses[0] < losses[-1]


def test_crops_are_upright_faces(pictures: Pictures) -> None:
    patches = recogniser.cut_patches(pictures)
    assert len(patches.images) == pictures.visible.sum()
    crops, person = recogniser.draw_crops(patches, np.random.default_rng(0), batch=6)
    assert crops.shape == (6, 3, 112, 112)
    assert set(person.tolist()) <= {0, 1, 2, 3}


def test_settled_norms_are_those_of_the_batches() -> None:
    network = nn.Sequential(nn.Conv2d(1, 1, 1, bias=False), nn.BatchNorm2d(1))
    with torch.no_grad():
        network[0].weight.fill_(2.0)
    settle_norms(network, [torch.full((2, 1, 4, 4), value) for value in (1.0, 3.0)])
    torch.testing.assert_close(network[1].running_mean, torch.tensor([4.0]))
    assert not network.training


def test_two_steps_give_a_pack_that_insightface_loads(
    folder: Path, pictures: Pictures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (detector, recogniser):
        monkeypatch.setattr(module, "load_pictures", lambda *_, **__: pictures)
        monkeypatch.setattr(module, "BATCH", 4)
        monkeypatch.setattr(module, "SETTLING", 2)
    settings = {"seed": 0, "work": tmp_path / "work", "log": tmp_path / "logs", "people": 4}
    detector.build_detector(tmp_path, recipe=dataclasses.replace(detector.RECIPE, steps=2), **settings)
    recogniser.build_recogniser(tmp_path, recipe=dataclasses.replace(recogniser.RECIPE, steps=2), **settings)
    teacher = InsightFaceTeacher(tmp_path, detector_size=(192, 128))
    assert teacher.provenance.kind == "mini"
    assert [value.name for value in onnx.load(tmp_path / "recogniser.onnx").graph.input] == ["image"]
    embeds = teacher.embed(list(np.random.default_rng(0).integers(0, 256, (3, 112, 112, 3), dtype=np.uint8)))
    np.testing.assert_allclose(np.linalg.norm(embeds, axis=1), 1, atol=1e-5)
    assert len(teacher.find(torch.zeros(1, 3, 128, 192, dtype=torch.uint8))) == 1


def test_smearing_loses_the_detail_of_some_pictures_and_the_shape_of_none():
    checks = np.kron(np.indices((8, 10)).sum(axis=0) % 2, np.ones((4, 4)))[..., None] * np.full(3, 255)
    sharp = checks.astype(np.uint8)

    def detail(smear: float) -> list[float]:
        found = [faces.degrade(sharp, np.random.default_rng(k), blur=0.3, smear=smear) for k in range(40)]
        assert all(image.shape == sharp.shape and image.dtype == np.uint8 for image in found)
        return [float(image.astype(float).std()) for image in found]

    mild, strong = detail(0.3), detail(4.0)
    blurred = sum(b < 0.6 * a for a, b in zip(mild, strong, strict=True))
    assert 5 <= blurred <= 25, "about a third"
    assert detail(4.0) == strong, "the same by the same generator"
