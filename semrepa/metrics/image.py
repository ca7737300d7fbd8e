"""Scores of pictures against pictures: SSIM, PSNR as it is and as it is often miscomputed, and flicker."""

from typing import Literal

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional

from semrepa.shapes import Frames, PerFrame, PerSample

SsimVariant = Literal["gaussian", "uniform"]
"""The window: 11x11 gaussian of sigma 1.5 as in the SSIM paper, or 7x7 uniform as in skimage's default."""

Content = tuple[int, int, int, int]
"""Top, left, height and width of the picture inside its padding, pixels, as `data` reads clips."""

AnyFrames = UInt8[Tensor, "b n 3 H W"] | Float[Tensor, "b n 3 H W"]
"""RGB video, uint8, or float in [0, 1]."""

Picture = UInt8[Tensor, "3 H W"]
"""One RGB frame."""

STRIP = 64
"""Rows of a picture that SSIM looks at together on a CPU."""

FLAT = 0.2
"""Share of equal neighbours among differences above which float64 is used: there rounding adds up."""

_PEAK = 255.0


def inside(frames: AnyFrames, content: Content | None) -> Tensor:
    """Cut padding off: black bars would count as perfect pixels and sharp edges.

    Args:
        frames: video.
        content: the picture inside its padding; None: there is none.

    Returns:
        The video of the content alone, a view.

    Raises:
        ValueError: the rectangle does not lie in the frame.
    """
    if content is None:
        return frames
    top, left, height, width = content
    fits = top + height <= frames.shape[-2] and left + width <= frames.shape[-1]
    if not fits or min(top, left) < 0 or min(height, width) < 1:
        raise ValueError(
            f"content: got top, left, height, width {content}; expected a rectangle inside frames of "
            f"{tuple(frames.shape[-2:])}; take the one of the clip's record"
        )
    return frames[..., top : top + height, left : left + width]


def to_bytes(frames: AnyFrames) -> Frames:
    """Bring a video to uint8.

    Args:
        frames: uint8, which is returned as it is, or float in [0, 1].

    Returns:
        Whole numbers 0 to 255.

    Raises:
        ValueError: numbers that are not finite, or outside [0, 1].
    """
    if frames.dtype == torch.uint8:
        return frames
    low, high = frames.aminmax()
    if not (low >= 0 and high <= 1):  # NaN is neither
        raise ValueError(
            f"got float frames from {low:g} to {high:g}; expected uint8, or finite float in [0, 1]; "
            "divide by 255, or look for what made a NaN"
        )
    return (frames * 255).round().to(torch.uint8)


def psnr(frames: AnyFrames, reference: AnyFrames, *, content: Content | None = None) -> PerFrame:
    """Peak signal-to-noise ratio of each frame.

    Average it over frames (`clip_mean`), not the error before the logarithm: that is another number.

    Args:
        frames: video to score; float in [0, 1] is rounded to uint8.
        reference: true video.
        content: the picture inside its padding; None: all of it.

    Returns:
        Decibels, (b, n); infinite where a frame equals its reference.

    Raises:
        ValueError: the videos differ in shape, or hold numbers outside [0, 1] or not finite.
    """
    squares = [(x.int() - y).float().square_() for x, y in _pairs(frames, reference, content)]
    return _decibels(squares, frames)


def psnr_uint8_wrap(frames: AnyFrames, reference: AnyFrames, *, content: Content | None = None) -> PerFrame:
    """A miscomputed PSNR, kept only to stand beside the paper's numbers.

    `((a - b) ** 2).mean()` on uint8 arrays wraps round twice: every squared difference is taken modulo 256.
    Of unrelated pictures the wrapped squares average about 105.5, so the score cannot fall below about 27.9
    dB, and a difference of exactly 16 everywhere counts as perfect (infinite). The paper's Table 1 has 27.4
    to 32.5 dB at SSIM 0.15 to 0.75, where the true PSNR of natural videos would be about 9 to 20 dB: all its
    rows lie on the curve of this formula. Never rank models by it.

    Args:
        frames: video to score; float in [0, 1] is rounded to uint8.
        reference: true video.
        content: the picture inside its padding; None: all of it.

    Returns:
        Decibels, (b, n).

    Raises:
        ValueError: the videos differ in shape, or hold numbers outside [0, 1] or not finite.
    """
    squares = [((x.int() - y).square_() & 255).float() for x, y in _pairs(frames, reference, content)]
    return _decibels(squares, frames)


