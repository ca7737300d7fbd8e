"""Scores of the shipped weights: of perfect answers, and of answers that are wrong in a known way."""

import json
from functools import partial

import numpy as np
import pytest
import torch

from semrepa import depth as depth_maps
from semrepa.data.dataset import Batch, StoreDataset
from semrepa.miniature import quality
from semrepa.miniature.networks import copy_half
from semrepa.models.cogvideox import CogVideoX
from semrepa.models.identity import IdentityAligner
from semrepa.models.latents import to_pixels
from semrepa.models.structure import StructureAligner
from semrepa.training.pretrain import new_identity_aligner, new_structure_aligner

NOTHING = CogVideoX(source="none")


class TellsDepth(StructureAligner):
    """Answers what it was given."""

    def __init__(self, answer: torch.Tensor) -> None:
        super().__init__(num_layers=1, num_heads=1, head_dim=16)
        self.answer = answer

    def forward(self, latents, timesteps=None):
        return self.answer


class TellsFaces(IdentityAligner):
    """Answers what it was given; remembers what it saw."""

    def __init__(self, answer: torch.Tensor, *, use_depth: bool = True) -> None:
        super().__init__(width=8, num_blocks=1, use_depth=use_depth)
        self.answer = answer

    def forward(self, latents, depth_latents=None):
        self.saw_depth = depth_latents is not None
        return self.answer


@pytest.fixture
def depth(clips):
    return torch.from_numpy(clips.depth.astype(np.float32))


@pytest.fixture
def colors(depth):
    return depth_maps.colorize(depth_maps.normalize(depth, kind="metric"), "inferno")


@pytest.fixture
def batch(store) -> Batch:
    return StoreDataset(store, store.ids()).batch(range(len(store.ids())))


@pytest.fixture
def lossless(monkeypatch):
    """A VAE that keeps every pixel."""
    monkeypatch.setattr(quality, "encode", lambda vae, frames: to_pixels(frames))
    monkeypatch.setattr(quality, "decode", lambda vae, latents: latents)


def test_to_depth_undoes_colours(lossless, depth, colors):
    metres = quality.to_depth(to_pixels(colors), NOTHING, depth, "inferno")
    torch.testing.assert_close(metres, depth, rtol=0.02, atol=0)


def test_a_lossless_vae_has_the_perfect_score(lossless, clips, depth):
    scores = quality.vae_quality(NOTHING, torch.from_numpy(clips.frames), depth, "inferno")
    assert scores["psnr_rgb_db"] == scores["psnr_depth_db"] == float("inf")
    assert scores["depth_round_trip_abs_rel"] < 0.005


def test_a_lossy_vae_scores_as_its_error_says(lossless, monkeypatch, clips, depth):
    monkeypatch.setattr(quality, "decode", lambda vae, latents: latents * (1 - 1e-6) + 0.2)
    frames = torch.from_numpy(clips.frames).clamp(max=200)
    scores = quality.vae_quality(NOTHING, frames, depth, "inferno")
    assert scores["psnr_rgb_db"] == pytest.approx(20, abs=0.2)
    assert scores["depth_round_trip_abs_rel"] > 0.02


def test_the_teachers_own_depth_has_the_perfect_score(lossless, batch, depth, colors):
    pixels = to_pixels(colors)
    told = Batch(**{**vars(batch), "latents": pixels, "depth_latents": pixels})
    right = quality.structure_quality(TellsDepth(pixels), NOTHING, told, depth, "inferno")
    assert right["latent_mse"] == 0 and right["delta_1.25"] == 1 and right["abs_rel"] < 0.005
    average = pixels.mean().expand_as(pixels)
    blind = quality.structure_quality(TellsDepth(average), NOTHING, told, depth, "inferno")
    assert blind["latent_mse"] == pytest.approx(blind["latent_variance"], rel=1e-3)
    assert blind["delta_1.25"] < 0.5 and blind["abs_rel"] > 0.2


@pytest.mark.parametrize("use_depth", [True, False])
def test_the_teachers_own_faces_have_the_perfect_score(batch, use_depth):
    hidden = torch.where(batch.face_mask[..., None], batch.id_embeds, 7.0)
    aligner = TellsFaces(hidden, use_depth=use_depth)
    assert quality.identity_quality(aligner, batch) == {"l1": 0, "cosine_to_teacher": pytest.approx(1)}
    assert aligner.saw_depth is use_depth


