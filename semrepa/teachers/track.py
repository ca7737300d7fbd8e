"""Which of the faces found in each frame belongs to the person of the clip."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

SAME_PLACE = 0.3
"""Overlap (IoU) with the last box from which a face counts as the same person; ours."""
SAME_PERSON = 0.35
"""Cosine with the track's mean embedding from which a face counts as the same person; ours."""


@dataclass(frozen=True)
class Faces:
    """All k faces of one frame."""

    boxes: np.ndarray
    """(k, 4) float32 left, top, right, bottom in pixels."""
    points: np.ndarray
    """(k, 5, 2) float32 x, y in pixels."""
    scores: np.ndarray
    """(k,) float32 in [0, 1]."""
    embeds: np.ndarray
    """(k, d) float32, L2-normalised."""


def areas(boxes: np.ndarray) -> np.ndarray:
    """Area of each box.

    Args:
        boxes: (..., 4) left, top, right, bottom.

    Returns:
        (...) areas, 0 for boxes turned inside out.
    """
    return np.prod(np.clip(boxes[..., 2:] - boxes[..., :2], 0, None), axis=-1)


def overlaps(boxes: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Intersection over union of each box with one box.

    Args:
        boxes: (..., 4) left, top, right, bottom.
        box: (4,) or a shape that broadcasts with `boxes`.

    Returns:
        (...) values in [0, 1].
    """
    shared = areas(np.concatenate(
        [np.maximum(boxes[..., :2], box[..., :2]), np.minimum(boxes[..., 2:], box[..., 2:])], axis=-1
    ))
    return shared / np.maximum(areas(boxes) + areas(box) - shared, 1e-9)


def follow(frames: Sequence[Faces]) -> list[int | None]:
    """Follow one person: the largest face of the first frame that shows any, then by place, then by likeness.

    A later face is accepted when it overlaps the person's last box or looks like the person so far; among several
    such faces the one with the largest sum of both wins. Otherwise the frame is left out, so another person who
    enters is not taken for the first.

    Args:
        frames: the faces of each frame, in order.

    Returns:
        For each frame the index of the person's face, or None.
    """
    chosen: list[int | None] = []
    last_box, total = None, None
    for faces in frames:
        index = None
        if len(faces.boxes) and last_box is None:
            index = int(np.argmax(areas(faces.boxes)))
        elif len(faces.boxes):
            place = overlaps(faces.boxes, last_box)
            person = faces.embeds @ (total / max(float(np.linalg.norm(total)), 1e-9))
            candidate = np.where((place >= SAME_PLACE) | (person >= SAME_PERSON), place + person, -np.inf)
            index = int(np.argmax(candidate)) if np.isfinite(candidate).any() else None
        if index is not None:
            last_box = faces.boxes[index]
            total = faces.embeds[index] + (0 if total is None else total)
        chosen.append(index)
    return chosen
