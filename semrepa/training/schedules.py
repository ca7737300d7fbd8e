"""What changes from step to step: the learning rate, and the weights of the alignment losses."""

import logging
import math
from collections.abc import Mapping
from typing import Any

from semrepa.config import TrainConfig, WeightSchedule

logger = logging.getLogger(__name__)

MEMORY = 0.98
"""Share of the averaged similarity that stays in a step: it remembers about 50 measurements. Ours."""


def learning_rate(config: TrainConfig, step: int) -> float:
    """Learning rate of a step: linear warm-up, then as `config.schedule` says.

    Args:
        config: peak rate, warm-up, schedule and length of the run.
        step: step from 1 on.

    Returns:
        Rate for the optimiser.
    """
    if step <= config.warmup:
        return config.lr * step / config.warmup
    done = (step - 1 - config.warmup) / max(1, config.steps - config.warmup)
    return config.lr * _shape(config.schedule, done)


def factor(schedule: WeightSchedule, step: int) -> float:
    """What the weight of a loss is multiplied with in a step, before any cut-off by similarity.

    Args:
        schedule: warm-up, decay and last step.
        step: step from 1 on.

    Returns:
        From 0 to 1; exactly 1 throughout for the usual schedule, which is the paper's.
    """
    if schedule.last_step is not None and step > schedule.last_step:
        return 0.0
    if step < schedule.warmup:
        return step / schedule.warmup
    if schedule.decay == "none":
        return 1.0
    done = (step - schedule.warmup) / max(1, schedule.decay_until - schedule.warmup)
    return schedule.decay_to + (1 - schedule.decay_to) * _shape(schedule.decay, min(1.0, done))


def _shape(kind: str, done: float) -> float:
    """From 1 at the start (`done` = 0) to 0 at the end, or 1 throughout."""
    return {"constant": 1.0, "linear": 1 - done, "cosine": 0.5 * (1 + math.cos(math.pi * done))}[kind]


class LossWeights:
    """Weights of the alignment losses in each step.

    A cut-off by similarity is for good: the average of what was measured so far, and the step that ended a
    loss, belong to the state of a run.
    """

    def __init__(self, weights: Mapping[str, float], schedules: Mapping[str, WeightSchedule]) -> None:
        """Start at the beginning of a run.

        Args:
            weights: weight of each loss; those without one are left out for good.
            schedules: how each changes.
        """
        self.weights = {name: weight for name, weight in weights.items() if weight}
        self.schedules = schedules
        self.similarity: dict[str, float] = {}
        self.ended: dict[str, int] = {}

    @property
    def measures_similarity(self) -> bool:
        """Whether some loss ends by similarity, so that similarities are needed."""
        return any(self.schedules[name].until_similarity is not None for name in self.weights)

    def at(self, step: int) -> dict[str, float]:
        """Weights of a step.

        Args:
            step: step from 1 on.

        Returns:
            Weight by loss; 0 for one that is not to be computed.
        """
        return {
            name: 0.0 if name in self.ended else weight * factor(self.schedules[name], step)
            for name, weight in self.weights.items()
        }

    def observe(self, step: int, parts: Mapping[str, float]) -> dict[str, float]:
        """Take note of what was measured in a step.

        Args:
            step: the step.
            parts: means over the whole batch, with `similarity_<loss>` where a cut-off needs it.

        Returns:
            The weights of this step as `weight_<loss>`, and averaged similarities as `similarity_<loss>`.
        """
        found = {f"weight_{name}": weight for name, weight in self.at(step).items()}
        for name in self.weights:
            limit, new = self.schedules[name].until_similarity, parts.get(f"similarity_{name}")
            if limit is None or new is None or name in self.ended:
                continue
            self.similarity[name] = MEMORY * self.similarity.get(name, new) + (1 - MEMORY) * new
            found[f"similarity_{name}"] = self.similarity[name]
            if self.similarity[name] >= limit:
                self.ended[name] = step
                logger.info("loss_%s ends after step %d: similarity has reached %g", name, step, limit)
        return found

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint has to hold."""
        return {"similarity": dict(self.similarity), "ended": dict(self.ended)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        self.similarity, self.ended = dict(state["similarity"]), dict(state["ended"])
