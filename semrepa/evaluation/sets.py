"""What is measured of all videos of an arm together: distances between two sets of pictures or flows."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, runtime_checkable

from semrepa.evaluation.measures import Take, Values
from semrepa.metrics.distances import SetScore, fid, fid_per_clip, kid
from semrepa.metrics.features import FeatureNetwork, FeatureSet, extract, join
from semrepa.metrics.motion import FlowNetwork, fast, motion_score, name_of, painted_features
from semrepa.provenance import Kind, run_kind

Pair = tuple[FeatureSet, FeatureSet]
"""Features of a video and of the true one, both under the name of the video."""


@runtime_checkable
class SetMeasure(Protocol):
    """Gives a number of each video and numbers of the whole set."""

    kind: Kind
    """Kind of the weights that answer."""

    def features(self, made: Take, true: Take, name: str) -> Pair:
        """Describe a video and its true one.

        Args:
            made: the video.
            true: the true video of the same clip.
            name: of the video.

        Returns:
            Features.
        """
        ...

    def of_one(self, pair: Pair) -> Values:
        """Numbers of one video.

        Args:
            pair: from `features`.

        Returns:
            Numbers by name.
        """
        ...

    def of_all(self, pairs: Sequence[Pair]) -> list[SetScore]:
        """Numbers of the whole set.

        Args:
            pairs: from `features`.

        Returns:
            The scores.
        """
        ...


@dataclass
class PictureDistance:
    """FID and KID over all frames but the given ones."""

    network: FeatureNetwork
    every: int = 1
    known: dict[str, FeatureSet] = field(default_factory=dict)

    @property
    def kind(self) -> Kind:
        """Kind of Inception's weights."""
        return self.network.provenance.kind

    def features(self, made: Take, true: Take, name: str) -> Pair:
        """See `SetMeasure`."""
        if true.row.id not in self.known:
            self.known[true.row.id] = self._see(true, name)
        truth = replace(self.known[true.row.id], clips=(name,))
        return (truth if made is true else self._see(made, name)), truth

    def of_one(self, pair: Pair) -> Values:
        """The distance of one video from its true one: a guess at the paper's column."""
        return {"fid_per_video": next(iter(fid_per_clip(*pair).values()))}

    def of_all(self, pairs: Sequence[Pair]) -> list[SetScore]:
        """FID and KID, all frames pooled."""
        scored, truth = _joined(pairs)
        return [fid(scored, truth), kid(scored, truth)]

    def _see(self, take: Take, name: str) -> FeatureSet:
        return extract(take.seen(self.every), self.network, [name], skip_first=False)


@dataclass
class MotionDistance:
    """FID of painted optical flow."""

    flow: FlowNetwork
    network: FeatureNetwork
    every: int = 1
    known: dict[str, tuple[float, FeatureSet]] = field(default_factory=dict)
    """Of each true clip: length of fast motion, and features of its flow."""

    @property
    def kind(self) -> Kind:
        """The weaker kind of flow and Inception."""
        return run_kind([self.flow.provenance, self.network.provenance])

    def features(self, made: Take, true: Take, name: str) -> Pair:
        """See `SetMeasure`."""
        if true.row.id not in self.known:
            found = self.flow(true.picture[0])
            radius = fast(found)
            seen = painted_features(found[:: self.every], self.flow, self.network, name, radius=radius)
            self.known[true.row.id] = radius, seen
        radius, truth = self.known[true.row.id]
        truth = replace(truth, clips=(name,))
        if made is true:
            return truth, truth
        found = self.flow(made.picture[0])[:: self.every]
        return painted_features(found, self.flow, self.network, name, radius=radius), truth

    def of_one(self, pair: Pair) -> Values:
        """The distance of one video's flow from that of its true one."""
        name = f"{name_of(self.flow)}_per_video"
        return {name: next(iter(fid_per_clip(*pair).values()))}

    def of_all(self, pairs: Sequence[Pair]) -> list[SetScore]:
        """The motion score, all flows pooled."""
        return [motion_score(*_joined(pairs), name_of(self.flow))]


def _joined(pairs: Sequence[Pair]) -> Pair:
    scored, truth = (join(sets) for sets in zip(*pairs, strict=True))
    return scored, truth
