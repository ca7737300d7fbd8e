"""Nothing is fetched unless it is allowed, and then only what is needed."""

import shutil
from fnmatch import fnmatch
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub import constants
from huggingface_hub.errors import LocalEntryNotFoundError

from semrepa.config import full, override
from semrepa.weights import ROLES, WeightsError, check_weights
from tests.teachers.packs import ANTELOPE, build_pack, write_recogniser
from tests.weights.makers import VITL, checkpoint, into_hub_cache

ALLOWED = override(full(), {"weights.allow_download": True})


class Hub:
    """Stands for the download function of huggingface_hub."""

    def __init__(self, sources: dict[str, Path]) -> None:
        self.sources, self.calls = sources, []

    def __call__(self, repo, *, allow_patterns, local_dir=None):
        self.calls.append((repo, allow_patterns, local_dir))
        if repo not in self.sources:
            raise LocalEntryNotFoundError("the hub cannot be reached\nmore about it")
        if local_dir is None:
            return into_hub_cache(repo, self.sources[repo])
        return shutil.copy(self.sources[repo], local_dir)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    sources = {
        "depth-anything/Video-Depth-Anything-Large": checkpoint(tmp_path / "hub" / VITL),
        "FoivosPar/Arc2Face": write_recogniser(tmp_path / "hub" / "arcface.onnx", metadata={}),
    }
    fake = Hub(sources)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", fake)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    return fake


def test_nothing_is_fetched_by_surprise(hub):
    with pytest.raises(WeightsError, match="nothing was downloaded"):
        check_weights(full())
    assert hub.calls == []


def test_allowed_download_of_one_file(hub):
    (record,) = check_weights(ALLOWED, ["depth"])
    assert Path(record.source).name == VITL
    assert hub.calls == [("depth-anything/Video-Depth-Anything-Large", [VITL], None)]
    check_weights(ALLOWED, ["depth"])
    assert len(hub.calls) == 1, "what is there is not fetched again"


def test_model_is_fetched_without_pickles(hub):
    with pytest.raises(WeightsError, match="download  .* failed: the hub cannot be reached\n"):
        check_weights(ALLOWED, ["model"])
    ((repo, patterns, _),) = hub.calls
    assert repo == "THUDM/CogVideoX-5b-I2V"
    for file in ("model_index.json", "vae/diffusion_pytorch_model.safetensors", "tokenizer/spiece.model"):
        assert any(fnmatch(file, pattern) for pattern in patterns)
    for file in ("transformer/model.bin", "model.pt", "model.ckpt", "unet.pth", "code.py"):
        assert not any(fnmatch(file, pattern) for pattern in patterns)


def test_arcface_is_laid_beside_the_detector(hub, empty_home):
    with pytest.raises(WeightsError, match="get scrfd_10g_bnkps.onnx by the commands first"):
        check_weights(ALLOWED, ["face"])
    assert hub.calls == [], "half a pack is of no use"
    pack = empty_home / ".insightface" / "models" / "antelopev2" / "antelopev2"
    build_pack(pack, ANTELOPE, metadata={})
    (record,) = check_weights(ALLOWED, ["face"])
    assert record.kind == "real"
    assert hub.calls == [("FoivosPar/Arc2Face", ["arcface.onnx"], pack)]


def test_offline_mode_is_respected(hub, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(WeightsError) as caught:
        check_weights(ALLOWED)
    message = str(caught.value)
    assert hub.calls == []
    assert "6 of 6 missing" in message
    assert message.count("not tried, because HF_HUB_OFFLINE=1") == 3
    assert message.count("not on a hub; use the commands") == 3


def test_what_can_be_fetched_is_fetched_and_the_rest_is_listed(hub):
    with pytest.raises(WeightsError) as caught:
        check_weights(ALLOWED, ROLES)
    message = str(caught.value)
    assert "5 of 6 missing" in message
    assert "depth.weights" not in message
    assert "yolo export" in message


def test_what_the_user_named_is_not_replaced(hub, tmp_path):
    broken = tmp_path / "mine.pth"
    broken.write_bytes(b"")
    with pytest.raises(WeightsError, match="empty"):
        check_weights(override(ALLOWED, {"depth.weights": str(broken)}), ["depth"])
    assert hub.calls == []
