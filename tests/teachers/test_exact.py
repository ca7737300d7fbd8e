from pathlib import Path

import numpy as np
import pytest
import torch

from semrepa.data.index import ClipRow
from semrepa.data.video import read_clip, write_video
from semrepa.teachers.exact import ExactDepth, on_screen
from semrepa.world import RenderedClip, render_clip, sample_spec

SEED = 5


def row(path: Path, **fields: object) -> ClipRow:
    return ClipRow(**{"id": "clip", "path": path, "caption": "", "seed": SEED} | fields)


def film(path: Path, fps: float = 8.0, frames: int = 4, **choices: object) -> RenderedClip:
    size = (48, 32) if choices.get("vertical") else (32, 48)
    clip = render_clip(sample_spec(SEED, **choices), size=size, num_frames=frames, fps=fps, supersample=1)
    write_video(path, clip.frames, fps=fps)
    return clip


def test_depth_is_that_of_the_filmed_clip(tmp_path: Path) -> None:
    clip = film(tmp_path / "a.mp4", motion="dance", identity=3)
    frames = read_clip(tmp_path / "a.mp4", num_frames=3, fps=8, size=(32, 48), start=0.125).frames
    choices = {"motion": "dance"}
    depth = ExactDepth()(row(tmp_path / "a.mp4", start=0.125, identity=3, world=choices), frames[None])
    assert depth.shape == (1, 3, 32, 48)
    np.testing.assert_allclose(depth[0], clip.depth[1:], rtol=1e-6)
    other = ExactDepth()(row(tmp_path / "a.mp4", start=0.125, identity=4, world=choices), frames[None])
    assert not torch.equal(depth, other)


def test_faster_files_are_sampled_like_read_clip(tmp_path: Path) -> None:
    clip = film(tmp_path / "a.mp4", fps=30.0, frames=9)
    frames = read_clip(tmp_path / "a.mp4", num_frames=2, fps=8, size=(32, 48)).frames
    depth = ExactDepth(fps=8.0)(row(tmp_path / "a.mp4"), frames[None])
    np.testing.assert_allclose(depth[0], clip.depth[[0, 3]], rtol=1e-6)
    assert on_screen(0.0, 8.0, 3, 8.0) == [0.0, 0.125, 0.25]


def test_padding_of_vertical_clips_is_far(tmp_path: Path) -> None:
    film(tmp_path / "a.mp4", vertical=True)
    clip = read_clip(tmp_path / "a.mp4", num_frames=2, fps=8, size=(32, 48))
    depth = ExactDepth()(row(tmp_path / "a.mp4"), clip.frames[None])[0]
    top, left, height, width = clip.content
    inside = torch.zeros(32, 48, dtype=torch.bool)
    inside[top : top + height, left : left + width] = True
    assert (depth[:, ~inside] == depth.max()).all()
    wanted = render_clip(
        sample_spec(SEED, vertical=True), size=(height, width), num_frames=2, depth_only=True
    ).depth
    np.testing.assert_allclose(depth[:, inside].reshape(wanted.shape), wanted, rtol=1e-6)


def test_rows_it_cannot_answer_for(tmp_path: Path) -> None:
    film(tmp_path / "a.mp4", frames=1)
    frames = torch.zeros(1, 1, 3, 32, 48, dtype=torch.uint8)
    with pytest.raises(ValueError, match="'clip': got no seed; expected a clip of the sample world"):
        ExactDepth()(row(tmp_path / "a.mp4", seed=None), frames)
    with pytest.raises(ValueError, match="expected arguments of semrepa.world.sample_spec"):
        ExactDepth()(row(tmp_path / "a.mp4", world={"colour": "red"}), frames)
    with pytest.raises(ValueError, match="frames of 2 clips"):
        ExactDepth()(row(tmp_path / "a.mp4"), frames.expand(2, -1, -1, -1, -1))
    with pytest.raises(FileNotFoundError):
        ExactDepth()(row(tmp_path / "b.mp4"), frames)
