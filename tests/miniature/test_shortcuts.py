"""The shortcuts of VAE training against diffusers' own computation, in double precision."""

import pytest
import torch
from diffusers import AutoencoderKLCogVideoX

from semrepa.miniature.shortcuts import fast_training
from tests.tiny import tiny_vae


@pytest.fixture
def vae() -> AutoencoderKLCogVideoX:
    return tiny_vae().double().requires_grad_(True)


def replaced(vae: AutoencoderKLCogVideoX) -> int:
    """Modules that do not compute as diffusers wrote them."""
    return sum("forward" in module.__dict__ for module in vae.modules())


def answers(vae: AutoencoderKLCogVideoX, pixels: torch.Tensor) -> dict[str, torch.Tensor]:
    """Latents, pixels, and the gradient of every weight and of the input."""
    pixels = pixels.clone().requires_grad_(True)
    vae.zero_grad()
    latents = vae.encode(pixels).latent_dist.mean
    decoded = vae.decode(latents).sample
    ((decoded - pixels).square().mean() + latents.square().mean()).backward()
    gradients = {name: p.grad.clone() for name, p in vae.named_parameters()}
    return {"latents": latents, "decoded": decoded, "pixels": pixels.grad, **gradients}


@pytest.mark.parametrize("frames", [1, 9, 17])
def test_no_number_changes(vae, frames):
    """With 17 frames encoder and decoder hand caches from one chunk to the next."""
    pixels = torch.rand(2, 3, frames, 16, 24, dtype=torch.float64) * 2 - 1
    expected = answers(vae, pixels)
    with fast_training(vae):
        assert replaced(vae) > 20
        found = answers(vae, pixels)
    assert expected["decoded"].shape == pixels.shape
    assert all(value.abs().max() > 0 for value in expected.values())
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-7, atol=1e-10, msg=name)


def test_modules_are_as_before_even_after_an_error(vae):
    with pytest.raises(ZeroDivisionError), fast_training(vae):
        _ = 1 / 0
    assert replaced(vae) == 0
