"""Frames as the network sees them: their size, bicubic resizing, normalised colours."""

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional

from semrepa.models.video_depth_anything.sizes import PATCH

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
WIDEST = 1.78
"""Ratio of the sides above which the shorter side is made smaller, to bound memory."""


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
    colours = frames.float() / 255
    colours = functional.interpolate(colours, size, mode="bicubic", align_corners=False, antialias=False)
    mean, std = (torch.tensor(values, device=frames.device).view(3, 1, 1) for values in (MEAN, STD))
    return (colours - mean) / std
