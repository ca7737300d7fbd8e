"""A portion of a step's batch, and the random numbers of its clips.

The batch of a step is divided among processes, and the share of each into portions whose gradients add up.
Every clip draws its random numbers from generators of its own, seeded with the run's seed, the step and the
clip's position in the whole batch, and every mean is over the whole batch. So one step is the same step, up
to rounding, however its batch is divided; and nothing needs to be remembered to repeat it.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from semrepa.data.dataset import Batch
from semrepa.shapes import PerSample, Scalar, Timesteps

TIMESTEP, DISTURBANCE, ORDER, NETWORK, UPDATE = 1, 2, 3, 4, 5
"""Streams of random numbers: noise levels, all else that a clip draws, the order of strata, what networks and
optimisers draw from torch's global generators."""


def step_generator(seed: int, *place: int) -> torch.Generator:
    """Make the random generator of one place in a run.

    Args:
        seed: seed of the run.
        *place: whole numbers that name the place, such as the step and the position of a clip. Zeros at the
            end do not count.

    Returns:
        A CPU generator that depends on these numbers alone.
    """
    return torch.Generator().manual_seed(_number(seed, *place))


def _number(*place: int) -> int:
    return int(np.random.SeedSequence(place).generate_state(1, np.uint64)[0])


@dataclass(frozen=True, kw_only=True)
class Portion:
    """Some neighbouring clips of a step's batch. Made by `portions`."""

    batch: Batch
    """The clips."""
    seed: int
    """Seed of the run."""
    step: int
    """Step, from 1 on."""
    first: int
    """Position of the first of the clips in the whole batch."""
    size: int
    """Clips of the whole batch."""
    totals: Mapping[str, Scalar]
    """Clips of the whole batch that count, by what they count for; never below 1."""

    def to(self, device: torch.device | str) -> "Portion":
        """The same portion on another device."""
        totals = {name: total.to(device, non_blocking=True) for name, total in self.totals.items()}
        return dataclasses.replace(self, batch=self.batch.to(device), totals=totals)

    def generators(self, stream: int = DISTURBANCE) -> list[torch.Generator]:
        """New CPU generators, one for each clip.

        Args:
            stream: each stream has other random numbers.

        Returns:
            Generators that depend on seed, step, position and stream alone.
        """
        places = range(self.first, self.first + len(self.batch.ids))
        return [step_generator(self.seed, self.step, place, stream) for place in places]

    def mean(self, values: PerSample, name: str) -> Scalar:
        """Give the part of a mean over the whole batch that these clips contribute.

        Args:
            values: one number per clip; 0 for a clip that does not count.
            name: which of the totals divides their sum.

        Returns:
            Summed over all portions of the step, the mean over the clips that count.
        """
        return values.sum() / self.totals[name]

    def timesteps(self, count: int, how: Literal["uniform", "stratified"] = "uniform") -> Timesteps:
        """Draw the noise level of each clip, always the same for the same portion.

        Args:
            count: timesteps to draw from.
            how: uniform: independent; stratified: each clip of the whole batch from another of `size` equal
                ranges, in an order that is new in each step; the timestep of a single clip stays uniform.

        Returns:
            Timesteps from 0 on, on the CPU.
        """
        generators = self.generators(TIMESTEP)
        if how == "uniform":
            return torch.cat([torch.randint(count, (1,), generator=generator) for generator in generators])
        order = torch.randperm(self.size, generator=step_generator(self.seed, self.step, 0, ORDER))
        strata = order[self.first : self.first + len(generators)]
        within = torch.cat([torch.rand(1, generator=g, dtype=torch.float64) for g in generators])
        return ((strata + within) * (count / self.size)).long().clamp(max=count - 1)

    def repeatable(self) -> AbstractContextManager[None]:
        """Context in which networks draw the same random numbers, as for dropout, for the same portion."""
        return own_random_numbers(self.seed, self.step, self.first, NETWORK)


@contextmanager
def own_random_numbers(*place: int) -> Iterator[None]:
    """Seed torch's global generators for one place in a run, and bring them back afterwards.

    What is drawn from them is then repeated by a run that goes on from a checkpoint; and training changes no
    random numbers of the program around it.

    Args:
        *place: see `step_generator`.
    """
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(_number(*place))
        yield


def portions(
    batches: Sequence[Batch],
    count: Callable[[Portion], Mapping[str, float]],
    *,
    seed: int,
    step: int,
    process: int = 0,
    processes: int = 1,
    add: Callable[[Tensor], Tensor] | None = None,
) -> list[Portion]:
    """Divide the share that a process has of a step's batch.

    Args:
        batches: its clips, cut as they are to be computed, all shares being of one length.
        count: says how many clips of a portion count, by what they count for.
        seed: seed of the run.
        step: step from 1 on.
        process: number of the process, from 0 on.
        processes: how many there are.
        add: sums float64 numbers over the processes; None: there is only one.

    Returns:
        The portions with totals over the whole batch of all processes, on the CPU.
    """
    share = sum(len(batch.ids) for batch in batches)
    made, first = [], process * share
    for batch in batches:
        place = {"seed": seed, "step": step, "first": first, "size": share * processes}
        made.append(Portion(batch=batch, totals={}, **place))
        first += len(batch.ids)
    counts = [count(portion) for portion in made]
    names = list(counts[0])
    sums = torch.tensor([sum(counted[name] for counted in counts) for name in names], dtype=torch.float64)
    totals = _totals(names, add(sums) if add else sums)
    return [dataclasses.replace(portion, totals=totals) for portion in made]


def _totals(names: Sequence[str], sums: Float[Tensor, " names"]) -> dict[str, Scalar]:
    return dict(zip(names, sums.clamp(min=1).float().unbind(), strict=True))


def normal(like: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
    """Draw standard normal noise for each clip from its own generator.

    Args:
        like: a tensor of the wanted shape, (b, ...), device and precision.
        generators: CPU generator of each clip.

    Returns:
        Noise of that shape.
    """
    drawn = [torch.randn(like.shape[1:], generator=generator) for generator in generators]
    return torch.stack(drawn).to(like.device, like.dtype)


def uniform(generators: Sequence[torch.Generator]) -> PerSample:
    """Draw a number from 0 to 1 for each clip from its own generator; on the CPU."""
    return torch.cat([torch.rand(1, generator=generator) for generator in generators])
