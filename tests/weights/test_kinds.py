"""Real, mini or random: what weights and the records beside them say."""

import json

import pytest
import torch
from safetensors.torch import save_file

from semrepa.config import full, mini
from semrepa.provenance import mini_asset
from semrepa.runtime import write_json
from semrepa.weights.kinds import declared_kind, kind_of, recorded_kind
from tests.teachers.packs import build_pack
from tests.weights.makers import aligner, checkpoint, onnx_model

ANY = (mini(), full())


@pytest.mark.parametrize("cfg", ANY, ids=["mini", "full"])
def test_what_is_shipped_is_mini_whoever_uses_it(cfg):
    for role, name in {"model": "cogvideox", "face": "face", "structure": "structure_aligner"}.items():
        assert kind_of(cfg, role, mini_asset(name)) == "mini"


@pytest.mark.parametrize("cfg", ANY, ids=["mini", "full"])
def test_teachers_of_the_user_are_real_unless_they_say_otherwise(cfg, tmp_path):
    assert kind_of(cfg, "depth", checkpoint(tmp_path / "a.pth")) == "real"
    assert kind_of(cfg, "people", onnx_model(tmp_path / "a.onnx")) == "real"
    assert kind_of(cfg, "people", onnx_model(tmp_path / "b.onnx", semrepa_kind="random")) == "random"
    assert kind_of(cfg, "face", build_pack(tmp_path / "real", metadata={})) == "real"
    assert kind_of(cfg, "face", build_pack(tmp_path / "random")) == "random"
    save_file({"w": torch.zeros(2)}, tmp_path / "c.safetensors", metadata={"semrepa.kind": "random"})
    assert kind_of(cfg, "depth", tmp_path / "c.safetensors") == "random"


def test_weakest_word_of_a_folder_counts(tmp_path):
    (tmp_path / "vae").mkdir()
    assert declared_kind(tmp_path) is None
    save_file({"w": torch.zeros(2)}, tmp_path / "a.safetensors", metadata={"semrepa.kind": "real"})
    assert declared_kind(tmp_path) == "real"
    save_file({"w": torch.zeros(2)}, tmp_path / "vae" / "b.safetensors", metadata={"semrepa.kind": "mini"})
    assert declared_kind(tmp_path) == "mini"
    (tmp_path / "broken.safetensors").write_bytes(b"broken")
    assert declared_kind(tmp_path) == "mini"


def test_trained_aligners_are_what_their_run_was(tmp_path):
    folder = aligner(tmp_path / "03" / "clean" / "structure_aligner")
    assert kind_of(mini(), "structure", folder) == "mini", "no record: as the preset says"
    assert kind_of(full(), "structure", folder) == "real"
    mini().save(tmp_path / "03" / "clean" / "config.json")
    assert kind_of(full(), "structure", folder) == "mini", "trained in mini, on a command line"
    kinds = ("real", "random", "mini")
    write_json(tmp_path / "03" / "run.json", {"provenance": [{"kind": kind} for kind in kinds]})
    assert kind_of(full(), "structure", folder) == "random", "the record goes before the config"
    assert kind_of(mini(), "identity", folder) == "random"


def test_record_of_a_full_run_counts_in_mini(tmp_path):
    folder = aligner(tmp_path / "aligner")
    write_json(tmp_path / "run.json", {"provenance": [{"kind": "real"}]})
    assert kind_of(mini(), "structure", folder) == "real"


@pytest.mark.parametrize(
    "text", ["", "[]", "{broken", '{"provenance": []}', '{"provenance": [{"kind": "odd"}]}']
)
def test_useless_records_say_nothing(tmp_path, text):
    (tmp_path / "run.json").write_text(text)
    assert recorded_kind(tmp_path) is None


def test_records_far_above_are_of_something_else(tmp_path):
    folder = tmp_path / "a" / "b" / "c" / "d"
    folder.mkdir(parents=True)
    write_json(tmp_path / "run.json", {"provenance": [{"kind": "random"}]})
    assert recorded_kind(folder) is None
    assert recorded_kind(folder.parent) == "random"


@pytest.mark.parametrize(
    ("layers", "heads", "expected"), [(42, 48, "real"), (30, 30, "real"), (2, 48, "mini"), (42, 6, "mini")]
)
def test_a_base_model_is_real_from_the_official_sizes_on(tmp_path, layers, heads, expected):
    (tmp_path / "transformer").mkdir()
    settings = {"num_layers": layers, "num_attention_heads": heads, "attention_head_dim": 64}
    (tmp_path / "transformer" / "config.json").write_text(json.dumps(settings))
    assert kind_of(mini(), "model", tmp_path) == kind_of(full(), "model", tmp_path) == expected
