"""What the mini face pack is worth, measured through insightface on people and rooms new to it."""

import datetime
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from semrepa.runtime import write_json
from semrepa.teachers.face import InsightFaceTeacher
from semrepa.teachers.track import Faces, overlaps
from semrepa.world import RenderedClip, render_clip, sample_spec

HELDOUT = 1_000_000
"""First identity and clip seed for measurement."""
SAME_FACE = 0.5
"""Overlap (IoU) with the true box from which a detection is right."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What is measured at one frame size."""

    size: tuple[int, int]
    """Height and width."""
    people: int
    """Held-out identities, two clips each."""
    moments: int
    """Pictures per clip, half a second apart."""
    empty: int
    """Rooms without a person."""


TRIALS = (
    Trial(size=(128, 192), people=60, moments=6, empty=20),
    Trial(size=(480, 720), people=16, moments=3, empty=6),
)


def write_face_quality(out: Path, *, seed: int, trials: tuple[Trial, ...] = TRIALS) -> dict[str, object]:
    """Measure a pack and write `quality.json` into it.

    Args:
        out: folder of the face pack.
        seed: of the training, for the record.
        trials: what to measure.

    Returns:
        The record.
    """
    teacher = InsightFaceTeacher(out)
    found = {f"{t.size[0]}x{t.size[1]}": measure(teacher, t) for t in trials}
    record = {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "seed": seed,
        "first_heldout_seed": HELDOUT,
        "sha256": teacher.provenance.sha256,
        "quality": found,
    }
    write_json(out / "quality.json", record)
    return record


def film(trial: Trial) -> list[RenderedClip]:
    """Render the clips of a trial: two per person, every sixth vertical, then the empty rooms.

    Args:
        trial: what to measure.

    Returns:
        The clips.
    """
    clips = []
    for k in range(2 * trial.people + trial.empty):
        person = HELDOUT + k // 2 if k < 2 * trial.people else None
        vertical = k % 6 == 5
        spec = sample_spec(HELDOUT + k, identity=person, vertical=vertical, empty=person is None)
        height, width = sorted(trial.size, reverse=vertical)
        clips.append(
            render_clip(spec, size=(height, width), num_frames=trial.moments, fps=2.0, start=k % 5 * 0.9)
        )
    return clips


def measure(teacher: InsightFaceTeacher, trial: Trial) -> dict[str, float]:
    """Detect, align and embed all faces of a trial and compare with the truth.

    Args:
        teacher: the pack.
        trial: what to measure.

    Returns:
        `detection_rate`: share of visible faces that are found; `false_rate`: share of detections away
        from any face; `hidden_rate`: share of faces found among those turned 60 to 90 degrees, covered or
        cut; `point_error`: distance of key points in eye distances, mean, and median; `auc`: verification
        between clips; `intra`, `inter`: mean cosine within a clip and between people; counts.
    """
    clips = film(trial)
    found = [teacher.find(torch.from_numpy(clip.frames)) for clip in clips]
    return detection_quality(clips, found) | recognition_quality(clips, found)


def _match(clip: RenderedClip, k: int, faces: Faces) -> int | None:
    """Index of the detection on the true face of frame k."""
    if not len(faces.boxes) or np.isnan(clip.face_boxes[k, 0]):
        return None
    shared = overlaps(faces.boxes, clip.face_boxes[k])
    return int(shared.argmax()) if shared.max() >= SAME_FACE else None


def detection_quality(clips: list[RenderedClip], found: list[list[Faces]]) -> dict[str, float]:
    """Compare boxes and key points with the truth.

    Args:
        clips: what was shown.
        found: all faces of all frames.

    Returns:
        The part of `measure` about detection.
    """
    seen, hidden, errors, detections, right = [], [], [], 0, 0
    for clip, frames in zip(clips, found, strict=True):
        for k, faces in enumerate(frames):
            index = _match(clip, k, faces)
            detections, right = detections + len(faces.boxes), right + (index is not None)
            if clip.face_visible[k]:
                seen.append(index is not None)
            elif np.isfinite(clip.face_boxes[k, 0]):
                hidden.append(index is not None)
            if index is not None and clip.face_visible[k]:
                truth = clip.face_points[k]
                miss = np.linalg.norm(faces.points[index] - truth, axis=1).mean()
                errors.append(miss / np.linalg.norm(truth[1] - truth[0]))
    return {
        "detection_rate": float(np.mean(seen)),
        "false_rate": 1 - right / max(detections, 1),
        "hidden_rate": float(np.mean(hidden)) if hidden else 0.0,
        "point_error": float(np.mean(errors)),
        "point_error_median": float(np.median(errors)),
        "visible": len(seen),
        "hidden": len(hidden),
        "detections": detections,
    }


def recognition_quality(clips: list[RenderedClip], found: list[list[Faces]]) -> dict[str, float]:
    """Compare embeddings of visible faces within clips, between clips of a person, and between people.

    Args:
        clips: what was shown.
        found: all faces of all frames.

    Returns:
        The part of `measure` about recognition.
    """
    rows = [
        (number, clip.spec.identity, faces.embeds[index])
        for number, (clip, frames) in enumerate(zip(clips, found, strict=True))
        for k, faces in enumerate(frames)
        if clip.face_visible[k] and (index := _match(clip, k, faces)) is not None
    ]
    clip_of, person, embeds = (np.stack(part) for part in zip(*rows, strict=True))
    cosine = embeds @ embeds.T
    same_clip, same_person = clip_of[:, None] == clip_of, person[:, None] == person
    upper = np.triu(np.ones_like(same_clip), 1)
    genuine, others = cosine[same_person & ~same_clip & upper], cosine[~same_person & upper]
    return {
        "auc": area_under_curve(genuine, others),
        "intra": float(cosine[same_clip & upper].mean()),
        "genuine": float(genuine.mean()),
        "inter": float(others.mean()),
    }


def area_under_curve(positive: np.ndarray, negative: np.ndarray) -> float:
    """Probability that a positive exceeds a negative, ties counted half.

    Args:
        positive: (k,) values.
        negative: (m,) values.

    Returns:
        From 0 to 1.
    """
    ranked = np.sort(negative)
    below = np.searchsorted(ranked, positive, "left") + np.searchsorted(ranked, positive, "right")
    return float(below.mean() / (2 * len(ranked)))
