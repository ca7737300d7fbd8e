"""Weights and optimiser states that are cut in shards, one per process, and how they become whole again.

A checkpoint has one format, however many processes wrote it: a run may go on with another number of them.
Tensors that are not sharded pass through all functions as they are.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from accelerate.utils import recursively_apply
from accelerate.utils.deepspeed import DeepSpeedOptimizerWrapper
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor

from semrepa.training import zero


def whole(tensor: Tensor) -> Tensor:
    """Put the shards of a tensor together; all processes have to call this."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def local(tensor: Tensor) -> Tensor:
    """The shard that this process holds."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def spread(value: Tensor, like: Tensor) -> Tensor:
    """Cut a whole tensor as another one is cut; nothing is sent.

    Args:
        value: the same in all processes.
        like: of the same shape.

    Returns:
        A tensor whose shard of this process is on the device of `like`.
    """
    if not isinstance(like, DTensor):
        return value
    value = value.to(like.device)
    return distribute_tensor(value, like.device_mesh, like.placements, src_data_rank=None)


def trained_weights(
    model: nn.Module, optimizer: torch.optim.Optimizer, *, keep: bool = True
) -> dict[str, Tensor]:
    """Collect the weights of what is trained; all processes have to call this.

    Args:
        model: network; frozen weights of it are left out.
        optimizer: its optimiser, which has the exact weights under ZeRO-2.
        keep: whether this process wants them; others get empty tensors where something was put together.

    Returns:
        Weight by name, and buffers.
    """
    if isinstance(optimizer, DeepSpeedOptimizerWrapper):
        return zero.weights(model)
    frozen = frozen_names(model)
    return {
        name: _kept(value, keep).contiguous()
        for name, value in model.state_dict().items()
        if name not in frozen
    }


def load_weights(
    model: nn.Module, optimizer: torch.optim.Optimizer, values: Mapping[str, Tensor]
) -> tuple[list[str], list[str]]:
    """Put weights into a model.

    Args:
        model: network.
        optimizer: its optimiser.
        values: from `trained_weights`, the same in all processes.

    Returns:
        Names of trained weights that are missing, and of those that do not belong there.
    """
    here = model.state_dict()
    cut = {name: spread(value, here[name]) if name in here else value for name, value in values.items()}
    missing, unexpected = model.load_state_dict(cut, strict=False)
    if isinstance(optimizer, DeepSpeedOptimizerWrapper):
        zero.load_weights(model, values)
    frozen = frozen_names(model)
    return [name for name in missing if name not in frozen], unexpected


def optimizer_state(
    model: nn.Module, optimizer: torch.optim.Optimizer, *, keep: bool = True
) -> dict[str, Any]:
    """Collect the state of an optimiser; all processes have to call this.

    Args:
        model: what it trains.
        optimizer: AdamW where anything is sharded.
        keep: see `trained_weights`.

    Returns:
        What its `state_dict` would be in one process.
    """
    if isinstance(optimizer, DeepSpeedOptimizerWrapper):
        return zero.optimizer_state(model, optimizer)
    return recursively_apply(_kept, optimizer.state_dict(), keep)


def load_optimizer(model: nn.Module, optimizer: torch.optim.Optimizer, state: Mapping[str, Any]) -> None:
    """Put a state into an optimiser.

    Args:
        model: what it trains.
        optimizer: of the same kind and with the same weights as the one that was saved.
        state: from `optimizer_state`, the same in all processes.
    """
    if isinstance(optimizer, DeepSpeedOptimizerWrapper):
        zero.load_optimizer(model, optimizer, state)
        return
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    if any(isinstance(weight, DTensor) for weight in weights):
        cut = {
            place: {name: _as_weight(value, weights[place]) for name, value in values.items()}
            for place, values in state["state"].items()
        }
        state = {**state, "state": cut}
    optimizer.load_state_dict(dict(state))


@contextmanager
def whole_states(objective: nn.Module, weights: Mapping[str, Tensor]) -> Iterator[None]:
    """Context in which the networks of an objective give whole weights when they are asked for their state.

    Args:
        objective: holds the networks as direct children.
        weights: its weights by name, from `trained_weights`.

    Yields:
        Nothing.
    """
    networks = dict(objective.named_children())
    for name, network in networks.items():
        start = f"{name}."
        own = {key.removeprefix(start): value for key, value in weights.items() if key.startswith(start)}
        network.state_dict = lambda *_, _own=own, **__: dict(_own)
    try:
        yield
    finally:
        for network in networks.values():
            del network.state_dict


def frozen_names(model: nn.Module) -> set[str]:
    """Names of the weights that are not trained."""
    return {name for name, parameter in model.named_parameters() if not parameter.requires_grad}


def _kept(tensor: Tensor, keep: bool) -> Tensor:
    if not isinstance(tensor, DTensor):
        return tensor
    gathered = tensor.full_tensor()
    return gathered.cpu() if keep else gathered.new_empty(0)


def _as_weight(value: Any, weight: Tensor) -> Any:
    """Cut what has the shape of the weight as the weight is cut; counts stay as they are."""
    is_like = isinstance(value, Tensor) and value.shape == weight.shape and value.dim() > 0
    return spread(value, weight) if is_like else value
