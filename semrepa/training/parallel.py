"""The processes of a run: how they share a step and keep what is trained.

    one process   holds everything
    DDP           each process holds everything and computes its share of the batch
    FSDP2         as DDP, but weights, gradients and optimiser states are cut in one shard per process
    ZeRO-2        as DDP, but gradients and optimiser states are cut so, by DeepSpeed (not run by us)

Which one is decided by how the program was started: `accelerate launch --config_file` with a file of
`semrepa/training/accelerate`, see docs/TRAINING.md.
"""

import os
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs, FullyShardedDataParallelPlugin
from accelerate.utils import DistributedType
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule, register_fsdp_forward_method

from semrepa.config import TrainConfig
from semrepa.training.portion import Portion
from semrepa.training.processes import this_process
from semrepa.training.sharding import whole

Kind = Literal["one process", "DDP", "FSDP2", "ZeRO-2"]


class Processes:
    """All processes of a run, seen from one of them; what is not a plain question has to be called by all."""

    def __init__(self, config: TrainConfig) -> None:
        """Join the other processes.

        Args:
            config: settings of the run.

        Raises:
            ValueError: settings that cannot be had with sharded weights, or another kind of sharding.
        """
        process = this_process()
        zero = process.distributed_type == DistributedType.DEEPSPEED
        self._accelerator = Accelerator(
            mixed_precision="bf16"
            if zero
            else "no",  # autocast is ours, see runtime; DeepSpeed casts weights
            cpu=process.device.type == "cpu",
            # No copy of all gradients, and no sending of constant tables in each step.
            kwargs_handlers=[
                DistributedDataParallelKwargs(gradient_as_bucket_view=True, broadcast_buffers=False)
            ],
        )
        _shard_on_cpus(self._accelerator)
        self.kind: Kind = _kind(self._accelerator)
        self._engine: Any = None
        self._wrapped: nn.Module | None = None
        if self.is_sharded:
            _check_shardable(self.kind, config)

    @property
    def count(self) -> int:
        """How many there are."""
        return self._accelerator.num_processes

    @property
    def index(self) -> int:
        """Number of this one over all machines, from 0 on."""
        return self._accelerator.process_index

    @property
    def is_main(self) -> bool:
        """Whether this one writes files; exactly one does."""
        return self._accelerator.is_main_process

    @property
    def is_first_here(self) -> bool:
        """Whether this is the first one on its machine."""
        return self._accelerator.is_local_main_process

    @property
    def is_sharded(self) -> bool:
        """Whether no process holds all of the training state."""
        return self.kind in ("FSDP2", "ZeRO-2")

    @property
    def device(self) -> torch.device:
        """Where this one computes."""
        return self._accelerator.device

    def prepare(
        self, objective: nn.Module, optimizer: torch.optim.Optimizer, config: TrainConfig
    ) -> torch.optim.Optimizer:
        """Bring what is trained into the form that the processes need; under FSDP2 it is cut up in place.

        Args:
            objective: gives the loss of a portion; holds what is trained.
            optimizer: of its weights.
            config: settings of the run.

        Returns:
            The optimiser to use from now on.

        Raises:
            ValueError: the network has none of the blocks that are to be sharded.
        """
        if self.kind == "FSDP2":
            _check_blocks(self._accelerator, objective)
        if self.kind == "ZeRO-2":
            settings = self._accelerator.deepspeed_plugin.deepspeed_config
            settings["train_micro_batch_size_per_gpu"] = config.batch_size // (self.count * config.accumulate)
            settings["gradient_accumulation_steps"] = 1  # means are over the whole batch already
            settings["gradient_clipping"] = config.clip_norm
        self._wrapped, optimizer = self._accelerator.prepare(objective, optimizer)
        if self.kind == "ZeRO-2":
            self._engine = self._wrapped
        if isinstance(objective, FSDPModule) and hasattr(objective, "heldout"):
            register_fsdp_forward_method(objective, "heldout")
        return optimizer

    def loss(self, portion: Portion) -> tuple[Tensor, dict[str, Tensor]]:
        """Ask the prepared objective for the loss of a portion, and its detached parts."""
        return self._wrapped(portion)

    def apart(self, *, last: bool) -> AbstractContextManager[Any]:
        """Context for a portion: gradients are exchanged after the last one of a step.

        Under FSDP2 after each, since a process has no room for whole gradients.

        Args:
            last: whether this is the last portion.

        Returns:
            Context of its forward and backward pass.
        """
        keep = self.kind == "DDP" and not last
        return self._accelerator.no_sync(self._wrapped) if keep else nullcontext()

    def backward(self, loss: Tensor, *, last: bool) -> None:
        """Compute the gradients of a portion's loss.

        Args:
            loss: its part of the mean over the whole batch.
            last: whether it is the last portion of this process in the step.
        """
        loss = loss * self.count  # processes average their gradients
        if self._engine is None:
            self._accelerator.backward(loss)
        else:  # accelerate would move the weights at once
            self._engine.set_gradient_accumulation_boundary(is_boundary=last)
            self._engine.backward(loss)

    def clip(self, parameters: Sequence[nn.Parameter], most: float) -> Tensor:
        """Clip the gradients of all processes together.

        Args:
            parameters: what is trained.
            most: largest norm that stays as it is.

        Returns:
            Norm before clipping; 0 under ZeRO-2, which clips and tells the norm when it moves the weights.
        """
        if self._engine is not None:
            return torch.zeros(())
        return whole(self._accelerator.clip_grad_norm_(parameters, most))

    def move(self, optimizer: torch.optim.Optimizer, norm: float) -> float:
        """Move the weights.

        Args:
            optimizer: from `prepare`.
            norm: from `clip`.

        Returns:
            The norm of the gradients before clipping.
        """
        if self._engine is None:
            optimizer.step()
            return norm
        self._engine.step()
        return float(self._engine.get_global_grad_norm())

    def put_away(self) -> None:
        """After an evaluation, cut up what it has put together."""
        if isinstance(self._wrapped, FSDPModule):
            self._wrapped.reshard()

    def wait(self) -> None:
        """Go on when all processes have come here."""
        self._accelerator.wait_for_everyone()


