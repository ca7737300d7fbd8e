"""All diagnostics of fine-tuned models on held-out clips, as one record that can be written."""

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from semrepa.analysis.errors import Judge, Reading, above_floor, depth_judge, values_by_timestep
from semrepa.analysis.exploit import (
    Exploit,
    VideoJudge,
    again_judge,
    compare,
    depth_teacher_judge,
    face_judge,
    video_judge,
)
from semrepa.analysis.layers import LayerScore, collect, score_layers
from semrepa.analysis.runs import BASE
from semrepa.config import Config
from semrepa.data.dataset import Batch
from semrepa.data.index import ClipRow
from semrepa.data.store import FeatureStore
from semrepa.depth import DepthKind
from semrepa.metrics.report import Interval, bootstrap_mean
from semrepa.runtime import write_json
from semrepa.teachers import DepthTeacher, FaceTeacher
from semrepa.training.combined import CombinedObjective
from semrepa.training.sources import heldout_batches

log = logging.getLogger(__name__)

QUESTIONS = (
    ("id_loss", "face_error"),
    ("id_loss", "face_error_found"),
    ("id_loss", "id_again"),
    ("struct_mse", "depth_error"),
    ("struct_mse", "struct_again"),
)
"""An aligner's number, and the judge that may or may not agree with its change."""
FLOORED = {"id_loss": "id_l1", "struct_mse": "struct_mse"}
"""The error on true latents that says whether an aligner can be trusted with a clip."""


@dataclass(frozen=True, kw_only=True)
class Diagnostics:
    """What was found."""

    readings: list[Reading]
    """Errors of aligners and judges for each clip, noise level and thing looked at."""
    exploits: dict[tuple[str, str, str, str], Exploit]
    """By earlier model, later model, aligner's number and judge: whether the judge agrees."""
    layers: dict[str, list[LayerScore]]
    """What each layer holds, by model."""
    failing: dict[str, dict[str, float]]
    """By aligner's number: clips on whose true latents it is no better than the floor, with its error."""


def judges(
    cfg: Config,
    model: CombinedObjective,
    store: FeatureStore,
    ids: Sequence[str],
    *,
    face: FaceTeacher | None,
    depth: DepthTeacher | None = None,
    rows: Sequence[ClipRow] = (),
) -> tuple[list[Judge], list[Judge]]:
    """Choose who judges.

    Args:
        cfg: colours, formulation, and what the depth teacher answers.
        model: any model, for the frozen networks.
        store: prepared features.
        ids: clips that will be judged.
        face: face teacher; None: no judge of identity.
        depth: depth teacher; None, or the exact one, which cannot look at frames: no judge of structure.
        rows: rows of the clips, for the depth teacher.

    Returns:
        `judges` and `video_judges` of `error_by_timestep`.
    """
    vae, colormap = model.frozen.vae, cfg.depth.colormap
    exact = cfg.depth.teacher == "exact"
    kind: DepthKind = "metric" if exact or cfg.depth.metric else "disparity"
    ranges = {name: store.read(name)["depth_range"][None] for name in ids}
    videos: list[VideoJudge] = [again_judge(vae, model.frozen.aligners, cfg.structure)]
    if face is not None:
        videos.append(face_judge(face))
    if depth is not None and not exact:
        videos.append(depth_teacher_judge(depth, {row.id: row for row in rows}, vae, colormap))
    return [depth_judge(vae, colormap, ranges, kind)], [video_judge(vae, videos)]


def failing(
    readings: Sequence[Reading], floors: Mapping[str, Mapping[str, float]]
) -> dict[str, dict[str, float]]:
    """Find the clips with which the aligners cannot be trusted.

    Args:
        readings: from `error_by_timestep`.
        floors: errors of answers that need no learning, by name of the error; the lowest counts.

    Returns:
        By aligner's number, its error on the true latents of each such clip.
    """
    lowest = {name: min(levels.values()) for name, levels in floors.items() if levels}
    return {
        number: above_floor(readings, error, lowest[error])
        for number, error in FLOORED.items()
        if error in lowest
    }


def exploits(
    readings: Sequence[Reading],
    models: Sequence[str],
    left_out: Mapping[str, Collection[str]] | None = None,
) -> dict[tuple[str, str, str, str], Exploit]:
    """Ask of every two models whether the judges agree with the aligners.

    Args:
        readings: from `error_by_timestep`.
        models: their names, earlier ones first.
        left_out: by aligner's number, clips that do not count, such as those of `failing`.

    Returns:
        By earlier model, later model, aligner's number and judge; without questions that were answered for
        fewer than two clips.
    """
    pairs = [(before, after) for place, before in enumerate(models) for after in models[place + 1 :]]
    found = {}
    for aligner, judge in QUESTIONS:
        gone = (left_out or {}).get(aligner, ())
        kept = [reading for reading in readings if reading.clip not in gone]
        for before, after in pairs:
            judged = (_judged(kept, model, aligner, judge) for model in (before, after))
            if len(set.intersection(*judged)) > 1:
                key = (before, after, aligner, judge)
                found[key] = compare(kept, before, after, aligner=aligner, judge=judge)
    return found


