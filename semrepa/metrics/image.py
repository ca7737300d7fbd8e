"""SSIM and PSNR between videos, per frame, as skimage defines them."""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from semrepa.shapes import Frames, PerFrame, PerSample

SsimVariant = Literal["gaussian", "uniform"]
"""The window: 11x11 gaussian of sigma 1.5 as in the SSIM paper, or 7x7 uniform as in skimage's default."""

_PEAK = 255.0


def psnr(frames: Frames, reference: Frames) -> PerFrame:
    """Peak signal-to-noise ratio of each frame.

    Args:
        frames: video to score.
        reference: true video.

    Returns:
        Decibels, (b, n); infinite where a frame equals its reference.

    Raises:
        ValueError: the videos differ in shape.
    """
    _check(frames, reference)
    error = (frames.double() - reference.double()).square().mean(dim=(2, 3, 4))
    return (10 * torch.log10(_PEAK**2 / error)).float()


def ssim(frames: Frames, reference: Frames, *, variant: SsimVariant = "gaussian") -> PerFrame:
    """Structural similarity of each frame, averaged over the colour channels.

    The two variants differ by several hundredths on the same pair, so name the one you report.

    Args:
        frames: video to score.
        reference: true video.
        variant: window of the local statistics; `gaussian` is the kit's headline.

    Returns:
        Numbers up to 1, (b, n); 1 for equal frames. The border, half a window wide, is left out.

    Raises:
        ValueError: the videos differ in shape, or a side is smaller than the window.
    """
    _check(frames, reference)
    window, unbiased = _window(variant)
    if min(frames.shape[-2:]) < len(window):
        raise ValueError(
            f"got frames of {tuple(frames.shape[-2:])}; expected at least {len(window)} pixels each way"
        )
    pairs = zip(frames.flatten(0, 1), reference.flatten(0, 1), strict=True)
    scores = [_ssim_picture(x.double(), y.double(), window, unbiased) for x, y in pairs]
    return torch.stack(scores).reshape(frames.shape[:2]).float()


def clip_mean(per_frame: PerFrame, *, skip_first: bool = True) -> PerSample:
    """Average a frame score over each clip.

    Args:
        per_frame: scores, (b, n).
        skip_first: leave out frame 0, which an image-to-video model is given.

    Returns:
        One score per clip, (b,).

    Raises:
        ValueError: no frame is left.
    """
    kept = per_frame[:, 1:] if skip_first else per_frame
    if kept.shape[1] == 0:
        raise ValueError(
            f"got {per_frame.shape[1]} frame per clip; expected at least 2; or pass skip_first=False"
        )
    return kept.mean(dim=1)


def _window(variant: SsimVariant) -> tuple[Tensor, float]:
    """One-dimensional window, and the factor that makes its variance that of a sample."""
    if variant == "gaussian":
        weights = torch.exp(-torch.arange(-5, 6, dtype=torch.float64).square() / (2 * 1.5**2))
        return weights / weights.sum(), 1.0
    if variant == "uniform":
        return torch.full((7,), 1 / 7, dtype=torch.float64), 49 / 48
    raise ValueError(f"got variant={variant!r}; expected 'gaussian' or 'uniform'")


def _ssim_picture(x: Tensor, y: Tensor, window: Tensor, unbiased: float) -> Tensor:
    """SSIM of two pictures (3, H, W)."""
    stacked = torch.stack([x, y, x * x, y * y, x * y])[:, :, None].flatten(0, 1)
    window = window.to(x.device)
    rows = functional.conv2d(stacked, window[None, None, :, None])
    local = functional.conv2d(rows, window[None, None, None, :]).unflatten(0, (5, -1))
    mean_x, mean_y, mean_xx, mean_yy, mean_xy = local
    variances = unbiased * (mean_xx - mean_x.square() + mean_yy - mean_y.square())
    covariance = unbiased * (mean_xy - mean_x * mean_y)
    c1, c2 = (0.01 * _PEAK) ** 2, (0.03 * _PEAK) ** 2
    brightness = (2 * mean_x * mean_y + c1) / (mean_x.square() + mean_y.square() + c1)
    return (brightness * (2 * covariance + c2) / (variances + c2)).mean()


def _check(frames: Tensor, reference: Tensor) -> None:
    if frames.shape != reference.shape:
        raise ValueError(
            f"got frames {tuple(frames.shape)} and reference {tuple(reference.shape)}; "
            "expected equal shapes; cut or resize them to one size first"
        )
