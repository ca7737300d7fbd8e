"""Table 3 over training seeds: one identity aligner's numbers, and all of them collated into one record.

A cell is one training: a variant (with or without depth) and a seed. The paper gives two numbers for each
variant and does not say which distance they are (Sec. 5.3.2), so all are given by name.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch

from semrepa.analysis.identity import (
    Distance,
    SamePairs,
    Verification,
    id_distances,
    verification,
    verification_pairs,
    video_distances,
)
from semrepa.analysis.seeds import SeedMean, over_seeds, paired
from semrepa.metrics.report import Interval, bootstrap_mean, markdown_table
from semrepa.shapes import Embeddings, FaceMask

WITH, WITHOUT = "with_depth", "without_depth"
"""The two variants; differences are with minus without."""
PAPER = {
    WITH: {"intra": 0.0417, "inter": 0.1299, "gap": 0.0882},
    WITHOUT: {"intra": 0.0487, "inter": 0.1084, "gap": 0.0597},
}
"""Table 3 of the paper; the gap is inter minus intra. Its distance is not named."""
RECORDED = Path(__file__).parents[1] / "assets" / "mini" / "table3.json"
"""The record that is shipped."""
FALSE_ACCEPTS = tuple(float(f"{share:.4g}") for share in np.geomspace(1e-3, 1, 61))
"""Shares of accepted pairs of different people at which the curves of all seeds are read."""
ROC_PAIRS: tuple[SamePairs, ...] = ("one video", "two videos")

LABELS = {
    "cosine_to_teacher": "cosine to the teacher",
    "l1_to_teacher": "L1 to the teacher (Eq. 7)",
    "norm": "embedding norm",
    **{
        f"{what}_{distance}": f"{what}, {unit}"
        for distance, unit in (("cosine", "1 - cosine"), ("l2", "L2 of unit vectors"), ("l1", "mean L1"))
        for what in ("intra", "inter", "gap", "ratio")
    },
    "auc_one_video": "AUC, faces of one clip",
    "eer_one_video": "EER, faces of one clip",
    "auc_two_videos": "AUC, one person in two clips",
    "eer_two_videos": "EER, one person in two clips",
}
"""Every number of a cell in the order of the table, in words."""
DIAGNOSTICS = {
    "face_gradient": "gradient on the face, share",
    "face_area": "area of the face, share",
    "depth_gradient": "gradient on depth, share",
    "small_faces": "cosine to the teacher, smaller faces",
    "large_faces": "the same, larger faces",
    "own": "cosine to the teacher",
    "own_borrowed": "the same with another's depth",
    "other": "cosine to the other's teacher",
    "other_borrowed": "the same with the other's depth",
}
"""What `semrepa.analysis.focus` measures, in words."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One training and what came of it."""

    seed: int
    """Its seed."""
    variant: str
    """`with_depth` or `without_depth`."""
    scores: Mapping[str, float]
    """Numbers by the names of `LABELS`, and whatever else was measured."""
    curves: Mapping[str, Sequence[float]]
    """Share of accepted pairs of one person at `FALSE_ACCEPTS`, by kind of pair."""
    persons: Mapping[str, Sequence[float]]
    """From `by_person`: numbers of each held-out person."""
    seconds: float
    """Wall-clock seconds of the training."""


def scores(
    embeds: Embeddings, teacher: Embeddings, face_mask: FaceMask, people: Sequence[object]
) -> dict[str, float]:
    """All numbers of one aligner on held-out videos.

    Args:
        embeds: its embeddings, not normalised.
        teacher: those of the face teacher.
        face_mask: frames that show a face.
        people: who is in each video, each in at least two.

    Returns:
        Numbers by the names of `LABELS`. Distances within and between videos; the gap is inter minus intra,
        the ratio inter over intra.

    Raises:
        ValueError: fewer than two people, or nobody in two videos.

    Source: Table 3, Sec. 5.3.2.
    """
    mine, theirs = embeds[face_mask], teacher[face_mask]
    found = {
        "cosine_to_teacher": torch.cosine_similarity(mine, theirs, dim=-1).mean().item(),
        "l1_to_teacher": (mine - theirs).abs().mean().item(),
        "norm": mine.norm(dim=-1).mean().item(),
    }
    for distance in get_args(Distance):
        apart = id_distances(embeds, face_mask, people, distance=distance, resamples=1)
        intra, inter = float(apart.intra.mean()), float(apart.inter.mean())
        named = {
            "intra": intra,
            "inter": inter,
            "gap": apart.gap,
            "ratio": inter / intra if intra else np.inf,
        }
        found |= {f"{what}_{distance}": value for what, value in named.items()}
    for pairs in ROC_PAIRS:
        curve, name = _curve(embeds, face_mask, people, pairs), pairs.replace(" ", "_")
        found |= {f"auc_{name}": curve.auc, f"eer_{name}": curve.eer}
    return {name: found[name] for name in LABELS}


