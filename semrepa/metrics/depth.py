"""How far a depth video is from the true one."""

import torch
from torch import Tensor

from semrepa.depth import DepthKind, denormalize, depth_range, normalize
from semrepa.shapes import Depth, PerSample

FAR = 0.05
"""Normalised disparity below which an answer of unknown scale says too little about distance to be judged."""


def against_teacher(values: Depth, depth: Depth, *, kind: DepthKind) -> dict[str, PerSample]:
    """Compare normalised disparity, such as colours read back, with the depth that it stands for.

    Args:
        values: predicted disparity, brought to [0, 1] by the range of `depth`.
        depth: the teacher's answer.
        kind: "metric": errors of depth in metres, at every pixel; "disparity": errors of disparity, which has
            no unit, where the teacher's normalised disparity is above `FAR`.

    Returns:
        `mean_error` and `flicker` in normalised disparity, `abs_rel` and `delta_1.25`, each (b,).

    Raises:
        ValueError: the shapes differ, or another kind.
    """
    truth = normalize(depth, kind=kind)
    answer = denormalize(values, depth_range(depth, kind=kind), kind=kind)
    counted = depth if kind == "metric" else depth.masked_fill(truth <= FAR, torch.nan)
    return {
        "mean_error": depth_mae(values, truth),
        "abs_rel": abs_rel(answer, counted),
        "delta_1.25": delta(answer, counted),
        "flicker": flicker(values, truth),
    }


def abs_rel(pred_depth: Depth, depth: Depth) -> PerSample:
    """Mean absolute error relative to the true depth.

    Args:
        pred_depth: predicted depth, metres (or the unit of `depth`).
        depth: true depth; pixels count where it is finite and positive.

    Returns:
        Mean of |prediction - truth| / truth per clip, (b,); NaN where no pixel counts.

    Raises:
        ValueError: the shapes differ.
    """
    _check(pred_depth, depth)
    return _mean((pred_depth - depth).abs() / depth, depth.isfinite() & (depth > 0))


def delta(pred_depth: Depth, depth: Depth, *, threshold: float = 1.25) -> PerSample:
    """Share of the pixels whose depth is right up to a factor.

    Args:
        pred_depth: predicted depth.
        depth: true depth; pixels count where it is finite and positive.
        threshold: largest factor that counts as right.

    Returns:
        Share per clip, (b,), 1 is best; NaN where no pixel counts. One that is not positive is wrong.

    Raises:
        ValueError: the shapes differ.
    """
    _check(pred_depth, depth)
    ratio = torch.maximum(pred_depth / depth, depth / pred_depth)
    right = (ratio < threshold) & (pred_depth > 0)
    return _mean(right.to(depth.dtype), depth.isfinite() & (depth > 0))


def depth_mae(pred_depth: Depth, depth: Depth) -> PerSample:
    """Mean absolute error, for depth or disparity already brought to [0, 1].

    Args:
        pred_depth: prediction.
        depth: truth; pixels count where it is finite.

    Returns:
        Mean error per clip, (b,).

    Raises:
        ValueError: the shapes differ.
    """
    _check(pred_depth, depth)
    return _mean((pred_depth - depth).abs(), depth.isfinite())


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


def _check(pred_depth: Tensor, depth: Tensor) -> None:
    if pred_depth.shape != depth.shape:
        raise ValueError(
            f"got prediction {tuple(pred_depth.shape)} and depth {tuple(depth.shape)}; "
            "expected equal shapes; resize the prediction first"
        )


def _mean(values: Tensor, counted: Tensor) -> PerSample:
    return values.masked_fill(~counted, torch.nan).flatten(1).nanmean(dim=1)
