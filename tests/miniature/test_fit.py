"""The weight builder's training loop."""

from pathlib import Path

import pytest
import torch
from torch import nn

from semrepa.miniature.fit import Recipe, fit, learning_rate, swapped

RECIPE = Recipe(steps=30, lr=0.05, warmup=2, save_every=10)


def _regress(model: nn.Linear, folder: Path, recipe: Recipe = RECIPE) -> None:
    def loss_of_step(step: int) -> torch.Tensor:
        inputs = torch.randn(16, 2, generator=torch.Generator().manual_seed(step))
        return (model(inputs) - inputs.sum(dim=1, keepdim=True)).square().mean()

    fit(model, loss_of_step, recipe, checkpoint=folder / "a.pt", log=folder / "a.jsonl")


def _line() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(2, 1)


def test_fit_learns_and_logs(tmp_path: Path) -> None:
    model = _line()
    _regress(model, tmp_path, Recipe(steps=200, lr=0.05, warmup=2, ema=0.9))
    assert torch.allclose(model.weight, torch.ones(1, 2), atol=0.05)
    assert (tmp_path / "a.jsonl").read_text().count("step") == 1


class _Stop(Exception):
    pass


def test_an_interrupted_fit_ends_with_the_same_weights(tmp_path: Path) -> None:
    whole = _line()
    _regress(whole, tmp_path / "whole")
    broken = _line()

    def stop() -> dict[str, float]:
        raise _Stop

    with pytest.raises(_Stop):
        fit(
            broken,
            lambda step: _loss(broken, step),
            RECIPE,
            checkpoint=tmp_path / "b" / "a.pt",
            log=tmp_path / "b.jsonl",
            evaluate=stop,
        )
    resumed = _line()
    _regress(resumed, tmp_path / "b")
    assert torch.equal(whole.weight, resumed.weight)


def _loss(model: nn.Linear, step: int) -> torch.Tensor:
    inputs = torch.randn(16, 2, generator=torch.Generator().manual_seed(step))
    return (model(inputs) - inputs.sum(dim=1, keepdim=True)).square().mean()


def test_learning_rate_is_a_trapezoid() -> None:
    recipe = Recipe(steps=100, lr=1.0, warmup=10, cooldown=0.2)
    assert learning_rate(recipe, 0) == pytest.approx(0.1)
    assert learning_rate(recipe, 50) == 1.0
    assert learning_rate(recipe, 90) == pytest.approx(0.5)
    assert learning_rate(recipe, 99) == pytest.approx(0.05)


def test_swapped_gives_the_values_back() -> None:
    model, average = _line(), torch.zeros(1, 2)
    before = model.weight.clone()
    with swapped([model.weight], [average]):
        assert not model.weight.any()
        assert torch.equal(average, before)
    assert torch.equal(model.weight, before)
    assert not average.any()
