"""What must not go wrong unseen in training: numbers that are not finite, frozen networks that move."""

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import gather_object
from torch import Tensor, nn

from semrepa.runtime import write_json
from semrepa.training.portion import Portion
from semrepa.training.sharding import local

logger = logging.getLogger(__name__)

BAD_BATCH = "bad_batch.json"
"""File of the run folder that names the clips at which a run gave up."""

Checksums = Mapping[str, Mapping[str, int]]
"""A number for each frozen tensor of each network."""


class BadSteps:
    """Steps that were skipped, their loss or gradient not being finite; too many in a row end the run."""

    def __init__(self, run_dir: Path, most: int) -> None:
        """Nothing has gone wrong yet.

        Args:
            run_dir: run folder.
            most: skipped steps in a row that end the run.
        """
        self.run_dir, self.most = run_dir, most
        self.in_row, self.in_all = 0, 0
        self._last: dict[str, Any] = {}

    @property
    def too_many(self) -> bool:
        """Whether the run has to end."""
        return self.in_row >= self.most

    def add(self, step: int, divided: Sequence[Portion], values: Mapping[str, float]) -> None:
        """Count a step that is skipped.

        Args:
            step: the step.
            divided: its clips.
            values: its loss, parts and gradient norm.
        """
        self.in_row += 1
        self.in_all += 1
        ids = [clip for portion in divided for clip in portion.batch.ids]
        self._last = {"step": step, "values": dict(values), "clips": ids, "seed": divided[0].seed}
        logger.warning("step %d is skipped: got %s; the clips are %s", step, values, ", ".join(ids))

    def give_up(self) -> None:
        """End the run, after its checkpoint was saved.

        Raises:
            FloatingPointError: always; says where the clips of the last step are listed.
        """
        clips, path = gather_object(self._last["clips"]), self.run_dir / BAD_BATCH
        if torch.distributed.is_initialized() and torch.distributed.get_rank():
            raise FloatingPointError(f"step {self._last['step']}: not finite; see {path}")
        write_json(path, {**self._last, "clips": clips, "skipped in a row": self.in_row})
        raise FloatingPointError(
            f"step {self._last['step']}: got {json.dumps(self._last['values'])} and {self.in_row} skipped "
            f"steps in a row, {self.in_all} in all; expected finite numbers; the last checkpoint is good, "
            f"and {path} names the clips: look at them, lower the learning rate, or raise max_bad_steps"
        )

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint has to hold."""
        return {"in_row": self.in_row, "in_all": self.in_all}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        self.in_row, self.in_all = state["in_row"], state["in_all"]


@torch.no_grad()
def checksums(networks: Mapping[str, nn.Module]) -> Checksums:
    """Sum up the bits of all that is frozen in some networks.

    Args:
        networks: networks by name; weights of theirs that are trained do not count.

    Returns:
        One number per tensor; a change of any one number of a tensor changes it.
    """
    return {name: _sums(network) for name, network in networks.items()}


def _sums(network: nn.Module) -> dict[str, int]:
    frozen = {name: tensor for name, tensor in _tensors(network).items() if not tensor.requires_grad}
    if not frozen:
        return {}
    return dict(zip(frozen, torch.stack([_bits(tensor) for tensor in frozen.values()]).tolist(), strict=True))


def _tensors(network: nn.Module) -> dict[str, Tensor]:
    return {**dict(network.named_parameters()), **dict(network.named_buffers())}


def _bits(tensor: Tensor) -> Tensor:
    words = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[tensor.element_size()]
    return local(tensor).detach().contiguous().view(words).sum(dtype=torch.int64)


def check_unchanged(networks: Mapping[str, nn.Module], before: Checksums) -> None:
    """Make sure that frozen networks are as they were, and have no gradients.

    Args:
        networks: networks by name.
        before: their `checksums` at the start.

    Raises:
        RuntimeError: names the first tensor that has changed or has a gradient.
    """
    for name, network in networks.items():
        pulled = [key for key, p in network.named_parameters() if key in before[name] and p.grad is not None]
        after = _sums(network)
        changed = [key for key in {**before[name], **after} if before[name].get(key) != after.get(key)]
        for keys, what in ((pulled, "a gradient"), (changed, "other numbers than at the start")):
            if keys:
                raise RuntimeError(
                    f"{name}: got {what} in {keys[0]} and {len(keys) - 1} more tensors; expected it to stay "
                    "frozen; do not train, cast or load into a network that a run uses, and start anew"
                )
