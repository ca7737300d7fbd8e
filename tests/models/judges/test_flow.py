"""Flow: DIS finds a known shift, RAFT has torchvision's shapes, files and padding."""

import pytest
import torch
from torchvision.models.optical_flow import raft_small

from semrepa.metrics.motion import FlowNetwork
from semrepa.models.judges.flow import DisFlow, RaftFlow
from tests.metrics.sketches import photo


def test_dis_finds_how_far_a_picture_has_moved():
    picture = photo("coffee", 140, 200)
    frames = torch.stack([picture[:, :128, 6 - 2 * k : 182 - 2 * k] for k in range(4)])
    flow = DisFlow()(frames)
    assert flow.shape == (3, 2, 128, 176)
    middle = flow[:, :, 20:-20, 20:-20].median(dim=3).values.median(dim=2).values
    torch.testing.assert_close(middle, torch.tensor([[2.0, 0.0]] * 3), atol=0.2, rtol=0)
    assert DisFlow.provenance.kind == "real" and DisFlow.provenance.sha256 is None
    assert isinstance(DisFlow(), FlowNetwork)


@pytest.fixture(scope="module")
def raft() -> RaftFlow:
    return RaftFlow("raft_small")


def test_raft_takes_any_size_and_gives_the_same_in_any_batch(raft):
    frames = torch.randint(0, 256, (4, 3, 50, 130), dtype=torch.uint8)
    flow = raft(frames)
    assert flow.shape == (3, 2, 50, 130) and flow.isfinite().all()
    torch.testing.assert_close(raft(frames[2:]), flow[2:], atol=1e-4, rtol=1e-4)
    assert raft.name == "raft_small" and raft.provenance.kind == "random"
    assert isinstance(raft, FlowNetwork)


@torch.no_grad()
def test_raft_is_torchvisions_on_frames_that_need_no_padding(raft, tmp_path):
    torch.manual_seed(5)
    plain = raft_small(weights=None).eval()
    torch.save(plain.state_dict(), tmp_path / "raft_small.pth")
    ours = RaftFlow("raft_small", file=tmp_path / "raft_small.pth")
    frames = torch.randint(0, 256, (2, 3, 128, 136), dtype=torch.uint8)
    first, second = frames / 127.5 - 1
    torch.testing.assert_close(ours(frames), plain(first[None], second[None])[-1], atol=1e-4, rtol=1e-4)
    assert ours.provenance.kind == "real"
    with pytest.raises(ValueError, match="another network"):
        RaftFlow("raft_large", file=tmp_path / "raft_small.pth")
