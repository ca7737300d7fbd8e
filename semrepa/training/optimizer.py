"""The optimiser that a run asks for, never another one."""

from collections.abc import Sequence

import torch
from torch import nn

from semrepa.config import TrainConfig


def make_optimizer(parameters: Sequence[nn.Parameter], config: TrainConfig) -> torch.optim.Optimizer:
    """Make the optimiser of a run.

    Args:
        parameters: what is trained.
        config: its kind, rate, momenta and weight decay.

    Returns:
        The optimiser.
    """
    settings = {"lr": config.lr, "betas": config.betas, "weight_decay": config.weight_decay}
    return torch.optim.AdamW(parameters, **settings)