def curves(embeds: Embeddings, face_mask: FaceMask, people: Sequence[object]) -> dict[str, list[float]]:
    """Verification curves of one aligner, read at `FALSE_ACCEPTS`.

    Args:
        embeds: its embeddings.
        face_mask: frames that show a face.
        people: who is in each video, each in at least two.

    Returns:
        Shares of accepted pairs of one person, by kind of pair.
    """
    found = {pairs: _curve(embeds, face_mask, people, pairs) for pairs in ROC_PAIRS}
    return {
        pairs: np.interp(FALSE_ACCEPTS, *_highest(curve)).round(4).tolist() for pairs, curve in found.items()
    }


def by_person(
    embeds: Embeddings, teacher: Embeddings, face_mask: FaceMask, people: Sequence[object]
) -> dict[str, list[float]]:
    """Some numbers of each person, to tell how much other people would change the answer.

    Args:
        embeds: embeddings of an aligner.
        teacher: those of the face teacher.
        face_mask: frames that show a face.
        people: who is in each video.

    Returns:
        `cosine_to_teacher` and `gap_cosine` (distance to other people minus that within the own videos) of
        each person in the order of their names; NaN where no face was seen.
    """
    names = np.array([str(person) for person in people])
    likeness = torch.cosine_similarity(embeds, teacher, dim=-1).double().numpy()
    apart, shown = video_distances(embeds, face_mask), face_mask.numpy()
    found: dict[str, list[float]] = {"cosine_to_teacher": [], "gap_cosine": []}
    for name in np.unique(names):
        mine = names == name
        found["cosine_to_teacher"].append(_mean(likeness[mine][shown[mine]]))
        found["gap_cosine"].append(_mean(apart[mine][:, ~mine]) - _mean(np.diag(apart)[mine]))
    return found


def over_people(cells: Sequence[Cell]) -> dict[str, Interval]:
    """Paired differences of the two variants over held-out people, each the mean over the seeds.

    Args:
        cells: both variants of every seed.

    Returns:
        Mean of with minus without depth with its 95 % bootstrap interval over people, by name.

    Raises:
        ValueError: cells that are not paired.
    """
    _paired_seeds(cells)
    means = {
        variant: {
            name: np.mean([cell.persons[name] for cell in cells if cell.variant == variant], axis=0)
            for name in cells[0].persons
        }
        for variant in (WITH, WITHOUT)
    }
    return {name: bootstrap_mean(mean - means[WITHOUT][name]) for name, mean in means[WITH].items()}


def table(cells: Sequence[Cell]) -> dict[str, dict[str, SeedMean]]:
    """Means over seeds of every number, and their paired differences.

    Args:
        cells: both variants of every seed.

    Returns:
        Name of a number to `with_depth`, `without_depth` and `difference` (with minus without).

    Raises:
        ValueError: no cells, a cell that is there twice, a seed that has only one of the variants, or a
            number that is not finite.
    """
    seeds = _paired_seeds(cells)
    by_place = {(cell.seed, cell.variant): cell.scores for cell in cells}
    names = dict.fromkeys(name for cell in cells for name in cell.scores)
    result = {}
    for name in names:
        measured = [v for v in (WITH, WITHOUT) if any(name in by_place[seed, v] for seed in seeds)]
        values = {v: [by_place[seed, v].get(name, np.nan) for seed in seeds] for v in measured}
        result[name] = {variant: over_seeds(each) for variant, each in values.items()}
        if len(values) == 2:
            result[name]["difference"] = paired(values[WITH], values[WITHOUT])
    return result


