"""Convolution blocks that the networks of the mini face pack share."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional

SETTLING = 40
"""Batches over which the statistics of batch normalisation are measured at the end."""


def conv(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """3 x 3 convolution, batch normalisation, ReLU.

    Args:
        inputs: channels in.
        outputs: channels out.
        stride: step in pixels.

    Returns:
        The block.
    """
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
    )


class Residual(nn.Module):
    """Two 3 x 3 convolutions around which the input passes unchanged."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = conv(width, width)
        norm = nn.BatchNorm2d(width)
        nn.init.zeros_(norm.weight)
        self.second = nn.Sequential(nn.Conv2d(width, width, 3, 1, 1, bias=False), norm)

    def forward(self, x: Tensor) -> Tensor:
        """Refine features.

        Args:
            x: (b, width, h, w).

        Returns:
            Likewise.
        """
        return functional.relu(x + self.second(self.first(x)))


@torch.no_grad()
def settle_norms(network: nn.Module, batches: Iterable[Tensor]) -> None:
    """Measure the statistics of batch normalisation again, for weights that were averaged over training.

    Args:
        network: changed in place; in evaluation mode afterwards.
        batches: inputs.
    """
    norms = [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
    network.train()
    for batch in batches:
        network(batch)
    network.eval()
