"""Training pictures of the mini face detector: windows cut out of rendered pictures."""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from semrepa.miniature.faces import MINI_SHRINK, SMEAR, Pictures, degrade

WINDOW = 256
"""Side of the training pictures in pixels."""


@dataclass(frozen=True)
class Windows:
    """A batch of b training pictures with at most one face each."""

    images: Tensor
    """(b, 3, 256, 256), RGB scaled as the network takes it."""
    boxes: Tensor
    """(b, 4) left, top, right, bottom in pixels, NaN without a face."""
    points: Tensor
    """(b, 5, 2) x, y in pixels, NaN without a face."""
    wanted: Tensor
    """(b,) 1: the network shall find the face; 0: it shall not; -1: either, because the window cuts the
    face."""


def draw_windows(pictures: Pictures, rng: np.random.Generator, batch: int) -> Windows:
    """Cut random windows: faces of 16 to 230 pixels, anywhere, sharp or from a small frame, some mirrored.

    Args:
        pictures: where to cut.
        rng: source of randomness.
        batch: how many.

    Returns:
        The batch.
    """
    drawn = [_draw(pictures, int(index), rng) for index in rng.integers(len(pictures.jpegs), size=batch)]
    images, boxes, points, wanted = (np.stack(part) for part in zip(*drawn, strict=True))
    scaled = (torch.from_numpy(images[..., ::-1].copy()).permute(0, 3, 1, 2).float() - 127.5) / 128
    return Windows(
        scaled.contiguous(memory_format=torch.channels_last),
        torch.from_numpy(boxes),
        torch.from_numpy(points),
        torch.from_numpy(wanted),
    )


def _draw(
    pictures: Pictures, index: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.int8]:
    """One window with box, points and whether the face is wanted."""
    image, box, points = pictures.image(index), pictures.boxes[index], pictures.points[index]
    scale = float(np.exp(rng.uniform(np.log(0.6), np.log(2.1))))
    if rng.random() < 0.6:  # a frame as small as the mini preset's, enlarged again
        small, scale = MINI_SHRINK, float(rng.uniform(0.85, 1.2)) if rng.random() < 0.6 else scale
    else:
        small = min(1.0, scale)
    image = cv2.resize(image, None, fx=small, fy=small, interpolation=cv2.INTER_AREA)
    shown = np.array(image.shape[1::-1]) * scale / small
    if np.isfinite(box).all() and rng.random() < 0.85:
        goal = rng.uniform(0.1, 0.9, 2) * WINDOW - (box[:2] + box[2:]) / 2 * scale
    else:
        goal = rng.uniform(np.minimum(0, WINDOW - shown), np.maximum(0, WINDOW - shown))
    goal = np.clip(goal, np.minimum(0, WINDOW - shown) - 8, np.maximum(0, WINDOW - shown) + 8)
    flip = -1.0 if rng.random() < 0.5 else 1.0
    turn = np.array([[flip * scale, 0, goal[0]], [0, scale, goal[1]]])
    turn[0, 2] = WINDOW - goal[0] if flip < 0 else goal[0]
    matrix = turn * (1 / small, 1 / small, 1)
    window = cv2.warpAffine(image, matrix, (WINDOW, WINDOW), flags=cv2.INTER_LINEAR)
    window = degrade(window, rng, blur=1.6, smear=SMEAR * scale / MINI_SHRINK)
    return window, *_moved(box, points, bool(pictures.visible[index]), turn)


def _moved(
    box: np.ndarray, points: np.ndarray, visible: bool, turn: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.int8]:
    """Answers after the affine map, with left and right restored after mirroring."""
    points = points @ turn[:, :2].T + turn[:, 2]
    corners = box.reshape(2, 2) @ turn[:, :2].T + turn[:, 2]
    if turn[0, 0] < 0:
        points, corners = points[[1, 0, 2, 4, 3]], np.stack([corners[:, 0][::-1], corners[:, 1]], axis=1)
    inside = np.clip(corners, 0, WINDOW)
    share = np.prod(inside[1] - inside[0]) / max(np.prod(corners[1] - corners[0]), 1e-6)
    wanted = 0 if not visible else 1 if share >= 0.7 else -1
    return corners.reshape(4).astype(np.float32), points.astype(np.float32), np.int8(wanted)