def record(
    cells: Sequence[Cell], references: Mapping[str, Mapping[str, float]], about: Mapping[str, Any]
) -> dict[str, Any]:
    """Put everything together as JSON values.

    Args:
        cells: both variants of every seed.
        references: numbers of others on the same clips, such as the face teacher.
        about: protocol and weights behind them.

    Returns:
        What `markdown` reads and a file holds.

    Raises:
        ValueError: as `table` says.
    """
    means = {name: {arm: asdict(mean) for arm, mean in arms.items()} for name, arms in table(cells).items()}
    people = {name: asdict(interval) for name, interval in over_people(cells).items()}
    found = {"references": references, "table": means, "over_people": people}
    found |= {"paper": PAPER, "false_accepts": FALSE_ACCEPTS}
    return json.loads(
        json.dumps({**about, **found, "cells": [asdict(cell) for cell in cells]}),
        parse_float=lambda text: float(f"{float(text):.5g}"),
    )


def read_record(path: Path | str = RECORDED) -> dict[str, Any]:
    """Read a collated table.

    Args:
        path: its file; the one that is shipped by default.

    Returns:
        What `record` made.

    Raises:
        FileNotFoundError: there is none.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(
            f"got {path}, which is not there; expected a collated table; make it with "
            "python -m semrepa.miniature.table3"
        )
    return json.loads(Path(path).read_text(encoding="utf-8"))


def rows(recorded: Mapping[str, Any], names: Sequence[str] | None = None) -> list[dict[str, str]]:
    """Lines of the table for reading.

    Args:
        recorded: from `record`.
        names: numbers to show; None: those of `LABELS`.

    Returns:
        One row per number: both variants and their difference over seeds, references, and the paper's values
        beside the cosine's, which is one of the distances that they may be; columns that are not empty.
    """
    lines = []
    for name in LABELS if names is None else names:
        arms = {arm: SeedMean(**mean) for arm, mean in recorded["table"][name].items()}
        line = {"": (LABELS | DIAGNOSTICS).get(name, name)}
        line |= {arm.replace("_", " "): str(mean) for arm, mean in arms.items()}
        for other, numbers in recorded["references"].items():
            line[other] = f"{numbers[name]:.4g}" if name in numbers else ""
        what, _, distance = name.partition("_")
        known = distance == "cosine" and what in PAPER[WITH]
        for variant in (WITH, WITHOUT):
            line[f"paper, {variant.replace('_', ' ')}"] = f"{PAPER[variant][what]:.4f}" if known else ""
        lines.append(line)
    used = dict.fromkeys(head for line in lines for head, text in line.items() if text)
    return [{head: line.get(head, "") for head in used} for line in lines]


def markdown(recorded: Mapping[str, Any], names: Sequence[str] | None = None) -> str:
    """The table as Markdown.

    Args:
        recorded: from `record`.
        names: numbers to show; None: those of `LABELS`.

    Returns:
        Markdown with one line per number; a difference whose interval leaves out 0 is bold.
    """
    lines = rows(recorded, names)
    for line, name in zip(lines, LABELS if names is None else names, strict=True):
        mean = recorded["table"][name].get("difference")
        if mean and SeedMean(**mean).is_clear:
            line["difference"] = f"**{line['difference']}**"
    return markdown_table(lines)


def _mean(values: np.ndarray) -> float:
    kept = values[np.isfinite(values)]
    return float(kept.mean()) if kept.size else np.nan


def _curve(
    embeds: Embeddings, face_mask: FaceMask, people: Sequence[object], pairs: SamePairs
) -> Verification:
    return verification(*verification_pairs(embeds, face_mask, people, same=pairs))


def _highest(curve: Verification) -> tuple[np.ndarray, np.ndarray]:
    """The curve as a function: of all thresholds with the same false accepts, the best."""
    accepts, first = np.unique(curve.false_accepts[::-1], return_index=True)
    return accepts, curve.true_accepts[::-1][first]


def _paired_seeds(cells: Sequence[Cell]) -> list[int]:
    seeds = sorted({cell.seed for cell in cells})
    have = [(cell.seed, cell.variant) for cell in cells]
    wanted = [(seed, variant) for seed in seeds for variant in (WITH, WITHOUT)]
    if not seeds or sorted(have) != sorted(wanted):
        odd = sorted({place for place in have + wanted if have.count(place) != wanted.count(place)})
        named = ", ".join(f"{variant} of seed {seed}" for seed, variant in odd) or "no cells"
        raise ValueError(
            f"got a table that is not paired ({named}); expected {WITH} and {WITHOUT} of every seed, once "
            "each; train the missing ones"
        )
    return seeds
