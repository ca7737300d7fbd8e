"""Frozen networks: they answer and let gradients through, and never change."""

from typing import TypeVar

from torch import nn

M = TypeVar("M", bound=nn.Module)


def freeze(module: M) -> M:
    """Make a network constant: no gradients for its parameters, evaluation mode.

    Gradients still flow through it to its inputs.

    Args:
        module: network, changed in place.

    Returns:
        The same network.
    """
    return module.requires_grad_(False).eval()
