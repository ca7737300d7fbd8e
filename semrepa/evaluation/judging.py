"""Who measures what: the networks behind each group of scores, as a config names them."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal, get_args

from semrepa.config import Config
from semrepa.evaluation.measures import (
    AlignerDepth,
    Body,
    Faces,
    Measure,
    Perceptual,
    Pixels,
    Sharpness,
    Steadiness,
    TeacherDepth,
    Text,
)
from semrepa.evaluation.sets import MotionDistance, PictureDistance, SetMeasure
from semrepa.metrics.body import KeyPointFinder
from semrepa.prepare import Teachers, load_teachers
from semrepa.provenance import run_kind
from semrepa.runtime import pick_device
from semrepa.training.sources import load_aligners
from semrepa.weights import check_weights, load_base
from semrepa.weights.judges import load_judges, with_second_face

Group = Literal[
    "pixels",
    "faces",
    "depth",
    "sharpness",
    "steadiness",
    "lpips",
    "fid",
    "motion",
    "text",
    "second_face",
    "body",
]
"""What can be chosen; each group gives one or more scores."""
ALL: tuple[Group, ...] = get_args(Group)
CORE: tuple[Group, ...] = ("pixels", "faces", "depth")
"""What needs nothing but the networks of a training run: PSNR, SSIM, ID scores, detection rate, depth."""
_JUDGED: tuple[Group, ...] = ("lpips", "fid", "motion", "text")


@dataclass(frozen=True)
class Measures:
    """Who measures."""

    singly: tuple[Measure, ...]
    """One video at a time."""
    together: tuple[SetMeasure, ...]
    """All videos of an arm."""


def load_measures(
    cfg: Config,
    groups: Collection[Group] = CORE,
    *,
    teachers: Teachers | None = None,
    key_points: KeyPointFinder | None = None,
    every: int = 1,
) -> Measures:
    """Load what some groups of scores need.

    Args:
        cfg: resolved config: names teachers, aligners and judges.
        groups: which scores.
        teachers: loaded teachers; None loads those of the config.
        key_points: finds joints, for `body`; the kit ships none.
        every: LPIPS, FID, motion and text look at every k-th frame; 1 for numbers that are compared with
            others'.

    Returns:
        The measures.

    Raises:
        ValueError: an unknown group, none, `body` without key points, or `every` below 1.
        WeightsError: weights are missing; it is a FileNotFoundError.
    """
    _check(groups, key_points, every)
    plain: dict[Group, type[Measure]] = {
        "pixels": Pixels,
        "sharpness": Sharpness,
        "steadiness": Steadiness,
    }
    singly: list[Measure] = [make() for name, make in plain.items() if name in groups]
    if {"faces", "depth"} & {*groups}:
        singly += _taught(cfg, groups, teachers or load_teachers(cfg))
    if "second_face" in groups:
        singly.append(Faces(load_teachers(with_second_face(cfg)).face, prefix="second_"))
    if key_points is not None:
        singly.append(Body(key_points))
    judged = _judged(cfg, groups, every) if {*_JUDGED} & {*groups} else Measures((), ())
    return Measures((*singly, *judged.singly), judged.together)


def _check(groups: Collection[str], key_points: KeyPointFinder | None, every: int) -> None:
    if not groups or (unknown := [name for name in groups if name not in ALL]):
        got = ", ".join(map(str, unknown)) if groups else "none"
        raise ValueError(f"got scores {got}; expected some of {', '.join(ALL)}; correct the names")
    if ("body" in groups) != (key_points is not None):
        raise ValueError(
            f"got scores of the body {'without' if key_points is None else 'not wanted, with'} a finder of "
            "key points; expected both or neither; give `key_points` and the group `body`"
        )
    if every < 1:
        raise ValueError(f"got every={every}; expected at least 1; use 1 for all frames")


def _taught(cfg: Config, groups: Collection[Group], teachers: Teachers) -> list[Measure]:
    """What the teachers of a run measure."""
    found: list[Measure] = []
    if "faces" in groups:
        found.append(Faces(teachers.face))
    if "depth" in groups:
        found += _depth(cfg, teachers)
    return found


def _judged(cfg: Config, groups: Collection[Group], every: int) -> Measures:
    """What networks measure that only judge."""
    judges = load_judges(cfg)
    singly: dict[Group, Measure] = {
        "lpips": Perceptual(judges.perceptual, f"lpips_{cfg.metrics.lpips}", every),
        "text": Text(judges.text, every),
    }
    together: dict[Group, SetMeasure] = {
        "fid": PictureDistance(judges.inception, every),
        "motion": MotionDistance(judges.flow, judges.inception, every),
    }
    return Measures(
        tuple(measure for name, measure in singly.items() if name in groups),
        tuple(measure for name, measure in together.items() if name in groups),
    )


def _depth(cfg: Config, teachers: Teachers) -> list[Measure]:
    """Depth by the structure aligner, where there is one, and by a teacher that looks at frames."""
    found: list[Measure] = []
    aligner = load_aligners(cfg).structure
    if aligner is not None:
        vae = load_base(cfg, ("vae",)).vae
        kind = run_kind(check_weights(cfg, ["model", "structure"]))
        aligner = aligner.to(pick_device())
        found.append(AlignerDepth(vae, aligner, teachers.depth, cfg.depth.colormap, kind))
    if cfg.depth.teacher != "exact":  # which would render the true depth whatever the frames show
        found.append(TeacherDepth(teachers.depth))
    if not found:
        raise ValueError(
            "got no structure aligner, and exact depth, which cannot look at videos; expected one that can; "
            "set structure.weights or depth.teacher, or leave out the scores of depth"
        )
    return found
