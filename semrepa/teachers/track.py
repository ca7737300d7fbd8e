"""Which of the faces found in each frame belongs to the person of the clip."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from semrepa.teachers import FaceTrack

SAME_PLACE = 0.3
"""Overlap (IoU) with the last box from which a face counts as the same person; ours."""
SAME_PERSON = 0.35
"""Cosine with the track's mean embedding from which a face counts as the same person; ours."""
STALE = 4
"""Frames without the person after which the last box says nothing any more; ours, half a second at 8 fps."""


@dataclass(frozen=True, kw_only=True)
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
    sizes: np.ndarray
    """(k,) float32 shorter side of the box, pixels."""
    cuts: np.ndarray
    """(k,) float32 share of the face outside the frame, 0 to 1."""
    yaws: np.ndarray
    """(k,) float32 turn of the head in eye distances, 0 for frontal."""
    usable: np.ndarray
    """(k,) bool, whether the view is good enough for the embedding to count."""


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
    """Follow one person forward and backward from the first good view of a face, by place, then by likeness.

    The person is the largest usable face of the first frame that has one; when no frame has, the largest of
    the first frame that shows any. Another face is accepted when it overlaps the person's last box, seen at
    most `STALE` frames ago, or looks like the person so far; among several such faces the one with the
    largest sum of both wins. Otherwise the frame is left out, so another person who enters is not taken for
    the first.

    Args:
        frames: the faces of each frame, in order.

    Returns:
        For each frame the index of the person's face, or None. The face need not be usable.
    """
    chosen: list[int | None] = [None] * len(frames)
    start = _start(frames)
    if start is not None:
        first, face = start
        chosen[first] = face
        person = _Person(frames[first].boxes[face], frames[first].embeds[face])
        for order in (range(first + 1, len(frames)), range(first - 1, -1, -1)):
            person.box, person.unseen = frames[first].boxes[face], 0
            _walk(frames, order, person, chosen)
    return chosen


@dataclass
class _Person:
    box: np.ndarray
    """(4,) where the face was last seen."""
    total: np.ndarray
    """(d,) sum of the embeddings of the good views."""
    unseen: int = 0
    """Frames since then."""


def _start(frames: Sequence[Faces]) -> tuple[int, int] | None:
    """Frame and index of the face that the track begins with."""
    for among in ([f.usable for f in frames], [np.ones(len(f.boxes), bool) for f in frames]):
        for k, allowed in enumerate(among):
            if allowed.any():
                return k, int(np.argmax(np.where(allowed, areas(frames[k].boxes), -1)))
    return None


def _walk(frames: Sequence[Faces], order: Iterable[int], person: _Person, chosen: list[int | None]) -> None:
    """Choose the person's face in these frames, in this order; the person is updated on the way."""
    for k in order:
        index = chosen[k] = _again(frames[k], person)
        person.unseen += 1
        if index is not None:
            person.box, person.unseen = frames[k].boxes[index], 0
            if frames[k].usable[index]:
                person.total = person.total + frames[k].embeds[index]


def _again(faces: Faces, person: _Person) -> int | None:
    """Index of a known person among the faces of a frame."""
    place = overlaps(faces.boxes, person.box) * (person.unseen < STALE)
    likeness = faces.embeds @ (person.total / max(float(np.linalg.norm(person.total)), 1e-9))
    rating = np.where((place >= SAME_PLACE) | (likeness >= SAME_PERSON), place + likeness, -np.inf)
    return int(np.argmax(rating)) if np.isfinite(rating).any() else None


def as_track(faces: Sequence[Faces], chosen: Sequence[int | None]) -> FaceTrack:
    """Keep the chosen face of each frame.

    Args:
        faces: all faces of each of the n frames.
        chosen: which one, or None.

    Returns:
        The track, with zeros, NaN and False where there is no face.
    """
    rows = list(zip(faces, chosen, strict=True))
    mask = torch.tensor([i is not None and bool(frame.usable[i]) for frame, i in rows])

    def gather(name: str, shape: tuple[int, ...], missing: float) -> Tensor:
        blank = np.full(shape, missing)
        values = [blank if i is None else getattr(frame, name)[i] for frame, i in rows]
        return torch.from_numpy(np.stack(values).astype(np.float32))

    return FaceTrack(
        embeds=gather("embeds", faces[0].embeds.shape[1:], 0.0) * mask[:, None],
        mask=mask,
        boxes=gather("boxes", (4,), np.nan),
        points=gather("points", (5, 2), np.nan),
        scores=gather("scores", (), 0.0),
        sizes=gather("sizes", (), np.nan),
        cuts=gather("cuts", (), np.nan),
        yaws=gather("yaws", (), np.nan),
    )