def _shard_on_cpus(accelerator: Accelerator) -> None:
    """Have accelerate shard on CPUs too, as torch can: tests of FSDP2 need no GPU."""
    wanted = os.environ.get("ACCELERATE_USE_FSDP", "false").lower() == "true"
    if wanted and accelerator.distributed_type == DistributedType.MULTI_CPU:
        accelerator.state.distributed_type = DistributedType.FSDP
        accelerator.state.fsdp_plugin = FullyShardedDataParallelPlugin()


def _kind(accelerator: Accelerator) -> Kind:
    if accelerator.distributed_type == DistributedType.FSDP:
        if not accelerator.is_fsdp2:
            raise ValueError("fsdp_version: got 1; expected 2; launch with fsdp2.yaml")
        return "FSDP2"
    if accelerator.distributed_type == DistributedType.DEEPSPEED:
        stage = accelerator.deepspeed_plugin.zero_stage
        if stage != 2:
            raise ValueError(f"zero_stage: got {stage}; expected 2; launch with zero2.yaml, or fsdp2.yaml")
        return "ZeRO-2"
    return "one process" if accelerator.num_processes == 1 else "DDP"


def _check_shardable(kind: Kind, config: TrainConfig) -> None:
    """Refuse what is not worked out for sharded weights."""
    for name, expected in (("ema", None), ("optimizer", "adamw"), ("weights_dtype", "float32")):
        got = getattr(config, name)
        if got != expected:
            raise ValueError(
                f"{name}: got {got!r} with {kind}; expected {expected!r}: averages and states of other kinds "
                f"are not sharded here; set {name} to {expected!r}, or launch with ddp.yaml"
            )


def _check_blocks(accelerator: Accelerator, objective: nn.Module) -> None:
    names = set(accelerator.state.fsdp_plugin.transformer_cls_names_to_wrap or ())
    if not names & {type(module).__name__ for module in objective.modules()}:
        raise ValueError(
            f"got FSDP2 for a network without {' or '.join(sorted(names)) or 'any named block'}; expected a "
            "transformer; the identity aligner is small: launch its pretraining with ddp.yaml"
        )
