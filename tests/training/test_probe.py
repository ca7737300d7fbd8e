"""Gradients by noise level: what they are, that they are shared out, and that they change nothing."""

from dataclasses import replace

import pytest
import torch
from training.clips import HELDOUT, TRAIN

from semrepa.config import override
from semrepa.diffusion import alphas_cumprod
from semrepa.training import balance
from semrepa.training import probe as module
from semrepa.training.combined import CombinedObjective, Frozen
from semrepa.training.finetune import finetune
from semrepa.training.log import read_metrics
from semrepa.training.probe import balance_by_timestep, probe_levels
from semrepa.training.sources import heldout_batches

LEVELS = [100, 300, 500, 700, 900]


@pytest.fixture
def objective(cfg, parts, aligners):
    """A function that makes an objective, with changes to the config."""

    def make(changes=None):
        frozen = Frozen(
            vae=parts.vae,
            aligners=aligners,
            alphas_cumprod=alphas_cumprod(parts.noise_scheduler, torch.device("cpu")),
            empty_prompt=torch.zeros(1, 8, 16),
        )
        changed = override(cfg, changes or {})
        parts.transformer.zero_grad()  # other tests have left gradients
        return CombinedObjective(parts.transformer.requires_grad_(True), frozen, changed)

    return make


@pytest.fixture
def clips(store):
    return list(heldout_batches(store, ("x", "faceless", "a"), 1))


def test_levels_are_the_middles_of_five_parts():
    assert probe_levels(1000) == LEVELS


def test_it_is_the_gradient_of_the_mean_over_the_clips(objective, clips, float32):
    made = objective()
    found = balance_by_timestep(made, clips, [300], seed=4, step=1, count=3)
    total = torch.tensor(0.0)
    for clip, predict in made.views(clips, 4):
        total = total + 0.01 * made.losses(predict(300), clip.batch)["struct"].sum() / 3
    gradient = torch.autograd.grad(total, made.trained(), allow_unused=True)
    norm = torch.cat([part.flatten() for part in gradient if part is not None]).norm()
    assert found["grad_struct@300"] == pytest.approx(norm.item(), rel=1e-4)
    kinds = {"grad_diff", "grad_struct", "grad_id", "cos_diff_struct", "cos_diff_id", "cos_struct_id"}
    assert set(found) == {f"{kind}@300" for kind in kinds}
    assert all(weight.grad is None for weight in made.trained())


def test_losses_that_are_gated_away_or_without_weight_are_left_out(objective, clips):
    made = objective({"loss": {"gate": "snr", "weight_struct": 0.0}})
    found = balance_by_timestep(made, clips[:1], LEVELS, seed=0, step=1, count=1)
    assert [level for level in LEVELS if f"grad_id@{level}" in found] == [100, 300]
    assert all(f"grad_diff@{level}" in found for level in LEVELS)
    assert not any("struct" in name for name in found)


def test_processes_share_the_clips(objective, clips, monkeypatch, float32):
    made = objective()
    whole = balance_by_timestep(made, clips, [100], seed=4, step=1, count=3)
    filler = replace(clips[2], places=(3,), counts=torch.tensor([False]))
    sent: list[torch.Tensor] = []
    turns = [lambda numbers: sent.append(numbers.clone()) or numbers, lambda numbers: numbers + sent.pop(0)]
    for turn, mine in zip(turns, (clips[:2], [clips[2], filler]), strict=True):
        monkeypatch.setattr(module, "over_processes", lambda turn=turn: turn)
        shared = balance_by_timestep(made, mine, [100], seed=4, step=1, count=3)
    assert shared == pytest.approx(whole, rel=1e-4, abs=1e-6)


def test_a_run_is_probed_before_during_and_after_and_does_not_change(cfg, store, parts, aligners, tmp_path):
    def run(name, changes):
        made = override(cfg, {"finetune": {"steps": 3, **changes}})
        inputs = {"train_ids": TRAIN, "heldout_ids": HELDOUT, "parts": parts, "aligners": aligners}
        return list(finetune(made, store, tmp_path / name, **inputs))

    logs = run("probed", {"probe_every": 2})
    lines = read_metrics(tmp_path / "probed")
    assert [line["step"] for line in lines if line["monitors"]] == [0, 2, 3]
    names = {f"grad_{name}@{level}" for name in ("diff", "struct", "id") for level in LEVELS}
    assert names <= set(lines[0]["monitors"])
    assert lines[0]["monitors"]["grad_diff@300"] != lines[-1]["monitors"]["grad_diff@300"]
    assert [log.loss for log in logs] == [log.loss for log in run("plain", {})]


def test_one_process_has_nothing_to_sum_up():
    assert balance.over_processes() is None
