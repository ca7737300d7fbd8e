"""From one row per clip to a table: means with intervals, and differences paired by clip.

Intervals are 95 % percentile bootstraps over clips with a fixed seed, so a table can be made again exactly.
"""

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from semrepa.metrics.labels import labels
from semrepa.provenance import Kind, Provenance, require_one_provenance


@dataclass(frozen=True, kw_only=True)
class ClipScores:
    """The scores of one clip made by one arm of an experiment."""

    arm: str
    """What made the clip: `truth`, `base`, `plain`, `aligned`."""
    clip: str
    """Name of the clip; the same clip (and sampling seed) has the same name in every arm."""
    provenance: Kind
    """Kind of the weights behind the numbers."""
    values: Mapping[str, float]
    """Score by name; NaN where the clip has none."""
    judges: Mapping[str, Kind] = field(default_factory=dict)
    """Kind of the weights of the network that gives a score, by name; needed for those of `LEARNED`."""


@dataclass(frozen=True)
class Interval:
    """A mean over clips and where it may lie."""

    mean: float
    """Mean over the clips that have a value."""
    low: float
    """Lower end of the 95 % interval."""
    high: float
    """Upper end."""
    clips: int
    """Clips that have a value."""

    @property
    def decimals(self) -> int:
        """Decimals that show two digits of the interval's width; at least three for shares and cosines."""
        width = self.high - self.low
        return decimals(width, least=3 if width < 0.5 else 1)

    def __str__(self) -> str:
        """Mean and interval, as a table shows them."""
        if not self.clips:
            return "-"
        return "{1:.{0}f} [{2:.{0}f}, {3:.{0}f}]".format(self.decimals, self.mean, self.low, self.high)


def decimals(width: float, *, least: int = 1, flat: int = 3) -> int:
    """Decimals that show two digits of a width.

    Args:
        width: of an interval.
        least: decimals at least; six at most.
        flat: decimals where there is no width.

    Returns:
        The number of decimals.
    """
    return int(np.clip(1 - np.floor(np.log10(width)), least, 6)) if width > 0 else flat


