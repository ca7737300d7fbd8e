"""LPIPS v0.1 (Zhang et al., 2018): squared differences of a classifier's unit features, weighted sums."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torchvision.models import alexnet, vgg16

from semrepa.models.judges.filling import fill, full_precision, randomised, record
from semrepa.provenance import Kind, Provenance

LpipsNet = Literal["alex", "vgg"]
"""The classifier: AlexNet is what evaluations use, VGG16 costs ten times as much."""

_TAPS: dict[LpipsNet, dict[int, int]] = {
    "alex": {1: 64, 4: 192, 7: 384, 9: 256, 11: 256},
    "vgg": {3: 64, 8: 128, 15: 256, 22: 512, 29: 512},
}
"""Layers of `features` whose answers are compared, with their channels."""
_SHIFT, _SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
"""Mean and spread of colours between -1 and 1, as published."""


class Lpips(nn.Module):
    """LPIPS over torchvision's classifier.

    Args:
        net: which classifier.
        backbone: torchvision's file of it; None: random weights.
        heads: the file of the `lpips` package with the weights of the layers (`alex.pth`, `vgg.pth`); None:
            random ones, positive as the published.
        kind: what the files count as; None: mini inside the package, else real.

    Raises:
        FileNotFoundError: a file is not there.
        ValueError: it is damaged or of another network.

    Attributes:
        provenance: where the weights come from.
    """

    def __init__(
        self,
        net: LpipsNet = "alex",
        *,
        backbone: Path | None = None,
        heads: Path | None = None,
        kind: Kind | None = None,
    ) -> None:
        super().__init__()
        self.taps = _TAPS[net]
        self.features = randomised(lambda: _classifier(net)[: max(self.taps) + 1])
        self.heads = randomised(lambda: _Heads(tuple(self.taps.values())))
        if backbone is not None:
            fill(
                self.features,
                backbone,
                f"torchvision {net} weights",
                rename=self._without_classifier,
            )
        if heads is not None:
            fill(self.heads, heads, f"LPIPS {net} weights", rename=_head_names)
        self.provenance = _joined(net, backbone, heads, kind)
        for name, values in (("shift", _SHIFT), ("scale", _SCALE)):
            self.register_buffer(name, torch.tensor(values)[:, None, None], persistent=False)

    @full_precision()
    def forward(
        self, pictures: UInt8[Tensor, "k 3 H W"], reference: UInt8[Tensor, "k 3 H W"]
    ) -> Float[Tensor, " k"]:
        """Compare pictures one by one.

        Args:
            pictures: RGB, 0 to 255.
            reference: as many, of the same size.

        Returns:
            Distances.
        """
        both = torch.cat([pictures, reference]).to(self.shift.device)
        seen = (both.float() / 127.5 - 1 - self.shift) / self.scale
        total, place = torch.zeros(len(pictures), device=seen.device), 0
        for number, layer in enumerate(self.features):
            seen = layer(seen)
            if number in self.taps:
                total = total + self.heads(place, *_unit(seen).chunk(2))
                place += 1
        return total

    def _without_classifier(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        wanted = self.features.state_dict()
        names = {name.removeprefix("features."): name for name in tensors if name.startswith("features.")}
        return {short: tensors[name] for short, name in names.items() if short in wanted}


def _classifier(net: LpipsNet) -> nn.Sequential:
    """Its convolutions alone: the layers behind them are ten times as large."""
    with torch.device("meta"):
        features = {"alex": alexnet, "vgg": vgg16}[net](weights=None).features
    for layer in features.to_empty(device="cpu"):
        if isinstance(layer, nn.Conv2d):
            layer.reset_parameters()
    return features


class _Heads(nn.Module):
    """One weight for each channel of each layer."""

    def __init__(self, channels: tuple[int, ...]) -> None:
        super().__init__()
        self.weights = nn.ParameterList(nn.Parameter(torch.rand(count)) for count in channels)

    def forward(self, place: int, x: Tensor, y: Tensor) -> Tensor:
        """Weighted squared difference of one layer, averaged over the picture."""
        return torch.einsum("kchw,c->khw", (x - y).square(), self.weights[place]).mean(dim=(1, 2))


def _unit(features: Tensor) -> Tensor:
    return features / (features.square().sum(dim=1, keepdim=True).sqrt() + 1e-10)


def _head_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`lin0.model.1.weight` (1, C, 1, 1) of the package becomes `weights.0` (C,)."""
    return {
        f"weights.{name[3]}" if name.startswith("lin") else name: tensor.flatten()
        for name, tensor in tensors.items()
    }


def _joined(net: str, backbone: Path | None, heads: Path | None, kind: Kind | None) -> Provenance:
    """One record of two files; random as soon as one of them is."""
    name = f"LPIPS v0.1 {net}"
    if backbone is None or heads is None:
        return record(name, None, None)
    parts = [record(name, file, kind) for file in (backbone, heads)]
    return Provenance(
        name=name,
        source=" and ".join(part.source for part in parts),
        kind=parts[0].kind,
        sha256=hashlib.sha256("".join(str(part.sha256) for part in parts).encode()).hexdigest(),
    )
