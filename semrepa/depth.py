"""Depth as colours: a clip's disparity brought to [0, 1], painted with a colour table, and read back.

Near is 1 and bright. The range is that of the whole clip, so that a point that does not move keeps its
colour. The tables rise in brightness, so that a blur between two depths is read as a depth between them.
"""

from functools import cache
from importlib import resources
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from semrepa.shapes import Depth, DepthRange, Frames, Pixels

DepthKind = Literal["metric", "disparity"]
Colormap = Literal["inferno", "magma", "gray"]

_CHUNK = 2048  # pixels at a time against 255 segments: stays in a processor's cache, a third of the time


def depth_range(depth: Depth, *, kind: DepthKind) -> DepthRange:
    """Find the range of disparity of each clip.

    Args:
        depth: depth in metres (far is large), or disparity in any unit (near is large).
        kind: which of the two it is.

    Returns:
        Smallest and largest disparity over all frames of a clip, in 1/metre or the unit given.

    Raises:
        ValueError: when depth is not a number somewhere, or metric depth is not positive.
    """
    low, high = torch.aminmax(_disparity(depth, kind).flatten(1), dim=1)
    return torch.stack([low, high], dim=1)


def normalize(depth: Depth, *, kind: DepthKind) -> Depth:
    """Bring each clip to [0, 1]: disparity between its smallest and its largest value, near is 1.

    Args:
        depth: depth in metres (far is large), or disparity in any unit (near is large).
        kind: which of the two it is.

    Returns:
        Values in [0, 1]; zeros for a clip that is flat.

    Raises:
        ValueError: when depth is not a number somewhere, or metric depth is not positive.
    """
    low, high = depth_range(depth, kind=kind).view(-1, 2, 1, 1, 1).unbind(1)
    span = high - low
    return (_disparity(depth, kind) - low) / torch.where(span > 0, span, 1)


def denormalize(values: Depth, value_range: DepthRange, *, kind: DepthKind = "disparity") -> Depth:
    """Undo `normalize` with the range that `depth_range` found.

    Args:
        values: values in [0, 1].
        value_range: smallest and largest disparity of each clip.
        kind: "disparity" gives disparity, "metric" depth in metres.

    Returns:
        Disparity or depth.
    """
    low, high = value_range.view(-1, 2, 1, 1, 1).unbind(1)
    disparity = low + values * (high - low)
    return 1 / disparity if kind == "metric" else disparity


def colorize(values: Depth, colormap: Colormap) -> Frames:
    """Paint values with a colour table, interpolating between its entries.

    Args:
        values: values in [0, 1].
        colormap: "inferno", "magma" or "gray".

    Returns:
        RGB frames.

    Raises:
        ValueError: when values leave [0, 1], or for another colour table.
    """
    if not ((values >= 0) & (values <= 1)).all():
        raise ValueError(
            f"got values from {values.min():.3g} to {values.max():.3g}; expected 0 to 1; normalize them first"
        )
    table = _table(colormap).to(values.device) * 255
    painted = [_paint(frame, table) for frame in values.flatten(0, 1)]
    return torch.stack(painted).unflatten(0, values.shape[:2])


@torch.no_grad()
def decolorize(frames: Frames | Pixels, colormap: Colormap) -> tuple[Depth, Depth]:
    """Read values back from colours: the nearest point of the curve that the colour table draws in RGB.

    The nearest point is exact. It is not differentiable.

    Args:
        frames: stored frames, or the VAE's pixels (-1 to 1, not clipped).
        colormap: table they were painted with.

    Returns:
        Values in [0, 1], and each pixel's distance to the curve, in units where RGB runs from 0 to 1. A large
        distance says that the colour is not a depth.

    Raises:
        ValueError: for another colour table.
    """
    colors = frames.float() / 255 if frames.dtype == torch.uint8 else frames.float() / 2 + 0.5
    pixels = colors.movedim(2, -1)
    table = _table(colormap).to(frames.device)
    projected = [_project(chunk, table) for chunk in pixels.reshape(-1, 3).split(_CHUNK)]
    values, distances = map(torch.cat, zip(*projected, strict=True))
    return values.view(pixels.shape[:-1]), distances.view(pixels.shape[:-1])


def _disparity(depth: Depth, kind: DepthKind) -> Depth:
    if kind not in get_args(DepthKind):
        raise ValueError(f"got kind={kind!r}; expected 'metric' or 'disparity'")
    if depth.isnan().any():
        raise ValueError("got depth that is not a number (NaN) in places; expected a number at every pixel")
    if kind == "disparity":
        return depth.float()
    if (depth <= 0).any():
        raise ValueError(f"got metric depth down to {depth.min():.3g}; expected metres above 0")
    return 1 / depth.float()


@cache
def _table(colormap: Colormap) -> Tensor:
    """Give 256 colours from far to near, (256, 3), 0 to 1."""
    if colormap == "gray":
        return torch.linspace(0, 1, 256)[:, None].expand(-1, 3).contiguous()
    if colormap not in get_args(Colormap):
        raise ValueError(f"got colormap={colormap!r}; expected one of {', '.join(get_args(Colormap))}")
    with resources.files("semrepa").joinpath("colormaps.npz").open("rb") as file:
        return torch.from_numpy(np.load(file)[colormap])


def _paint(frame: Tensor, table: Tensor) -> Tensor:
    position = frame.float() * (len(table) - 1)
    entry = position.long().clamp(max=len(table) - 2)
    color = torch.lerp(table[entry], table[entry + 1], (position - entry)[..., None])
    return color.round().to(torch.uint8).movedim(-1, 0)


def _project(colors: Tensor, table: Tensor) -> tuple[Tensor, Tensor]:
    """Project colours (p, 3) on the curve: the nearest point over all segments between table entries."""
    start, step = table[:-1], table[1:] - table[:-1]
    length = step.square().sum(dim=1)
    along = torch.addmm(-(start * step).sum(dim=1) / length, colors, (step / length[:, None]).T)
    inside = along.clamp(0, 1)
    to_start = torch.addmm(start.square().sum(dim=1), colors, start.T, alpha=-2)
    segment = to_start.addcmul_(length * inside, inside - 2 * along).argmin(dim=1)
    fraction = inside.gather(1, segment[:, None])
    distance = (colors - start[segment] - fraction * step[segment]).norm(dim=1)
    return (segment + fraction[:, 0]) / (len(table) - 1), distance
