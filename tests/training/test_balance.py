"""Gradients of the terms of a loss: exact where they are small, folded where they are not."""

import pytest
import torch
from torch import nn

from semrepa.training import balance
from semrepa.training.balance import gradient_balance


@pytest.fixture
def weights():
    """Two tensors of weights, 60,000 numbers."""
    draw = torch.Generator().manual_seed(0)
    return [nn.Parameter(torch.randn(shape, generator=draw)) for shape in ((200, 250), (10_000,))]


@pytest.fixture
def directions(weights):
    """Gradients of three terms: two that agree somewhat, and one that touches the second tensor only."""
    draw = torch.Generator().manual_seed(1)
    first, other = ([torch.randn(w.shape, generator=draw) for w in weights] for _ in range(2))
    return {
        "diff": first,
        "struct": [0.3 * a + 0.4 * b for a, b in zip(first, other, strict=True)],
        "id": [torch.zeros(weights[0].shape), other[1]],
    }


def terms(weights, directions, share=1.0):
    """Terms of a loss with these gradients."""
    return {
        name: share * sum((w * g).sum() for w, g in zip(weights, parts, strict=True) if g.any())
        for name, parts in directions.items()
    }


def exact(directions):
    flat = {name: torch.cat([part.flatten() for part in parts]) for name, parts in directions.items()}
    found = {f"grad_{name}": vector.norm().item() for name, vector in flat.items()}
    for a, b in (("diff", "struct"), ("diff", "id"), ("struct", "id")):
        found[f"cos_{a}_{b}"] = torch.cosine_similarity(flat[a], flat[b], dim=0).item()
    return found


def test_small_gradients_are_compared_exactly(weights, directions):
    found = gradient_balance([terms(weights, directions)], weights)
    assert found == pytest.approx(exact(directions), rel=1e-4, abs=1e-6)
    assert found["cos_diff_struct"] == pytest.approx(0.6, abs=0.02)
    assert all(weight.grad is None for weight in weights)


def test_folded_gradients_keep_norms_and_cosines(weights, directions, monkeypatch):
    monkeypatch.setattr(balance, "PLACES", 4096)  # 15 numbers in each place; an error of 1/64
    found, expected = gradient_balance([terms(weights, directions)], weights), exact(directions)
    for name in expected:
        scale = expected[name] if name.startswith("grad_") else 1
        assert abs(found[name] - expected[name]) < 4 / 64 * scale, name
    assert found != pytest.approx(expected, rel=1e-6)


def test_numbers_that_share_a_place_do_not_add_up_by_their_sign(weights, monkeypatch):
    """Without random signs a gradient of ones would be thought 15 times too long."""
    monkeypatch.setattr(balance, "PLACES", 4096)
    ones = {"diff": [torch.ones(weight.shape) for weight in weights]}
    found = gradient_balance([terms(weights, ones)], weights)["grad_diff"]
    assert found == pytest.approx(60_000**0.5, rel=4 / 64)


@pytest.mark.parametrize("places", [4096, 2**24])
def test_portions_add_up(weights, directions, monkeypatch, places):
    monkeypatch.setattr(balance, "PLACES", places)
    whole = gradient_balance([terms(weights, directions)], weights)
    parts = (terms(weights, directions, share) for share in (0.25, 0.75))
    assert gradient_balance(parts, weights) == pytest.approx(whole, rel=1e-4, abs=1e-6)


def test_processes_add_up_also_where_one_has_no_such_term(weights, directions):
    """Two processes in turn: the second adds to what the first has left; it lacks the identity loss."""
    sent: list[torch.Tensor] = []
    names = ("diff", "struct", "id", "never")
    one, two = terms(weights, directions, 0.25), terms(weights, directions, 0.75)
    del two["id"]
    gradient_balance([one], weights, names, lambda numbers: sent.append(numbers.clone()) or numbers)
    found = gradient_balance([two], weights, names, lambda numbers: numbers + sent.pop(0))
    assert sent == []
    expected = exact(directions)
    assert set(found) == set(expected)
    assert found["grad_diff"] == pytest.approx(expected["grad_diff"], rel=1e-4)
    assert found["grad_id"] == pytest.approx(0.25 * expected["grad_id"], rel=1e-4)
    assert found["cos_diff_id"] == pytest.approx(expected["cos_diff_id"], abs=1e-4)


def test_weights_that_are_spread_over_processes_are_refused(weights, directions, monkeypatch):
    monkeypatch.setattr(balance, "DTensor", nn.Parameter)
    with pytest.raises(ValueError, match=r"probe_every: got weights that are spread.*set both to 0"):
        gradient_balance([terms(weights, directions)], weights)
