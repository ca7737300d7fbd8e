"""How a fine-tuned model's look drifts from the base model's: colour, contrast, saturation, motion.

Ours: numbers to watch while a model is trained, of videos made from the same seed. They say that something
changes, not whether it is for the worse.
"""

from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

Video = UInt8[Tensor, "n 3 H W"]
"""One RGB video at rest, 0 to 255."""
OtherVideo = UInt8[Tensor, "m 3 Y X"]
"""Another one, of any size."""

FLOW_METHOD = "Farneback at 192 pixels of width, contrast evened out (OpenCV)"
"""How `flow` measures motion; name it beside the number. Plain Farneback sees half of a motion where contrast
is half, OpenCV's DIS sees grain as motion; as it is used here, neither changes the number much."""
FLOORS = {"contrast": 0.5, "saturation": 0.002, "flow": 1e-4}
"""Below these numbers a video counts as flat, grey or still: ratios are taken of the floors instead."""

_LUMA = (0.299, 0.587, 0.114)
_WIDTH = 192
_CONTRAST, _LEAST_CONTRAST = 50.0, 4.0
"""Standard deviation that grey levels are brought to, 0 to 255, and the least one that is amplified to it."""


@dataclass(frozen=True, kw_only=True)
class Look:
    """What a video looks like, in five numbers."""

    color: tuple[float, float, float]
    """Mean red, green and blue, 0 to 255."""
    contrast: float
    """Standard deviation of luma (Rec. 601) in a frame, mean over frames, 0 to 127.5."""
    saturation: float
    """Mean of the largest minus the smallest of a pixel's three channels, 0 to 1. Unlike the S of HSV it does
    not call dark noise colourful, and it halves where all colours move half-way to grey."""
    flow: float
    """Mean motion from frame to frame, as a share of the width, see `flow`."""


def look(video: Video) -> Look:
    """Measure a video.

    Args:
        video: at least two frames, on any device.

    Returns:
        Finite numbers, also for black or still videos.

    Raises:
        ValueError: fewer than two frames.
    """
    frames = [frame.float() for frame in video]
    luma = torch.tensor(_LUMA, device=video.device).view(3, 1, 1)
    color = torch.stack([frame.mean(dim=(1, 2)) for frame in frames]).mean(dim=0)
    contrasts = [(frame * luma).sum(dim=0).std(correction=0) for frame in frames]
    chroma = [(frame.amax(dim=0) - frame.amin(dim=0)).mean() / 255 for frame in frames]
    red, green, blue = color.tolist()
    return Look(
        color=(red, green, blue),
        contrast=torch.stack(contrasts).mean().item(),
        saturation=torch.stack(chroma).mean().item(),
        flow=flow(video),
    )


def flow(video: Video) -> float:
    """Measure how far the picture moves from frame to frame, by the method that `FLOW_METHOD` names.

    Args:
        video: at least two frames, on any device.

    Returns:
        Mean length of the optical flow over pixels and pairs of frames, as a share of the width.

    Raises:
        ValueError: fewer than two frames.
    """
    if len(video) < 2:
        raise ValueError(
            f"got a video of {len(video)} frame; expected at least 2; motion needs a frame before"
        )
    small = [_small(frame) for frame in video.permute(0, 2, 3, 1).cpu().numpy()]
    return float(np.mean([_motion(*pair) for pair in pairwise(small)]))


def drift(video: Video | Look, reference: OtherVideo | Look) -> dict[str, float]:
    """Compare a video with the base model's of the same seed.

    Args:
        video: what the fine-tuned model made, or its `look`.
        reference: what the base model made, or its `look`, which need not be measured anew at each check.

    Returns:
        `red`, `green`, `blue`: differences of the mean colour, -255 to 255. `contrast`, `saturation`, `flow`:
        ratios, 1 where nothing changed; 1 also where both are flat, grey or still (`FLOORS`). All finite.

    Raises:
        ValueError: fewer than two frames.
    """
    one, other = (seen if isinstance(seen, Look) else look(seen) for seen in (video, reference))
    colors = zip(("red", "green", "blue"), one.color, other.color, strict=True)
    found = {name: mine - theirs for name, mine, theirs in colors}
    for name, floor in FLOORS.items():
        found[name] = max(getattr(one, name), floor) / max(getattr(other, name), floor)
    return found


def _small(frame: np.ndarray) -> np.ndarray:
    """Grey levels of a picture (H, W, 3), `_WIDTH` wide."""
    grey = cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_RGB2GRAY)
    height, width = grey.shape
    how = cv2.INTER_AREA if width > _WIDTH else cv2.INTER_LINEAR
    return cv2.resize(grey, (_WIDTH, max(1, round(height * _WIDTH / width))), interpolation=how)


def _motion(before: np.ndarray, after: np.ndarray) -> float:
    """Mean length of the flow between two small pictures, as a share of the width."""
    mean, scale = before.mean(), _CONTRAST / max(before.std(), _LEAST_CONTRAST)
    first, second = (((grey - mean) * scale).astype(np.float32) for grey in (before, after))
    moved = cv2.calcOpticalFlowFarneback(first, second, np.empty(0, np.float32), 0.5, 5, 15, 3, 7, 1.5, 0)
    return float(np.linalg.norm(moved, axis=2).mean()) / _WIDTH
