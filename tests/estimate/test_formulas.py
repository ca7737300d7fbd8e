"""Formulas of the transformer against counting on the real class, and against published figures."""

from contextlib import nullcontext
from unittest import mock

import pytest
import torch

from semrepa.config import full, mini
from semrepa.estimate.counting import count_flops, kept_bytes, peak_bytes, pretend
from semrepa.estimate.formulas import (
    Stack,
    attention_flops,
    backward_flops,
    block_bytes,
    cast_bytes,
    forward_flops,
    linear_flops,
    sample_bytes,
    state_bytes,
    step_bytes,
    step_flops,
)
from semrepa.estimate.networks import parameters, stack_of
from semrepa.models import transformer
from semrepa.models.blueprints import OFFICIAL, blueprint
from semrepa.models.transformer import call_transformer

FULL = stack_of(OFFICIAL["CogVideoX-5b-I2V"], full().video)


@pytest.fixture(autouse=True)
def _attention_of_gpus(monkeypatch):
    """The kit writes attention out when it trains in bfloat16 on a CPU, which is not what is counted here."""
    monkeypatch.setattr(transformer, "training_attention", lambda _: nullcontext())


SMALL = {
    "num_attention_heads": 4,
    "attention_head_dim": 32,
    "in_channels": 32,
    "out_channels": 16,
    "time_embed_dim": 16,
    "text_embed_dim": 24,
    "num_layers": 2,
    "max_text_seq_length": 20,
    "patch_size": 2,
    "sample_height": 16,
    "sample_width": 24,
    "use_rotary_positional_embeddings": True,
}


def small(layers=2, heads=4, head_dim=32):
    """Settings and stack of a small transformer on 17 frames of 128x192."""
    given = SMALL | {"num_layers": layers, "num_attention_heads": heads, "attention_head_dim": head_dim}
    return given, stack_of(given, mini().video)


def run(model, *, trained, device):
    """Forward pass on one clip."""
    model.requires_grad_(trained)
    latents = torch.empty(1, 5, 32, 16, 24, device=device, requires_grad=not trained)
    prompts = torch.empty(1, 20, 24, device=device)
    return call_transformer(model, latents, prompts, torch.zeros(1, dtype=torch.long, device=device))


def test_tokens_of_a_clip():
    assert (FULL.video_tokens, FULL.text_tokens, FULL.tokens) == (13 * 30 * 45, 226, 17_776)
    later = stack_of(OFFICIAL["CogVideoX1.5-5B-I2V"], full().video)
    assert later.video_tokens == 7 * 30 * 45  # 13 latent frames are padded to 14, two to a patch
    assert later.patch_inputs == 32 * 8


@pytest.mark.parametrize("trained", [True, False])
def test_flops_equal_those_counted_on_the_real_transformer(trained):
    given, stack = small()
    model = blueprint("transformer", given)
    forward = count_flops(lambda: run(model, trained=trained, device="meta").detach())
    step = count_flops(lambda: run(model, trained=trained, device="meta").sum().backward())
    assert forward == pytest.approx(forward_flops(stack), rel=0.01)
    # On the meta device attention is written out: its backward pass is 2 times the forward, fused 2.5 times.
    written_out = step_flops(stack, trained=trained) - 0.5 * attention_flops(stack)
    assert step == pytest.approx(written_out, rel=0.02)


def test_checkpointing_runs_the_blocks_once_more():
    given, stack = small()
    model = blueprint("transformer", given).train()
    model.enable_gradient_checkpointing()
    counted = count_flops(lambda: run(model, trained=True, device="meta").sum().backward())
    expected = step_flops(stack, trained=True, checkpointing=True) - 0.5 * attention_flops(stack)
    assert counted == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize("trained", [True, False])
@pytest.mark.parametrize("precision", ["bfloat16", "autocast", "float32"])
@pytest.mark.parametrize(("heads", "head_dim"), [(4, 32), (3, 64)])
def test_a_block_keeps_what_the_formula_says(precision, trained, heads, head_dim):
    found = []
    for layers in (1, 2):
        given, stack = small(layers, heads, head_dim)
        with pretend(autocast=precision == "autocast"):
            dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
            model = blueprint("transformer", given, device="cpu", dtype=dtype)
            found.append(kept_bytes(lambda m=model: run(m, trained=trained, device="cpu"), [model]))
    expected = block_bytes(stack, trained=trained, precision=precision)
    if precision == "autocast":
        count = parameters(blueprint("transformer", given)) - parameters(
            blueprint("transformer", given | {"num_layers": 1})
        )
        one = Stack(**{**vars(stack), "layers": 1})
        expected += cast_bytes(one, count, trained=trained)
    assert found[1] - found[0] == pytest.approx(expected, rel=0.015)


def test_a_checkpointed_block_keeps_its_input_only():
    found = []
    for layers in (1, 2):
        given, stack = small(layers)
        with pretend(autocast=False):
            model = blueprint("transformer", given, device="cpu", dtype=torch.bfloat16).train()
            model.enable_gradient_checkpointing()
            found.append(kept_bytes(lambda m=model: run(m, trained=True, device="cpu"), [model]))
    assert found[1] - found[0] == pytest.approx(stack.unit, rel=0.05)


