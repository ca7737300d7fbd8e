"""Optimisers: the one asked for, and bfloat16 weights that learn in small steps."""

import dataclasses
import sys

import pytest
import torch
from torch import nn

from semrepa.config import override
from semrepa.training.optimizer import describe, make_optimizer, rounded, set_rate


@pytest.fixture
def config(cfg):
    return override(cfg, {"finetune": {"lr": 1e-3, "weight_decay": 0.0}}).finetune


def walk(config, weights, steps, rate=None):
    """Steps against a constant gradient."""
    optimizer = make_optimizer([weights], config)
    if rate is not None:
        set_rate(optimizer, rate)
    for _ in range(steps):
        weights.grad = torch.ones_like(weights)
        optimizer.step()
    return optimizer


def test_plain_adamw_is_that_of_torch(config):
    weights = nn.Parameter(torch.randn(5))
    other = nn.Parameter(weights.detach().clone())
    assert type(walk(config, weights, 3)) is torch.optim.AdamW
    known = torch.optim.AdamW([other], lr=1e-3, betas=config.betas, weight_decay=0.0)
    for _ in range(3):
        other.grad = torch.ones_like(other)
        known.step()
    assert torch.equal(weights, other)
    assert describe(config).startswith("AdamW of torch 2.")


def test_rounding_at_random_is_right_on_average():
    exact = torch.full((20_000,), 1.0 + 1e-3)
    found = rounded(exact)
    assert found.dtype == torch.bfloat16
    assert set(found.tolist()) == {1.0, 1.0078125}
    assert abs(found.float().mean() - exact[0]) < 2e-4
    same = torch.randn(50).bfloat16()
    assert torch.equal(rounded(same.float()), same)
    assert torch.equal(rounded(-exact).abs().unique(), found.unique())


def test_bfloat16_weights_make_small_steps_that_nearest_rounding_loses(config):
    small = dataclasses.replace(config, weights_dtype="bfloat16", lr=1e-4)
    weights = nn.Parameter(torch.ones(4000, dtype=torch.bfloat16))
    walk(small, weights, 50)
    assert weights.dtype == torch.bfloat16
    assert weights.float().mean().item() == pytest.approx(1 - 50e-4, abs=5e-4)
    plain = nn.Parameter(torch.ones(4000, dtype=torch.bfloat16))
    lost = torch.optim.AdamW([plain], lr=1e-4, weight_decay=0.0)
    for _ in range(50):
        plain.grad = torch.ones_like(plain)
        lost.step()
    assert torch.equal(plain, torch.ones_like(plain))


def test_state_of_bfloat16_weights_goes_on_exactly(config):
    low = dataclasses.replace(config, weights_dtype="bfloat16")
    start = torch.randn(30).bfloat16()

    def moved(optimizer, weights, steps):
        for step in range(steps):
            torch.manual_seed(step)
            weights.grad = torch.full_like(weights, 0.5 + step)
            optimizer.step()

    whole = nn.Parameter(start.clone())
    first = make_optimizer([whole], low)
    moved(first, whole, 2)
    state, copied = first.state_dict(), nn.Parameter(whole.detach().clone())
    second = make_optimizer([copied], low)
    second.load_state_dict(state)
    moved(first, whole, 2)
    moved(second, copied, 2)
    assert torch.equal(whole, copied)


@pytest.mark.parametrize(
    ("name", "package"), [("adamw8bit", "bitsandbytes"), ("adamw8bit_torchao", "torchao")]
)
def test_a_missing_package_is_named_and_nothing_else_taken(config, name, package, monkeypatch):
    monkeypatch.setitem(sys.modules, f"{package}.optim", None)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(
        ModuleNotFoundError, match=f"got '{name}' without the package {package}.*pip install {package}"
    ):
        make_optimizer([nn.Parameter(torch.ones(2))], dataclasses.replace(config, optimizer=name))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_eight_bit_adam_of_bitsandbytes_moves_as_the_full_one(config, dtype):
    pytest.importorskip("bitsandbytes", reason="bitsandbytes is optional")
    torch.manual_seed(0)
    start = torch.randn(4096).to(getattr(torch, dtype))
    low = {"weights_dtype": dtype}
    eight, full = nn.Parameter(start.clone()), nn.Parameter(start.float().clone())
    walk(dataclasses.replace(config, optimizer="adamw8bit", **low), eight, 5, rate=1e-2)
    walk(config, full, 5, rate=1e-2)
    assert (eight.float() - full).mean().abs() < 1e-3
    assert (eight - start).float().mean().item() == pytest.approx(-0.05, abs=2e-3)
