"""PSNR and SSIM: closed forms, equality with scikit-image, the wrapped PSNR, padding, flicker."""

import math
from inspect import unwrap

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from semrepa.metrics import image
from semrepa.metrics.image import clip_mean, flicker, inside, psnr, psnr_uint8_wrap, ssim, to_bytes
from tests.metrics.sketches import clip_of, photo

SETTINGS = {
    "gaussian": {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False},
    "uniform": {},
}


@pytest.fixture
def pair() -> tuple[torch.Tensor, torch.Tensor]:
    clean = torch.nn.functional.interpolate(torch.rand(4, 3, 6, 9), size=(24, 36), mode="bilinear") * 255
    noisy = (clean + 20 * torch.randn_like(clean)).clamp(0, 255)
    return noisy.byte().unflatten(0, (2, 2)), clean.byte().unflatten(0, (2, 2))


def blocks(side: int, low: int = 0, high: int = 256) -> np.ndarray:
    """Flat squares: where float32 would add rounding up."""
    levels = np.random.default_rng(side).integers(low, high, (3, 120 // side, 120 // side))
    return np.kron(levels, np.ones((1, side, side), int))


def cases() -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """Pairs of pictures, natural and nasty."""
    faces, cat = (photo(name, 120, 120).numpy().astype(int) for name in ("astronaut", "chelsea"))
    noise = np.random.default_rng(0).normal(0, 8, faces.shape)
    bars = np.arange(120) < 40
    made = {
        "unrelated": (faces, cat),
        "noise": (faces, faces + noise),
        "few levels": (faces // 64 * 64, faces // 64 * 32 + 60),
        "flat squares": (blocks(40), blocks(40, 50, 200)),
        "flat squares, near": (blocks(30), blocks(30) + blocks(60, -40, 40)),
        "flat": (np.full_like(faces, 50), np.full_like(faces, 200)),
        "white halves": (np.where(bars, 255, 0) + 0 * faces, np.where(bars, 20, 200) + 0 * faces),
        "bars": (np.where(bars, 0, faces), np.where(bars, 0, cat)),
    }
    return {
        name: tuple(clip_of(torch.from_numpy(np.clip(x, 0, 255).astype(np.uint8))) for x in both)
        for name, both in made.items()
    }


CASES = cases()


def test_psnr_of_a_constant_offset_is_closed_form():
    dark = torch.full((1, 2, 3, 8, 8), 100, dtype=torch.uint8)
    expected = 20 * math.log10(255 / 16)
    torch.testing.assert_close(psnr(dark, dark + 16), torch.full((1, 2), expected))
    torch.testing.assert_close(psnr(dark + 16, dark), torch.full((1, 2), expected))
    assert torch.isinf(psnr(dark, dark)).all()


def test_wrapped_psnr_calls_a_difference_of_16_perfect_and_one_of_10_right():
    dark = torch.full((1, 2, 3, 8, 8), 100, dtype=torch.uint8)
    assert torch.isinf(psnr_uint8_wrap(dark + 16, dark)).all()
    assert torch.isinf(psnr_uint8_wrap(dark, dark)).all()
    expected = torch.full((1, 2), 28.1308)
    for score in (psnr, psnr_uint8_wrap):
        torch.testing.assert_close(score(dark + 10, dark), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("names", [("astronaut", "coffee"), ("chelsea", "rocket"), ("coffee", "chelsea")])
def test_wrapped_psnr_has_a_floor_where_the_true_one_is_low(names):
    scored, truth = (clip_of(photo(name, 300, 450)) for name in names)
    assert psnr(scored, truth).item() < 13
    assert 27.3 < psnr_uint8_wrap(scored, truth).item() < 28.5
    arrays = [x[0, 0].numpy() for x in (scored, truth)]
    as_in_the_paper = ((arrays[0] - arrays[1]) ** 2).mean()  # uint8 in numpy
    expected = 10 * math.log10(255**2 / as_in_the_paper)
    assert psnr_uint8_wrap(scored, truth).item() == pytest.approx(expected, abs=1e-5)


def test_psnr_equals_skimage(pair):
    ours = psnr(*pair).flatten()
    pictures = [part.flatten(0, 1).numpy() for part in pair]
    theirs = [peak_signal_noise_ratio(y, x, data_range=255) for x, y in zip(*pictures, strict=True)]
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)


@pytest.mark.parametrize("variant", SETTINGS)
def test_ssim_equals_skimage(pair, variant):
    ours = ssim(*pair, variant=variant).flatten()
    theirs = [
        structural_similarity(x, y, data_range=255, channel_axis=0, **SETTINGS[variant])
        for x, y in zip(*(part.flatten(0, 1).numpy() for part in pair), strict=True)
    ]
    np.testing.assert_allclose(ours, theirs, atol=1e-6)


@pytest.mark.parametrize("variant", SETTINGS)
@pytest.mark.parametrize("name", CASES)
def test_ssim_equals_skimage_on_nasty_pictures(name, variant):
    arrays = [x[0, 0].numpy() for x in CASES[name]]
    theirs = structural_similarity(*arrays, data_range=255, channel_axis=0, **SETTINGS[variant])
    assert ssim(*CASES[name], variant=variant).item() == pytest.approx(theirs, abs=1e-6)


def test_local_means_are_the_same_with_and_without_opencv():
    maps, (window, _) = torch.rand(2, 3, 30, 40, dtype=torch.float64), image._window("gaussian")
    fast = image._local_means(maps, window)
    planes = maps.flatten(0, 1)[:, None]
    taps = torch.from_numpy(window)
    plain = torch.nn.functional.conv2d(planes, (taps[:, None] * taps)[None, None])
    torch.testing.assert_close(fast.flatten(0, 1), plain[:, 0])
    assert image._local_means(maps.to("meta"), window).shape == fast.shape


def test_ssim_of_flat_pictures_is_the_brightness_term_alone():
    a, b = (torch.full((1, 1, 3, 16, 16), value, dtype=torch.uint8) for value in (50, 200))
    c1 = (0.01 * 255) ** 2
    expected = (2 * 50 * 200 + c1) / (50**2 + 200**2 + c1)
    torch.testing.assert_close(ssim(a, b), torch.tensor([[expected]]))
    torch.testing.assert_close(ssim(a, a), torch.ones(1, 1))


def test_bars_inflate_ssim_and_are_cut_off():
    scored, truth = CASES["bars"]
    content = (0, 40, 120, 80)
    assert ssim(scored, truth) > ssim(scored, truth, content=content) + 0.1
    cut = [x[..., 40:].contiguous() for x in (scored, truth)]
    for score in (ssim, psnr, psnr_uint8_wrap):
        torch.testing.assert_close(score(scored, truth, content=content), score(*cut))


@pytest.mark.parametrize(
    "content", [(0, 0, 121, 10), (0, 100, 10, 21), (-1, 0, 10, 10), (0, 0, 0, 10), (119, 0, 2, 2)]
)
def test_content_outside_the_frame_is_refused(content):
    with pytest.raises(ValueError, match=r"expected a rectangle inside frames of \(120, 120\)"):
        inside(CASES["noise"][0], content)


def test_float_frames_count_as_their_bytes_and_nonsense_is_refused(pair):
    floats = [x / 255 for x in pair]
    torch.testing.assert_close(ssim(*floats), ssim(*pair))
    assert to_bytes(pair[0]) is pair[0]
    for wrong in (float("nan"), 1.5, -0.1, float("inf")):
        broken = floats[0].clone()
        broken[0, 1, 0, 3, 3] = wrong
        for score in (ssim, psnr, psnr_uint8_wrap):
            with pytest.raises(ValueError, match=r"expected uint8, or finite float in \[0, 1\]"):
                score(broken, floats[1])
        with pytest.raises(ValueError, match="finite float"):
            flicker(broken)


def test_flicker_is_the_mean_change():
    grey = torch.tensor([10, 30, 25], dtype=torch.uint8).view(1, 3, 1, 1, 1).expand(1, 3, 3, 4, 4)
    assert flicker(grey.contiguous()).item() == pytest.approx((20 + 5) / 2)
    with pytest.raises(ValueError, match="at least 2"):
        flicker(grey[:, :1].contiguous())


def test_clip_mean_leaves_the_given_frame_out():
    scores = torch.tensor([[9.0, 1.0, 3.0]])
    assert clip_mean(scores).item() == 2.0
    assert clip_mean(scores, skip_first=False).item() == pytest.approx(13 / 3)
    with pytest.raises(ValueError, match="skip_first=False"):
        clip_mean(scores[:, :1])


def test_wrong_sizes_and_variants_are_named(pair):
    for score in (psnr, psnr_uint8_wrap, ssim):
        with pytest.raises(ValueError, match=r"\(2, 2, 3, 24, 36\).*\(2, 1, 3, 24, 36\)"):
            unwrap(score)(pair[0], pair[1][:, :1])
    with pytest.raises(ValueError, match="at least 11 pixels"):
        ssim(*(part[..., :10] for part in pair))
    with pytest.raises(ValueError, match="'gaussian' or 'uniform'"):
        unwrap(image._window)("box")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", CASES)
def test_a_gpu_gives_the_same(name):
    scored, truth = CASES[name]
    for variant in SETTINGS:
        found = ssim(scored.cuda(), truth.cuda(), variant=variant).cpu()
        torch.testing.assert_close(found, ssim(scored, truth, variant=variant), atol=1e-6, rtol=0)
    torch.testing.assert_close(psnr(scored.cuda(), truth.cuda()).cpu(), psnr(scored, truth))
