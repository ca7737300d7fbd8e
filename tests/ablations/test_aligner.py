"""The noisy aligner begins as the clean one, and is trained and measured on noisy latents."""

import pytest
import torch
from training.clips import HELDOUT, TRAIN

from semrepa.ablations.aligner import aligner_folder, as_noisy, depth_errors, train_noisy_aligner
from semrepa.config import override
from semrepa.models.structure import StructureAligner


def test_it_begins_with_the_weights_of_the_clean_one(cfg, aligner_folders):
    clean = StructureAligner.from_pretrained(aligner_folders["clean"])
    made = as_noisy(clean, override(cfg, {"structure.input": "noisy"}))
    assert made.config.structure_input == "noisy"
    for name, value in clean.state_dict().items():
        assert torch.equal(value, made.state_dict()[name])


def test_another_size_is_refused(cfg, aligner_folders):
    clean = StructureAligner.from_pretrained(aligner_folders["clean"])
    with pytest.raises(ValueError, match="num_layers: got 2 with a clean aligner of 1; expected the same"):
        as_noisy(clean, override(cfg, {"structure.num_layers": 2}))


def test_training_writes_an_aligner_that_has_learned(cfg, store, tmp_path):
    brief = {"pretrain_structure": {"steps": 30, "lr": 3e-3, "eval_every": 30}}
    clips = {"train_ids": TRAIN, "heldout_ids": TRAIN}
    logs = list(train_noisy_aligner(override(cfg, brief), store, tmp_path, **clips))
    assert len(logs) == 30
    made = StructureAligner.from_pretrained(aligner_folder(tmp_path))
    assert made.config.structure_input == "noisy"
    start = StructureAligner.from_pretrained(cfg.structure.weights)
    after, before = (depth_errors(cfg, store, TRAIN, aligner) for aligner in (made, start))
    assert after[500]["noisy"] < before[500]["noisy"]


def test_errors_are_in_units_of_depth_at_every_noise_level(cfg, store, aligner_folders):
    noisy = StructureAligner.from_pretrained(aligner_folders["noisy"])
    found = depth_errors(cfg, store, HELDOUT, noisy)
    assert list(found) == [100, 200, 300, 400, 500, 600, 700, 800, 900]
    gaps = [
        (record["latents"].float() - record["depth_latents"].float()).square().mean()
        for record in map(store.read, HELDOUT)
    ]
    for errors in found.values():  # the noise of video and depth is the same, so that a copy's error has none
        assert errors["copy"] == pytest.approx(torch.stack(gaps).median().item(), rel=1e-3)
        assert errors["clean"] == found[100]["clean"]
