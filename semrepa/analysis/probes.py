"""How much of something features hold: linear probes, and CKNNA, the likeness of two feature spaces.

A probe is a ridge regression that is fitted on some clips and scored on others. All in float64.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import cosine_similarity, normalize

from semrepa.metrics.report import Interval

PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0)
"""Ridge penalties to choose from, relative to the variance of a feature. Ours."""
FOLDS = 4
"""Parts of the clips that are left out in turn to choose the penalty. Ours."""

Features = Float[Tensor, "k p"]
"""One row for each of k samples."""
Targets = Float[Tensor, "k q"]
"""What belongs to each sample."""
Clips = Sequence[int] | np.ndarray
"""Number of each sample's clip, from 0 on."""


@dataclass(frozen=True)
class Ridge:
    """A fitted linear map."""

    mean: Float[Tensor, " p"]
    """Mean of each feature."""
    scale: Float[Tensor, " p"]
    """Standard deviation of each feature."""
    weights: Float[Tensor, "p q"]
    """Map from standardised features."""
    intercept: Float[Tensor, " q"]
    """Mean of the targets, the answer that needs no features."""
    penalty: float
    """The chosen penalty."""

    def __call__(self, features: Features) -> Targets:
        """Predict targets."""
        return (features.double() - self.mean) / self.scale @ self.weights + self.intercept


@dataclass(frozen=True)
class ClipRatio:
    """A score that is a ratio of sums over clips: explained variance, or a mean cosine over frames."""

    above: np.ndarray
    """What each clip adds above the line, (clips,)."""
    below: np.ndarray
    """What it adds below, (clips,)."""

    @property
    def value(self) -> float:
        """The score over all clips."""
        return float(self.above.sum() / self.below.sum())

    def interval(
        self, before: "ClipRatio | None" = None, *, resamples: int = 2000, seed: int = 0
    ) -> Interval:
        """Where the score may lie, by drawing the clips again.

        Args:
            before: another score of the same clips; the interval is then that of the gain over it, paired.
            resamples: bootstrap samples.
            seed: seed of the resampling.

        Returns:
            Score (or gain) with its 95 % interval.
        """
        counted = self.below > 0  # a clip without a face is no evidence
        draws = resampled(counted.sum(), resamples, seed)
        scores, value = draws @ self.above[counted] / (draws @ self.below[counted]), self.value
        if before is not None:
            scores = scores - draws @ before.above[counted] / (draws @ before.below[counted])
            value -= before.value
        low, high = np.percentile(scores, [2.5, 97.5])
        return Interval(value, float(low), float(high), int(counted.sum()))


def resampled(clips: int | np.integer, resamples: int, seed: int) -> np.ndarray:
    """How often each clip is drawn in each bootstrap sample, (resamples, clips)."""
    generator = np.random.default_rng(seed)
    return generator.multinomial(clips, np.full(clips, 1 / clips), size=resamples).astype(float)


def fit_ridge(features: Features, targets: Targets, clips: Clips) -> Ridge:
    """Fit a ridge regression; its penalty is the one that does best on clips that were left out.

    Args:
        features: one row per sample.
        targets: what to predict from it.
        clips: which clip each sample is of; samples of one clip are left out together.

    Returns:
        The map, fitted on all samples with the chosen penalty.

    Raises:
        ValueError: counts differ, or fewer than two clips.
    """
    if not len(features) == len(targets) == len(clips):
        raise ValueError(
            f"got {len(features)} features, {len(targets)} targets and {len(clips)} clips; expected one each"
        )
    names, place = np.unique(np.asarray(clips), return_inverse=True)
    if len(names) < 2:
        raise ValueError(f"got samples of {len(names)} clip; expected at least 2, to choose the penalty")
    fold = torch.from_numpy(place % FOLDS).to(features.device)
    errors = torch.zeros(len(PENALTIES), dtype=torch.float64)
    for left_out in range(min(FOLDS, len(names))):
        kept, scored = fold != left_out, fold == left_out
        path = _ridges(features[kept], targets[kept], PENALTIES)
        errors += torch.tensor([_squares(ridge, features[scored], targets[scored]) for ridge in path])
    return _ridges(features, targets, (PENALTIES[int(errors.argmin())],))[0]


