"""LPIPS equals the lpips package when both have the same weights, read from files as they are published."""

from pathlib import Path

import lpips as package
import pytest
import torch
from torchvision.models import alexnet, vgg16

from semrepa.metrics.perceptual import PairNetwork
from semrepa.models.judges.perceptual import Lpips

HEADS = Path(package.__file__).parent / "weights" / "v0.1"
MAKERS = {"alex": alexnet, "vgg": vgg16}


@pytest.fixture(scope="module", params=["alex", "vgg"])
def published(request, tmp_path_factory) -> tuple[str, Path]:
    """A classifier's file as torchvision's, with random weights and without its large layers."""
    torch.manual_seed(3)
    with torch.device("meta"):
        features = MAKERS[request.param]().features
    features = features.to_empty(device="cpu")
    for layer in features:
        if isinstance(layer, torch.nn.Conv2d):
            layer.reset_parameters()
    tensors = {f"features.{name}": x for name, x in features.state_dict().items()}
    file = tmp_path_factory.mktemp("torchvision") / f"{request.param}.pth"
    torch.save(tensors | {"classifier.1.weight": torch.zeros(2, 2)}, file)
    return request.param, file


def theirs(net: str, backbone: Path) -> torch.nn.Module:
    found = package.LPIPS(net=net, pnet_rand=True, verbose=False).eval()
    tensors = torch.load(backbone, weights_only=True)
    slices = [getattr(found.net, f"slice{k}") for k in range(1, 6)]
    for part in slices:
        for name, layer in part.named_children():
            if isinstance(layer, torch.nn.Conv2d):
                layer.load_state_dict({k: tensors[f"features.{name}.{k}"] for k in ("weight", "bias")})
    return found


def test_same_numbers_as_the_lpips_package(published):
    net, backbone = published
    ours = Lpips(net, backbone=backbone, heads=HEADS / f"{net}.pth")
    pictures, others = torch.randint(0, 256, (2, 2, 3, 64, 80), dtype=torch.uint8)
    with torch.no_grad():
        expected = theirs(net, backbone)(pictures / 127.5 - 1, others / 127.5 - 1).flatten()
        torch.testing.assert_close(ours(pictures, others), expected, atol=1e-5, rtol=0)
        assert (ours(pictures, pictures) == 0).all()
    assert expected.min() > 1e-3
    assert ours.provenance.kind == "real" and ours.provenance.name == f"LPIPS v0.1 {net}"
    assert isinstance(ours, PairNetwork)


def test_without_both_files_it_is_random_and_always_the_same(published):
    net, backbone = published
    pictures, others = torch.randint(0, 256, (2, 1, 3, 64, 64), dtype=torch.uint8)
    for files in ({}, {"backbone": backbone}, {"heads": HEADS / f"{net}.pth"}):
        first, again = Lpips(net, **files), Lpips(net, **files)
        assert first.provenance.kind == "random" and "seed 0" in first.provenance.source
        assert torch.equal(first(pictures, others), again(pictures, others))
    assert not any(x.requires_grad for x in first.parameters())


def test_files_of_something_else_are_refused(published, tmp_path):
    net, backbone = published
    other = {"alex": "vgg", "vgg": "alex"}[net]
    with pytest.raises(ValueError, match="of another shape"):
        Lpips(net, heads=HEADS / f"{other}.pth")
    with pytest.raises(ValueError, match="another network"):
        Lpips(other, backbone=backbone)
    with pytest.raises(FileNotFoundError, match="expected the file of weights"):
        Lpips(net, backbone=tmp_path / "none.pth")
