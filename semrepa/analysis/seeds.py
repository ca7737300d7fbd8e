"""Means over training seeds: what one more training would say, as far as a few can tell."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from semrepa.metrics.report import decimals


@dataclass(frozen=True)
class SeedMean:
    """A mean over trainings that differ in their seed, with its 95 % interval."""

    mean: float
    """Mean over the seeds."""
    low: float
    """Lower end of the interval of Student's t; NaN for a single seed."""
    high: float
    """Upper end."""
    seeds: int
    """Trainings."""

    @property
    def is_clear(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.low > 0 or self.high < 0

    def __str__(self) -> str:
        """Mean and interval with as many decimals as the interval is worth."""
        if not self.seeds > 1:
            return f"{self.mean:.4g}"
        width = self.high - self.low
        digits = decimals(width)
        return f"{self.mean:.{digits}f} [{self.low:.{digits}f}, {self.high:.{digits}f}]"


def over_seeds(values: Sequence[float] | np.ndarray) -> SeedMean:
    """Mean of one number over seeds, with the interval of Student's t.

    Args:
        values: the number of each training.

    Returns:
        The mean and its 95 % interval.

    Raises:
        ValueError: no number, or one that is not finite: a training that failed must not be passed over.
    """
    kept = np.asarray(values, dtype=float)
    if not kept.size or not np.isfinite(kept).all():
        raise ValueError(
            f"got values {kept.tolist()} over seeds; expected at least one, all finite; train the missing "
            "seeds, or leave out those that failed and say so"
        )
    mean, count = float(kept.mean()), len(kept)
    if count == 1:
        return SeedMean(mean, np.nan, np.nan, 1)
    half = float(stdtrit(count - 1, 0.975) * kept.std(ddof=1) / np.sqrt(count))
    return SeedMean(mean, mean - half, mean + half, count)


def paired(first: Sequence[float] | np.ndarray, second: Sequence[float] | np.ndarray) -> SeedMean:
    """Mean difference of two arms that were trained from the same seeds, paired by seed.

    Args:
        first: the number of each training of the first arm.
        second: those of the second, seed by seed in the same order.

    Returns:
        Mean of first minus second with its 95 % interval.

    Raises:
        ValueError: other counts, or as `over_seeds` says.
    """
    if len(first) != len(second):
        raise ValueError(
            f"got {len(first)} and {len(second)} trainings; expected one of each arm for every seed; train "
            "the missing ones"
        )
    return over_seeds(np.asarray(first, dtype=float) - np.asarray(second, dtype=float))
