"""The fine-tuning losses: gradients, gates, weights, and the two formulations of structure."""

import dataclasses

import pytest
import torch

from semrepa.config import LossConfig, StructureConfig
from semrepa.diffusion import add_noise, alphas_cumprod, gate, velocity
from semrepa.losses import diffusion_loss
from semrepa.models.freeze import freeze
from semrepa.training.alignment import (
    Aligners,
    Prediction,
    combine,
    finetune_losses,
    weighted_terms,
)
from semrepa.training.balance import gradient_balance
from semrepa.training.pretrain import new_structure_aligner

CLEAN = StructureConfig(num_heads=2, head_dim=16, num_layers=1)
NOISY = dataclasses.replace(CLEAN, input="noisy")


@pytest.fixture
def table(parts):
    return alphas_cumprod(parts.noise_scheduler, torch.device("cpu"))


@pytest.fixture
def prediction(batch, table):
    """A perfect answer, disturbed a little, that asks for gradients."""
    noise = torch.randn(batch.latents.shape)
    timesteps = torch.tensor([5, 400, 900])
    v_pred = velocity(batch.latents, noise, timesteps, table) + 0.1 * torch.randn(noise.shape)
    noisy = add_noise(batch.latents, noise, timesteps, table)
    return Prediction(
        noise=noise,
        noisy_latents=noisy,
        timesteps=timesteps,
        v_pred=v_pred.requires_grad_(True),
        alphas_cumprod=table,
    )


def opened(kind, prediction):
    gates = gate(kind, prediction.timesteps, prediction.alphas_cumprod)
    return dict(zip(("struct", "id"), gates, strict=True))


WEIGHTS = {"struct": 0.01, "id": 1.0}


def perfect(prediction, batch):
    v_true = velocity(batch.latents, prediction.noise, prediction.timesteps, prediction.alphas_cumprod)
    return dataclasses.replace(prediction, v_pred=v_true)


@pytest.mark.parametrize("structure", [CLEAN, NOISY])
def test_gradients_pass_through_frozen_aligners(prediction, batch, aligners, structure):
    losses = finetune_losses(prediction, batch, aligners, loss=LossConfig(), structure=structure)
    for name in ("struct", "id"):
        (gradient,) = torch.autograd.grad(losses[name].sum(), prediction.v_pred, retain_graph=True)
        assert gradient[:2].abs().amax(dim=(1, 2, 3, 4)).gt(0).all(), name
    for aligner in (aligners.structure, aligners.identity):
        assert all(p.grad is None and not p.requires_grad for p in aligner.parameters())


def test_weight_zero_gives_the_plain_gradient(prediction, batch, aligners, table):
    plain = diffusion_loss(prediction.clean(), batch.latents, prediction.timesteps, table).mean()
    (expected,) = torch.autograd.grad(plain, prediction.v_pred)
    zero = LossConfig(weight_struct=0, weight_id=0)
    losses = finetune_losses(prediction, batch, Aligners(), loss=zero, structure=CLEAN)
    total, parts = combine(losses, opened("none", prediction), {})
    (got,) = torch.autograd.grad(total, prediction.v_pred)
    assert torch.equal(got, expected)
    assert set(losses) == {"diff"}
    assert set(parts) == {"loss_diff"}


def test_perfect_prediction_has_no_identity_loss_with_the_true_depth(prediction, batch, aligners):
    exact = perfect(prediction, batch)
    losses = finetune_losses(exact, batch, aligners, loss=LossConfig(), structure=NOISY)
    assert losses["diff"].max() < 1e-8
    assert losses["id"].max() < 1e-4


@pytest.mark.parametrize("structure", [CLEAN, NOISY])
def test_self_target_of_a_perfect_prediction_is_zero(prediction, batch, aligners, structure):
    exact = perfect(prediction, batch)
    mirrored = finetune_losses(exact, batch, aligners, loss=LossConfig(self_target=True), structure=structure)
    against_teacher = finetune_losses(exact, batch, aligners, loss=LossConfig(), structure=structure)
    assert mirrored["struct"].max() < 1e-4 < against_teacher["struct"].min()


def test_faceless_clip_adds_nothing_but_keeps_the_graph(prediction, batch, aligners):
    losses = finetune_losses(prediction, batch, aligners, loss=LossConfig(), structure=CLEAN)
    (gradient,) = torch.autograd.grad(losses["id"][2], prediction.v_pred, retain_graph=True)
    assert losses["id"][2] == 0
    assert losses["id"][:2].min() > 0
    assert gradient.abs().max() == 0


