"""Distances between the features of two sets of videos: FID and KID, exact and with their N.

FID is pooled over all frames of all clips. With fewer frames than features it is still exact (the covariances
are then rank-deficient and never formed), but biased upwards by more than models differ: the result says so,
and KID, which has no such bias, stands beside it. `fid_per_clip` averages a FID for each clip. That is only a
guess at what the paper's Table 1 shows (its 200 to 600 fit 49 frames against 49); name it so.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from semrepa.metrics.features import Features, FeatureSet, check_network
from semrepa.provenance import Provenance

OtherFeatures = Float[Tensor, "m d"]
"""Features of another number of pictures."""


@dataclass(frozen=True, kw_only=True)
class SetScore:
    """One number for a whole set of clips, with what it needs to be read rightly."""

    name: str
    """Such as `fid`."""
    value: float
    """The number."""
    low: float = float("nan")
    """Lower end of the 95 % interval over clips; NaN: none is known."""
    high: float = float("nan")
    """Upper end."""
    samples: tuple[int, int]
    """Frames of the scored and of the true videos."""
    dims: int
    """Features of each."""
    provenance: Provenance
    """The network that made the features."""

    @property
    def is_rank_deficient(self) -> bool:
        """Whether there are too few frames for covariances of full rank, so that a FID is biased upwards."""
        return min(self.samples) <= self.dims

    def __str__(self) -> str:
        """The number with its N, its dimensions, and the kind of weights where they are not real."""
        interval = "" if self.low != self.low else f" [{self.low:.4g}, {self.high:.4g}]"
        scored, true = self.samples
        rank = ", rank-deficient" if self.is_rank_deficient else ""
        kind = "" if self.provenance.kind == "real" else f", {self.provenance.kind} weights"
        return f"{self.name} {self.value:.4g}{interval} (N = {scored} and {true}, {self.dims}-d{rank}{kind})"


def frechet_distance(x: Features, y: OtherFeatures) -> float:
    """Fréchet distance between the gaussians that fit two sets of features.

    |mean difference|^2 + tr S1 + tr S2 - 2 tr sqrt(S1 S2). With S = A^T A, where A holds the centred rows
    over sqrt(n - 1), the last trace is the sum of the singular values of A1 A2^T: no matrix square root, no
    imaginary part, no epsilon, and only n1 x n2 numbers when there are few rows.

    Args:
        x: at least two rows.
        y: at least two rows of as many features.

    Returns:
        The distance, at least 0.

    Raises:
        ValueError: other shapes, or numbers that are not finite.
    """
    x, y = _checked(x, y)
    roots = [_root(values) for values in (x, y)]
    cross = torch.linalg.svdvals(roots[0] @ roots[1].T).sum()
    spread = sum(root.square().sum() for root in roots)
    shift = (x.mean(dim=0) - y.mean(dim=0)).square().sum()
    return max(float(shift + spread - 2 * cross), 0.0)


def kernel_distance(x: Features, y: OtherFeatures) -> float:
    """Squared maximum mean discrepancy with the kernel (x y / d + 1)^3, unbiased: about 0 for equal sets.

    Args:
        x: at least two rows.
        y: at least two rows of as many features.

    Returns:
        The distance; it may be slightly negative.

    Raises:
        ValueError: other shapes, or numbers that are not finite.
    """
    x, y = _checked(x, y)
    whole = [torch.zeros(len(values), dtype=torch.long, device=values.device) for values in (x, y)]
    return float(_KernelSums.of((x, y), whole, 1).distances()[0])


def fid(scored: FeatureSet, truth: FeatureSet, *, name: str = "fid") -> SetScore:
    """Fréchet distance of all frames pooled: the headline.

    Args:
        scored: features of the generated videos.
        truth: features of the true ones, by the same network.
        name: what to call it.

    Returns:
        The score, which says when there are fewer frames than features.

    Raises:
        ValueError: features of different networks, or as `frechet_distance` says.
    """
    return _score(name, scored, truth, frechet_distance(scored.values, truth.values))


def fid_per_clip(scored: FeatureSet, truth: FeatureSet) -> dict[str, float]:
    """Fréchet distance of each clip from its true clip; its mean is a guess at the paper's FID column.

    Args:
        scored: features of the generated videos.
        truth: features of the true ones, by the same network.

    Returns:
        Distance by clip.

    Raises:
        ValueError: features of different networks, or a clip without its true one.
    """
    _check_pairs(scored, truth)
    return {clip: frechet_distance(scored.of_clip(clip), truth.of_clip(clip)) for clip in scored.clips}


def kid(scored: FeatureSet, truth: FeatureSet) -> SetScore:
    """Kernel distance of all frames pooled, with an interval over clips: recommended for some hundred videos.

    The interval is that of the jackknife: each clip is left out in turn, on both sides where both have it.

    Args:
        scored: features of the generated videos.
        truth: features of the true ones, by the same network.

    Returns:
        The score; without an interval for fewer than three clips.

    Raises:
        ValueError: features of different networks, or as `kernel_distance` says.
    """
    check_network(scored, truth)
    clips = list(dict.fromkeys([*scored.clips, *truth.clips]))
    owners = [_renumbered(part, clips) for part in (scored, truth)]
    sums = _KernelSums.of(_checked(scored.values, truth.values), owners, len(clips))
    value = float(sums.distances()[0])
    if len(clips) < 3:
        return _score("kid", scored, truth, value)
    without = sums.distances(leave_out=True)
    error = ((len(clips) - 1) / len(clips) * (without - without.mean()).square().sum()).sqrt()
    return _score("kid", scored, truth, value, 1.96 * float(error))


@dataclass(frozen=True)
class _KernelSums:
    """Sums of the kernel over all pairs of frames, by the clips that the two frames are of."""

    pairs: tuple[Tensor, Tensor, Tensor]
    """(c, c) among the scored, among the true, and between them."""
    selves: tuple[Tensor, Tensor]
    """(c,) of each frame with itself."""
    counts: tuple[Tensor, Tensor]
    """(c,) frames."""

    @classmethod
    def of(cls, sets: Sequence[Tensor], owners: Sequence[Tensor], clips: int) -> "_KernelSums":
        x, y = zip(sets, owners, strict=True)
        rows = [torch.zeros(clips, dtype=torch.float64, device=sets[0].device) for _ in range(4)]
        for k, (values, owner) in enumerate((x, y)):
            rows[k].index_add_(0, owner, (values.square().sum(dim=1) / values.shape[1] + 1) ** 3)
            rows[k + 2].index_add_(0, owner, torch.ones_like(owner, dtype=torch.float64))
        pairs = (_pair_sums(*x, *x, clips), _pair_sums(*y, *y, clips), _pair_sums(*x, *y, clips))
        return cls(pairs, (rows[0], rows[1]), (rows[2], rows[3]))

    def distances(self, *, leave_out: bool = False) -> Float[Tensor, " c"]:
        """The distance of all clips, (1,), or those without each clip in turn, (c,)."""

        def total(sums: Tensor) -> Tensor:
            if not leave_out:
                return sums.sum()[None]
            here = sums.diagonal() - sums.sum(dim=0) - sums.sum(dim=1) if sums.ndim == 2 else -sums
            return sums.sum() + here

        count_x, count_y = map(total, self.counts)
        within = [
            (total(pair) - total(alone)) / (count * (count - 1))
            for pair, alone, count in zip(self.pairs, self.selves, (count_x, count_y), strict=False)
        ]
        return within[0] + within[1] - 2 * total(self.pairs[2]) / (count_x * count_y)


def _pair_sums(x: Tensor, owner_x: Tensor, y: Tensor, owner_y: Tensor, clips: int) -> Tensor:
    """Sum of the kernel for each pair of clips, (c, c), a thousand rows at a time."""
    sums = torch.zeros(clips, clips, dtype=torch.float64, device=x.device)
    for rows, owner in zip(x.split(1024), owner_x.split(1024), strict=True):
        kernel = (rows @ y.T / x.shape[1] + 1) ** 3
        by_clip = torch.zeros(len(rows), clips, dtype=torch.float64, device=x.device)
        sums.index_add_(0, owner, by_clip.index_add_(1, owner_y, kernel))
    return sums


def _renumbered(part: FeatureSet, clips: Sequence[str]) -> Tensor:
    places = torch.tensor([clips.index(clip) for clip in part.clips], device=part.owner.device)
    return places[part.owner]


def _root(values: Features) -> Tensor:
    """A with A^T A the covariance, with as few rows as possible."""
    centred = (values - values.mean(dim=0)) / (len(values) - 1) ** 0.5
    return centred if len(centred) <= centred.shape[1] else torch.linalg.qr(centred, mode="r").R


def _checked(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Both in float64."""
    if x.shape[1] != y.shape[1] or min(len(x), len(y)) < 2:
        raise ValueError(
            f"got features {tuple(x.shape)} and {tuple(y.shape)}; expected at least two rows each and equal "
            "numbers of features; use one network for both"
        )
    if not (x.isfinite().all() and y.isfinite().all()):
        raise ValueError("got features that are not finite; expected numbers; look for what made a NaN")
    return x.double(), y.double()


def _check_pairs(scored: FeatureSet, truth: FeatureSet) -> None:
    check_network(scored, truth)
    if lone := [clip for clip in scored.clips if clip not in truth.clips]:
        raise ValueError(
            f"got no true clip for {', '.join(lone)}; expected one for each; score those that have one"
        )


def _score(
    name: str, scored: FeatureSet, truth: FeatureSet, value: float, half: float = float("nan")
) -> SetScore:
    check_network(scored, truth)
    return SetScore(
        name=name,
        value=value,
        low=value - half,
        high=value + half,
        samples=(len(scored.values), len(truth.values)),
        dims=scored.values.shape[1],
        provenance=scored.provenance,
    )
