"""Scored arms without videos."""

from semrepa.evaluation.scoring import ArmScores
from semrepa.metrics.distances import SetScore
from semrepa.metrics.report import ClipScores
from semrepa.provenance import Provenance

INCEPTION = Provenance(name="Inception", source="test", kind="random")


def arm(name, values, *, kind="mini", judges=None, without_face=(), sets=(), seed=0):
    """An arm whose clip `c0`, `c1`, ... have the given scores, each a mapping."""
    rows = tuple(
        ClipScores(arm=name, clip=f"c{k}-seed{seed}", provenance=kind, values=scores, judges=judges or {})
        for k, scores in enumerate(values)
    )
    return ArmScores(arm=name, clips=rows, sets=tuple(sets), without_face=without_face)


def column(name, numbers):
    """Scores of clips that have one number each."""
    return [{name: number} for number in numbers]


def set_score(name="fid", value=12.5, kind="random", samples=(9, 9)):
    provenance = Provenance(name="Inception", source="test", kind=kind)
    return SetScore(name=name, value=value, samples=samples, dims=2048, provenance=provenance)
