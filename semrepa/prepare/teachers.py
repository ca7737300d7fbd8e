"""The frozen teachers that a config names."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from semrepa.config import Config
from semrepa.data.people import PersonDetector, PersonFilter
from semrepa.teachers import DepthTeacher, FaceTeacher
from semrepa.weights import Role, check_weights

FACE_LOOKS = 5
"""Frames on which a person may show the face, where faces stand for people."""


@dataclass(frozen=True, kw_only=True)
class Teachers:
    """Who answers the questions about a clip."""

    depth: DepthTeacher
    """How far every pixel is."""
    face: FaceTeacher
    """Whose face is in each frame."""
    people: PersonFilter
    """Whether there is a person at all."""


def load_teachers(cfg: Config) -> Teachers:
    """Load the frozen teachers that a config names.

    Args:
        cfg: resolved config.

    Returns:
        The teachers.

    Raises:
        FileNotFoundError: when weights are missing; lists all of them.
        ValueError: for weights of another format.
    """
    roles: tuple[Role, ...] = ("depth", "face", "people")
    found = {record.name: Path(record.source) for record in check_weights(cfg, roles)}
    face = _face(cfg, found["face"])
    seen = people_by_face(face) if cfg.people.detector == "face" else _people(cfg, found["people"])
    people = PersonFilter(
        detector=seen,
        min_score=cfg.data.min_person_score,
        min_area=cfg.data.min_person_area,
        looks=FACE_LOOKS if cfg.people.detector == "face" else 1,
    )
    return Teachers(depth=_depth(cfg, found["depth"]), face=face, people=people)


def _depth(cfg: Config, weights: Path) -> DepthTeacher:
    from semrepa.teachers.depth import VideoDepthAnythingTeacher
    from semrepa.teachers.exact import ExactDepth

    if cfg.depth.teacher == "exact":
        return ExactDepth(fps=cfg.video.fps)
    return VideoDepthAnythingTeacher(
        weights,
        variant=cfg.depth.variant,
        metric=cfg.depth.metric,
        input_size=cfg.depth.input_size,
        dtype=cfg.depth.dtype,
        frame_batch=cfg.depth.frame_batch,
    )


def _face(cfg: Config, pack: Path) -> FaceTeacher:
    from semrepa.teachers.face import InsightFaceTeacher

    return InsightFaceTeacher(
        pack,
        detector_size=cfg.face.detector_size,
        min_score=cfg.face.min_score,
        min_size=cfg.face.min_size,
        max_cut=cfg.face.max_cut,
        max_yaw=cfg.face.max_yaw,
        providers=cfg.face.providers,
    )


def _people(cfg: Config, weights: Path) -> PersonDetector:
    from semrepa.teachers.people import YoloPersonDetector

    return YoloPersonDetector(weights, providers=cfg.face.providers)


def people_by_face(face: FaceTeacher) -> Callable[[UInt8[Tensor, "3 H W"]], Float[Tensor, "k 5"]]:
    """Turn a face teacher into a detector of people: head, shoulders and chest around the face.

    It overlooks people who turn their back, which a real person detector does not.

    Args:
        face: the teacher.

    Returns:
        A detector for `PersonFilter`.
    """

    def detect(frame: UInt8[Tensor, "3 H W"]) -> Float[Tensor, "k 5"]:
        track = face(frame[None])
        if not track.mask[0]:
            return torch.zeros(0, 5)
        left, top, right, bottom = track.boxes[0].tolist()
        width, height = right - left, bottom - top
        return torch.tensor(
            [[left - width, top - 0.5 * height, right + width, bottom + 2 * height, track.scores[0]]]
        )

    return detect