@pytest.mark.parametrize(
    ("precision", "checkpointing"), [("bfloat16", True), ("bfloat16", False), ("autocast", False)]
)
def test_the_peak_of_a_whole_step(precision, checkpointing):
    """At the full size, of which two layers are enough: forward, backward, all that lives meanwhile."""
    given = OFFICIAL["CogVideoX-5b-I2V"] | {"num_layers": 2, "use_learned_positional_embeddings": False}
    stack = stack_of(given, full().video)

    def fused(query, key, value, **_):
        parts = [part.to(torch.bfloat16) for part in (query, key, value)]
        return torch.ops.aten._scaled_dot_product_flash_attention(*parts)[0]

    def step(model, inputs):
        call_transformer(model, *inputs).square().mean().backward()

    with pretend(autocast=precision == "autocast"):
        dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
        model = blueprint("transformer", given, device="cpu", dtype=dtype).train()
        if checkpointing:
            model.enable_gradient_checkpointing()
        inputs = torch.empty(1, 13, 32, 60, 90), torch.empty(1, 226, 4096), torch.zeros(1, dtype=torch.long)
        # Blocks are run again outside of `pretend`'s own attention, so the function itself is replaced.
        with mock.patch.object(torch.nn.functional, "scaled_dot_product_attention", fused):
            peak = peak_bytes(lambda: step(model, inputs), [model])
    count = parameters(model)
    expected = step_bytes(stack, trained=True, precision=precision, checkpointing=checkpointing)
    expected += sum(state_bytes(count, weight=0, gradient=dtype.itemsize, optimizer=0).values())
    if precision == "autocast":
        expected += cast_bytes(stack, count, trained=True)
    assert peak == pytest.approx(expected, rel=0.15)


@pytest.mark.parametrize("autocast", [True, False])
def test_the_peak_of_a_forward_pass_without_gradients(autocast):
    given = OFFICIAL["CogVideoX-5b-I2V"] | {"num_layers": 2, "use_learned_positional_embeddings": False}
    with pretend(autocast=autocast), torch.no_grad():
        model = blueprint("transformer", given, device="cpu", dtype=torch.bfloat16)
        inputs = torch.empty(1, 13, 32, 60, 90), torch.empty(1, 226, 4096), torch.zeros(1, dtype=torch.long)
        peak = peak_bytes(lambda: call_transformer(model, *inputs), [model])
    expected = sample_bytes(stack_of(given, full().video), "autocast" if autocast else "bfloat16")
    assert peak == pytest.approx(expected, rel=0.15)


def test_published_work_of_the_transformer():
    assert forward_flops(FULL) == pytest.approx(332e12, rel=0.02)
    assert (linear_flops(FULL) / 42, attention_flops(FULL) / 42) == pytest.approx(
        (4.03e12, 3.88e12), rel=0.01
    )
    assert step_flops(FULL, trained=True, checkpointing=True) == pytest.approx(1410e12, rel=0.02)
    assert step_flops(FULL, trained=True) == pytest.approx(1078e12, rel=0.02)
    frozen = forward_flops(FULL) * 2 + backward_flops(FULL, trained=False)
    assert frozen == pytest.approx(1241e12, rel=0.02)  # LoRA with checkpointing
    assert 100 * forward_flops(FULL) == pytest.approx(33.2e15, rel=0.02)  # 50 steps with guidance
    per_layer = step_flops(FULL, trained=False) / 42
    assert per_layer == pytest.approx(21.6e12, rel=0.02)  # frozen aligner


def test_published_activations_of_the_transformer():
    assert FULL.unit == pytest.approx(109e6, rel=0.02)
    block = block_bytes(FULL, trained=True, precision="bfloat16")
    frozen = block_bytes(FULL, trained=False, precision="bfloat16")
    assert block / FULL.unit == pytest.approx(23.5, rel=0.02)
    assert frozen / FULL.unit == pytest.approx(12.5, rel=0.03)
    assert (block, frozen) == pytest.approx((2.55e9, 1.35e9), rel=0.02)
    assert step_bytes(FULL, trained=True, precision="bfloat16") == pytest.approx(107e9, rel=0.02)
    checkpointed = step_bytes(FULL, trained=True, precision="bfloat16", checkpointing=True)
    assert FULL.layers * FULL.unit == pytest.approx(4.6e9, rel=0.02)
    assert 4.6e9 + 2.55e9 < checkpointed < 10e9  # "8-10 GB" with the rest of a step


def test_published_state_of_full_fine_tuning():
    count = 5_570_000_000
    assert sum(state_bytes(count).values()) == pytest.approx(89e9, rel=0.02)
    lean = state_bytes(count, weight=2, gradient=2, optimizer=2)
    assert sum(lean.values()) == pytest.approx(33.6e9, rel=0.02)
    assert state_bytes(count, average=4)["average"] == 4 * count
