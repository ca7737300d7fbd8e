from inspect import unwrap

import pytest
import torch
from torch.nn.functional import normalize

from semrepa import diffusion
from semrepa.losses import diffusion_loss, identity_loss, structure_loss, total_loss
from tests.tiny import tiny_noise_scheduler

SHAPE = (4, 3, 16, 4, 6)
TIMESTEPS = torch.tensor([0, 1, 500, 999])


@pytest.fixture
def table():
    return diffusion.alphas_cumprod(tiny_noise_scheduler())


def units(*shape):
    return normalize(torch.randn(*shape), dim=-1)


def test_diffusion_loss_is_the_error_of_v(table):
    table = table.double()
    latents, noise, v_pred = (torch.randn(SHAPE, dtype=torch.float64) for _ in range(3))
    noisy = diffusion.add_noise(latents, noise, TIMESTEPS, table)
    v = diffusion.velocity(latents, noise, TIMESTEPS, table)
    pred = diffusion.clean_prediction(noisy, v_pred, TIMESTEPS, table)
    expected = (v_pred - v).square().mean(dim=(1, 2, 3, 4))
    torch.testing.assert_close(diffusion_loss(pred, latents, TIMESTEPS, table), expected, rtol=1e-10, atol=0)


def test_structure_loss_is_a_mean_per_clip():
    target = torch.zeros(SHAPE)
    pred = torch.tensor([0.0, 1.0, 2.0, 3.0]).view(-1, 1, 1, 1, 1).expand(SHAPE)
    assert structure_loss(pred, target).tolist() == [0.0, 1.0, 4.0, 9.0]


@pytest.mark.parametrize(("cosine", "floor"), [(0.0, 0.050), (0.5, 0.035), (0.9, 0.016)])
def test_identity_loss_of_known_likeness(cosine, floor):
    first, other = units(4, 100, 512), units(4, 100, 512)
    mixed = cosine * first + (1 - cosine**2) ** 0.5 * other
    everywhere = torch.ones(4, 100, dtype=torch.bool)
    assert identity_loss(mixed, first, everywhere).mean().item() == pytest.approx(floor, abs=6e-4)


def test_identity_loss_of_a_zero_output():
    everywhere = torch.ones(4, 100, dtype=torch.bool)
    loss = identity_loss(torch.zeros(4, 100, 512), units(4, 100, 512), everywhere)
    assert loss.mean().item() == pytest.approx(0.0352, abs=2e-4)


def test_identity_loss_counts_valid_frames_only():
    target = torch.zeros(1, 4, 8)
    pred = torch.tensor([1.0, 3.0, 100.0, 100.0]).view(1, 4, 1).expand(1, 4, 8)
    mask = torch.tensor([[True, True, False, False]])
    assert identity_loss(pred, target, mask).tolist() == [2.0]


def test_faceless_clip_gives_zero_with_a_graph():
    pred = torch.randn(2, 5, 512, requires_grad=True)
    mask = torch.tensor([[False] * 5, [True] * 5])
    loss = identity_loss(pred, units(2, 5, 512), mask)
    assert loss[0] == 0
    assert loss[1] > 0
    loss[0].backward()
    assert pred.grad.abs().max() == 0


def test_total_loss_weighs_gates_and_averages():
    diff, struct, ident = torch.tensor([1.0, 3.0]), torch.tensor([10.0, 20.0]), torch.tensor([5.0, 7.0])
    g_struct, g_id = torch.tensor([0.5, 1.0]), torch.tensor([1.0, 0.0])
    total, parts = total_loss(diff, struct, ident, 0.1, 2.0, g_struct, g_id)
    assert total.item() == pytest.approx((1 + 0.5 + 3 + 2) / 2 + 10)
    expected = {
        "loss_diff": 2.0,
        "loss_struct": 15.0,
        "loss_id": 5.0,
        "gated_struct": 12.5,
        "gated_id": 5.0,
        "weighted_struct": 1.25,
        "weighted_id": 10.0,
        "active_struct": 1.0,
        "active_id": 0.5,
    }
    assert {name: part.item() for name, part in parts.items()} == pytest.approx(expected)


