"""Cells on tiny parts: each step once, taken up where it stopped, and never mixed with other settings."""

import json
from dataclasses import replace
from itertools import islice

import pytest
import torch
from diffusers import CogVideoXTransformer3DModel

from semrepa.ablations import cells, chosen
from semrepa.ablations.cells import read_record, run_cell, run_cells
from semrepa.ablations.settings import describe, fingerprint
from semrepa.config import override
from semrepa.training.finetune import finetune

BASE, PLAIN, NOISY, CLEAN, BOTH = chosen(["base", "plain", "noisy-0.1", "clean-0.1", "both"])
QUICK = ("training", "losses")


def weights(folder):
    return CogVideoXTransformer3DModel.from_pretrained(folder / "training" / "transformer").state_dict()


def losses(cell):
    return json.loads((cell.folder / "losses.json").read_text())["clips"]


def changed(setting, **values):
    return replace(setting, cfg=override(setting.cfg, {k.replace("__", "."): v for k, v in values.items()}))


@pytest.fixture
def with_pixels_only(monkeypatch):
    """Scores of pixels: the others look for faces, which tiny videos lack."""
    for module in ("settings", "cells"):
        monkeypatch.setattr(f"semrepa.ablations.{module}.groups_of", lambda cfg: ("pixels",))


def test_a_cell_has_weights_losses_videos_and_scores(setting, with_pixels_only):
    found = list(run_cells(setting, (BASE, NOISY, BOTH), [4]))
    assert [cell.folder.relative_to(setting.folder).as_posix() for cell in found] == [
        "seed-4/base",
        "seed-4/noisy-0.1",
        "seed-4/both",
    ]
    for cell in found:
        assert list(read_record(cell.folder)["seconds"]) == ["training", "losses", "videos", "scores"]
        assert read_record(cell.folder)["kind"] == "mini"
        assert sorted(path.name for path in (cell.folder / "videos").glob("*.mp4")) == [
            "faceless-seed4.mp4",
            "x-seed4.mp4",
        ]
        scores = json.loads((cell.folder / "scores.json").read_text())
        assert {*scores["clips"]} == {"x-seed4", "faceless-seed4"}
        values = losses(cell)
        assert {"loss_diff", "loss_struct", "loss_struct_noisy", "loss_id@300"} <= {*values["x"]}
        assert "loss_id" in values["x"] and "loss_id" not in values["faceless"]
    assert weights(found[1].folder).keys() == weights(found[2].folder).keys()
    assert not (found[0].folder / "training").exists(), "the base model is not trained"


def test_arms_see_the_same_noise(setting):
    """Trained at a rate of 0 every arm is the base model, and must have its losses to the last digit."""
    still = changed(setting, finetune__lr=0.0)
    base, *others = run_cells(still, (BASE, PLAIN, NOISY, CLEAN), [0], QUICK)
    for cell in others:
        assert losses(cell) == losses(base), cell.arm.name


def test_the_mean_is_over_the_noise_levels(setting):
    values = losses(run_cell(setting, BASE, 0, QUICK))["x"]
    levels = [value for name, value in values.items() if name.startswith("loss_struct_noisy@")]
    assert len(levels) == 9 and values["loss_struct_noisy"] == pytest.approx(sum(levels) / 9)


def test_seeds_differ(setting):
    one, other = run_cells(setting, (BASE,), [0, 1], QUICK)
    assert losses(one) != losses(other)


def test_what_is_done_is_passed_over(setting, monkeypatch):
    before = run_cell(setting, PLAIN, 0, QUICK)
    stamps = {path: path.stat().st_mtime_ns for path in before.folder.rglob("*") if path.is_file()}
    monkeypatch.setattr(cells, "finetune", None)
    monkeypatch.setattr(cells, "heldout_losses", None)
    run_cell(setting, PLAIN, 0, QUICK)
    assert {path: path.stat().st_mtime_ns for path in before.folder.rglob("*") if path.is_file()} == stamps


def test_a_training_that_was_killed_goes_on_to_the_same_weights(setting):
    whole = run_cell(replace(setting, folder=setting.folder / "whole"), BOTH, 0, ("training",))
    stream = finetune(
        setting.config(BOTH, 0),
        setting.store,
        setting.cell(BOTH, 0) / "training",
        train_ids=setting.train_ids,
    )
    next(iter(islice(stream, 2)))  # a checkpoint after each step; then it is gone without a word
    del stream
    resumed = run_cell(setting, BOTH, 0, ("training",))
    for name, value in weights(whole.folder).items():
        assert torch.equal(value, weights(resumed.folder)[name]), name


def test_a_cell_that_was_killed_between_steps_does_not_train_again(setting, monkeypatch):
    def killed(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(cells, "heldout_losses", killed)
        with pytest.raises(KeyboardInterrupt):
            run_cell(setting, PLAIN, 0, QUICK)
    assert list(read_record(setting.cell(PLAIN, 0))["seconds"]) == ["training"]
    monkeypatch.setattr(cells, "finetune", None)
    assert losses(run_cell(setting, PLAIN, 0, QUICK))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"finetune__lr": 0.5}, "config.finetune.lr"),
        ({"generate__num_inference_steps": 3}, "config.generate.num_inference_steps"),
        ({"loss__gate": "snr"}, "config.loss.gate"),
    ],
)
def test_a_cell_of_other_settings_is_refused(setting, change, named):
    run_cell(setting, PLAIN, 0, ())
    with pytest.raises(
        ValueError, match=rf"cell was made with another {named}; expected the same.*--run-dir"
    ):
        run_cell(changed(setting, **change), PLAIN, 0, ())


def test_other_clips_and_other_weights_are_refused(setting, aligner_folders):
    run_cell(setting, CLEAN, 0, ())
    with pytest.raises(ValueError, match="made with another heldout"):
        run_cell(replace(setting, heldout=setting.heldout[:1]), CLEAN, 0, ())
    with pytest.raises(ValueError, match=r"made with another weights\.identity"):
        run_cell(changed(setting, identity__weights=None, identity__use_depth=True), CLEAN, 0, ())


def test_settings_that_change_no_number_are_not_in_the_fingerprint(setting):
    def digits(one):
        return fingerprint(describe(one, PLAIN, 0)[0])

    more = changed(setting, finetune__checkpoint_every=2, finetune__balance_every=1, launch__where="child")
    assert digits(more) == digits(setting)
    assert digits(replace(setting, folder=setting.folder / "elsewhere")) == digits(setting)
    assert digits(changed(setting, finetune__lr=0.1)) != digits(setting)


def test_the_base_model_does_not_depend_on_how_others_are_trained(setting):
    longer = changed(setting, finetune__steps=99)
    assert fingerprint(describe(longer, BASE, 0)[0]) == fingerprint(describe(setting, BASE, 0)[0])


def test_a_missing_noisy_aligner_is_said_before_anything_is_begun(setting):
    without = replace(setting, noisy=None)
    with pytest.raises(FileNotFoundError) as error:
        next(run_cells(without, (PLAIN, NOISY), [0]))
    said = str(error.value)
    assert "noisy-0.1: got no noisy structure aligner at" in said
    assert f"python -m semrepa.ablations aligner --run-dir {without.folder}" in said
    assert not without.folder.exists()


def test_no_clips_are_refused(setting):
    with pytest.raises(ValueError, match="got 5 training and 0 held-out clips"):
        next(run_cells(replace(setting, heldout=()), (PLAIN,), [0]))
