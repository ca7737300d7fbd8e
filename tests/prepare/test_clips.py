"""Extra clips of the sample world, rendered once and listed beside the index."""

import json
from pathlib import Path

import pytest
import torch

from semrepa.config import Config, override
from semrepa.data.index import read_index
from semrepa.data.video import read_clip
from semrepa.prepare import clips, ensure_rows
from semrepa.world import render_clip, sample_spec


@pytest.fixture
def cfg(small_config: Config, tmp_path: Path) -> Config:
    """Two clips of the user's own, one extra clip for each split."""
    lines = [{"path": f"{name}.mp4", "caption": "x"} for name in ("mine", "yours")]
    for line in lines:
        (tmp_path / line["path"]).touch()
    (tmp_path / "index.jsonl").write_text("\n".join(json.dumps(line) for line in lines))
    data = {"index": str(tmp_path / "index.jsonl"), "extra_train": 1, "extra_heldout": 1}
    return override(small_config, {"data": data, "video.num_frames": 5})


def test_extra_clips_follow_the_index(cfg: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = ensure_rows(cfg, tmp_path / "cache")
    assert [row.id for row in rows] == ["mine", "yours", "world-50000", "world-2000000"]
    train, heldout = rows[2:]
    assert (train.split, heldout.split) == ("train", "heldout")
    assert train.identity < 100_000 and heldout.identity >= 1_000_000
    assert train.caption == sample_spec(train.seed).caption
    assert read_index(train.path.parent / "index.jsonl") == rows[2:]

    shown = read_clip(train.path, num_frames=5, fps=8, size=(32, 48)).frames.float()
    spec = sample_spec(train.seed, **train.world)
    exact = torch.from_numpy(render_clip(spec, size=(32, 48), num_frames=5, fps=8).frames).float()
    assert (shown - exact).abs().mean() < 6

    monkeypatch.setattr(clips, "_render_all", lambda *_: pytest.fail("rendered again"))
    assert ensure_rows(cfg, tmp_path / "cache") == rows
    assert ensure_rows(override(cfg, {"data.extra_train": 0}), tmp_path / "cache") == [*rows[:2], heldout]


def test_no_extra_clips(cfg: Config, tmp_path: Path) -> None:
    none = override(cfg, {"data.extra_train": 0, "data.extra_heldout": 0})
    assert [row.id for row in ensure_rows(none, tmp_path / "cache")] == ["mine", "yours"]
    assert not (tmp_path / "cache").exists()


def test_ids_of_extra_clips_are_taken(cfg: Config, tmp_path: Path) -> None:
    (tmp_path / "index.jsonl").write_text('{"id": "world-50000", "path": "mine.mp4", "caption": ""}')
    with pytest.raises(ValueError, match=r"got ids world-50000 in .*rename"):
        ensure_rows(cfg, tmp_path / "cache")
