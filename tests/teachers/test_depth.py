"""The depth teacher: Video Depth Anything from a file to the depth of a clip."""

import hashlib
import logging
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from semrepa.data.index import ClipRow
from semrepa.data.sampling import ClipError
from semrepa.depth import normalize
from semrepa.teachers import DepthTeacher
from semrepa.teachers.depth import VideoDepthAnythingTeacher, check_metres, kind_of
from tests.models.vda_oracle import randomised

ROW = ClipRow(id="clip 7", path=Path("clip.mp4"), caption="")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("weights") / "video_depth_anything_mini.pth"
    torch.save(randomised().state_dict(), file)
    return file


def make(weights: Path, **settings: object) -> VideoDepthAnythingTeacher:
    return VideoDepthAnythingTeacher(
        weights, **{"variant": "mini", "input_size": 28, "device": "cpu"} | settings
    )


def clip(frames: int = 25) -> torch.Tensor:
    return torch.randint(0, 256, (1, frames, 3, 30, 40), dtype=torch.uint8)


def test_it_gives_the_disparity_of_the_network(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    teacher, frames, seen = make(weights, frame_batch=3), clip(), []
    encode = teacher.model.encode
    monkeypatch.setattr(
        teacher.model, "encode", lambda new, *rest: seen.append(len(new)) or encode(new, *rest)
    )
    depth = teacher(ROW, frames)
    assert max(seen) == 3
    assert isinstance(teacher, DepthTeacher)
    assert teacher.kind == "disparity"
    assert depth.shape == (1, 25, 30, 40)
    wanted = randomised().infer_video_depth(frames[0], input_size=28, frame_batch=3)
    assert torch.equal(depth[0], wanted)


def test_metric_depth_is_not_aligned_and_inverted_before_it_is_painted(weights: Path) -> None:
    teacher, frames = make(weights, metric=True), clip(36)
    depth = teacher(ROW, frames)
    assert teacher.kind == "metric"
    assert torch.equal(depth[0], randomised(metric=True).infer_video_depth(frames[0], input_size=28))
    assert not torch.equal(depth, make(weights)(ROW, frames))
    painted = normalize(depth, kind=teacher.kind)
    assert painted.flatten()[depth.flatten().argmin()] == 1
    assert painted.flatten()[depth.flatten().argmax()] == 0


def test_metric_depth_of_zero_is_refused_plainly(tmp_path: Path) -> None:
    file = tmp_path / "metric_video_depth_anything_mini.pth"
    torch.save(randomised(bias=-2.0).state_dict(), file)
    depth = make(file)(ROW, clip())  # fine as disparity: infinitely far
    assert (depth == 0).any()
    with pytest.raises(ClipError, match="metric depth of clip 'clip 7': got 0 metres on") as caught:
        make(file, metric=True)(ROW, clip())
    assert caught.value.reason == "no_depth" and "leave the clip out" in str(caught.value)
    depth = torch.ones(5, 2, 2)
    check_metres(depth, "a")
    depth[2:4, 0, 0] = 0
    with pytest.raises(ValueError, match=r"10.00% of the pixels \(frames 2 to 3\)"):
        check_metres(depth, "a")


def test_provenance_names_file_and_hash(weights: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="semrepa"):
        provenance = make(weights).provenance
    assert provenance.source == str(weights)
    assert provenance.kind == "real"
    assert provenance.sha256 == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert provenance.sha256 in caplog.text
    assert "runs on cpu" in caplog.text


def test_safetensors_may_say_that_they_are_not_real(tmp_path: Path) -> None:
    state, file = randomised().state_dict(), tmp_path / "a.safetensors"
    for metadata, kind in (
        (None, "real"),
        ({"semrepa.kind": "random"}, "random"),
        ({"format": "pt"}, "real"),
    ):
        save_file(state, file, metadata=metadata)
        assert make(file).provenance.kind == kind
    save_file(state, file, metadata={"semrepa.kind": "perfect"})
    with pytest.raises(ValueError, match="got semrepa.kind='perfect' in its metadata; expected one of"):
        kind_of(file)


def test_half_precision_reaches_the_network(weights: Path) -> None:
    teacher = make(weights, dtype="bfloat16")
    assert teacher.model.precision is torch.bfloat16
    depth = teacher(ROW, clip(4))
    assert depth.dtype is torch.float32


def test_settings_and_clips_that_cannot_work(weights: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="input_size: got 100; expected a multiple of 14; use 98 or 112"):
        make(weights, input_size=100)
    with pytest.raises(ValueError, match="frame_batch: got 0"):
        make(weights, frame_batch=0)
    with pytest.raises(ValueError, match="expected Video Depth Anything vits"):
        make(weights, variant="vits")
    with pytest.raises(FileNotFoundError, match="got nothing there"):
        make(tmp_path / "missing.pth")
    with pytest.raises(ValueError, match="got frames of 2 clips; expected .1, n, 3, H, W."):
        make(weights)(ROW, clip().expand(2, -1, -1, -1, -1))