def probe_layers(
    models: Mapping[str, CombinedObjective],
    store: FeatureStore,
    known: Sequence[str],
    heldout: Sequence[str],
    level: int,
    *,
    seed: int,
    people: Mapping[str, object],
    batch_size: int = 2,
) -> dict[str, list[LayerScore]]:
    """Probe every layer of every model, with the same clips and noise.

    Args:
        models: transformers by name.
        store: prepared features.
        known: clips to fit on.
        heldout: clips to score on, of other people.
        level: timestep.
        seed: seed of the noise.
        people: who each clip shows.
        batch_size: clips at a time.

    Returns:
        Scores by model and layer.
    """
    found = {}
    for name, model in models.items():
        log.info("probing the layers of %s at timestep %d", name, level)
        parts = [
            collect(model, in_batches(store, ids, batch_size), level, seed=seed, first=first)
            for ids, first in ((known, 0), (heldout, len(known)))
        ]
        found[name] = score_layers(*parts, people)
    return found


def in_batches(store: FeatureStore, ids: Sequence[str], size: int) -> Iterator[Batch]:
    """Read clips in order.

    Args:
        store: prepared features.
        ids: clips.
        size: clips at a time.

    Yields:
        Batches on the device of the run.
    """
    for clips in heldout_batches(store, ids, size):
        yield clips.batch


def exploit_rows(found: Mapping[tuple[str, str, str, str], Exploit]) -> list[dict[str, object]]:
    """The rows of a table of verdicts.

    Args:
        found: from `exploits`.

    Returns:
        One row per question: changes in percent with 95 % intervals, agreement, correlation, verdict.
    """
    return [
        {
            "models": f"{before} → {after}",
            "aligner": aligner,
            "judge": judge,
            "aligner's loss, %": _percent(each.mean_aligner),
            "judge's error, %": _percent(each.mean_judge),
            "one sign": str(each.agreement),
            "rank correlation": str(each.correlation),
            "verdict": each.verdict,
        }
        for (before, after, aligner, judge), each in found.items()
    ]


def layer_rows(layers: Mapping[str, Sequence[LayerScore]]) -> list[dict[str, object]]:
    """The rows of a table of layers: scores of each model, and its gain over the base.

    Args:
        layers: from `probe_layers`.

    Returns:
        One row per model and layer; gains are paired by clip.
    """
    rows = []
    for name, scores in layers.items():
        for score, base in zip(scores, layers[BASE], strict=True):
            row: dict[str, object] = {"model": name, "layer": score.layer, **score.numbers()}
            if name != BASE:
                row["depth_r2 gain"] = str(score.depth.interval(base.depth))
                row["identity_cosine gain"] = str(score.identity.interval(base.identity))
            rows.append(row)
    return rows


def write(path: Path, found: Diagnostics, about: Mapping[str, Any]) -> Path:
    """Write everything as JSON.

    Args:
        path: file.
        found: what was found.
        about: seed, noise levels, clips and weights behind it.

    Returns:
        The path.
    """
    names = dict.fromkeys(name for reading in found.readings for name in reading.values)
    errors = {
        name: {
            seen: [
                {"timestep": t, "median": float(np.median(v)), **asdict(bootstrap_mean(v))}
                for t, v in levels.items()
            ]
            for seen, levels in values_by_timestep(found.readings, name).items()
        }
        for name in names
    }
    verdicts = [
        {
            **dict(zip(("before", "after", "aligner", "judge"), key, strict=True)),
            "verdict": each.verdict,
            **{name: asdict(getattr(each, name)) for name in _INTERVALS},
        }
        for key, each in found.exploits.items()
    ]
    layers = layer_rows(found.layers)
    readings = [asdict(reading) for reading in found.readings]
    content = {"exploitability": verdicts, "failing": found.failing, "layers": layers, "errors": errors}
    return write_json(path, {**about, **content, "readings": readings})


_INTERVALS = ("mean_aligner", "mean_judge", "agreement", "correlation")


def _judged(readings: Sequence[Reading], model: str, *names: str) -> set[str]:
    """Clips for which all these numbers of a model are there."""
    return {
        reading.clip
        for reading in readings
        if reading.seen == model and np.isfinite([reading.values.get(name, np.nan) for name in names]).all()
    }


def _percent(found: Interval) -> str:
    return f"{found.mean:+.1%} [{found.low:+.1%}, {found.high:+.1%}]"
