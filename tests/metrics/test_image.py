"""PSNR and SSIM: closed forms, and equality with scikit-image."""

import math
from inspect import unwrap

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from semrepa.metrics.image import clip_mean, psnr, ssim


@pytest.fixture
def pair() -> tuple[torch.Tensor, torch.Tensor]:
    clean = torch.nn.functional.interpolate(torch.rand(4, 3, 6, 9), size=(24, 36), mode="bilinear") * 255
    noisy = (clean + 20 * torch.randn_like(clean)).clamp(0, 255)
    return noisy.byte().unflatten(0, (2, 2)), clean.byte().unflatten(0, (2, 2))


def test_psnr_of_a_constant_offset_is_closed_form():
    dark = torch.full((1, 2, 3, 8, 8), 100, dtype=torch.uint8)
    expected = 20 * math.log10(255 / 16)  # a uint8 subtraction that wraps would give infinity here
    torch.testing.assert_close(psnr(dark, dark + 16), torch.full((1, 2), expected))
    torch.testing.assert_close(psnr(dark + 16, dark), torch.full((1, 2), expected))
    assert torch.isinf(psnr(dark, dark)).all()


def test_psnr_of_unrelated_pictures_is_low(pair):
    noise = torch.randint(0, 256, pair[0].shape, dtype=torch.uint8)
    assert psnr(noise, pair[1]).max() < 13


def test_psnr_equals_skimage(pair):
    ours = psnr(*pair).flatten()
    pictures = [part.flatten(0, 1).numpy() for part in pair]
    theirs = [peak_signal_noise_ratio(y, x, data_range=255) for x, y in zip(*pictures, strict=True)]
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)


@pytest.mark.parametrize(
    ("variant", "settings"),
    [
        ("gaussian", {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}),
        ("uniform", {}),
    ],
)
def test_ssim_equals_skimage(pair, variant, settings):
    ours = ssim(*pair, variant=variant).flatten()
    theirs = [
        structural_similarity(x, y, data_range=255, channel_axis=0, **settings)
        for x, y in zip(*(part.flatten(0, 1).numpy() for part in pair), strict=True)
    ]
    np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_ssim_of_flat_pictures_is_the_brightness_term_alone():
    a, b = (torch.full((1, 1, 3, 16, 16), value, dtype=torch.uint8) for value in (50, 200))
    c1 = (0.01 * 255) ** 2
    expected = (2 * 50 * 200 + c1) / (50**2 + 200**2 + c1)
    torch.testing.assert_close(ssim(a, b), torch.tensor([[expected]]))
    torch.testing.assert_close(ssim(a, a), torch.ones(1, 1))


def test_clip_mean_leaves_the_given_frame_out():
    scores = torch.tensor([[9.0, 1.0, 3.0]])
    assert clip_mean(scores).item() == 2.0
    assert clip_mean(scores, skip_first=False).item() == pytest.approx(13 / 3)
    with pytest.raises(ValueError, match="skip_first=False"):
        clip_mean(scores[:, :1])


def test_wrong_sizes_and_variants_are_named(pair):
    with pytest.raises(ValueError, match=r"\(2, 2, 3, 24, 36\).*\(2, 1, 3, 24, 36\)"):
        unwrap(psnr)(pair[0], pair[1][:, :1])
    with pytest.raises(ValueError, match="at least 11 pixels"):
        ssim(*(part[..., :10] for part in pair))
