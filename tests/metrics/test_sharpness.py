"""CPBD: numbers of the published software, a slow telling of the method, and each constant by itself."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from skimage.feature import canny

from semrepa.metrics import sharpness
from semrepa.metrics.sharpness import cpbd
from tests.metrics.sketches import clip_of, photo

PUBLISHED = {
    "astronaut": 0.29836309523809523,
    "coffee": 0.6849785407725322,
    "chelsea": 0.46194029850746265,
    "camera": 0.613107822410148,
    "brick": 0.27625201938610666,
}
"""What the published software (python-cpbd 1.0.7) says of the first 192 x 192 pixels, luma 0 to 255."""


def slowly(luma: np.ndarray) -> float:
    """The method told step by step, with scikit-image's Canny and the curve of perceived blur."""
    grey, edges = luma.astype(float), sharpness._sobel_edges(luma)
    found = canny(grey)
    seen = []
    for top in range(0, luma.shape[0] // 64 * 64, 64):
        for left in range(0, luma.shape[1] // 64 * 64, 64):
            block = grey[top : top + 64, left : left + 64]
            if found[top : top + 64, left : left + 64].sum() <= 0.002 * 64 * 64:
                continue
            noticeable = 5 if block.max() - block.min() <= 50 else 3
            rows, columns = np.nonzero(edges[top : top + 64, left : left + 64])
            widths = [
                width(grey, top + row, left + column) for row, column in zip(rows, columns, strict=True)
            ]
            seen += [1 - np.exp(-((w / noticeable) ** 3.6)) for w in widths if w]
    histogram = np.bincount(np.round(np.array(seen) * 100).astype(int), minlength=101)
    return histogram[:64].sum() / max(len(seen), 1)


def width(grey: np.ndarray, row: int, column: int) -> int:
    """Steps to the left and to the right for which brightness goes on; 0 where the edge is not upright."""
    if not (0 < row < grey.shape[0] - 1 and 0 < column < grey.shape[1] - 1):
        return 0
    slope = grey[row, column + 1] - grey[row, column - 1]
    tilt = grey[row + 1, column] - grey[row - 1, column]
    angle = np.degrees(np.arctan2(tilt, slope)) if slope else 0.0
    if 22.5 < abs(angle) < 157.5:
        return 0
    sign, total = (1 if abs(angle) <= 22.5 else -1), 2
    for way in (-1, 1):
        inner, steps = column + way, 0
        while steps < 100 and 0 <= inner + way < grey.shape[1]:
            if way * sign * (grey[row, inner + way] - grey[row, inner]) <= 0:
                break
            inner, steps = inner + way, steps + 1
        total += steps
    return total


def bars(steps: list[int], base: int = 60) -> torch.Tensor:
    """One picture with an upright edge that rises by these steps in each of two blocks of 64."""
    line = np.full(128, base)
    for start in (30, 94):
        line[start:] += np.concatenate([np.cumsum(steps), np.full(128 - start - len(steps), sum(steps))])
    picture = np.repeat(line[None], 64, axis=0).astype(np.uint8)
    return torch.from_numpy(np.stack([picture] * 3))[None, None]


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_software_says_the_same(name):
    frames = clip_of(photo(name, 192, 192))
    assert cpbd(frames).item() == pytest.approx(PUBLISHED[name], abs=1e-6)


@pytest.mark.parametrize("change", ["none", "blurred", "noisy", "turned", "odd size", "faint"])
def test_slow_telling_agrees(change):
    rng = np.random.default_rng(0)
    luma = sharpness._luma(photo("coffee", 150, 210).numpy())
    luma = {
        "none": luma,
        "blurred": gaussian_filter(luma, 2),
        "noisy": np.clip(luma + rng.normal(0, 15, luma.shape), 0, 255).astype(np.uint8),
        "turned": np.ascontiguousarray(luma.T),
        "odd size": luma[:131, :197],
        "faint": (luma // 16 + 100).astype(np.uint8),
    }[change]
    assert sharpness._cpbd(np.ascontiguousarray(luma)) == pytest.approx(slowly(luma), abs=1e-9)


def test_blocks_are_chosen_as_scikit_image_has_it():
    for name in ("moon", "coffee", "page"):
        luma = sharpness._luma(photo(name, 172, 256).numpy())
        counts = sharpness._count(canny(luma.astype(float)))
        np.testing.assert_array_equal(sharpness._edge_blocks(luma), counts > 0.002 * 64 * 64)


@pytest.mark.parametrize(
    ("steps", "sharp"),
    [
        ([25, 26], True),  # contrast 51: up to 3 pixels are sharp
        ([20, 21, 10], True),
        ([10, 16, 15, 10], False),
        ([5, 15, 16, 10, 5], False),
        ([5, 15, 15, 10, 5], True),  # contrast 50: up to 5
        ([5, 10, 15, 12, 5, 3], False),
    ],
)
def test_noticeable_width_is_5_up_to_contrast_50_and_3_above(steps, sharp):
    frames = bars(steps)
    luma = frames[0, 0, 0].numpy()
    assert set(sharpness._edge_widths(luma)[1].tolist()) == {len(steps)}
    assert cpbd(frames).item() == float(sharp)


def test_same_answer_for_bytes_and_for_numbers_up_to_1():
    frames = clip_of(photo("coffee", 128, 192), photo("chelsea", 128, 192))
    assert torch.equal(cpbd(frames), cpbd(frames / 255))
    with pytest.raises(ValueError, match="expected uint8, or finite float"):
        cpbd(frames.float())
    with pytest.raises(ValueError, match="NaN"):
        cpbd(frames / 255 * torch.nan)


def test_blur_lowers_it_noise_raises_it_and_flat_is_zero():
    sharp = photo("astronaut", 256, 256).numpy()
    blurred = [gaussian_filter(sharp, (0, sigma, sigma)) for sigma in (0, 1, 2, 3)]
    scores = [cpbd(clip_of(torch.from_numpy(x))).item() for x in blurred]
    assert scores == sorted(scores, reverse=True) and scores[0] > scores[1] > scores[2]
    noise = np.random.default_rng(0).normal(0, 15, sharp.shape)
    noisy = np.clip(blurred[1] + noise, 0, 255).astype(np.uint8)
    assert cpbd(clip_of(torch.from_numpy(noisy))).item() > scores[1] + 0.2
    assert cpbd(torch.full((1, 1, 3, 64, 64), 9, dtype=torch.uint8)).item() == 0


def test_padding_is_left_out():
    picture = photo("coffee", 128, 128)
    padded = torch.zeros(3, 128, 256, dtype=torch.uint8)
    padded[..., 64:192] = picture
    assert cpbd(clip_of(padded), content=(0, 64, 128, 128)) == cpbd(clip_of(picture))


def test_small_frames_are_refused():
    with pytest.raises(ValueError, match="at least 64 pixels"):
        cpbd(torch.zeros(1, 1, 3, 63, 100, dtype=torch.uint8))
