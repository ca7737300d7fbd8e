"""Long videos in windows of 32 frames: which frames each window sees, and how its depth joins the others.

The network answers up to an unknown scale and shift for each window. Every window therefore starts with
frames that the one before has seen: two far ones, on which scale and shift are fitted, and eight near ones,
over which the windows are blended.
"""

import logging
from collections.abc import Iterable

import numpy as np
from jaxtyping import Float32

from semrepa.data.sampling import ClipError
from semrepa.models.video_depth_anything.sizes import MAX_FRAMES

log = logging.getLogger(__name__)

KEYFRAMES = (0, 12, *range(24, MAX_FRAMES))
"""Slots of a window that the next window sees again, as its first ten."""
OVERLAP = len(KEYFRAMES)
STEP = MAX_FRAMES - OVERLAP
FITTED = 2
"""The first slots of a window, on which its scale and shift are fitted."""

Window = Float32[np.ndarray, "32 H W"]


def window_frames(num_frames: int) -> list[tuple[int, ...]]:
    """Say which frames each window sees.

    Args:
        num_frames: frames of the video.

    Returns:
        For each window the numbers of its 32 frames. Windows start 22 frames apart; behind the end the last
        frame is repeated. Slot 0 is frame 0 in all of them.

    Raises:
        ValueError: when there is no frame.
    """
    if num_frames < 1:
        raise ValueError(f"got {num_frames} frames; expected at least 1")
    windows: list[tuple[int, ...]] = []
    for start in range(0, num_frames, STEP):
        frames = [min(start + slot, num_frames - 1) for slot in range(MAX_FRAMES)]
        if windows:
            frames[:OVERLAP] = [windows[-1][slot] for slot in KEYFRAMES]
        windows.append(tuple(frames))
    return windows


def fit_scale_shift(
    depth: Float32[np.ndarray, "k H W"], reference: Float32[np.ndarray, "k H W"]
) -> tuple[float, float]:
    """Fit scale and shift by least squares over all pixels.

    Sums are in float32, as in the published inference, so that its results can be met exactly.

    Args:
        depth: what is to be brought to the reference.
        reference: of the same shape.

    Returns:
        Scale and shift with scale x depth + shift nearest to the reference; 1 and 0 for flat depth.
    """
    count = np.float32(depth.size)
    square, total = np.sum(depth * depth), np.sum(depth)
    product, wanted = np.sum(depth * reference), np.sum(reference)
    determinant = square * count - total * total
    if determinant == 0:
        return 1.0, 0.0
    scale = (count * product - total * wanted) / determinant
    shift = (square * wanted - total * product) / determinant
    return float(scale), float(shift)


def stitch(windows: Iterable[Window], num_frames: int, *, align: bool) -> Float32[np.ndarray, "n H W"]:
    """Join the depth of all windows to that of the video.

    Args:
        windows: depth of each window in the order of `window_frames`, not negative.
        num_frames: frames of the video.
        align: whether scale and shift of each window are fitted to the one before; for metric depth, which
            has a scale of its own, they are not.

    Returns:
        (num_frames, H, W), not negative.

    Raises:
        ValueError: when alignment leaves nothing of a window.
    """
    length = num_frames + MAX_FRAMES  # the last window reaches behind the end
    joined = anchors = np.empty(0, np.float32)
    for number, found in enumerate(windows):
        start = number * STEP
        if number == 0:
            joined = np.empty((length, *found.shape[1:]), np.float32)
            joined[:MAX_FRAMES] = found
            anchors = found[list(KEYFRAMES[:FITTED])]
            continue
        depth = _align(found, anchors, start) if align else found
        blended, fresh = slice(start + FITTED, start + OVERLAP), slice(start + OVERLAP, start + MAX_FRAMES)
        joined[blended] = blend(joined[blended], depth[FITTED:OVERLAP])
        joined[fresh] = depth[OVERLAP:]
        anchors[1:] = depth[list(KEYFRAMES[1:FITTED])]
    return joined[:num_frames]


def _align(depth: Window, anchors: np.ndarray, start: int) -> Window:
    """Bring a window to the depth of the anchors, which its first slots saw again."""
    scale, shift = fit_scale_shift(depth[:FITTED], anchors)
    level = logging.INFO if scale > 0 else logging.WARNING
    log.log(level, "window from frame %d: scale %.4g, shift %.4g", start, scale, shift)
    aligned = np.maximum(depth * np.float32(scale) + np.float32(shift), 0)
    shown = aligned[FITTED:]
    if not shown.max() > shown.min():
        raise ClipError(
            "no_depth",
            f"Video Depth Anything: the window from frame {start} is flat after alignment (scale "
            f"{scale:.4g}, shift {shift:.4g}); expected depth that varies; split the video at cuts, use "
            "float32, or leave the clip out",
        )
    return aligned


def blend(before: Float32[np.ndarray, "k H W"], after: Float32[np.ndarray, "k H W"]) -> np.ndarray:
    """Cross-fade from one window to the next.

    Args:
        before: depth of some frames in the window before.
        after: that of the same frames in the next one.

    Returns:
        Mixed depth: all of `before` on the first frame, all of `after` on the last.
    """
    weight = np.linspace(0, 1, len(before))[:, None, None]
    return before * (1 - weight).astype(np.float32) + after * weight.astype(np.float32)