def markdown_table(rows: Sequence[Mapping[str, object]]) -> str:
    """Write rows as a plain Markdown table.

    Args:
        rows: with the same names in each.

    Returns:
        The table, with a line feed at its end; nothing without rows.
    """
    if not rows:
        return ""
    heads = list(rows[0])
    lines = [heads, ["---"] * len(heads), *([str(row[head]) for head in heads] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def bootstrap_mean(values: Sequence[float] | np.ndarray, *, resamples: int = 2000, seed: int = 0) -> Interval:
    """Mean of the finite values with its bootstrap interval.

    Args:
        values: one number per clip; non-finite ones are left out.
        resamples: bootstrap samples.
        seed: seed of the resampling.

    Returns:
        The mean, its 95 % interval and the number of values; NaN without any value.
    """
    kept = np.asarray(values, dtype=float)
    kept = kept[np.isfinite(kept)]
    if not len(kept):
        return Interval(np.nan, np.nan, np.nan, 0)
    draws = np.random.default_rng(seed).integers(len(kept), size=(resamples, len(kept)))
    low, high = np.percentile(kept[draws].mean(axis=1), [2.5, 97.5])
    return Interval(float(kept.mean()), float(low), float(high), len(kept))


def means(rows: Iterable[ClipScores]) -> dict[str, dict[str, Interval]]:
    """Mean of every score of every arm.

    Args:
        rows: scores of clips.

    Returns:
        Arm to score name to mean with interval, in the order of the rows.

    Raises:
        ValueError: no rows, or rows of mixed provenance.
    """
    arms = _by_arm(rows)
    return {
        arm: {
            name: bootstrap_mean([clip.get(name, np.nan) for clip in clips.values()]) for name in _names(arms)
        }
        for arm, clips in arms.items()
    }


def paired_differences(rows: Iterable[ClipScores], baseline: str) -> dict[str, dict[str, Interval]]:
    """Mean difference of every arm from a baseline, paired by clip.

    Args:
        rows: scores of clips.
        baseline: the arm to compare with.

    Returns:
        Arm to score name to mean of (arm - baseline) over the clips that both have, without the baseline.

    Raises:
        ValueError: no rows, rows of mixed provenance, no such arm, or an arm that shares no clip with it.
    """
    arms = _by_arm(rows)
    if baseline not in arms:
        raise ValueError(f"got baseline {baseline!r}; expected one of {', '.join(arms)}")
    base = arms[baseline]
    result = {}
    for arm in (name for name in arms if name != baseline):
        shared = [clip for clip in base if clip in arms[arm]]
        if not shared:
            raise ValueError(
                f"got no clip in both {arm!r} and {baseline!r}; expected the same clips; score the same ones"
            )
        result[arm] = {
            name: bootstrap_mean(
                [arms[arm][clip].get(name, np.nan) - base[clip].get(name, np.nan) for clip in shared]
            )
            for name in _names(arms)
        }
    return result


def report_rows(rows: Iterable[ClipScores], *, baseline: str | None = None) -> list[dict[str, object]]:
    """The rows of a printed table: one per arm, means with intervals, then the differences from the baseline.

    Args:
        rows: scores of clips.
        baseline: arm to compare with; None: no differences.

    Returns:
        Rows of text for a table function; the column `weights` says what kind of weights made the videos, and
        the head of a score that a network of another kind than real gives says so too.

    Raises:
        ValueError: see `means`, `paired_differences` and `labels`.
    """
    rows = list(rows)
    kind, heads = _kind(rows), score_labels(rows)
    table: list[dict[str, object]] = []
    parts = [("{}", means(rows))]
    if baseline is not None:
        parts.append(("{} - " + baseline, paired_differences(rows, baseline)))
    for label, arms in parts:
        for arm, scores in arms.items():
            clips = max((score.clips for score in scores.values()), default=0)
            table.append(
                {
                    "arm": label.format(arm),
                    **{heads[n]: counted(s, clips) for n, s in scores.items()},
                    "clips": clips,
                    "weights": kind,
                }
            )
    return table


def counted(score: Interval, clips: int) -> str:
    """A mean as a table shows it, with its number of clips where that is not all of them.

    Args:
        score: the mean.
        clips: how many it would be.

    Returns:
        Such as `0.61 [0.55, 0.68] n=7`: two means over other clips are not silently compared.
    """
    return f"{score} n={score.clips}" if 0 < score.clips < clips else str(score)


def score_labels(rows: Iterable[ClipScores]) -> dict[str, str]:
    """What to call each score, so that no network's number is shown without the kind of its weights.

    Args:
        rows: scores of clips.

    Returns:
        Label by name.

    Raises:
        ValueError: see `labels`.
    """
    return labels((row.values, row.judges) for row in rows)


def write_scores(path: Path | str, rows: Iterable[ClipScores]) -> Path:
    """Write scores as one JSON object per line.

    Args:
        path: file to write.
        rows: scores of clips.

    Returns:
        The path.
    """
    Path(path).write_text(
        "".join(json.dumps(dataclasses.asdict(row)) + "\n" for row in rows), encoding="utf-8"
    )
    return Path(path)


def _by_arm(rows: Iterable[ClipScores]) -> dict[str, dict[str, Mapping[str, float]]]:
    rows = list(rows)
    _kind(rows)
    arms: dict[str, dict[str, Mapping[str, float]]] = {}
    for row in rows:
        clips = arms.setdefault(row.arm, {})
        if row.clip in clips:
            raise ValueError(
                f"got clip {row.clip!r} twice in arm {row.arm!r}; expected one row each; name seeds apart"
            )
        clips[row.clip] = row.values
    return arms


def _kind(rows: Iterable[ClipScores]) -> Kind:
    """The kind of weights behind all rows."""
    return require_one_provenance(
        Provenance(name=row.arm, source=row.clip, kind=row.provenance) for row in rows
    )


def _names(arms: Mapping[str, Mapping[str, Mapping[str, float]]]) -> list[str]:
    return list(
        dict.fromkeys(name for clips in arms.values() for values in clips.values() for name in values)
    )
