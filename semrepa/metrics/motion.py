"""Motion score: FID of optical flow painted as pictures, after PhysGen; lower is closer to true motion.

What a flow looks like depends on the length that is painted in full colour. PhysGen's pipeline divides each
frame by its own longest flow, which hides how fast things move: a nearly still frame looks like a fast one.
The headline divides the true and the generated video of a clip by one length, that of the true one; the other
way is kept as a variant. Numbers of different flows (`raft_large`, `dis`) are not comparable: `name_of` names
them.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from semrepa.metrics.distances import SetScore, fid
from semrepa.metrics.features import FeatureNetwork, FeatureSet, extract, join
from semrepa.metrics.image import AnyFrames, Content, inside, to_bytes
from semrepa.provenance import Provenance, run_kind

Flow = Float[Tensor, "m 2 H W"]
"""Where each pixel goes: right and down, pixels per frame."""

Painting = Literal["fixed", "frame"]
"""What is in full colour. fixed: the true clip's fast motion (headline); frame: each frame's own longest,
as PhysGen."""

FAST = 0.99
"""Share of the true flows that are at most as long as what is painted in full colour."""
SLOWEST = 0.5
"""Full colour is at least this long, pixels, so that noise of a still clip is not painted as motion; ours."""

_SECTORS = (15, 6, 4, 11, 13, 6)
"""Steps of the colour wheel from red over yellow, green, cyan, blue, magenta to red (Baker et al., 2007)."""


@runtime_checkable
class FlowNetwork(Protocol):
    """What finds the optical flow of a clip."""

    name: str
    """Such as `raft_large`."""
    provenance: Provenance
    """Whose weights answer."""

    def __call__(self, frames: UInt8[Tensor, "n 3 H W"]) -> Flow:
        """Flow from each frame to the next.

        Args:
            frames: RGB, 0 to 255.

        Returns:
            n - 1 flows.
        """
        ...


def paint(flow: Flow, radius: float | None) -> UInt8[Tensor, "m 3 H W"]:
    """Paint flow: hue is the direction, saturation the length, white is still.

    Args:
        flow: m flows.
        radius: length in full colour, pixels, and longer ones with it; None: the longest of each flow.

    Returns:
        RGB pictures, those of `torchvision.utils.flow_to_image` where `radius` is the longest flow.

    Raises:
        ValueError: flow that is not finite, or a radius that is not positive.
    """
    if not flow.isfinite().all():
        raise ValueError("got flow that is not finite; expected numbers; look at the frames that it is of")
    if radius is not None and not radius > 0:
        raise ValueError(f"got radius={radius}; expected a positive length in pixels")
    wheel = _wheel().to(flow.device)
    length = flow.square().sum(dim=1).sqrt()
    full = length.amax(dim=(1, 2), keepdim=True) if radius is None else length.new_tensor(radius)
    share = (length / (full + torch.finfo(flow.dtype).eps)).clamp_(max=1)
    hue = torch.atan2(-flow[:, 1], -flow[:, 0]).div_(torch.pi).add_(1).mul_((len(wheel) - 1) / 2)
    first = hue.floor()
    part, index = hue.sub_(first), first.long()
    pictures = torch.empty((len(flow), 3, *flow.shape[2:]), dtype=torch.uint8, device=flow.device)
    steps = wheel.roll(-1, dims=0) - wheel
    for channel in range(3):
        color = steps[:, channel][index].mul_(part).add_(wheel[:, channel][index])
        pictures[:, channel] = (1 - share * (1 - color)).mul_(255)  # rounds down
    return pictures


def fast(flow: Flow) -> float:
    """Length of fast motion in a clip, by which it and its copies are painted.

    Args:
        flow: of the true clip.

    Returns:
        Pixels per frame that `FAST` of all pixels do not exceed, at least `SLOWEST`.
    """
    length = flow.square().sum(dim=1).flatten()
    return max(float(length.kthvalue(max(int(FAST * len(length)), 1)).values.sqrt()), SLOWEST)


def motion_features(
    frames: AnyFrames,
    truth: AnyFrames,
    flow: FlowNetwork,
    network: FeatureNetwork,
    clips: Sequence[str],
    *,
    painting: Painting = "fixed",
    content: Content | None = None,
) -> tuple[FeatureSet, FeatureSet]:
    """Features of the painted flow of generated clips and of their true ones.

    Args:
        frames: (b, n, 3, H, W) generated videos, uint8 or float in [0, 1].
        truth: their true videos, of one size with them.
        flow: what finds flow.
        network: what describes the pictures: Inception for the headline.
        clips: b different names.
        painting: how lengths become colours.
        content: the picture inside its padding; None: all of it.

    Returns:
        Features of the generated, and of the true motion, n - 1 rows a clip. The first is the motion out of
        the given frame and counts.

    Raises:
        ValueError: videos of different shapes or fewer than two frames, flow or features that are not finite.
    """
    if frames.shape != truth.shape or frames.shape[1] < 2:
        raise ValueError(
            f"got frames {tuple(frames.shape)} and truth {tuple(truth.shape)}; expected equal shapes and at "
            "least 2 frames; cut or resize them to one size first"
        )
    if painting not in ("fixed", "frame"):
        raise ValueError(f"got painting={painting!r}; expected 'fixed' or 'frame'")
    found: list[list[FeatureSet]] = [[], []]
    pairs = zip(inside(to_bytes(frames), content), inside(to_bytes(truth), content), clips, strict=True)
    for made, true, clip in pairs:
        flows = [flow(video) for video in (made, true)]
        radius = fast(flows[1]) if painting == "fixed" else None
        for sets, each in zip(found, flows, strict=True):
            sets.append(painted_features(each, flow, network, clip, radius=radius))
    scored, real = (join(sets) for sets in found)
    return scored, real


def painted_features(
    found: Flow, flow: FlowNetwork, network: FeatureNetwork, clip: str, *, radius: float | None
) -> FeatureSet:
    """Features of the painted flow of one video.

    Args:
        found: its flow.
        flow: what has found it.
        network: what describes the pictures.
        clip: name of the clip.
        radius: length in full colour, `fast` of the true video's flow; None: the longest of each frame.

    Returns:
        One row for each flow, with the record of flow, painting and network.

    Raises:
        ValueError: as `paint` and `extract` say.
    """
    seen = extract(paint(found, radius)[None], network, [clip], skip_first=False)
    return replace(seen, provenance=_joint(flow, network, "frame" if radius is None else "fixed"))


def name_of(flow: FlowNetwork, painting: Painting = "fixed") -> str:
    """Name of a motion score, without which its number says nothing.

    Args:
        flow: what finds flow.
        painting: how lengths become colours.

    Returns:
        `motion_raft_large`, `motion_dis_per_frame` and the like.
    """
    return f"motion_{flow.name}" + ("_per_frame" if painting == "frame" else "")


def motion_score(scored: FeatureSet, truth: FeatureSet, name: str) -> SetScore:
    """Fréchet distance of painted flow, all clips pooled.

    Args:
        scored: from `motion_features`, of one or (by `join`) more groups of clips.
        truth: the same of the true videos.
        name: from `name_of`.

    Returns:
        The score.

    Raises:
        ValueError: features of different networks, flows or paintings.
    """
    return fid(scored, truth, name=name)


def end_point_difference(flow: Flow, reference: Flow) -> Float[Tensor, " m"]:
    """Mean distance between two flows, which needs no second network.

    Args:
        flow: of the generated clip.
        reference: of the true one.

    Returns:
        Pixels, one for each pair of frames.

    Raises:
        ValueError: they differ in shape.
    """
    if flow.shape != reference.shape:
        raise ValueError(
            f"got flows {tuple(flow.shape)} and {tuple(reference.shape)}; expected equal shapes; "
            "cut or resize the videos to one size first"
        )
    return (flow - reference).square().sum(dim=1).sqrt().mean(dim=(1, 2))


def _joint(flow: FlowNetwork, network: FeatureNetwork, painting: Painting) -> Provenance:
    """Record of a flow, its painting and the network that sees it; its kind is the weaker one."""
    parts = (flow.provenance, network.provenance)
    return Provenance(
        name=f"{name_of(flow, painting)} seen by {network.provenance.name}",
        source=" and ".join(part.source for part in parts),
        kind=run_kind(parts),
        sha256=" ".join(part.sha256 or "-" for part in parts),
    )


def _wheel() -> Float[Tensor, "55 3"]:
    """Colours around the wheel, 0 to 1; in each sector one channel rises or falls, in whole steps of 255."""
    corners = [(1, 0, 0), (1, 1, 0), (0, 1, 0), (0, 1, 1), (0, 0, 1), (1, 0, 1), (1, 0, 0)]
    rows = []
    for count, start, end in zip(_SECTORS, corners, corners[1:], strict=False):
        rise = (255 * torch.arange(count) / count).floor()[:, None]
        begin, change = torch.tensor(start).float(), torch.tensor(end).float() - torch.tensor(start)
        rows.append((255 * begin + change * rise) / 255)
    return torch.cat(rows)
