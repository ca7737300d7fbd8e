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


def consistency(depth: Depth, reference: Depth, *, kind: DepthKind) -> dict[str, PerSample]:
    """How well the depth that a teacher sees in generated videos fits that of the true ones.

    One scale and one shift per clip are taken out first, by least squares: a teacher of disparity gives none,
    and a person who stands a little nearer is no broken structure. Frame 0, which is given, does not count.

    Args:
        depth: the teacher's answer for the generated videos.
        reference: its answer for the true ones.
        kind: "metric": depth in metres; "disparity": pixels count where the true disparity is above `FAR` of
            its range.

    Returns:
        `abs_rel`, `delta_1.25` and `flicker`, each (b,); the last in the unit of `reference`.

    Raises:
        ValueError: the shapes differ, or fewer than two frames.
    """
    _check(depth, reference)
    if depth.shape[1] < 2:
        raise ValueError(f"got {depth.shape[1]} frame per clip; expected at least 2")
    depth, reference = depth[:, 1:], reference[:, 1:]
    counted = reference
    if kind == "disparity":
        counted = reference.masked_fill(normalize(reference, kind=kind) <= FAR, torch.nan)
    answer = fitted(depth, counted)
    return {
        "abs_rel": abs_rel(answer, counted),
        "delta_1.25": delta(answer, counted),
        "flicker": flicker(answer, counted),
    }


def fitted(pred_depth: Depth, depth: Depth) -> Depth:
    """Bring predictions to the scale and shift of the truth, one pair per clip, by least squares.

    Args:
        pred_depth: predicted depth or disparity.
        depth: truth; pixels count where it is finite.

    Returns:
        scale x prediction + shift; the mean of the truth where the prediction is flat.

    Raises:
        ValueError: the shapes differ.
    """
    _check(pred_depth, depth)
    counted = depth.isfinite() & pred_depth.isfinite()
    x, y = (v.double().masked_fill(~counted, torch.nan).flatten(1) for v in (pred_depth, depth))
    mean_x, mean_y = (v.nanmean(dim=1, keepdim=True) for v in (x, y))
    variance = (x - mean_x).square().nanmean(dim=1, keepdim=True)
    covariance = ((x - mean_x) * (y - mean_y)).nanmean(dim=1, keepdim=True)
    scale = torch.where(variance > 0, covariance / variance, 0.0)
    return ((pred_depth.double().flatten(1) - mean_x) * scale + mean_y).to(depth.dtype).view(depth.shape)


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
