"""Attention that is quick to train on a CPU in bfloat16.

The fused kernel of torch keeps little memory, but on a CPU its backward pass takes half of a training step
of the mini transformer. Written out, the same attention is two batched products around a softmax, which the
matrix units of the processor take in bfloat16: see `python -m benchmarks.attention`. Elsewhere (GPU, float32,
sampling) the fused kernel is the better one and stays.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode


def training_attention(device: torch.device) -> AbstractContextManager[Any]:
    """Context for the forward pass of a transformer: picks the attention whose backward pass is quick.

    Args:
        device: where the transformer is.

    Returns:
        `WrittenOut` when gradients are recorded on a CPU under bfloat16 autocast, else a context that does
        nothing.
    """
    wanted = (
        device.type == "cpu"
        and torch.is_grad_enabled()
        and torch.is_autocast_enabled("cpu")
        and torch.get_autocast_dtype("cpu") is torch.bfloat16
    )
    return WrittenOut() if wanted else nullcontext()


class WrittenOut(TorchFunctionMode):
    """Inside a `with` block, plain calls of scaled dot-product attention go to `attention`."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Pass a call on, or answer it.

        Args:
            func: what was called.
            types: classes of its arguments.
            args: its positional arguments.
            kwargs: its named arguments.

        Returns:
            What `func` returns, up to rounding.
        """
        del types
        named = dict(kwargs or {})
        plain = {"attn_mask": None, "dropout_p": 0.0, "is_causal": False}
        if (
            func is functional.scaled_dot_product_attention
            and len(args) + len(named.keys() - plain) == 3
            and all(named.get(name, value) == value for name, value in plain.items())
        ):
            given = dict(zip(("query", "key", "value"), args, strict=False)) | named
            return attention(given["query"], given["key"], given["value"])
        return func(*args, **named)


def attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Softmax(query key^T / sqrt(d)) value in bfloat16, for each sample and head.

    Args:
        query: (b, heads, n, d).
        key: (b, heads, m, d).
        value: (b, heads, m, d).

    Returns:
        (b, heads, n, d) in bfloat16.
    """
    batch, heads, tokens, width = query.shape
    with torch.autocast("cpu", enabled=False):
        query, key, value = (x.to(torch.bfloat16).flatten(0, 1) for x in (query, key, value))
        scores = torch.bmm(query / math.sqrt(width), key.transpose(1, 2))
        return torch.bmm(scores.softmax(dim=-1), value).view(batch, heads, tokens, value.shape[-1])