def test_without_gates_the_total_is_the_plain_batch_mean_of_the_paper():
    diff, struct, ident = torch.rand(3, 4)
    total, parts = total_loss(diff, struct, ident, 0.01, 1.0, torch.ones(4), torch.ones(4))
    assert total.item() == pytest.approx((diff + 0.01 * struct + ident).mean().item())
    assert parts["active_struct"] == parts["active_id"] == 1


def test_parts_of_a_batch_add_up_to_the_whole():
    diff, struct, ident, g_struct = torch.rand(4, 5)
    g_id = torch.tensor([1.0, 0.0, 0.0, 1.0, 1.0])
    totals = {"diff": torch.tensor(5.0), "struct": torch.tensor(5.0), "id": torch.tensor(3.0)}
    whole, parts = total_loss(diff, struct, ident, 0.1, 2.0, g_struct, g_id)
    pieces = [
        total_loss(diff[cut], struct[cut], ident[cut], 0.1, 2.0, g_struct[cut], g_id[cut], totals=totals)
        for cut in (slice(0, 2), slice(2, 3), slice(3, 5))
    ]
    assert sum(total for total, _ in pieces).item() == pytest.approx(whole.item())
    for name, part in parts.items():
        assert sum(piece[name] for _, piece in pieces).item() == pytest.approx(part.item()), name


@pytest.mark.parametrize(("weight", "factor"), [(0.0, 1.0), (1.0, 0.0)])
def test_switched_off_losses_leave_exactly_the_plain_gradient(weight, factor):
    weights = torch.randn(6, requires_grad=True)
    inputs = torch.randn(4, 6)
    gates = torch.full((4,), factor)

    def gradient(with_alignment):
        answer = inputs * weights
        plain = answer.square().mean(dim=1)
        aligned = answer.exp().sum(dim=1)
        total, _ = total_loss(plain, aligned, aligned, weight, weight, gates, gates)
        return torch.autograd.grad(total if with_alignment else plain.mean(), weights)[0]

    assert torch.equal(gradient(with_alignment=True), gradient(with_alignment=False))


def test_losses_are_float32_under_autocast(table):
    pred, target = torch.randn(SHAPE).bfloat16(), torch.randn(SHAPE).bfloat16()
    embeds = units(4, 9, 512).bfloat16()
    everywhere = torch.ones(4, 9, dtype=torch.bool)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low = [
            diffusion_loss(pred, target, TIMESTEPS, table),
            structure_loss(pred, target),
            identity_loss(embeds, torch.zeros_like(embeds), everywhere),
        ]
    high = [
        diffusion_loss(pred.double(), target.double(), TIMESTEPS, table.double()),
        structure_loss(pred.double(), target.double()),
        identity_loss(embeds.double(), torch.zeros_like(embeds).double(), everywhere),
    ]
    for value, exact in zip(low, high, strict=True):
        assert value.dtype == torch.float32
        torch.testing.assert_close(value.double(), exact, rtol=2e-4, atol=0)


@pytest.mark.parametrize(
    ("loss", "more"), [(structure_loss, ()), (diffusion_loss, (TIMESTEPS, torch.rand(1000)))]
)
def test_unequal_latents_are_an_error(loss, more):
    with pytest.raises(ValueError, match=r"\(4, 3, 16, 4, 6\).*\(4, 1, 16, 4, 6\).*expected equal shapes"):
        unwrap(loss)(torch.zeros(SHAPE), torch.zeros(4, 1, 16, 4, 6), *more)


def test_unequal_embeddings_are_an_error():
    with pytest.raises(ValueError, match="expected equal shapes"):
        unwrap(identity_loss)(torch.zeros(2, 5, 9), torch.zeros(2, 5, 8), torch.ones(2, 5, dtype=torch.bool))


def test_mask_of_another_length_is_an_error():
    with pytest.raises(ValueError, match=r"got face_mask \(2, 4\)"):
        unwrap(identity_loss)(torch.zeros(2, 5, 8), torch.zeros(2, 5, 8), torch.ones(2, 4, dtype=torch.bool))
