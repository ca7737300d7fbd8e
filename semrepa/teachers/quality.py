"""How good a view of a face is: its size, how much of it the frame cuts off, how far it is turned."""

import cv2
import numpy as np

from semrepa.teachers.align import similarity

FACE = np.array([[12, 13], [100, 13], [100, 114], [12, 114]], np.float32)
"""Corners of the box that a detector draws around a frontal face, in pixels of the aligned crop, (4, 2) x, y.

Ours, from the usual place of the key points in such a box: eyes at 30 and 70 % of its width and 38 % of its
height."""


def sizes(boxes: np.ndarray) -> np.ndarray:
    """Shorter side of each box.

    Args:
        boxes: (k, 4) left, top, right, bottom.

    Returns:
        (k,) pixels.
    """
    return (boxes[:, 2:] - boxes[:, :2]).min(axis=1)


def yaws(points: np.ndarray) -> np.ndarray:
    """How far each head is turned: the nose's offset from the eyes' middle along the line of the eyes.

    Args:
        points: (k, 5, 2) left eye, right eye, nose, mouth corners as seen in the picture, x, y.

    Returns:
        (k,) eye distances: 0 for a frontal face, about 0.5 in half profile, positive when the nose is nearer
        to the right eye of the picture, infinite when the eyes coincide.
    """
    line = points[:, 1] - points[:, 0]
    nose = points[:, 2] - (points[:, 0] + points[:, 1]) / 2
    along, length = (nose * line).sum(axis=1), (line * line).sum(axis=1)
    return np.divide(along, length, out=np.full(len(points), np.inf, along.dtype), where=length > 0)


def cuts(boxes: np.ndarray, points: np.ndarray, height: int, width: int) -> np.ndarray:
    """Share of each face that lies outside the frame.

    Some detectors end their boxes at the frame's border, so the box alone does not tell. The key points do:
    the usual box of a frontal face is laid through them, and the larger of the two shares counts.

    Args:
        boxes: (k, 4) left, top, right, bottom.
        points: (k, 5, 2) key points x, y.
        height: of the frame, pixels.
        width: of the frame, pixels.

    Returns:
        (k,) shares from 0, all of it visible, to 1.
    """
    shares = np.zeros(len(boxes), np.float32)
    for k, (box, five) in enumerate(zip(boxes, points, strict=True)):
        left, top, right, bottom = box
        drawn = np.array([[left, top], [right, top], [right, bottom], [left, bottom]], np.float32)
        shares[k] = max(_outside(corners, height, width) for corners in (drawn, _usual_box(five)))
    return shares


def _usual_box(points: np.ndarray) -> np.ndarray:
    """Corners (4, 2) in the picture of the box that a frontal face with these key points would have."""
    back = cv2.invertAffineTransform(similarity(points))
    return (FACE @ back[:, :2].T + back[:, 2]).astype(np.float32)


def _outside(corners: np.ndarray, height: int, width: int) -> float:
    """Share of a convex polygon outside the frame."""
    area = cv2.contourArea(corners)
    frame = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    inside = cv2.intersectConvexConvex(frame, corners)[0] if area > 0 else 0.0
    share = 1 - inside / area if area > 0 else 1.0
    return round(min(max(share, 0.0), 1.0), 4)  # polygons are single precision: a whole face is exactly 0
