"""Scores of several arms as one result: means, differences from a baseline, and what was left out."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from semrepa.evaluation.scoring import ArmScores
from semrepa.metrics.distances import SetScore
from semrepa.metrics.labels import labels
from semrepa.metrics.report import ClipScores, Interval, means, paired_differences
from semrepa.provenance import Kind


@dataclass(frozen=True, kw_only=True)
class Problem:
    """A video that is missing in a mean, or in some of them."""

    arm: str
    """The run."""
    video: str
    """The file or the video."""
    reason: str
    """One or two words."""
    what: str
    """What was got and expected, and how to mend it."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where the videos of an arm come from."""

    arm: str
    """Name of the run."""
    kind: Kind
    """Kind of the weights that made them."""
    model: str
    """Such as `base`; empty where the run does not say."""
    details: str = ""
    """Sampling and hashes, as the run's record has them."""


class Results:
    """The arms of a comparison, checked: the same clips in all, one kind of weights, no judge unnamed.

    Seeds of one clip are averaged first: intervals are over clips, whose videos are not independent.

    Args:
        arms: scores of the models.
        ceilings: scores of videos that no model can be expected to beat, the true ones among them.
        baseline: the arm that others are compared with; None: no differences.
        problems: videos that were left out before.
        sources: where the videos come from.

    Raises:
        ValueError: no arms, arms of other videos, of mixed kinds, a judge without its kind, or no such
            baseline.
    """

    def __init__(
        self,
        arms: Sequence[ArmScores],
        *,
        ceilings: Sequence[ArmScores] = (),
        baseline: str | None = None,
        problems: Sequence[Problem] = (),
        sources: Sequence[Source] = (),
    ) -> None:
        self.arms, self.ceilings, self.baseline = tuple(arms), tuple(ceilings), baseline
        self.sources = tuple(sources)
        self.problems = (*problems, *_faceless(arms))
        _check(arms, baseline)
        self.rows = [row for arm in self.arms for row in arm.clips]
        self.clips = by_clip(self.rows)
        shown = [*self.ceilings, *self.arms]
        self.labels = labels(
            (
                *((row.values, row.judges) for arm in shown for row in arm.clips),
                *(([score.name], {score.name: score.provenance.kind}) for arm in shown for score in arm.sets),
            )
        )
        self.means: dict[str, dict[str, Interval]] = means(by_clip(row for arm in shown for row in arm.clips))
        self.sets: dict[str, dict[str, SetScore]] = {
            arm.arm: {score.name: score for score in arm.sets} for arm in shown
        }

    @property
    def kind(self) -> Kind:
        """Kind of the weights that made the videos."""
        return self.rows[0].provenance

    @property
    def names(self) -> list[str]:
        """Names of all scores of single videos."""
        return list(dict.fromkeys(name for row in self.rows for name in row.values))

    @property
    def num_clips(self) -> int:
        """Clips that all means are over."""
        return len({row.clip for row in self.clips})

    @property
    def num_videos(self) -> int:
        """Videos of each arm."""
        return len(self.arms[0].clips)

    @cached_property
    def differences(self) -> dict[str, dict[str, Interval]]:
        """Arm to score to its mean difference from the baseline, paired by clip; empty without a baseline."""
        return {} if self.baseline is None else paired_differences(self.clips, self.baseline)

    def of_clip(self, name: str) -> dict[str, dict[str, float]]:
        """One score of every clip.

        Args:
            name: of the score.

        Returns:
            Arm to clip to number, the models first, then the ceilings; NaN where there is none.
        """
        found: dict[str, dict[str, float]] = {}
        for row in (*self.clips, *by_clip(row for arm in self.ceilings for row in arm.clips)):
            found.setdefault(row.arm, {})[row.clip] = row.values.get(name, math.nan)
        return found

    def clip_differences(self, arm: str, name: str) -> dict[str, float]:
        """Differences of one score from the baseline, clip by clip.

        Args:
            arm: an arm.
            name: of the score.

        Returns:
            Clip to (arm - baseline), where both have a number.

        Raises:
            ValueError: there is no baseline.
        """
        if self.baseline is None:
            raise ValueError("got no baseline; expected the name of an arm; give one")
        spread = self.of_clip(name)
        found = {clip: value - spread[self.baseline][clip] for clip, value in spread[arm].items()}
        return {clip: value for clip, value in found.items() if math.isfinite(value)}

    def extremes(self, name: str, *, better: int = 1) -> list[tuple[str, str, str, float]]:
        """The clips that lose and gain most.

        Args:
            name: of the score.
            better: 1 where a higher score is better, -1 where a lower one is.

        Returns:
            For each arm but the baseline its worst and its best clip: arm, "worst" or "best", clip and
            difference; "only" where it has one clip, nothing where it has none.
        """
        found = []
        for arm in self.differences:
            changes = self.clip_differences(arm, name)
            ranked = sorted(changes, key=lambda clip: better * changes[clip])
            words = ("worst", "best") if len(ranked) > 1 else ("only",)
            found += [(arm, word, ranked[-k], changes[ranked[-k]]) for k, word in enumerate(words) if ranked]
        return found


def by_clip(rows: Iterable[ClipScores]) -> list[ClipScores]:
    """Average the videos of each clip over their seeds.

    Args:
        rows: scores of videos named `<clip>-seed<k>`.

    Returns:
        One row for each arm and clip, named after the clip; a score is the mean over the seeds that have it.
    """
    groups: dict[tuple[str, str], list[ClipScores]] = {}
    for row in rows:
        groups.setdefault((row.arm, clip_of(row.clip)), []).append(row)
    return [_averaged(clip, group) for (_, clip), group in groups.items()]


def clip_of(video: str) -> str:
    """The clip that a video is of.

    Args:
        video: `<clip>-seed<k>`.

    Returns:
        Name of the clip.
    """
    return video.rpartition("-seed")[0] or video


def _averaged(clip: str, group: Sequence[ClipScores]) -> ClipScores:
    names = dict.fromkeys(name for row in group for name in row.values)
    values: dict[str, float] = {}
    for name in names:
        found = np.array([row.values.get(name, math.nan) for row in group])
        known = found[~np.isnan(found)]
        values[name] = float(known.mean()) if len(known) else math.nan
    judges: Mapping[str, Kind] = {name: kind for row in group for name, kind in row.judges.items()}
    return replace(group[0], clip=clip, values=values, judges=judges)


def _faceless(arms: Iterable[ArmScores]) -> list[Problem]:
    what = "got no face although the true video shows one; ID scores skip it, those in `_zero` count 0"
    return [
        Problem(arm=arm.arm, video=name, reason="no face", what=what)
        for arm in arms
        for name in arm.without_face
    ]


def _check(arms: Sequence[ArmScores], baseline: str | None) -> None:
    names = [arm.arm for arm in arms]
    if not names or len({*names}) < len(names):
        raise ValueError(f"got arms {names}; expected one or more, each name once; name the runs apart")
    if baseline is not None and baseline not in names:
        raise ValueError(f"got baseline {baseline!r}; expected one of {', '.join(names)}")
    wanted = {row.clip for row in arms[0].clips}
    for arm in arms[1:]:
        other = wanted ^ {row.clip for row in arm.clips}
        if other:
            raise ValueError(
                f"got {', '.join(sorted(other)[:5])} in only one of {names[0]!r} and {arm.arm!r}; expected "
                "the same videos in all arms; score those that all have"
            )
