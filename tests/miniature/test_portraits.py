"""Single frames of many people for the identity aligners."""

from pathlib import Path

import numpy as np
import pytest
import torch

from semrepa.config import mini, override
from semrepa.data.dataset import Batch
from semrepa.miniature import portraits
from semrepa.miniature.fit import Recipe


def _features(people: int) -> Batch:
    """People whose face is written in the latents, plainly."""
    generator = torch.Generator().manual_seed(0)
    code = torch.randn(people, 16, generator=generator)
    embeds = torch.nn.functional.normalize(code @ torch.randn(16, 512, generator=generator), dim=-1)
    latents = code.view(people, 1, 16, 1, 1).expand(-1, -1, -1, 8, 8).contiguous()
    return Batch(
        latents=latents,
        depth_latents=torch.zeros_like(latents),
        first_frames=torch.zeros(people, 3, 64, 64, dtype=torch.uint8),
        prompt_embeds=torch.zeros(people, 0, 0),
        id_embeds=embeds[:, None],
        face_mask=torch.ones(people, 1, dtype=torch.bool),
        ids=tuple(map(str, range(people))),
    )


def test_take_keeps_rows_together() -> None:
    features = _features(5)
    some = portraits.take(features, np.array([3, 1]))
    assert some.ids == ("3", "1")
    assert torch.equal(some.latents[0], features.latents[3])
    assert torch.equal(some.id_embeds[1], features.id_embeds[1])


def test_rendered_portraits_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(portraits, "SHARD", 2)
    frames, depth = portraits.render_portraits(tmp_path, 2, workers=1)
    assert frames.shape == (2, 1, 3, 128, 192)
    assert (depth > 0.5).all()
    written = next(tmp_path.glob("*.npz")).stat().st_mtime_ns
    again, _ = portraits.render_portraits(tmp_path, 2, workers=1)
    assert torch.equal(frames, again)
    assert next(tmp_path.glob("*.npz")).stat().st_mtime_ns == written


def test_an_aligner_learns_people_it_never_saw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(portraits, "RECIPE", Recipe(steps=60, lr=5e-3, warmup=5, ema=0.8, save_every=60))
    cfg = override(mini(), {"identity": {"width": 8, "noise": 0.0, "shift": 0}})
    features = _features(600)
    aligner = portraits.train_on_portraits(cfg, features, work=tmp_path, log=tmp_path)
    heldout = portraits.take(features, np.arange(400, 600))
    with torch.no_grad():
        answer = aligner(heldout.latents, heldout.depth_latents)
    assert torch.cosine_similarity(answer, heldout.id_embeds, dim=-1).mean() > 0.3