def test_detached_depth_changes_the_identity_gradient(prediction, batch, aligners):
    def gradient(detach):
        loss = LossConfig(weight_struct=0, detach_depth_for_id=detach)
        losses = finetune_losses(prediction, batch, aligners, loss=loss, structure=CLEAN)
        assert set(losses) == {"diff", "id"}
        return torch.autograd.grad(losses["id"].sum(), prediction.v_pred)[0]

    assert not torch.equal(gradient(True), gradient(False))


def test_snr_gate_silences_identity_at_high_noise(prediction, batch, aligners, table):
    losses = finetune_losses(prediction, batch, aligners, loss=LossConfig(), structure=CLEAN)
    _, parts = combine(losses, opened("snr", prediction), WEIGHTS)
    assert parts["gated_id"] == parts["loss_id"] == pytest.approx(losses["id"][0].item())
    assert parts["active_id"] == pytest.approx(1 / 3)
    assert parts["active_struct"] == 1
    assert parts["gated_struct"] < parts["loss_struct"]
    assert parts["weighted_struct"] == pytest.approx(0.01 * parts["gated_struct"].item())


def test_terms_add_up_and_balance_measures_them(prediction, batch, aligners, table):
    gates, three = opened("snr", prediction), torch.tensor(3.0)
    totals = {"diff": three, "struct": three, "id": torch.tensor(1.0)}
    losses = finetune_losses(prediction, batch, aligners, loss=LossConfig(), structure=CLEAN)
    total, _ = combine(losses, gates, WEIGHTS)
    terms = weighted_terms(losses, gates, WEIGHTS, totals)
    assert sum(terms.values()).item() == pytest.approx(total.item())
    (gradient,) = torch.autograd.grad(total, prediction.v_pred, retain_graph=True)
    balance = gradient_balance([{**terms, "all": total}], [prediction.v_pred])
    assert balance["grad_all"] == pytest.approx(gradient.norm().item(), rel=1e-4)
    assert -1 <= balance["cos_diff_struct"] <= 1
    twice = gradient_balance([terms, terms], [prediction.v_pred])
    assert twice["grad_diff"] == pytest.approx(2 * balance["grad_diff"], rel=1e-5)


def test_similarity_is_a_bounded_cosine_that_a_perfect_answer_brings_to_one(prediction, batch, aligners):
    measure = {"loss": LossConfig(self_target=True), "structure": CLEAN, "similarity": True}
    found = finetune_losses(prediction, batch, aligners, **measure)
    exact = finetune_losses(perfect(prediction, batch), batch, aligners, **measure)
    for name in ("similarity_struct", "similarity_id"):
        assert not found[name].requires_grad
        assert found[name].abs().max() <= 1 + 1e-5
    assert exact["similarity_struct"].min() > 0.999
    assert found["similarity_id"][2] == 0  # no face


def test_missing_aligner_is_named(prediction, batch, aligners):
    with pytest.raises(ValueError, match=r"no identity aligner.*loss.weight_id"):
        finetune_losses(prediction, batch, Aligners(), loss=LossConfig(), structure=CLEAN)
    only_id = LossConfig(weight_struct=0)
    with pytest.raises(ValueError, match=r"no structure aligner.*identity.use_depth"):
        finetune_losses(
            prediction, batch, Aligners(identity=aligners.identity), loss=only_id, structure=CLEAN
        )
    losses = finetune_losses(
        prediction, batch, Aligners(identity=aligners.identity), loss=only_id, structure=NOISY
    )
    assert losses["id"].isfinite().all()


def test_identity_without_depth_needs_no_structure_aligner(prediction, batch, aligners, cfg, store):
    from training.clips import TRAIN

    from semrepa.config import override
    from semrepa.training.floors import sample
    from semrepa.training.pretrain import new_identity_aligner

    flat = new_identity_aligner(override(cfg, {"identity.use_depth": False}), sample(store, TRAIN))
    alone = Aligners(identity=freeze(flat))
    only_id = LossConfig(weight_struct=0)
    assert "id" in finetune_losses(prediction, batch, alone, loss=only_id, structure=CLEAN)
    assert new_structure_aligner(cfg).config.structure_input == "clean"
