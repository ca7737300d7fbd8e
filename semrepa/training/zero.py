"""Training state under DeepSpeed's ZeRO-2, through DeepSpeed's own functions. Not run by us: needs GPUs.

There the network holds bfloat16 weights, and the float32 ones are cut up, with the states of AdamW, among
the processes. All functions have to be called by all processes.
"""

import importlib
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

STATES = ("exp_avg", "exp_avg_sq")
"""What AdamW remembers of each weight."""


def weights(model: nn.Module) -> dict[str, Tensor]:
    """Collect the float32 weights of what is trained, and buffers.

    Args:
        model: network.

    Returns:
        Weight by name, on the CPU.
    """
    found = {
        name: _deepspeed().safe_get_full_fp32_param(weight).cpu() for name, weight in _trained(model).items()
    }
    weight_names = {name for name, _ in model.named_parameters()}
    buffers = {name: value for name, value in model.state_dict().items() if name not in weight_names}
    return {**found, **{name: value.cpu().contiguous() for name, value in buffers.items()}}


def load_weights(model: nn.Module, values: Mapping[str, Tensor]) -> None:
    """Put float32 weights in place; the model holds them in bfloat16 already.

    Args:
        model: network.
        values: weight by name.
    """
    for name, weight in _trained(model).items():
        _deepspeed().safe_set_full_fp32_param(weight, values[name].to(weight.device))


def optimizer_state(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Collect the state of AdamW.

    Args:
        model: what it trains.
        optimizer: as accelerate gives it.

    Returns:
        What the state of an AdamW in one process would be.
    """
    steps = next(iter(optimizer.state.values()))["step"]
    state = {
        place: {
            "step": torch.as_tensor(float(steps)),
            **{name: _deepspeed().safe_get_full_optimizer_state(weight, name).cpu() for name in STATES},
        }
        for place, weight in enumerate(_trained(model).values())
    }
    (group,) = optimizer.param_groups
    plain = {name: value for name, value in group.items() if name != "params"}
    return {"state": state, "param_groups": [{**plain, "params": list(state)}]}


def load_optimizer(model: nn.Module, optimizer: torch.optim.Optimizer, state: Mapping[str, Any]) -> None:
    """Put the state of AdamW in place.

    Args:
        model: what it trains.
        optimizer: as accelerate gives it.
        state: from `optimizer_state`, or of an AdamW in one process.
    """
    for place, weight in enumerate(_trained(model).values()):
        for name in STATES:
            _deepspeed().safe_set_full_optimizer_state(
                weight, state["state"][place][name].to(weight.device), name
            )
    for kept in optimizer.state.values():
        kept["step"] = torch.as_tensor(float(state["state"][0]["step"]))


def _trained(model: nn.Module) -> dict[str, nn.Parameter]:
    return {name: weight for name, weight in model.named_parameters() if weight.requires_grad}


def _deepspeed() -> ModuleType:
    """DeepSpeed's access to what it has cut up; `processes` has made sure that it is installed."""
    return importlib.import_module("deepspeed.utils")