def explained(ridge: Ridge, features: Features, targets: Targets, clips: Clips) -> ClipRatio:
    """Share of the targets' variance that a probe explains on other clips (R²): 1 all of it, 0 none.

    Args:
        ridge: fitted on clips that are not among these.
        features: one row per sample.
        targets: the truth.
        clips: number of each sample's clip, from 0 on.

    Returns:
        R² with the mean of the fitted targets as the answer that explains nothing; below 0 is worse than it.
    """
    targets = targets.double()
    error = (ridge(features) - targets).square().sum(dim=1)
    spread = (targets - ridge.intercept).square().sum(dim=1)
    return ClipRatio(_by_clip(spread - error, clips), _by_clip(spread, clips))


def likeness(ridge: Ridge, features: Features, targets: Targets, clips: Clips) -> ClipRatio:
    """Mean cosine between what a probe predicts and the truth.

    Args:
        ridge: fitted on clips that are not among these.
        features: one row per sample.
        targets: the truth, such as face embeddings.
        clips: number of each sample's clip, from 0 on.

    Returns:
        Mean cosine over the samples, -1 to 1.
    """
    cosines = cosine_similarity(ridge(features), targets.double(), dim=1)
    return ClipRatio(_by_clip(cosines, clips), _by_clip(torch.ones_like(cosines), clips))


def cknna(features: Features, others: Targets, *, neighbours: int = 10) -> float:
    """Centred kernel nearest-neighbour alignment of two feature spaces, over the same samples.

    Kernels are inner products of the features at unit length. Only pairs that are among the nearest
    neighbours of each other's sample in both spaces count.

    Args:
        features: one row per sample.
        others: the same samples in another space, of any width.
        neighbours: neighbours of each sample.

    Returns:
        1 for the same space, also turned or scaled; near 0 for spaces without anything in common.

    Raises:
        ValueError: counts differ, or too few samples for so many neighbours.

    Source: Huh et al. 2024, The Platonic Representation Hypothesis; unbiased HSIC of Song et al. 2012.
    """
    count = len(features)
    if len(others) != count or not 2 <= neighbours < count or count < 4:
        raise ValueError(
            f"got {count} and {len(others)} samples and {neighbours} neighbours; expected the same samples, "
            "at least 4, and from 2 neighbours to one less than there are samples"
        )
    kernels = [unit @ unit.T for unit in (normalize(each.double(), dim=1) for each in (features, others))]
    nearest = [_neighbours(kernel, neighbours) for kernel in kernels]
    both = nearest[0] & nearest[1]
    shared = _hsic(kernels[0] * both, kernels[1] * both)
    own = [_hsic(kernel * mask, kernel * mask) for kernel, mask in zip(kernels, nearest, strict=True)]
    return float(shared / (own[0] * own[1]).clamp(min=1e-24).sqrt())


def _ridges(features: Features, targets: Targets, penalties: Sequence[float]) -> list[Ridge]:
    """One map for each penalty, from one decomposition."""
    features, targets = features.double(), targets.double()
    mean, scale, intercept = features.mean(0), features.std(0, correction=0), targets.mean(0)
    scale = torch.where(scale > 0, scale, 1)
    inputs = (features - mean) / scale
    sizes, axes = torch.linalg.eigh(inputs.T @ inputs / len(inputs))
    along = axes.T @ (inputs.T @ (targets - intercept) / len(inputs))
    maps = [axes @ (along / (sizes.clamp(min=0) + penalty)[:, None]) for penalty in penalties]
    return [
        Ridge(mean, scale, weights, intercept, penalty)
        for weights, penalty in zip(maps, penalties, strict=True)
    ]


def _squares(ridge: Ridge, features: Features, targets: Targets) -> float:
    return (ridge(features) - targets.double()).square().sum().item()


def _by_clip(values: Float[Tensor, " k"], clips: Clips) -> np.ndarray:
    return np.bincount(np.asarray(clips), weights=values.cpu().numpy())


def _neighbours(kernel: Float[Tensor, "k k"], count: int) -> Tensor:
    """Which samples (columns) are nearest to each sample (row); not itself."""
    nearest = kernel.clone().fill_diagonal_(-torch.inf).topk(count, dim=1).indices
    return torch.zeros_like(kernel, dtype=torch.bool).scatter_(1, nearest, value=True)


def _hsic(first: Float[Tensor, "k k"], second: Float[Tensor, "k k"]) -> Tensor:
    """Unbiased estimate of the Hilbert-Schmidt independence criterion, Eq. 5 of Song et al. 2012."""
    count = len(first)
    first, second = (each.clone().fill_diagonal_(0) for each in (first, second))
    traces = (first * second.T).sum()
    means = first.sum() * second.sum() / ((count - 1) * (count - 2))
    crossed = 2 * (first.sum(0) * second.sum(1)).sum() / (count - 2)
    return (traces + means - crossed) / (count * (count - 3))
