"""The Inception v3 of FID: TensorFlow's of 2015 in torchvision's blocks, as pytorch-fid has ported it.

It pools over what is really there (no zeros of the padding in averages), and the last block takes a maximum
where torchvision's takes an average. Pictures are resized to 299 x 299 bilinearly, without antialiasing, and
brought to [-1, 1], as in pytorch-fid; torch-fidelity and clean-fid resize otherwise, and their numbers
differ.
"""

from pathlib import Path

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models import Inception3
from torchvision.models.inception import InceptionA, InceptionC, InceptionE

from semrepa.models.judges.filling import fill, full_precision, randomised, record
from semrepa.provenance import Kind

CLASSES = 1008
"""Of the classifier, which is in the published file and not used."""
SIDE, LEAST = 299, 75
"""Pixels of the resized picture, and of the smallest that the network takes, which do for random weights."""


class FidInception(nn.Module):
    """2048 features of the last average pooling.

    Args:
        file: `pt_inception-2015-12-05-6726825d.pth` of pytorch-fid, or torch-fidelity's of the same names;
            None: random weights.
        kind: what the file counts as; None: mini inside the package, else real.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged or of another network, such as torchvision's Inception.

    Attributes:
        provenance: where the weights come from.
    """

    def __init__(self, file: Path | None = None, *, kind: Kind | None = None) -> None:
        super().__init__()
        self.network = randomised(_inception)
        if file is not None:
            fill(self.network, file, "FID Inception weights", optional=("num_batches_tracked",))
        self.side = LEAST if file is None else SIDE
        self.provenance = record(f"FID Inception 2048 (pytorch-fid, bilinear {self.side})", file, kind)

    @full_precision()
    def forward(self, pictures: UInt8[Tensor, "k 3 H W"]) -> Float[Tensor, "k 2048"]:
        """Describe pictures.

        Args:
            pictures: RGB, 0 to 255, of any size.

        Returns:
            Features, not negative.
        """
        colours = pictures.to(self.network.fc.weight.device).float() / 255
        colours = functional.interpolate(
            colours, (self.side, self.side), mode="bilinear", align_corners=False
        )
        return self.network(2 * colours - 1)


class _Network(Inception3):
    def forward(self, x: Tensor) -> Tensor:
        """Everything up to the last pooling; a picture of another size gives as many features."""
        for name, layer in self.named_children():
            if name not in ("dropout", "fc"):
                x = layer(x)
        return x.flatten(1)


class _PoolA(InceptionA):
    def _forward(self, x: Tensor) -> list[Tensor]:
        pooled = functional.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)
        branches = self.branch5x5_2(self.branch5x5_1(x)), _chain(self, x, "branch3x3dbl", 3)
        return [self.branch1x1(x), *branches, self.branch_pool(pooled)]


class _PoolC(InceptionC):
    def _forward(self, x: Tensor) -> list[Tensor]:
        pooled = functional.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)
        branches = _chain(self, x, "branch7x7", 3), _chain(self, x, "branch7x7dbl", 5)
        return [self.branch1x1(x), *branches, self.branch_pool(pooled)]


class _PoolE(InceptionE):
    largest = False
    """Whether the pooling takes a maximum."""

    def _forward(self, x: Tensor) -> list[Tensor]:
        small = self.branch3x3_1(x)
        double = _chain(self, x, "branch3x3dbl", 2)
        if self.largest:
            pooled = functional.max_pool2d(x, 3, stride=1, padding=1)
        else:
            pooled = functional.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)
        return [
            self.branch1x1(x),
            torch.cat([self.branch3x3_2a(small), self.branch3x3_2b(small)], 1),
            torch.cat([self.branch3x3dbl_3a(double), self.branch3x3dbl_3b(double)], 1),
            self.branch_pool(pooled),
        ]


class _LargestE(_PoolE):
    largest = True


def _chain(block: nn.Module, x: Tensor, stem: str, count: int) -> Tensor:
    for number in range(1, count + 1):
        x = getattr(block, f"{stem}_{number}")(x)
    return x


def _inception() -> Inception3:
    network = _Network(num_classes=CLASSES, aux_logits=False, init_weights=True)
    network.AuxLogits = None
    network.Mixed_5b = _PoolA(192, pool_features=32)
    network.Mixed_5c = _PoolA(256, pool_features=64)
    network.Mixed_5d = _PoolA(288, pool_features=64)
    network.Mixed_6b = _PoolC(768, channels_7x7=128)
    network.Mixed_6c = _PoolC(768, channels_7x7=160)
    network.Mixed_6d = _PoolC(768, channels_7x7=160)
    network.Mixed_6e = _PoolC(768, channels_7x7=192)
    network.Mixed_7b = _PoolE(1280)
    network.Mixed_7c = _LargestE(2048)
    return network
