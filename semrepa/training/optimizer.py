"""The optimiser that a run asks for, never another one; and bfloat16 weights that learn in small steps."""

import importlib
import importlib.metadata
import importlib.util
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from semrepa.config import TrainConfig

Kind = Literal["adamw", "adamw8bit", "adamw8bit_torchao"]
_PACKAGES = {"adamw": "torch", "adamw8bit": "bitsandbytes", "adamw8bit_torchao": "torchao"}
_CLASSES = {"adamw": "AdamW", "adamw8bit": "AdamW8bit", "adamw8bit_torchao": "AdamW8bit"}


def make_optimizer(parameters: Sequence[nn.Parameter], config: TrainConfig) -> torch.optim.Optimizer:
    """Make the optimiser of a run.

    Args:
        parameters: what is trained.
        config: its kind, rate, momenta and weight decay.

    Returns:
        The optimiser; bfloat16 weights are rounded at random.

    Raises:
        ModuleNotFoundError: the package it comes from is not installed.
    """
    kind = _kind(config.optimizer)
    settings = {"lr": config.lr, "betas": config.betas, "weight_decay": config.weight_decay}
    if all(parameter.dtype != torch.bfloat16 for parameter in parameters):
        return kind(parameters, **settings)
    if config.optimizer == "adamw8bit_torchao":
        return kind(parameters, bf16_stochastic_round=True, **settings)
    return RoundedAtRandom(parameters, lambda one: kind([one], **settings), lr=config.lr)


def describe(config: TrainConfig) -> str:
    """Name the optimiser of a run and where it comes from, for its record."""
    package = _PACKAGES[config.optimizer]
    rounding = ", bfloat16 weights rounded at random" if config.weights_dtype == "bfloat16" else ""
    return f"{_CLASSES[config.optimizer]} of {package} {importlib.metadata.version(package)}{rounding}"


def lacking_package(config: TrainConfig) -> str | None:
    """Name the package that the optimiser of a run comes from, where it is not installed.

    Args:
        config: settings of a training.

    Returns:
        Its name; None: it is there.
    """
    package = _PACKAGES[config.optimizer]
    return package if importlib.util.find_spec(package) is None else None


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of an optimiser.

    Args:
        optimizer: any.
        rate: the rate of the next step.
    """
    for group in optimizer.param_groups:
        if isinstance(group["lr"], Tensor):  # compiled optimisers keep theirs
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate


def _kind(name: Kind) -> Callable[..., torch.optim.Optimizer]:
    package = _PACKAGES[name]
    try:
        return getattr(importlib.import_module(f"{package}.optim"), _CLASSES[name])
    except ModuleNotFoundError as error:
        other = "adamw8bit_torchao" if name == "adamw8bit" else "adamw8bit"
        raise ModuleNotFoundError(
            f"optimizer: got {name!r} without the package {package} ({error}); expected it to be installed; "
            f"run `pip install {package}`, or choose adamw, which needs four times the memory for its "
            f"states, or {other}"
        ) from error


class RoundedAtRandom(torch.optim.Optimizer):
    """Any optimiser for bfloat16 weights: it works on a float32 copy of one tensor at a time.

    A bfloat16 number has neighbours 0.4 to 0.8 % away. A step of fine-tuning is much smaller, so that
    rounding to the nearest would lose most of it. Here the result is rounded up or down at random, with
    probabilities that make it right on average.
    """

    def __init__(
        self,
        parameters: Sequence[nn.Parameter],
        make: Callable[[nn.Parameter], torch.optim.Optimizer],
        *,
        lr: float,
    ) -> None:
        """Make an optimiser for each tensor.

        Args:
            parameters: bfloat16 weights, or any others.
            make: gives the optimiser of one float32 tensor.
            lr: learning rate.
        """
        super().__init__(list(parameters), {"lr": lr})
        self._whole = [nn.Parameter(parameter.detach().new_empty(0).float()) for parameter in parameters]
        self._parts = [make(whole) for whole in self._whole]

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # noqa: ARG002
        """Move the weights along their gradients.

        Args:
            closure: not used.
        """
        (group,) = self.param_groups
        for weight, whole, part in zip(group["params"], self._whole, self._parts, strict=True):
            if weight.grad is None:
                continue
            whole.data, whole.grad = weight.float(), weight.grad.float()
            set_rate(part, group["lr"])
            part.step()
            weight.copy_(rounded(whole.data) if weight.dtype == torch.bfloat16 else whole.data)
            whole.data, whole.grad = whole.new_empty(0), None

    def state_dict(self) -> dict[str, Any]:
        """States of the optimisers of all tensors."""
        return {"parts": [part.state_dict() for part in self._parts]}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` gave.

        Args:
            state_dict: of an optimiser of the same tensors.
        """
        for weight, whole, part, state in zip(
            self.param_groups[0]["params"], self._whole, self._parts, state_dict["parts"], strict=True
        ):
            whole.data = weight.detach().float()  # some optimisers look at its shape
            part.load_state_dict(state)
            whole.data = whole.new_empty(0)


def rounded(numbers: Tensor) -> Tensor:
    """Round float32 numbers to bfloat16, up or down at random, so that the mean is right.

    Args:
        numbers: finite float32 numbers; randomness comes from torch's global generator.

    Returns:
        The same shape in bfloat16.
    """
    bits = numbers.contiguous().view(torch.int32)
    noise = torch.randint_like(bits, 1 << 16)
    return (bits + noise).bitwise_and_(-(1 << 16)).view(torch.float32).bfloat16()
