"""Weights and packages are asked for in one list, before a notebook starts."""

import sys

import pytest

from semrepa.config import full, mini, override
from semrepa.ui.needs import check_needs
from semrepa.ui.session import ALL, BASIS
from semrepa.weights import WeightsError


@pytest.fixture
def without_bitsandbytes(monkeypatch):
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)


def test_the_optimiser_of_full_is_asked_for_with_the_weights(tmp_path, monkeypatch, without_bitsandbytes):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("SEMREPA_WEIGHTS", str(tmp_path / "weights"))
    with pytest.raises(WeightsError) as caught:
        check_needs(full(), ALL, ("loss", "finetune"), tmp_path)
    message = str(caught.value)
    assert "package bitsandbytes: not installed; finetune.optimizer=adamw8bit comes from it" in message
    assert "pip install bitsandbytes" in message
    assert "weights for preset 'full'" in message
    assert message.count("package bitsandbytes") == 1


def test_only_those_who_train_are_asked(tmp_path, without_bitsandbytes):
    cfg = override(mini(), {"finetune.optimizer": "adamw8bit"})
    with pytest.raises(WeightsError, match=r"or +finetune.optimizer=adamw, which needs four times"):
        check_needs(cfg, BASIS, ("finetune",), tmp_path)
    assert [record.name for record in check_needs(cfg, BASIS, ("video", "data"), tmp_path)] == list(BASIS)
    with pytest.raises(WeightsError, match="package bitsandbytes"):
        check_needs(cfg, ALL, ("video", "generate"), tmp_path)
    (tmp_path / "06_dit_finetuning" / "aligned" / "transformer").mkdir(parents=True)
    assert len(check_needs(cfg, ALL, ("video", "generate"), tmp_path)) == len(ALL)
