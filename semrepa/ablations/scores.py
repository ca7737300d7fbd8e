"""Scores of a cell's videos, by the scorer that also makes Table 1."""

from collections.abc import Iterable
from typing import Any

from semrepa.config import Config
from semrepa.evaluation import ALL, ArmScores, Group

IN_MINI: tuple[Group, ...] = ("pixels", "faces", "depth", "sharpness", "steadiness")
"""Scores that need no network beyond the shipped ones."""


def groups_of(cfg: Config) -> tuple[Group, ...]:
    """Which scores a preset has: in full all but those that need a finder of joints.

    Args:
        cfg: config.

    Returns:
        Names of groups.
    """
    return IN_MINI if cfg.preset == "mini" else tuple(group for group in ALL if group != "body")


def to_plain(found: ArmScores, groups: Iterable[Group]) -> dict[str, Any]:
    """Scores as plain values for a file.

    Args:
        found: scores of the videos of one cell.
        groups: which scores were asked for.

    Returns:
        `groups`; `clips`, by video the number of each score; `sets`, each score of all videos together; and
        `judges`, by score the kind of the network that gave it.
    """
    judges = {name: kind for clip in found.clips for name, kind in clip.judges.items()}
    judges |= {score.name: score.provenance.kind for score in found.sets}
    return {
        "groups": list(groups),
        "clips": {clip.clip: dict(clip.values) for clip in found.clips},
        "sets": {score.name: score.value for score in found.sets},
        "judges": judges,
    }
