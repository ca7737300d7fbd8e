"""What is measured now and then beside the losses."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Monitor:
    """A measurement that is due every few steps, before the first and after the last one."""

    every: int
    """Steps between two measurements; 0: never."""
    measure: Callable[[int], Mapping[str, float]]
    """Takes the number of steps done; gives numbers by name. All processes call it at the same steps."""
    averaged: bool = False
    """Whether it looks at the averaged weights, without gradients, where the run keeps such weights."""

    def is_due(self, step: int, last: bool) -> bool:
        """Whether it is measured after a step, which may be the last one."""
        return self.every > 0 and (last or step % self.every == 0)
