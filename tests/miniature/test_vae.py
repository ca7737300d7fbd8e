"""Crops, loss and training of the mini VAE."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKLCogVideoX
from miniature.small_clips import FACE, paint_clips
from torch import nn

from semrepa import depth as depth_maps
from semrepa.miniature import vae as module
from semrepa.miniature.fit import Recipe
from semrepa.miniature.vae import LATENT_NOISE, Crops, draw_crops, new_vae, psnr, reconstruction_loss
from tests.tiny import tiny_vae


class Stub(AutoencoderKLCogVideoX):
    """Latents of one value; its answer is the input plus an error."""

    def __init__(self, error: torch.Tensor | float = 0.0, latents: float = 0.0) -> None:
        nn.Module.__init__(self)
        self.error, self.latents, self.decoded = error, latents, []

    def encode(self, x: torch.Tensor) -> SimpleNamespace:
        self.seen = x
        mean = torch.full((len(x), 16, 1, 8, 8), self.latents)
        return SimpleNamespace(latent_dist=SimpleNamespace(mean=mean, mode=lambda: mean))

    def decode(self, z: torch.Tensor) -> SimpleNamespace:
        self.decoded.append(z)
        return SimpleNamespace(sample=self.seen + self.error)


def draw(clips, seed=0, *, batch=8, frames=1, size=16) -> Crops:
    return draw_crops(clips, np.random.default_rng(seed), batch=batch, frames=frames, size=size)


@pytest.mark.parametrize("frames", [1, 9])
def test_crops_have_the_shape_and_range_of_the_vae(clips, frames):
    crops = draw(clips, frames=frames)
    assert crops.pixels.shape == (8, 3, frames, 16, 16)
    assert crops.weight.shape == (8, 1, frames, 16, 16)
    assert crops.pixels.dtype == crops.weight.dtype == torch.float32
    assert crops.pixels.min() == -1 and 0.9 < crops.pixels.max() <= 1


def test_crops_depend_on_the_generator_alone(clips):
    once, again, other = draw(clips, 3), draw(clips, 3), draw(clips, 4)
    assert torch.equal(once.pixels, again.pixels) and torch.equal(once.weight, again.weight)
    assert not torch.equal(once.pixels, other.pixels)


def test_faces_weigh_three_times_wherever_the_crop_lies(clips, monkeypatch):
    monkeypatch.setattr(module, "DEPTH_SHARE", 0.0)
    crops = draw(clips, batch=40, frames=3)
    face = (crops.pixels[:, 0] == 1) & (crops.pixels[:, 1] == -1)
    assert 0 < face.float().mean() < 1
    assert torch.equal(crops.weight[:, 0], torch.where(face, 3.0, 1.0))


def test_half_of_the_crops_look_for_a_face(monkeypatch):
    monkeypatch.setattr(module, "DEPTH_SHARE", 0.0)
    wide = paint_clips(2, frames=1, height=160, width=240)
    shows_face = draw(wide, batch=100, size=2 * FACE).weight.flatten(1).amax(dim=1) == 3
    assert 0.35 < shows_face.float().mean() < 0.75, "chance alone gives 0.05"


def test_depth_keeps_the_colours_of_its_whole_clip(clips, monkeypatch):
    monkeypatch.setattr(module, "DEPTH_SHARE", 1.0)
    crops = draw(clips, batch=12, frames=3)
    assert (crops.weight == 1).all()
    values, distance = depth_maps.decolorize(crops.pixels.transpose(1, 2), "inferno")
    assert distance.max() < 0.01, "not the colours of depth"
    whole = depth_maps.normalize(torch.from_numpy(clips.depth.astype(np.float32)), kind="metric")
    of_any_clip = whole[:, 0, 0].flatten()
    assert (values[..., None] - of_any_clip).abs().amin(dim=-1).max() < 0.02
    assert values.amax(dim=(1, 2, 3)).min() < 0.8, "stretched to the range of the crop"


def crops_of(weight: torch.Tensor) -> Crops:
    return Crops(torch.zeros(1, 3, 1, 64, 64), weight)


def test_a_perfect_answer_costs_only_the_size_of_its_latents():
    crops = crops_of(torch.ones(1, 1, 1, 64, 64))
    generator = torch.Generator()
    assert reconstruction_loss(Stub(), crops, generator) == 0
    assert reconstruction_loss(Stub(latents=2.0), crops, generator) == pytest.approx(4e-3)


def test_an_error_on_a_face_costs_three_times_as_much():
    weight = torch.ones(1, 1, 1, 64, 64)
    weight[..., :32] = 3
    error = torch.zeros(1, 3, 1, 64, 64)
    error[..., 20:28, 8:16] = 0.5

    def cost(error: torch.Tensor) -> float:
        return reconstruction_loss(Stub(error), crops_of(weight), torch.Generator()).item()

    pixel = (error.abs() + 2 * error.square()).mean().item() / weight.mean().item()
    edges = cost(error) - 3 * pixel
    assert edges > 0
    assert cost(error.roll(32, dims=-1)) == pytest.approx(pixel + edges, rel=1e-5)
    colored = error * torch.tensor([1.0, -1.0, 0.0]).view(1, 3, 1, 1, 1)
    gray = error * 2 / 3
    assert colored.abs().mean() == pytest.approx(gray.abs().mean().item())
    assert cost(colored) > cost(gray), "wrong colours cost more than wrong brightness"


def test_noise_of_the_latents_comes_from_the_generator():
    stub, crops = Stub(latents=1.0), crops_of(torch.ones(1, 1, 1, 64, 64))
    for seed in (1, 1, 2):
        reconstruction_loss(stub, crops, torch.Generator().manual_seed(seed))
    once, again, other = stub.decoded
    assert torch.equal(once, again) and not torch.equal(once, other)
    assert (once - 1).std().item() == pytest.approx(LATENT_NOISE, rel=0.1)


def test_the_posterior_of_the_mini_vae_has_a_fixed_deviation():
    posterior = new_vae(0).encode(torch.rand(2, 3, 1, 16, 16)).latent_dist
    assert torch.allclose(posterior.std, torch.full_like(posterior.std, LATENT_NOISE))
    assert posterior.mean.shape == (2, 16, 1, 2, 2)


def test_weights_depend_on_the_seed_alone():
    once, again, other = (new_vae(seed).decoder.conv_in.conv.weight for seed in (0, 0, 1))
    assert torch.equal(once, again) and not torch.equal(once, other)


def test_psnr_of_a_known_error(clips):
    gray = replace(clips, frames=np.full_like(clips.frames, 100))
    found = psnr(Stub(0.2), gray, count=2, frames=9)
    assert found["psnr_rgb"] == pytest.approx(20, abs=1e-3)
    assert 20 < found["psnr_depth"] < 25, "what is too bright is clipped"


@pytest.fixture
def brief(monkeypatch):
    """One step of each phase on a tiny VAE; gives the frames of the crops that were drawn."""
    drawn = []

    def note(*args, **settings):
        drawn.append(settings["frames"])
        return draw_crops(*args, **settings)

    recipe = Recipe(steps=1, lr=1e-3, warmup=1, ema=0.0)
    monkeypatch.setattr(module, "IMAGE_PHASE", recipe)
    monkeypatch.setattr(module, "VIDEO_PHASE", recipe)
    monkeypatch.setattr(module, "new_vae", lambda seed: tiny_vae(seed).requires_grad_(True))
    monkeypatch.setattr(module, "draw_crops", note)
    return drawn


def test_training_goes_from_frames_to_clips_and_resumes(brief, tmp_path):
    clips, heldout = paint_clips(3, height=64, width=64), paint_clips(2)
    folders = {"work": tmp_path / "work", "log": tmp_path / "log"}
    vae = module.train_vae(clips, heldout, seed=0, **folders)
    assert len(brief) == 2 and brief[0] == 1 < brief[1]
    assert not torch.equal(vae.decoder.conv_out.conv.weight, tiny_vae(0).decoder.conv_out.conv.weight)
    assert not any("forward" in part.__dict__ for part in vae.modules())
    rows = [json.loads(line) for file in sorted(folders["log"].iterdir()) for line in file.open()]
    assert len(rows) == len(list(folders["work"].iterdir())) == 2
    assert all(np.isfinite([row["loss"], row["psnr_rgb"], row["psnr_depth"]]).all() for row in rows)
    again = module.train_vae(clips, heldout, seed=0, **folders)
    assert len(brief) == 2, "trained anew"
    assert all(map(torch.equal, vae.parameters(), again.parameters()))
