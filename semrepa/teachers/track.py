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
        boxes: (k, 4) left, top, right, bottom.

    Returns:
        (k,) areas, 0 for boxes turned inside out.
    """
    return np.prod(np.clip(boxes[:, 2:] - boxes[:, :2], 0, None), axis=1)


def overlaps(boxes: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Intersection over union of each box with one box.

    Args:
        boxes: (k, 4) left, top, right, bottom.
        box: (4,) likewise.

    Returns:
        (k,) values in [0, 1].
    """
    box = np.broadcast_to(box, boxes.shape)
    shared = areas(
        np.concatenate([np.maximum(boxes[:, :2], box[:, :2]), np.minimum(boxes[:, 2:], box[:, 2:])], axis=1)
    )
    return shared / np.maximum(areas(boxes) + areas(box) - shared, 1e-9)


def follow(frames: Sequence[Faces]) -> list[int | None]:
    """Follow one person: the largest face of the first frame that shows any, then by place, then by likeness.

    A later face is accepted when it overlaps the person's last box or looks like the person so far; among
    several such faces the one with the largest sum of both wins. Otherwise the frame is left out, so
    another person who enters is not taken for the first.

    Args:
        frames: the faces of each frame, in order.

    Returns:
        For each frame the index of the person's face, or None.
    """
    chosen: list[int | None] = []
    person: tuple[np.ndarray, np.ndarray] | None = None
    for faces in frames:
        index = None
        if len(faces.boxes):
            index = int(np.argmax(areas(faces.boxes))) if person is None else _again(faces, *person)
        if index is not None:
            total = faces.embeds[index] + (0 if person is None else person[1])
            person = faces.boxes[index], total
        chosen.append(index)
    return chosen


def _again(faces: Faces, last_box: np.ndarray, total: np.ndarray) -> int | None:
    """Index of the person whose last box and sum of embeddings are given, among at least one face."""
    place = overlaps(faces.boxes, last_box)
    likeness = faces.embeds @ (total / max(float(np.linalg.norm(total)), 1e-9))
    rating = np.where((place >= SAME_PLACE) | (likeness >= SAME_PERSON), place + likeness, -np.inf)
    return int(np.argmax(rating)) if np.isfinite(rating).any() else None
