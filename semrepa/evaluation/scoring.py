"""The scores of an arm: its videos, each against the true clip, and all of them together.

    scorer = Scorer(cfg, rows)
    scores = scorer("base", generate(cfg, None, rows))
    scores += scorer("ours", read_run("runs/ours", rows, cfg.video))

Videos come one at a time, from `generate`, `read_run` or anybody, so that few are in memory. Each needs the
name of its clip, its seed and its frames.
"""

import math
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from semrepa.config import Config
from semrepa.data.index import ClipRow
from semrepa.data.video import read_clip
from semrepa.evaluation.judging import ALL, CORE, Group, load_measures
from semrepa.evaluation.measures import Take
from semrepa.evaluation.sets import Pair
from semrepa.generate import Generated
from semrepa.metrics.body import KeyPointFinder
from semrepa.metrics.distances import SetScore
from semrepa.metrics.image import to_bytes
from semrepa.metrics.labels import LEARNED
from semrepa.metrics.report import ClipScores
from semrepa.prepare import Teachers
from semrepa.provenance import Kind, run_kind
from semrepa.weights import check_weights

__all__ = ["ALL", "CORE", "ArmScores", "Group", "Scorer"]

TRUTH = "truth"
"""The arm of the true videos themselves."""


@dataclass(frozen=True, kw_only=True)
class ArmScores:
    """All scores of one arm."""

    arm: str
    """Its name."""
    clips: tuple[ClipScores, ...]
    """Scores of each video, named `<clip>-seed<k>`."""
    sets: tuple[SetScore, ...]
    """Scores of all of them together: FID, KID, motion."""
    without_face: tuple[str, ...]
    """Videos in which no face was found although the true one shows some."""


