"""Frames as the network sees them: their size, bicubic resizing, normalised colours."""

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from semrepa.models.video_depth_anything.sizes import PATCH

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
WIDEST = 1.78
"""Ratio of the sides above which the shorter side is made smaller, to bound memory."""
SHARPNESS = -0.75
"""The free number of cubic convolution, as OpenCV and torch have it."""


def network_size(height: int, width: int, input_size: int = 518) -> tuple[int, int]:
    """Size at which the network looks at frames: the shorter side reaches `input_size`, small frames grow.

    Args:
        height: of the frames, pixels.
        width: of the frames, pixels.
        input_size: wanted shorter side, pixels, a multiple of 14.

    Returns:
        Height and width, multiples of 14 nearest to the frames' ratio (between two, an even number of
        patches).

    Raises:
        ValueError: when `input_size` is not a positive multiple of 14, or a side is not positive.
    """
    if input_size < PATCH or input_size % PATCH:
        below = max(PATCH, input_size - input_size % PATCH)
        raise ValueError(
            f"input_size: got {input_size}; expected a multiple of {PATCH}; use {below} or {below + PATCH}"
        )
    if min(height, width) < 1:
        raise ValueError(f"frames: got {height} x {width} pixels; expected at least 1 x 1")
    ratio = max(height, width) / min(height, width)
    if ratio > WIDEST:
        input_size = max(PATCH, round(int(input_size * 1.777 / ratio) / PATCH) * PATCH)
    scale = max(input_size / height, input_size / width)
    return round(scale * height / PATCH) * PATCH, round(scale * width / PATCH) * PATCH


def normalise(frames: UInt8[Tensor, "k 3 H W"], size: tuple[int, int]) -> Float[Tensor, "k 3 H2 W2"]:
    """Resize frames and normalise their colours with the statistics of ImageNet.

    Cubic overshoot beyond black and white is kept, as in the published preprocessing.

    Args:
        frames: (k, 3, H, W) RGB, 0 to 255.
        size: height and width wanted.

    Returns:
        (k, 3, *size) float32.
    """
    height, width = size
    colours = resize_cubic(resize_cubic(frames.float() / 255, width, 3), height, 2)
    mean, std = (torch.tensor(values, device=frames.device).view(3, 1, 1) for values in (MEAN, STD))
    return (colours - mean) / std


def resize_cubic(pictures: Float[Tensor, "k c h w"], wanted: int, dim: int) -> Tensor:
    """Resize along one axis by cubic convolution, without smoothing before shrinking, edges repeated.

    The published preprocessing is OpenCV's, whose answer this is. That of torch's `interpolate` drifts away
    with the width of the picture, because it places samples by a scale in single precision: on noise of 720
    columns by 2e-4, which the depth still shows in its fourth decimal.

    Args:
        pictures: (k, c, h, w) float32.
        wanted: samples wanted along the axis.
        dim: the axis, 2 or 3.

    Returns:
        Pictures with `wanted` samples along the axis.
    """
    samples, device = pictures.shape[dim], pictures.device
    place = (torch.arange(wanted, dtype=torch.float64) + 0.5) * (samples / wanted) - 0.5
    first = place.floor()
    shape = [-1 if axis == dim else 1 for axis in range(4)]
    resized = pictures.new_zeros(())
    for tap, weight in enumerate(cubic_weights(place - first), start=-1):
        index = (first.long() + tap).clamp(0, samples - 1).to(device)
        resized = resized + pictures.index_select(dim, index) * weight.float().to(device).view(shape)
    return resized


def cubic_weights(offset: Float[Tensor, " n"]) -> list[Tensor]:
    """Weights of the four samples around each place.

    Args:
        offset: distance from the second of them, 0 to 1.

    Returns:
        Four of (n,), which add up to 1.
    """
    a = SHARPNESS
    far, near = (
        [((a * x - 5 * a) * x + 8 * a) * x - 4 * a for x in (offset + 1, 2 - offset)],
        [((a + 2) * x - (a + 3)) * x * x + 1 for x in (offset, 1 - offset)],
    )
    return [far[0], near[0], near[1], far[1]]
