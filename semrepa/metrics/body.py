"""How steady a body is: limbs that change their length are the plainest sign of a twisted figure."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from semrepa.provenance import Provenance

Points = Float[Tensor, "n k 2"] | Float[Tensor, "n k 3"]
"""Places of k joints in each frame, pixels or metres; NaN or unseen where a joint is hidden."""

COCO_LIMBS = (
    *((5, 7), (7, 9), (6, 8), (8, 10)),  # upper and lower arms
    *((11, 13), (13, 15), (12, 14), (14, 16)),  # thighs and shins
    *((5, 6), (11, 12), (5, 11), (6, 12)),  # shoulders, hips, sides of the trunk
)
"""Bones between the 17 joints of COCO, in the order of its key points."""


@runtime_checkable
class KeyPointFinder(Protocol):
    """Whoever finds the joints of the person in a clip; the kit ships none."""

    provenance: Provenance
    """Whose weights answer."""
    bones: Sequence[tuple[int, int]]
    """Pairs of joints that a bone connects."""

    def __call__(self, frames: UInt8[Tensor, "n 3 H W"]) -> tuple[Points, Bool[Tensor, "n k"]]:
        """Find joints.

        Args:
            frames: RGB, 0 to 255.

        Returns:
            Places, and which of them are seen.
        """
        ...


def bone_length_variation(
    points: Points,
    bones: Sequence[tuple[int, int]],
    *,
    seen: Bool[Tensor, "n k"] | None = None,
    least: int = 3,
) -> Float[Tensor, " bones"]:
    """Standard deviation of each bone's length over time, relative to its mean length.

    Points in the plane change their distance by turning too, and by coming nearer: compare with the true
    video.

    Args:
        points: joints of one person.
        bones: pairs of joints.
        seen: which joints are found; None: all that are finite.
        least: frames on which a bone must be seen.

    Returns:
        One number for each bone, 0 for a rigid one; NaN for one that is seen on too few frames.

    Raises:
        ValueError: no bones, or one that names a joint that is not there.
    """
    if not bones or not all(0 <= joint < points.shape[1] for bone in bones for joint in bone):
        raise ValueError(
            f"got bones {list(bones)} for {points.shape[1]} joints; expected pairs of numbers from 0 to "
            f"{points.shape[1] - 1}; use those of the finder"
        )
    first, second = (torch.tensor(ends, device=points.device) for ends in zip(*bones, strict=True))
    length = (points[:, first] - points[:, second]).double().norm(dim=-1)
    counted = length.isfinite()
    if seen is not None:
        counted &= seen[:, first] & seen[:, second]
    length = length.masked_fill(~counted, torch.nan)
    mean = length.nanmean(dim=0)
    spread = (length - mean).square().nanmean(dim=0).sqrt()
    return (spread / mean).masked_fill(counted.sum(dim=0) < least, torch.nan).float()