class Scorer:
    """Scores videos against the true clips, and keeps what it finds out about these.

    Numbers are of the picture inside its padding, without frame 0. At the paper's size it keeps about 70 MB
    for each clip where depth is scored, and next to nothing otherwise.

    Args:
        cfg: resolved config: size of the clips, teachers, aligners and judges.
        rows: the true clips.
        groups: which scores: `CORE`, `ALL`, or some names of `Group`.
        teachers: loaded teachers; None loads those of the config.
        key_points: finds joints, for the group `body`.
        every: LPIPS, FID, motion and text look at every k-th frame; 1 for numbers that others may read.

    Raises:
        ValueError: no clips, clips of one name, or groups that make no sense.
        FileNotFoundError: weights are missing; lists all of them.
    """

    def __init__(
        self,
        cfg: Config,
        rows: Sequence[ClipRow],
        groups: Collection[Group] = CORE,
        *,
        teachers: Teachers | None = None,
        key_points: KeyPointFinder | None = None,
        every: int = 1,
    ) -> None:
        self.cfg, self.rows = cfg, {row.id: row for row in rows}
        if not rows or len(self.rows) < len(rows):
            raise ValueError(
                f"got {len(rows)} clips with {len(self.rows)} names; expected one or more, each once; "
                "take every clip of the index once"
            )
        loaded = load_measures(cfg, groups, teachers=teachers, key_points=key_points, every=every)
        self.singly, self.together = loaded.singly, loaded.together

    @cached_property
    def kind(self) -> Kind:
        """Kind of the model that the config names: what videos count as where nothing else is said."""
        return run_kind(check_weights(self.cfg, ["model"]))

    def __call__(
        self, arm: str, videos: Iterable[Generated], *, kind: Kind | None = None
    ) -> list[ClipScores]:
        """Score the videos of one arm.

        Args:
            arm: what made them.
            videos: in any order; each clip and seed at most once.
            kind: kind of the weights that made them; None: that of the config's model.

        Returns:
            One row for each video, in their order, named `<clip>-seed<k>`.

        Raises:
            ValueError: no videos, one of no clip of the index, one that comes twice, or one whose size,
                length or numbers are not those of a video of its clip.
            ClipError: the true video cannot be read.
        """
        return list(self.score(arm, videos, kind=kind).clips)

    def score(self, arm: str, videos: Iterable[Generated], *, kind: Kind | None = None) -> ArmScores:
        """Score the videos of one arm, one by one and together.

        Args:
            arm: what made them.
            videos: as for a call.
            kind: as for a call.

        Returns:
            All scores.

        Raises:
            ValueError: as for a call.
        """
        return self._score(arm, self._takes(arm, videos), kind or self.kind)

    def truth(self, arm: str = TRUTH, *, seed: int = 0, kind: Kind | None = None) -> ArmScores:
        """Score the true videos against themselves: what a perfect model would reach.

        Args:
            arm: what to call them.
            seed: seed in their names, so that they can be paired with videos of that seed.
            kind: kind of the videos that they are compared with; None: that of the config's model.

        Returns:
            All scores.

        Raises:
            ClipError: a true video cannot be read.
        """
        takes = (
            (f"{row.id}-seed{seed}", take, take) for row in self.rows.values() if (take := self._true(row))
        )
        return self._score(arm, takes, kind or self.kind)

    def _score(self, arm: str, takes: Iterable[tuple[str, Take, Take]], kind: Kind) -> ArmScores:
        clips: list[ClipScores] = []
        pairs: list[list[Pair]] = [[] for _ in self.together]
        for name, made, true in takes:
            values: dict[str, float] = {}
            judges: dict[str, Kind] = {}
            for measure in self.singly:
                found = measure(made, true)
                values |= found
                judges |= _said(found, measure.kind, kind)
            for measure, gathered in zip(self.together, pairs, strict=True):
                gathered.append(measure.features(made, true, name))
                found = measure.of_one(gathered[-1])
                values |= found
                judges |= _said(found, measure.kind, kind)
            clips.append(ClipScores(arm=arm, clip=name, provenance=kind, values=values, judges=judges))
        if not clips:
            raise ValueError(f"got no videos of arm {arm!r}; expected one or more; check its folder")
        sets = [
            score for m, gathered in zip(self.together, pairs, strict=True) for score in m.of_all(gathered)
        ]
        return ArmScores(arm=arm, clips=tuple(clips), sets=tuple(sets), without_face=_without_face(clips))

    def _takes(self, arm: str, videos: Iterable[Generated]) -> Iterator[tuple[str, Take, Take]]:
        """Each video with its name and its true one, checked."""
        seen: set[str] = set()
        for video in videos:
            name = f"{video.id}-seed{video.seed}"
            if video.id not in self.rows:
                raise ValueError(
                    f"got video {name} of arm {arm!r}, of no clip of the index; expected one of "
                    f"{len(self.rows)} clips; score it with the index that it was made from"
                )
            if name in seen:
                raise ValueError(f"got video {name} twice in arm {arm!r}; expected it once; leave one out")
            seen.add(name)
            true = self._true(self.rows[video.id])
            yield name, _take(video, true, name, arm), true

    def _true(self, row: ClipRow) -> Take:
        clip = read_clip(row.path, start=row.start, **self.cfg.video.shape)
        return Take(row=row, frames=clip.frames[None], content=clip.content)


def _take(video: Generated, true: Take, name: str, arm: str) -> Take:
    frames = video.frames[None]
    if frames.shape != true.frames.shape:
        raise ValueError(
            f"got video {name} of arm {arm!r} with shape {tuple(frames.shape[1:])}; expected that of its "
            f"clip, {tuple(true.frames.shape[1:])} (frames, colours, height, width); make it again"
        )
    try:
        frames = to_bytes(frames.cpu())
    except ValueError as error:
        raise ValueError(f"video {name} of arm {arm!r}: {error}") from error
    return Take(row=true.row, frames=frames, content=true.content)


def _said(found: Iterable[str], judge: Kind | None, videos: Kind) -> dict[str, Kind]:
    """What a table must say of a judge: its kind, where it is not that of the videos, or where it must."""
    if judge is None:
        return {}
    return {name: judge for name in found if judge != videos or name.startswith(LEARNED)}


def _without_face(clips: Iterable[ClipScores]) -> tuple[str, ...]:
    return tuple(clip.clip for clip in clips if clip.values.get("detection_rate", math.nan) == 0)