def ssim(
    frames: AnyFrames,
    reference: AnyFrames,
    *,
    variant: SsimVariant = "gaussian",
    content: Content | None = None,
) -> PerFrame:
    """Structural similarity of each frame, averaged over the colour channels.

    The two variants differ by several hundredths on the same pair, so name the one you report. `gaussian` is
    skimage's with `gaussian_weights=True, use_sample_covariance=False`, `uniform` skimage's default.

    Args:
        frames: video to score; float in [0, 1] is rounded to uint8.
        reference: true video.
        variant: window of the local statistics; `gaussian` is the kit's headline.
        content: the picture inside its padding; None: all of it.

    Returns:
        Numbers up to 1, (b, n); 1 for equal frames. The border, half a window wide, is left out.

    Raises:
        ValueError: the videos differ in shape, a side is smaller than the window, or as `to_bytes` says.
    """
    window, unbiased = _window(variant)
    pairs = _pairs(frames, reference, content)
    if pairs and min(size := tuple(pairs[0][0].shape[-2:])) < len(window):
        raise ValueError(f"got frames of {size}; expected at least {len(window)} pixels each way")
    scores = [_ssim_picture(x, y, window, unbiased) for x, y in pairs]
    return torch.stack(scores).view(frames.shape[:2]).float()


def flicker(frames: AnyFrames, *, content: Content | None = None) -> PerSample:
    """Mean absolute change from frame to frame, which VBench calls temporal flickering.

    Motion counts too, so compare it with the true video's, not with 0. VBench's score is
    (255 - flicker) / 255.

    Args:
        frames: video; frame 0 counts as the one before frame 1.
        content: the picture inside its padding; None: all of it.

    Returns:
        Grey levels per clip, (b,), 0 to 255.

    Raises:
        ValueError: fewer than two frames, or as `to_bytes` says.
    """
    if frames.shape[1] < 2:
        raise ValueError(f"got {frames.shape[1]} frame per clip; expected at least 2")
    clips = inside(to_bytes(frames), content)
    changes = [_absolute(clip[1:], clip[:-1]) for clip in clips]
    return torch.stack(changes)


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


def _absolute(after: Tensor, before: Tensor) -> Tensor:
    return (after.short() - before).abs_().float().mean()


def _pairs(frames: Tensor, reference: Tensor, content: Content | None) -> list[tuple[Picture, Picture]]:
    """Frames and their references one by one."""
    if frames.shape != reference.shape:
        raise ValueError(
            f"got frames {tuple(frames.shape)} and reference {tuple(reference.shape)}; "
            "expected equal shapes; cut or resize them to one size first"
        )
    pair = (inside(to_bytes(x), content).flatten(0, 1) for x in (frames, reference))
    return list(zip(*pair, strict=True))


def _decibels(squares: list[Tensor], frames: AnyFrames) -> PerFrame:
    error = torch.stack([x.mean(dtype=torch.float64) for x in squares])
    return (10 * torch.log10(_PEAK**2 / error)).float().view(frames.shape[:2])


