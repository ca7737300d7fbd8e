"""Means and differences of arms that were all run with the same seeds on the same clips.

Two intervals stand side by side, since they answer two questions:

- *seeds*: a t interval over the means of the seeds. The clips are taken as given; would another training seed
  give another answer? It holds for few seeds, and is wide for them.
- *crossed*: a bootstrap in which seeds and clips are each drawn anew, together, since every seed has the same
  clips. It also asks for other clips, but with few seeds it sees too little of what seeds do.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from semrepa.analysis.seeds import SeedMean, over_seeds

Values = Float[np.ndarray, "seeds clips"]
"""One number for each seed and clip; NaN where there is none."""
OfSets = Float[np.ndarray, "seeds 1"]
"""One number for each seed, of all clips together."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A mean, or a mean difference, and where it may lie (95 %)."""

    mean: float
    """Mean over the seeds of the means over clips."""
    seeds_low: float
    """Lower end of the t interval over seeds; NaN for one seed."""
    seeds_high: float
    """Upper end."""
    crossed_low: float
    """Lower end of the bootstrap over seeds and clips; NaN for one clip."""
    crossed_high: float
    """Upper end."""
    median: float
    """Median over all seeds and clips: one bad clip moves it little."""
    by_seed: tuple[float, ...]
    """Mean over clips of each seed."""
    clips: int
    """Clips that have a number in some seed."""

    @property
    def is_shown(self) -> bool:
        """Whether neither interval holds 0; for differences."""
        ends = ((self.seeds_low, self.seeds_high), (self.crossed_low, self.crossed_high))
        return all(low > 0 or high < 0 for low, high in ends)


def estimate(values: Values, *, resamples: int = 2000, seed: int = 0) -> Estimate:
    """Estimate a mean; of a difference, where the values are differences paired by clip and seed.

    Args:
        values: one number for each seed and clip; clips without a number in some seed do not count in it.
        resamples: bootstrap samples.
        seed: seed of the resampling.

    Returns:
        The estimate; NaN without any number.

    Raises:
        ValueError: no seeds or no clips.
    """
    values = np.asarray(values, dtype=float)
    if values.ndim != 2 or not values.size:
        raise ValueError(f"got values of shape {values.shape}; expected seeds x clips, one or more of each")
    kept = values[:, np.isfinite(values).any(axis=0)]
    if not kept.size:
        return Estimate(
            mean=np.nan,
            **dict.fromkeys(("seeds_low", "seeds_high", "crossed_low", "crossed_high", "median"), np.nan),
            by_seed=(np.nan,) * len(values),
            clips=0,
        )
    by_seed = _means(kept)
    whole = np.isfinite(by_seed).all()  # else a seed has no number at all
    trainings = over_seeds(by_seed) if whole else SeedMean(np.nan, np.nan, np.nan, len(by_seed))
    crossed_low, crossed_high = crossed(kept, resamples=resamples, seed=seed)
    return Estimate(
        mean=float(by_seed.mean()),
        seeds_low=trainings.low,
        seeds_high=trainings.high,
        crossed_low=crossed_low,
        crossed_high=crossed_high,
        median=float(np.nanmedian(kept)),
        by_seed=tuple(map(float, by_seed)),
        clips=kept.shape[1],
    )


def crossed(values: Values, *, resamples: int = 2000, seed: int = 0) -> tuple[float, float]:
    """Bootstrap interval (95 % of percentiles) of a mean, with seeds and clips drawn anew each time.

    Args:
        values: one number for each seed and clip; NaN where there is none.
        resamples: bootstrap samples.
        seed: seed of the resampling.

    Returns:
        Both ends; NaN for one clip.
    """
    seeds, clips = values.shape
    if clips < 2:
        return float("nan"), float("nan")
    random = np.random.default_rng(seed)
    rows = random.integers(seeds, size=(resamples, seeds, 1))
    columns = random.integers(clips, size=(resamples, 1, clips))
    drawn = values[rows, columns].reshape(resamples, -1)
    low, high = np.nanpercentile(_means(drawn), [2.5, 97.5])
    return float(low), float(high)


def _means(drawn: Float[np.ndarray, "resamples values"]) -> Float[np.ndarray, " resamples"]:
    """Mean of the finite values of each row; NaN where there is none."""
    counts = np.isfinite(drawn).sum(axis=1)
    return np.where(counts > 0, np.nansum(drawn, axis=1) / np.maximum(counts, 1), np.nan)
