"""Pictures at the source's own shape beside the frames, on the torture set."""

from pathlib import Path

import numpy as np
import pytest
import torch

from semrepa.data.decoding import pictures
from semrepa.data.sampling import picture_size, placed
from semrepa.data.video import ClipError, VideoClip, read_clip
from tests.data.torture import FPS, NUM_FRAMES, SIZE, Expected, numbers, write_torture

ASKED = {"num_frames": NUM_FRAMES, "fps": FPS, "size": (128, 192)}
"""Twice the size of most files, so that pictures are other than frames."""
SHAPES = {
    "huge.mp4": (54, 96),  # of 2304 x 4096
    "odd_444.mp4": (54, 81),  # of 65 x 97
    "tall.mp4": (96, 54),  # of 128 x 72
    "rotated_90_tall.mp4": (81, 54),  # of 96 x 64
}
"""Height and width of pictures with a shorter side of 54 at most; all other files have 64 x 96."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pictures")


@pytest.fixture(scope="module")
def readable(folder: Path) -> dict[str, Expected]:
    """Files that can be read, each kind once."""
    found = write_torture(folder)
    copies = {"duplicate.mp4", "colon: a.mp4", "-dash.mp4", "no_extension", "good_link.mp4"}
    return {name: e for name, e in found.items() if e.reason is None and name not in copies}


@pytest.fixture(params=["auto", "pyav"])
def backend(request: pytest.FixtureRequest) -> str:
    return request.param


def read(path: Path, **options: object) -> VideoClip:
    return read_clip(path, **ASKED, **options)


def test_pictures_show_the_same_moments_and_frames_stay_as_they_are(
    folder: Path, readable: dict[str, Expected], backend: str
) -> None:
    backends = set()
    for name, expected in readable.items():
        plain, rich = (read(folder / name, backend=backend, picture_side=side) for side in (None, 54))
        assert torch.equal(plain.frames, rich.frames), name
        assert (plain.timestamps, plain.num_valid, plain.backend) == (
            rich.timestamps,
            rich.num_valid,
            rich.backend,
        ), name
        assert rich.pictures.shape == (NUM_FRAMES, 3, *SHAPES.get(name, (54, 81))), name
        assert numbers(rich.pictures.numpy()) == expected.numbers, name
        small = torch.nn.functional.interpolate(rich.pictures.float(), plain.pictures.shape[2:], mode="area")
        assert (small - plain.pictures.float()).abs().mean() < 12, name  # upright, not mirrored, same colours
        backends.add(rich.backend)
    assert len(readable) > 25
    assert backends == {"pyav"} if backend == "pyav" or pictures.decord is None else {"pyav", "decord"}


def test_pictures_have_the_resolution_of_the_source(folder: Path, readable: dict[str, Expected]) -> None:
    assert read(folder / "rotated_90_wide.mp4", picture_side=1080).pictures.shape[2:] == SIZE
    assert read_clip(folder / "huge.mp4", num_frames=1, fps=FPS, size=SIZE, picture_side=9999).pictures.shape[
        2:
    ] == (2304, 4096)


def test_pictures_as_large_as_in_the_frames_are_a_view_of_them(
    folder: Path, readable: dict[str, Expected], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        if pictures.decord is not None:
            patch.setattr(pictures, "_read_pyav", None)  # no second pass
        clip = read_clip(folder / "plain.mp4", num_frames=5, fps=FPS, size=SIZE, picture_side=1080)
    assert clip.pictures.data_ptr() == clip.frames.data_ptr() and clip.pictures.shape == (5, 3, *SIZE)
    tall = read_clip(folder / "tall.mp4", num_frames=5, fps=FPS, size=(128, 192), picture_side=1080)
    assert tall.content == (0, 60, 128, 72)
    assert torch.equal(tall.pictures, tall.frames[..., 60:132])
    tall.frames[:] = 7
    assert (tall.pictures == 7).all()
    without = read(folder / "tall.mp4")
    assert torch.equal(without.pictures, without.frames[..., 60:132])


def test_a_child_gives_the_same(folder: Path, readable: dict[str, Expected]) -> None:
    for name in ("vfr.mp4", "rotated_90_tall.mp4", "tall.mp4", "plain.mp4"):
        here, there = (read(folder / name, picture_side=54, timeout=t) for t in (None, 60))
        assert torch.equal(here.pictures, there.pictures) and torch.equal(here.frames, there.frames), name


def test_repeated_last_pictures_are_kept_too(folder: Path, readable: dict[str, Expected]) -> None:
    clip = read(folder / "frames_48.mp4", picture_side=1080, pad_last=True)
    assert clip.num_valid == 48 and torch.equal(clip.pictures[47], clip.pictures[48])


@pytest.mark.skipif(pictures.decord is None, reason="no decord")
def test_damage_that_decord_overlooks_is_found_by_the_second_pass(
    folder: Path, readable: dict[str, Expected], monkeypatch: pytest.MonkeyPatch
) -> None:
    spans = pictures._spans
    late = lambda frames, info: ((b + 0.1, e + 0.1, f) for b, e, f in spans(frames, info))  # noqa: E731
    monkeypatch.setattr(pictures, "_spans", late)
    with pytest.raises(ClipError, match="decord and PyAV show other frames") as caught:
        read(folder / "fps_120.mp4", picture_side=54)
    assert caught.value.reason == "corrupt"


def test_sizes_keep_the_shape() -> None:
    assert picture_size(1920, 1080, 1080) == (1080, 1920)
    assert picture_size(3840, 2160, 1080) == (1080, 1920)
    assert picture_size(720, 1280, 1080) == (1280, 720)
    assert picture_size(2160, 3840, 540) == (960, 540)
    assert picture_size(5000, 2, 1) == (1, 2500)
    for side in (0, -5):
        with pytest.raises(ValueError, match="picture_side"):
            read(Path("any.mp4"), picture_side=side)


def test_points_are_placed_in_the_frame() -> None:
    corners = np.array([[0, 0], [1920, 1080], [960, 0]], np.float32)
    inside = placed(corners, (1080, 1920), (0, 225, 480, 270))
    np.testing.assert_allclose(inside, [[225, 0], [495, 480], [360, 0]])
    same = np.array([[3.3, 4.7]], np.float32)
    assert np.array_equal(placed(same, (128, 192), (0, 0, 128, 192)), same)
