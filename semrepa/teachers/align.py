"""Face alignment: five key points to the upright 112 x 112 crop that ArcFace-format recognisers expect."""

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

CROP = 112
"""Side of the aligned crop in pixels."""

TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]],
    dtype=np.float32,
)
"""Where left eye, right eye, nose and mouth corners (as seen in the picture) lie in the aligned crop, (5,
2) x, y."""


def similarity(points: np.ndarray, target: np.ndarray = TEMPLATE) -> np.ndarray:
    """Least-squares rotation, scale and shift that brings points onto target points.

    In the plane such a map is multiplication by one complex number and addition of another, so the fit is a
    quotient of two sums.

    Args:
        points: (k, 2) x, y with k >= 2, not all equal.
        target: (k, 2) x, y.

    Returns:
        (2, 3) matrix M with target ~ M @ (x, y, 1).

    Raises:
        ValueError: If the points coincide, or the counts differ.
    """
    if points.shape != target.shape:
        raise ValueError(
            f"got points of shape {points.shape}; expected {target.shape}, one (x, y) per target point"
        )
    source, goal = (np.asarray(p, np.float64) @ (1, 1j) for p in (points, target))
    centred = source - source.mean()
    spread = np.vdot(centred, centred).real
    if not spread > 0:
        raise ValueError(f"got points {points.tolist()}; expected finite points that do not all coincide")
    turn = np.vdot(centred, goal - goal.mean()) / spread
    shift = goal.mean() - turn * source.mean()
    return np.array([[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]])


def aligned_crop(image: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Cut the upright face out of a picture, as `insightface.utils.face_align.norm_crop` does.

    Args:
        image: (H, W, 3) uint8, channels in any order.
        points: (5, 2) key points x, y in pixels.

    Returns:
        (112, 112, 3) uint8 crop, channels in the order of `image`, black outside the picture.
    """
    return cv2.warpAffine(image, similarity(points), (CROP, CROP), flags=cv2.INTER_LINEAR)


def face_crops(frames: UInt8[Tensor, "n 3 H W"], points: Float[Tensor, "n 5 2"]) -> UInt8[Tensor, "n 3 S S"]:
    """Cut the upright face out of every frame of a clip.

    Args:
        frames: RGB, 0 to 255.
        points: key points of a `FaceTrack`, NaN where there is no face.

    Returns:
        Crops of 112 pixels, black where there is no face.
    """
    crops = torch.zeros(len(frames), 3, CROP, CROP, dtype=torch.uint8)
    for crop, frame, five in zip(crops, frames, points, strict=True):
        if five.isfinite().all():
            found = aligned_crop(np.ascontiguousarray(frame.permute(1, 2, 0).numpy()), five.numpy())
            crop.copy_(torch.from_numpy(found).permute(2, 0, 1))
    return crops
