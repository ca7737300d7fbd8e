"""What the training loop is given: what is trained on what, and what is measured beside it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from semrepa.data.dataset import Batch
from semrepa.training.checkpoint import Stateful
from semrepa.training.portion import Portion


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


def _nothing(*_: object) -> Mapping[str, float]:
    return {}


@dataclass(frozen=True, kw_only=True)
class Task:
    """What the loop trains, as plain functions."""

    objective: nn.Module
    """`objective(portion)` gives the loss and its detached parts, `objective.count(portion)` the clips that
    their means are over; holds what is trained, and of other networks nothing."""
    batches: Callable[[int], Iterator[Sequence[Batch]]]
    """Endless stream of this process's clips from a step (0 is the first) on, each step's in portions."""
    export: Callable[[], object]
    """Writes the trained weights for use outside training; called when the run ends or stops."""
    begin: Callable[[], object] = _nothing
    """Writes what belongs into the run folder; called when the run starts or its checkpoint was accepted."""
    evaluate: Callable[[], Mapping[str, float]] = _nothing
    """Held-out losses by name."""
    inspect: Callable[[Sequence[Portion]], Mapping[str, float]] | None = None
    """Extra parts to log, measured before the step on the same clips and random numbers."""
    observe: Callable[[int, Mapping[str, float]], Mapping[str, float]] = _nothing
    """Takes note of the parts of a step that was made; gives more of them to log."""
    monitors: Sequence[Monitor] = ()
    """What else is measured now and then."""
    speed: Callable[[int, float], Mapping[str, float]] = _nothing
    """Takes the clips of the last steps and the seconds they took; gives how fast that is."""
    state: Mapping[str, Stateful] = field(default_factory=dict)
    """What else a checkpoint has to hold."""
    frozen: Mapping[str, nn.Module] = field(default_factory=dict)
    """Networks by name that must come out of the run as they went in, or their frozen weights."""
    floors: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Losses of trivial answers by loss and answer, see `floors`."""
    recipe: Mapping[str, Any] = field(default_factory=dict)
    """Plain values that decide the outcome; a checkpoint is only taken up by a run with the same ones."""