def test_zeros_have_the_loss_of_zeros(batch):
    scores = quality.identity_quality(TellsFaces(torch.zeros_like(batch.id_embeds)), batch)
    assert scores == {"l1": pytest.approx(1 / 512), "cosine_to_teacher": 0}


@pytest.fixture
def sampled(monkeypatch, clips):
    """A sampler that gives the true clips, with changes; and what it was asked."""
    truth, asked = torch.from_numpy(clips.frames).clone(), []

    def sample(parts, first_frames, captions, seeds, **settings):
        asked.append((first_frames, captions, seeds, settings))
        places = [clips.captions.index(caption) for caption in captions]
        return truth[places]

    monkeypatch.setattr(quality, "sample_frames", sample)
    return truth, asked


def test_true_clips_have_the_perfect_score(sampled, clips, teacher, batch):
    scores = quality.base_quality(NOTHING, teacher, clips, batch, steps=3)
    assert scores.pop("psnr_db") == float("inf")
    assert set(scores) == {"id_ref", "id_gt_frame", "id_consecutive", "detection_rate"}
    assert all(value == pytest.approx(1) for value in scores.values())
    asked = sampled[1]
    assert [text for _, captions, _, _ in asked for text in captions] == clips.captions
    assert torch.equal(torch.cat([first for first, *_ in asked]), torch.from_numpy(clips.frames[:, 0]))
    seeds = [seed for *_, some, _ in asked for seed in some]
    assert len(set(seeds)) == len(seeds), "two clips share their noise"
    assert all(s == {"num_frames": 9, "num_inference_steps": 3} for *_, s in asked)


def test_detection_counts_frames_on_which_the_true_face_is_lost(sampled, clips, teacher, batch):
    truth = sampled[0]
    truth[:, 5:] = 0
    scores = quality.base_quality(NOTHING, teacher, clips, batch)
    shown = clips.visible[:, 1:]
    kept = (shown[:, :4].sum(axis=1) / shown.sum(axis=1)).mean()
    assert scores["detection_rate"] == pytest.approx(kept)
    assert scores["id_ref"] == pytest.approx(1), "lost frames are counted by detection alone"


def test_another_persons_face_scores_nothing(sampled, clips, teacher, batch):
    truth = sampled[0]
    truth[:] = truth.roll(1, dims=0)
    scores = quality.base_quality(NOTHING, teacher, clips, batch)
    assert scores["id_ref"] == pytest.approx(0)


def test_clips_without_any_face_do_not_count(sampled, clips, teacher, batch):
    faceless = Batch(**{**vars(batch), "face_mask": batch.face_mask.clone()})
    faceless.face_mask[0] = False
    scores = quality.base_quality(NOTHING, teacher, clips, faceless)
    assert scores["detection_rate"] == pytest.approx(1)


def test_report_is_written_beside_the_weights(
    small_config, tiny_folder, clips, store, batch, teacher, tmp_path, monkeypatch
):
    assets = tmp_path / "assets"
    assets.mkdir()
    (assets / "cogvideox").symlink_to(tiny_folder)
    copy_half(new_structure_aligner(small_config)).save_pretrained(assets / "structure_aligner")
    identity = new_identity_aligner(small_config, batch)
    for name in ("identity_aligner", "identity_aligner_no_depth"):
        copy_half(identity).save_pretrained(assets / name)
    monkeypatch.setattr(quality, "base_quality", partial(quality.base_quality, steps=1))
    ids = store.ids()[:3]
    quality.write_quality(assets, clips, store, ids, teacher)
    report = json.loads((assets / "quality.json").read_text())
    assert report.pop("heldout_clips") == 3 == teacher.asked
    names = ["vae", "structure_aligner", "base", "identity_aligner", "identity_aligner_no_depth"]
    assert list(report) == names
    values = [value for part in report.values() for value in part.values()]
    assert len(values) >= 12 and np.array_equal(values, np.round(values, 4), equal_nan=True)
    expected = quality.identity_quality(identity, StoreDataset(store, ids).batch(range(3)))
    assert report["identity_aligner"]["l1"] == pytest.approx(expected["l1"], rel=1e-2)
