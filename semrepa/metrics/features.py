"""Features of the frames of videos by a frozen network, which stay with the names of their clips."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from semrepa.metrics.image import AnyFrames, Content, inside, to_bytes
from semrepa.provenance import Provenance

Features = Float[Tensor, "k d"]
"""One row of features for each picture."""

Pictures = UInt8[Tensor, "k 3 H W"]
"""Pictures in any order."""


@runtime_checkable
class FeatureNetwork(Protocol):
    """A frozen network that describes pictures by numbers."""

    provenance: Provenance
    """Whose weights answer; features of two networks are never compared."""

    def __call__(self, pictures: Pictures) -> Features:
        """Describe pictures.

        Args:
            pictures: RGB, 0 to 255, of any size.

        Returns:
            Features.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class FeatureSet:
    """Features of the frames of some clips, which know what made them."""

    values: Features
    """One row per frame."""
    clips: tuple[str, ...]
    """Names of the clips."""
    owner: Int[Tensor, " k"]
    """Which clip each row is of."""
    provenance: Provenance
    """The network."""

    def of_clip(self, clip: str) -> Features:
        """Rows of one clip.

        Args:
            clip: its name.

        Returns:
            Its features.
        """
        return self.values[self.owner == self.clips.index(clip)]


def extract(
    frames: AnyFrames,
    network: FeatureNetwork,
    clips: Sequence[str],
    *,
    content: Content | None = None,
    skip_first: bool = True,
    batch: int = 16,
) -> FeatureSet:
    """Features of all frames of some clips.

    Args:
        frames: (b, n, 3, H, W) RGB, uint8 or float in [0, 1].
        network: the frozen network.
        clips: b different names.
        content: the picture inside its padding; None: all of it.
        skip_first: leave out frame 0, which an image-to-video model is given.
        batch: pictures at a time: memory only, not the answer.

    Returns:
        The features, clip by clip.

    Raises:
        ValueError: names are missing or not different, no frame is left, or features are not finite.
    """
    if len(set(clips)) != len(frames) or len(clips) != len(frames):
        raise ValueError(
            f"got {len(frames)} clips with names {list(clips)}; expected one name of its own for each"
        )
    kept = inside(to_bytes(frames), content)[:, int(skip_first) :]
    if not kept.shape[1]:
        raise ValueError("got one frame per clip; expected at least 2; or pass skip_first=False")
    with torch.no_grad():
        values = torch.cat([network(pictures) for pictures in kept.flatten(0, 1).split(batch)])
    owner = torch.arange(len(frames)).repeat_interleave(kept.shape[1])
    if not values.isfinite().all():
        bad = sorted({clips[k] for k in owner[~values.isfinite().all(dim=1).cpu()].tolist()})
        raise ValueError(
            f"got features that are not finite of {', '.join(bad)}; expected numbers; check the weights of "
            f"{network.provenance.source}, or use float32"
        )
    return FeatureSet(
        values=values, clips=tuple(clips), owner=owner.to(values.device), provenance=network.provenance
    )


def join(sets: Iterable[FeatureSet]) -> FeatureSet:
    """Put the features of several groups of clips together.

    Args:
        sets: of one network, with clips of different names.

    Returns:
        All of them.

    Raises:
        ValueError: no sets, different networks, or a clip that comes twice.
    """
    parts = list(sets)
    if not parts:
        raise ValueError("got no features; expected those of at least one clip")
    for part in parts[1:]:
        check_network(parts[0], part)
    names = [clip for part in parts for clip in part.clips]
    if twice := sorted({clip for clip in names if names.count(clip) > 1}):
        raise ValueError(f"got clips twice: {', '.join(twice)}; expected each once; name seeds apart")
    starts = [sum(len(part.clips) for part in parts[:k]) for k in range(len(parts))]
    return FeatureSet(
        values=torch.cat([part.values for part in parts]),
        clips=tuple(names),
        owner=torch.cat([part.owner + start for part, start in zip(parts, starts, strict=True)]),
        provenance=parts[0].provenance,
    )


def check_network(scored: FeatureSet, truth: FeatureSet) -> None:
    """Refuse to compare features of two networks.

    Args:
        scored: features of some videos.
        truth: features of others.

    Raises:
        ValueError: they are of different networks.
    """
    if scored.provenance != truth.provenance:
        raise ValueError(
            f"got features of {scored.provenance} and {truth.provenance}; expected one network for both; "
            "extract them again with the same one"
        )
