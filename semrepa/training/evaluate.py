"""What evaluations share: the fixed noise levels, the clips of this process, and means by name."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from semrepa.data.dataset import Batch
from semrepa.training.portion import step_generator
from semrepa.training.processes import summed

OfBatch = Float[Tensor, " _"]
"""One number per clip of a batch; the last batch may be smaller than the others."""


@dataclass(frozen=True, kw_only=True)
class Heldout:
    """Some held-out clips that one process evaluates."""

    batch: Batch
    """The clips."""
    places: tuple[int, ...]
    """Their positions among all held-out clips."""
    counts: Bool[Tensor, " b"]
    """False for a clip that is there only so that all processes have equally many."""

    @classmethod
    def of(cls, batch: Batch, first: int = 0) -> "Heldout":
        """All clips of a batch, the first of which has the given place."""
        size = len(batch.ids)
        counts = torch.ones(size, dtype=torch.bool, device=batch.latents.device)
        return cls(batch=batch, places=tuple(range(first, first + size)), counts=counts)

    def generators(self, seed: int) -> list[torch.Generator]:
        """New CPU generators, one for each clip, that depend on its place alone.

        Args:
            seed: seed of the run.

        Returns:
            As many as clips.
        """
        return [step_generator(seed, 0, place) for place in self.places]


def in_order(batches: Iterable[Batch], first: int = 0) -> Iterator[Heldout]:
    """Number the clips of batches one after the other.

    Args:
        batches: clips, all of which count.
        first: place of the first clip.

    Yields:
        Each batch with its places.
    """
    for batch in batches:
        yield Heldout.of(batch, first)
        first += len(batch.ids)


def eval_timesteps(num_timesteps: int) -> list[int]:
    """Noise levels of evaluations: a tenth to nine tenths of the noise table.

    Args:
        num_timesteps: length of the noise table.

    Returns:
        Nine timesteps.
    """
    return [num_timesteps * tenth // 10 for tenth in range(1, 10)]


def means(losses: Mapping[str, Sequence[OfBatch]]) -> dict[str, float]:
    """Average losses over the clips of all processes, and over noise levels.

    Args:
        losses: numbers of clips by name, the names being the same in all processes; a name such as
            `loss_diff@300` belongs to a noise level.

    Returns:
        Mean of each name, and for names with a level also the mean over the levels, as `loss_diff`. Names
        without any number are left out.
    """
    numbers = [torch.cat([torch.zeros(0), *(part.cpu() for part in parts)]) for parts in losses.values()]
    if not numbers:
        return {}
    sums = summed(
        torch.stack([torch.tensor([n.double().sum(), len(n)], dtype=torch.float64) for n in numbers])
    )
    single = {name: (total / n).item() for name, (total, n) in zip(losses, sums, strict=True) if n}
    levels = defaultdict(list)
    for name, mean in single.items():
        levels[name.partition("@")[0]].append(mean)
    return {**{name: sum(group) / len(group) for name, group in levels.items()}, **single}
