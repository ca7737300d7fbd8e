"""Attention written out for training: the fused kernel's numbers, and only where it is wanted."""

import pytest
import torch
from torch.nn import functional

from semrepa.models.attention import WrittenOut, attention, training_attention


def _inputs(tokens: int = 20) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(2, 3, tokens, 8, generator=generator) for _ in range(3)]


def test_it_equals_the_fused_kernel_up_to_bfloat16() -> None:
    query, key, value = _inputs()
    expected = functional.scaled_dot_product_attention(query, key, value)
    got = attention(query, key, value)
    assert got.dtype is torch.bfloat16
    assert (got.float() - expected).norm() < 0.02 * expected.norm()


def test_keys_and_queries_may_differ_in_number() -> None:
    query, (_, key, value) = _inputs(7)[0], _inputs(20)
    expected = functional.scaled_dot_product_attention(query, key, value)
    assert (attention(query, key, value).float() - expected).norm() < 0.02 * expected.norm()


def test_gradients_equal_those_of_float64() -> None:
    inputs, found = _inputs(), {}
    for name, dtype, function in (
        ("exact", torch.float64, functional.scaled_dot_product_attention),
        ("written out", torch.float32, attention),
    ):
        leaves = [x.to(dtype).requires_grad_() for x in inputs]
        function(*leaves).double().square().sum().backward()
        found[name] = [leaf.grad.double() for leaf in leaves if leaf.grad is not None]
    for got, expected in zip(found["written out"], found["exact"], strict=True):
        assert (got - expected).norm() < 0.03 * expected.norm()


@pytest.mark.parametrize("grad", [True, False])
@pytest.mark.parametrize("autocast", [True, False])
def test_it_is_used_when_training_in_bfloat16_on_a_cpu_only(grad: bool, autocast: bool) -> None:
    with torch.set_grad_enabled(grad), torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        chosen = training_attention(torch.device("cpu"))
        assert isinstance(chosen, WrittenOut) == (grad and autocast)
        assert not isinstance(training_attention(torch.device("cuda")), WrittenOut)


def test_inside_the_block_plain_calls_are_answered_and_others_are_passed_on() -> None:
    query, key, value = _inputs()
    mask = torch.ones(20, 20, dtype=torch.bool).tril()
    expected = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    with WrittenOut():
        plain = functional.scaled_dot_product_attention(
            query, key=key, value=value, dropout_p=0.0, is_causal=False
        )
        masked = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        causal = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
    assert plain.dtype is torch.bfloat16
    torch.testing.assert_close(masked, expected)
    torch.testing.assert_close(causal, expected)
    assert functional.scaled_dot_product_attention(query, key, value).dtype is torch.float32
