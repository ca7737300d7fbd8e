"""What evaluations share: the fixed noise levels, and means by name."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

OfBatch = Float[Tensor, " _"]
"""One number per clip of a batch; the last batch may be smaller than the others."""


def eval_timesteps(num_timesteps: int) -> list[int]:
    """Noise levels of evaluations: a tenth to nine tenths of the noise table.

    Args:
        num_timesteps: length of the noise table.

    Returns:
        Nine timesteps.
    """
    return [num_timesteps * tenth // 10 for tenth in range(1, 10)]


def means(losses: Mapping[str, Sequence[OfBatch]]) -> dict[str, float]:
    """Average losses over clips, and over noise levels.

    Args:
        losses: numbers of clips by name; a name such as `loss_diff@300` belongs to a noise level.

    Returns:
        Mean of each name, and for names with a level also the mean over the levels, as `loss_diff`. Names
        without any number are left out.
    """
    joined = {name: torch.cat(list(parts)) for name, parts in losses.items() if parts}
    single = {name: numbers.mean().item() for name, numbers in joined.items() if len(numbers)}
    levels = defaultdict(list)
    for name, mean in single.items():
        levels[name.partition("@")[0]].append(mean)
    return {**{name: sum(group) / len(group) for name, group in levels.items()}, **single}
