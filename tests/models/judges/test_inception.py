"""FID's Inception: shapes and names of the published file, and where its blocks differ from torchvision's."""

import pytest
import torch
from torch.nn import functional
from torchvision.models import inception_v3

from semrepa.metrics.features import FeatureNetwork
from semrepa.models.judges.inception import FidInception


@pytest.fixture(scope="module")
def network() -> FidInception:
    """Random weights, with statistics that keep features apart."""
    made = FidInception()
    chance = torch.Generator().manual_seed(1)
    for name, values in made.network.state_dict().items():
        if name.endswith("running_var"):
            values.copy_(0.05 + 0.3 * torch.rand(values.shape, generator=chance))
    return made


@torch.no_grad()
def test_any_picture_gives_2048_features_and_random_weights_say_so(network):
    pictures = torch.randint(0, 256, (3, 3, 40, 70), dtype=torch.uint8)
    found = network(pictures)
    assert found.shape == (3, 2048) and (found >= 0).all() and found.std() > 0
    near = 1e-3 * found.max().item()
    torch.testing.assert_close(found[1:2], network(pictures[1:2]), atol=near, rtol=0)
    assert network.provenance.kind == "random" and "bilinear 75" in network.provenance.name
    assert isinstance(network, FeatureNetwork)


@torch.no_grad()
def test_published_names_fit_and_pictures_are_then_seen_at_299(network, tmp_path):
    # pytorch-fid and torch-fidelity name their tensors as torchvision does, without the auxiliary classifier.
    plain = inception_v3(weights=None, aux_logits=False, num_classes=1008, init_weights=False)
    tensors = network.network.state_dict()
    assert set(plain.state_dict()) == set(tensors)
    kept = {name: x for name, x in tensors.items() if not name.endswith("num_batches_tracked")}
    torch.save(kept, tmp_path / "pt_inception-2015-12-05-6726825d.pth")
    loaded = FidInception(tmp_path / "pt_inception-2015-12-05-6726825d.pth")
    assert loaded.provenance.kind == "real" and "bilinear 299" in loaded.provenance.name
    assert all(torch.equal(x, tensors[name]) for name, x in loaded.network.state_dict().items())
    assert loaded.side == 299


@torch.no_grad()
def test_pooling_does_not_count_padding_and_the_last_block_takes_the_largest(network):
    x = torch.rand(1, 192, 5, 5)
    block = network.network.Mixed_5b
    pooled = functional.avg_pool2d(x, 3, 1, 1) / functional.avg_pool2d(torch.ones_like(x), 3, 1, 1)
    torch.testing.assert_close(block(x)[:, -32:], block.branch_pool(pooled))
    x = torch.rand(1, 768, 5, 5)
    pooled = functional.avg_pool2d(x, 3, 1, 1) / functional.avg_pool2d(torch.ones_like(x), 3, 1, 1)
    for name in ("Mixed_6b", "Mixed_6e"):
        block = getattr(network.network, name)
        torch.testing.assert_close(block(x)[:, -192:], block.branch_pool(pooled))
    x = torch.rand(1, 2048, 4, 4)
    block = network.network.Mixed_7c
    torch.testing.assert_close(block(x)[:, -192:], block.branch_pool(functional.max_pool2d(x, 3, 1, 1)))


@torch.no_grad()
def test_all_other_branches_are_those_of_torchvision(network):
    plain = inception_v3(weights=None, aux_logits=False, num_classes=1008, init_weights=False).eval()
    plain.load_state_dict(network.network.state_dict())
    sizes = {"Mixed_5b": (192, 32), "Mixed_6c": (768, 192), "Mixed_7b": (1280, 192), "Mixed_7c": (2048, 192)}
    for name, (channels, pooled) in sizes.items():
        x = torch.rand(1, channels, 4, 4)
        ours, theirs = (getattr(net, name)(x)[:, :-pooled] for net in (network.network, plain))
        torch.testing.assert_close(ours, theirs)


def test_file_of_another_network_is_refused(tmp_path):
    torch.save({"fc.weight": torch.zeros(1000, 2048)}, tmp_path / "inception_v3.pth")
    with pytest.raises(ValueError, match="tensors of another network"):
        FidInception(tmp_path / "inception_v3.pth")


def test_convolutions_keep_their_bits_and_the_setting_is_put_back():
    seen = []
    made = FidInception()
    made.network.Conv2d_1a_3x3.register_forward_hook(
        lambda *_: seen.append(torch.backends.cudnn.allow_tf32)  # what a GPU would do
    )
    before = torch.backends.cudnn.allow_tf32
    made(torch.zeros(1, 3, 8, 8, dtype=torch.uint8))
    made(torch.zeros(1, 3, 8, 8, dtype=torch.uint8))
    assert seen == [False, False] and torch.backends.cudnn.allow_tf32 == before is True
