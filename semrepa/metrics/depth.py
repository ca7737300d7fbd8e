"""How far a depth video is from the true one."""

import torch
from jaxtyping import Bool
from torch import Tensor

from semrepa.shapes import Depth, PerSample

Valid = Bool[Tensor, "b n H W"]
"""Pixels that count."""


def abs_rel(pred_depth: Depth, depth: Depth, *, valid: Valid | None = None) -> PerSample:
    """Mean absolute error relative to the true depth.

    Args:
        pred_depth: predicted depth, metres (or the unit of `depth`).
        depth: true depth.
        valid: pixels that count; None: those with a finite, positive truth.

    Returns:
        Mean of |prediction - truth| / truth per clip, (b,); NaN where no pixel counts.

    Raises:
        ValueError: the shapes differ.
    """
    counted = _valid(pred_depth, depth, valid)
    return _masked_mean((pred_depth - depth).abs() / depth, counted)


def delta(
    pred_depth: Depth, depth: Depth, *, threshold: float = 1.25, valid: Valid | None = None
) -> PerSample:
    """Share of the pixels whose depth is right up to a factor.

    Args:
        pred_depth: predicted depth.
        depth: true depth.
        threshold: largest factor that counts as right.
        valid: pixels that count; None: those with a finite, positive truth.

    Returns:
        Share per clip, (b,), 1 is best; NaN where no pixel counts. One that is not positive is wrong.

    Raises:
        ValueError: the shapes differ.
    """
    counted = _valid(pred_depth, depth, valid)
    ratio = torch.maximum(pred_depth / depth, depth / pred_depth)
    right = (ratio < threshold) & (pred_depth > 0)
    return _masked_mean(right.to(depth.dtype), counted)


def depth_mae(pred_depth: Depth, depth: Depth, *, valid: Valid | None = None) -> PerSample:
    """Mean absolute error, for depth or disparity already brought to [0, 1].

    Args:
        pred_depth: prediction.
        depth: truth.
        valid: pixels that count; None: those with a finite truth.

    Returns:
        Mean error per clip, (b,).

    Raises:
        ValueError: the shapes differ.
    """
    counted = _valid(pred_depth, depth, torch.isfinite(depth) if valid is None else valid)
    return _masked_mean((pred_depth - depth).abs(), counted)


def flicker(pred_depth: Depth, depth: Depth) -> PerSample:
    """Mean error of the change from frame to frame: 0 for a steady, even if wrong, prediction.

    Args:
        pred_depth: prediction, usually normalised disparity.
        depth: truth.

    Returns:
        Mean of |change of the prediction - change of the truth| per clip, (b,).

    Raises:
        ValueError: the shapes differ.
    """
    return depth_mae(pred_depth.diff(dim=1), depth.diff(dim=1))


def fit_disparity(pred_disparity: Depth, disparity: Depth) -> Depth:
    """Move a prediction known up to scale and shift onto the truth, one least-squares fit per clip.

    Args:
        pred_disparity: prediction in any scale.
        disparity: truth.

    Returns:
        The prediction, scaled and shifted.

    Raises:
        ValueError: the shapes differ.
    """
    _valid(pred_disparity, disparity, None)
    x, y = pred_disparity.flatten(1).double(), disparity.flatten(1).double()
    spread = x - x.mean(1, keepdim=True)
    scale = (spread * y).sum(1, keepdim=True) / spread.square().sum(1, keepdim=True).clamp(min=1e-12)
    fitted = y.mean(1, keepdim=True) + scale * spread
    return fitted.reshape(disparity.shape).to(disparity.dtype)


def _valid(pred_depth: Tensor, depth: Tensor, valid: Valid | None) -> Valid:
    if pred_depth.shape != depth.shape:
        raise ValueError(
            f"got prediction {tuple(pred_depth.shape)} and depth {tuple(depth.shape)}; "
            "expected equal shapes; resize the prediction first"
        )
    return torch.isfinite(depth) & (depth > 0) if valid is None else valid


def _masked_mean(values: Depth, counted: Valid) -> PerSample:
    return values.masked_fill(~counted, torch.nan).flatten(1).nanmean(dim=1)
