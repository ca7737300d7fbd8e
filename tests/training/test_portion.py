"""Random numbers by place, and means over a batch however it is divided."""

import pytest
import torch
from safetensors.torch import load_file
from training.clips import TRAIN

from semrepa.config import override
from semrepa.data.dataset import StoreDataset
from semrepa.training.finetune import finetune
from semrepa.training.portion import normal, own_random_numbers, portions, step_generator, uniform
from semrepa.training.pretrain import pretrain_identity, pretrain_structure
from semrepa.training.sources import training_stream


def count(portion):
    return {"clips": len(portion.batch.ids), "faces": float(portion.batch.face_mask.any(1).sum())}


def divide(store, cuts, process=0, processes=1, add=None, seed=3, step=5):
    dataset = StoreDataset(store, (*TRAIN, "faceless"))
    batches = [dataset.batch(cut) for cut in cuts]
    place = {"seed": seed, "step": step, "process": process, "processes": processes}
    return portions(batches, count, **place, add=add)


def drawn(divided, how="uniform"):
    noise = torch.cat([normal(portion.batch.latents, portion.generators()) for portion in divided])
    numbers = torch.cat([uniform(portion.generators()) for portion in divided])
    return noise, numbers, torch.cat([portion.timesteps(1000, how) for portion in divided])


@pytest.mark.parametrize("how", ["uniform", "stratified"])
def test_a_clip_draws_the_same_wherever_its_batch_is_cut(store, how):
    whole = drawn(divide(store, [[0, 1, 2, 5]]), how)
    cut = drawn(divide(store, [[0], [1, 2], [5]]), how)
    halves = [divide(store, [part], n, 2) for n, part in enumerate(([0, 1], [2, 5]))]
    apart = drawn([portion for half in halves for portion in half], how)
    for one, other, third in zip(whole, cut, apart, strict=True):
        assert torch.equal(one, other)
        assert torch.equal(one, third)
    assert len(set(whole[2].tolist())) == len(set(whole[1].tolist())) == 4
    later = drawn(divide(store, [[0, 1, 2, 5]], step=6), how)
    assert not any(torch.equal(one, other) for one, other in zip(whole, later, strict=True))


def test_totals_are_those_of_the_whole_batch(store):
    (whole,) = divide(store, [[0, 1, 2, 5]])
    assert {name: total.item() for name, total in whole.totals.items()} == {"clips": 4, "faces": 3}
    assert all(p.totals == whole.totals for p in divide(store, [[0, 1], [2, 5]]))
    _, second = divide(store, [[2], [5]], process=1, processes=2, add=lambda sums: 2 * sums)
    assert (second.first, second.size, second.totals["clips"].item()) == (3, 4, 4)
    (faceless,) = divide(store, [[5]])
    assert faceless.totals["faces"] == 1
    assert faceless.mean(torch.zeros(1), "faces") == 0


def test_strata_share_the_noise_levels_out(store):
    levels = torch.cat(
        [divide(store, [[0, 1, 2, 3]], step=s)[0].timesteps(1000, "stratified") for s in range(200)]
    )
    quarters = (levels.view(200, 4) // 250).sort(dim=1).values
    assert torch.equal(quarters, torch.arange(4).expand(200, 4))
    first = levels.view(200, 4)[:, 0].double()
    assert abs(first.mean() - 500) < 3 * 1000 / (12 * 200) ** 0.5  # uniform for a clip on its own
    assert first.max() > 900 and first.min() < 100


def test_random_numbers_depend_on_the_place_alone():
    first = torch.randn(3, generator=step_generator(0, 7))
    assert torch.equal(first, torch.randn(3, generator=step_generator(0, 7)))
    others = [step_generator(1, 7), step_generator(0, 8), step_generator(0, 7, 1)]
    assert not any(torch.equal(first, torch.randn(3, generator=other)) for other in others)


def test_global_random_numbers_are_those_of_the_place_and_are_given_back():
    torch.manual_seed(5)
    expected = torch.randn(2)
    torch.manual_seed(5)
    inside = []
    for _ in range(2):
        with own_random_numbers(1, 2, 3):
            inside.append(torch.randn(4))
    assert torch.equal(*inside)
    assert torch.equal(torch.randn(2), expected)


def test_a_batch_that_cannot_be_shared_is_refused(cfg, store):
    with pytest.raises(
        ValueError, match="got 2 for 1 processes and accumulate=3; expected a multiple of 3; use 3"
    ):
        training_stream(store, TRAIN, override(cfg, {"finetune.accumulate": 3}).finetune, 0)


def test_a_share_is_cut_in_portions_in_the_order_of_the_batch(cfg, store):
    def clips(accumulate, step):
        config = override(cfg, {"finetune": {"batch_size": 4, "accumulate": accumulate}}).finetune
        return [batch.ids for batch in next(training_stream(store, TRAIN, config, 0)(step))]

    (whole,) = clips(1, 3)
    assert clips(2, 3) == [whole[:2], whole[2:]]
    assert clips(4, 3) == [(name,) for name in whole]


START = {
    "finetune": finetune,
    "pretrain_structure": pretrain_structure,
    "pretrain_identity": pretrain_identity,
}
CHANGES = {
    "finetune": {"loss.gate": "snr", "finetune.timesteps": "stratified"},
    "pretrain_structure": {"structure.input": "noisy"},
    "pretrain_identity": {"identity": {"noise": 0.5, "shift": 1, "weight_cosine": 0.1}},
}


@pytest.mark.parametrize("stage", START)
def test_one_batch_equals_two_and_four_portions(cfg, store, parts, aligners, tmp_path, stage, float32):
    """Losses and weights after three steps, to 1e-5; AdamW makes steps of `lr` also of gradients near 0."""
    given = {"parts": parts, "aligners": aligners} if stage == "finetune" else {}

    def run(accumulate):
        small = {"steps": 3, "batch_size": 4, "accumulate": accumulate, "eval_every": 100, "lr": 1e-4}
        changed = override(override(cfg, CHANGES[stage]), {stage: small})
        folder = tmp_path / str(accumulate)
        logs = list(START[stage](changed, store, folder, train_ids=(*TRAIN, "faceless"), **given))
        (weights,) = folder.glob("*/diffusion_pytorch_model.safetensors")
        return logs, load_file(weights)

    logs, weights = run(1)
    for accumulate in (2, 4):
        others, moved = run(accumulate)
        for log, other in zip(logs, others, strict=True):
            assert other.loss == pytest.approx(log.loss, abs=1e-5)
            assert other.parts == pytest.approx(log.parts, abs=1e-5)
            assert other.grad_norm == pytest.approx(log.grad_norm, rel=1e-4)
        for name, value in weights.items():
            torch.testing.assert_close(moved[name], value, rtol=0, atol=1e-5)