def _window(variant: SsimVariant) -> tuple[np.ndarray, float]:
    """One-dimensional window, as float32 has it, and the factor that makes its variance that of a sample."""
    if variant == "gaussian":
        weights = np.exp(-np.square(np.arange(-5, 6)) / (2 * 1.5**2))
        return (weights / weights.sum()).astype(np.float32).astype(np.float64), 1.0
    if variant == "uniform":
        return np.full(7, np.float32(1 / 7), dtype=np.float64), 49 / 48
    raise ValueError(f"got variant={variant!r}; expected 'gaussian' or 'uniform'")


def _ssim_picture(x: Picture, y: Picture, window: np.ndarray, unbiased: float) -> Tensor:
    """SSIM of two pictures; on the CPU in strips that stay in its cache."""
    rows, margin = x.shape[1] - len(window) + 1, len(window) - 1
    strip = STRIP if x.device.type == "cpu" else rows
    parts = [slice(top, min(top + strip, rows) + margin) for top in range(0, rows, strip)]
    total = torch.stack([_ssim_total(x[:, part], y[:, part], window, unbiased) for part in parts]).sum()
    return total / (x.shape[0] * rows * (x.shape[2] - margin))


def _ssim_total(x: Picture, y: Picture, window: np.ndarray, unbiased: float) -> Tensor:
    """Sum of SSIM over all places, by local means of s, d, s^2 and d^2, where s = x + y and d = x - y."""
    # 4 xy = s^2 - d^2 and 2 (x^2 + y^2) = s^2 + d^2 hold for means, squares of means and (co)variances alike,
    # so four local means do where x and y take five.
    x, y = x.float(), y.float()
    difference = x - y
    is_flat = (difference[:, ::4, 1:] == difference[:, ::4, :-1]).float().mean() > FLAT
    mean_s, spread_s = _moments(x.add_(y), window, exact=False)
    mean_d, spread_d = _moments(difference, window, exact=bool(is_flat))
    mean_s.add_(2 * (0.01 * _PEAK) ** 2)
    spread_s.add_(2 * (0.03 * _PEAK) ** 2 * window.sum() ** 2 / unbiased)
    above = (mean_s - mean_d).mul_(spread_s - spread_d)
    below = mean_s.add_(mean_d).mul_(spread_s.add_(spread_d))
    return above.div_(below).sum(dtype=torch.float64)


def _moments(values: Float[Tensor, "3 H W"], window: np.ndarray, *, exact: bool) -> tuple[Tensor, Tensor]:
    """Square of the local mean, and local variance times the weight of the whole window, float32."""
    # Counted from their middle: float32 would lose the variance beside a large mean.
    middle = values.mean().round()
    exact |= values.device.type != "cpu"  # convolutions of float32 are rounded to ten bits on newer GPUs
    maps = values.new_empty((2, *values.shape), dtype=torch.float64 if exact else torch.float32)
    torch.sub(values, middle, out=maps[0])
    torch.mul(maps[0], maps[0], out=maps[1])
    mean, square = _local_means(maps, window)
    # Rounded weights do not quite add up to 1, which the variance, a small difference, would feel.
    spread = square.addcmul_(mean, mean, value=-1 / window.sum() ** 2)
    return mean.float().add_(middle).square_(), spread.float()


def _local_means(maps: Float[Tensor, "k 3 H W"], window: np.ndarray) -> Float[Tensor, "k 3 H2 W2"]:
    """Weighted means of each neighbourhood that lies wholly inside; OpenCV is the fastest on a CPU."""
    half, planes = len(window) // 2, maps.flatten(0, 1)
    if maps.device.type == "cpu":
        means = torch.empty_like(planes)
        for plane, mean in zip(planes.numpy(), means.numpy(), strict=True):
            cv2.sepFilter2D(plane, -1, window, window, dst=mean)
        return means[:, half:-half, half:-half].unflatten(0, maps.shape[:2])
    taps = torch.from_numpy(window).to(maps)
    columns = functional.conv2d(planes[:, None], taps[None, None, :, None])
    return functional.conv2d(columns, taps[None, None, None, :])[:, 0].unflatten(0, maps.shape[:2])
