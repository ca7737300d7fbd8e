"""What must not go wrong unseen: numbers that are not finite, frozen networks that move."""

import dataclasses
import itertools
import json
import math

import pytest
import torch
from torch import nn
from training.clips import TRAIN
from training.test_loop import CONFIG, plain, run, task

from semrepa.config import override
from semrepa.models.freeze import freeze
from semrepa.training.checkpoint import latest_checkpoint
from semrepa.training.finetune import finetune
from semrepa.training.guards import check_unchanged, checksums
from semrepa.training.log import read_metrics


def poisoned(*steps, what="loss"):
    """The usual task, with a loss or a gradient that is not finite in some steps."""
    made = task()
    forward = made.objective.forward

    def broken(portion):
        loss, parts = forward(portion)
        if portion.step in steps:
            bad = made.objective.map.weight.sum()
            loss = loss + (bad * math.nan if what == "loss" else (bad - bad.detach()).abs().sqrt())
        return loss, parts

    made.objective.forward = broken
    return made


@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_a_step_that_is_not_finite_is_skipped_and_logged(tmp_path, what):
    made, logs = poisoned(3, what=what), []
    stream = run(tmp_path / what, made)
    logs += itertools.islice(stream, 2)
    state = [value.clone() for value in made.objective.state_dict().values()]
    logs.append(next(stream))
    assert all(map(torch.equal, state, made.objective.state_dict().values()))
    logs += stream
    assert [log.skipped for log in logs] == [False, False, True, False, False, False, False, False]
    assert math.isnan(logs[2].loss) is (what == "loss")
    assert not math.isfinite(logs[2].grad_norm)
    assert math.isfinite(logs[3].loss)
    line = read_metrics(tmp_path / what)[3]
    assert line["skipped"] and line["grad_norm"] is None
    assert "NaN" not in (tmp_path / what / "metrics.jsonl").read_text()


def test_a_skipped_step_leaves_the_optimiser_alone(tmp_path):
    made = poisoned(3)
    stream = run(tmp_path, made, dataclasses.replace(CONFIG, checkpoint_every=1))

    def state(step):
        folder = tmp_path / "checkpoints" / f"step-{step:06d}"
        return torch.load(folder / "state.pt", weights_only=True)

    for _ in range(3):
        next(stream)
    before, after = state(2), state(3)
    for old, new in zip(*(s["optimizer"]["state"][0].values() for s in (before, after)), strict=True):
        assert torch.equal(old, new)
    assert torch.equal(before["ema"]["shadow_params"][0], after["ema"]["shadow_params"][0])
    assert after["others"]["bad_steps"] == {"in_row": 1, "in_all": 1}


def test_a_resumed_run_skips_the_same(tmp_path):
    expected = [plain(log) for log in run(tmp_path / "whole", poisoned(2, 5, what="gradient"))]
    stream = run(tmp_path / "parts", poisoned(2, 5, what="gradient"))
    begun = [plain(log) for log in itertools.islice(stream, 2)]
    stream.close()
    rest = [plain(log) for log in run(tmp_path / "parts", poisoned(2, 5, what="gradient"))]
    assert str(begun + rest) == str(expected)


def test_too_many_in_a_row_end_the_run_with_a_checkpoint_and_the_clips(tmp_path):
    config = dataclasses.replace(CONFIG, max_bad_steps=2)
    stream = run(tmp_path, poisoned(2, 5, 6), config)
    assert [log.step for log in itertools.islice(stream, 5)] == [1, 2, 3, 4, 5]
    told = r"step 6: got .*2 skipped steps in a row, 3 in all.*bad_batch"
    with pytest.raises(FloatingPointError, match=told):
        next(stream)
    assert latest_checkpoint(tmp_path).name == "step-000006"
    told = json.loads((tmp_path / "bad_batch.json").read_text())
    assert (told["step"], told["clips"], told["skipped in a row"]) == (6, ["one", "two"], 2)
    assert told["values"]["loss"] == "nan"
    weights = torch.cat([p.flatten() for p in task().objective.parameters()])
    assert weights.isfinite().all()
    assert next(run(tmp_path, task(), config)).step == 7


def test_checksums_see_any_change():
    network = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3)).requires_grad_(False)
    before = checksums({"net": network})
    check_unchanged({"net": network}, before)
    with torch.no_grad():
        network[0].weight[1, 2] = torch.nextafter(network[0].weight[1, 2], torch.tensor(9.0))
    with pytest.raises(RuntimeError, match=r"net: got other numbers than at the start in 0\.weight"):
        check_unchanged({"net": network}, before)
    before = checksums({"net": network})
    network[1].running_mean[0] = 1
    with pytest.raises(RuntimeError, match=r"1\.running_mean"):
        check_unchanged({"net": network}, before)
    before = checksums({"net": network})
    network[0].bias.requires_grad_(True).sum().backward()
    with pytest.raises(RuntimeError, match=r"net: got a gradient in 0\.bias"):
        check_unchanged({"net": network}, before)


def test_trained_weights_of_a_partly_frozen_network_may_move():
    network = freeze(nn.Linear(3, 3))
    network.bias.requires_grad_(True)
    before = checksums({"net": network})
    with torch.no_grad():
        network.bias.add_(1)
    check_unchanged({"net": network}, before)
    assert set(before["net"]) == {"weight"}


@pytest.mark.parametrize("victim", ["structure", "identity", "vae", "base of a LoRA"])
def test_a_frozen_network_that_moves_in_a_run_is_found(
    cfg, store, parts, aligners, tmp_path, victim, monkeypatch
):
    changed = override(cfg, {"finetune": {"steps": 2, "mode": "lora" if "LoRA" in victim else "full"}})
    stream = finetune(changed, store, tmp_path, train_ids=TRAIN, parts=parts, aligners=aligners)
    next(stream)
    if "LoRA" in victim:
        seen = []
        monkeypatch.setattr(
            "semrepa.training.loop.check_unchanged", lambda nets, before: seen.append((nets, before))
        )
        next(stream)
        list(stream)
        ((networks, before),) = seen
        base, name = networks["transformer"], "transformer"
        weight = base.transformer_blocks[0].ff.net[0].proj.weight
    else:
        name = {"vae": "VAE"}.get(victim, victim)
        weight = next({**vars(aligners), "vae": parts.vae}[victim].parameters())
    with torch.no_grad():
        kept = weight.flatten()[0].item()
        weight.view(-1)[0] += 1
    try:
        with pytest.raises(RuntimeError, match=f"{name}: got other numbers than at the start"):
            list(stream) if "LoRA" not in victim else check_unchanged(networks, before)
    finally:
        with torch.no_grad():
            weight.view(-1)[0] = kept
