"""Which weights a run needs, and what is said when they are missing."""

import pytest
import torch

from semrepa import weights
from semrepa.config import full, mini, override
from semrepa.training import sources
from semrepa.weights import check_weights, load_base


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    """A folder of mini weights with something in each place."""
    for name in ("cogvideox", "face", "structure_aligner", "identity_aligner", "identity_aligner_no_depth"):
        (tmp_path / "mini" / name).mkdir(parents=True)
        (tmp_path / "mini" / name / "weights").write_text(name)
    monkeypatch.setattr(weights, "MINI_ASSETS", tmp_path / "mini")
    return tmp_path / "mini"


def test_mini_takes_the_shipped_weights_in_the_order_asked(shipped):
    records = check_weights(mini(), ("face", "depth", "model"))
    assert [record.name for record in records] == ["face", "depth", "model"]
    assert {record.kind for record in records} == {"mini"}
    assert records[1].sha256 is None, "exact depth has no file"
    assert records[2].source == str(shipped / "cogvideox")


@pytest.mark.parametrize(
    ("use_depth", "folder"), [(True, "identity_aligner"), (False, "identity_aligner_no_depth")]
)
def test_identity_aligner_follows_the_config(shipped, use_depth, folder):
    (record,) = check_weights(override(mini(), {"identity.use_depth": use_depth}), ["identity"])
    assert record.source == str(shipped / folder)


def test_no_noisy_aligner_is_shipped(shipped):
    with pytest.raises(FileNotFoundError, match="03_structure_aligner"):
        check_weights(override(mini(), {"structure.input": "noisy"}), ["structure"])


def test_own_weights_win(shipped, tmp_path):
    (tmp_path / "mine").mkdir()
    (record,) = check_weights(override(mini(), {"structure.weights": str(tmp_path / "mine")}), ["structure"])
    assert record.source == str(tmp_path / "mine")


def test_full_never_takes_mini_weights(shipped):
    with pytest.raises(FileNotFoundError) as caught:
        check_weights(full())
    assert "5 of 5 missing" in str(caught.value)
    assert str(shipped) not in str(caught.value)


def test_only_the_transformer_that_is_trained_is_loaded_in_float32(small_config, tiny_folder):
    cfg = override(small_config, {"model.weights": str(tiny_folder), "model.dtype": "bfloat16"})
    sampled, trained = load_base(cfg), sources.load_base(cfg)
    assert sampled.transformer.dtype == sampled.vae.dtype == trained.vae.dtype == torch.bfloat16
    assert trained.transformer.dtype == torch.float32
    assert trained.tokenizer is not None and trained.noise_scheduler is not None
    only = load_base(cfg, ("vae",))
    assert only.vae is not None and only.transformer is None
