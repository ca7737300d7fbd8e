"""Costs counted by running the real networks on tensors that have shapes but no numbers.

Nothing is computed and no memory is taken, so a network of any size can be counted on any machine.
"""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd.graph import saved_tensors_hooks
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode

from semrepa.models.video_depth_anything.memory import LiveTensors


P = ParamSpec("P")
R = TypeVar("R")


def remembered(count: Callable[P, R]) -> Callable[P, R]:
    """Keep the answers of a function that counts, by its arguments: stages share them."""
    known: dict[str, R] = {}

    @functools.wraps(count)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        key = repr((args, sorted(kwargs.items())))
        if key not in known:
            known[key] = count(*args, **kwargs)
        return known[key]

    return wrapper


def count_flops(run: Callable[[], object]) -> int:
    """Count multiplications and additions, each as one.

    Args:
        run: runs networks on the meta device, backward passes included.

    Returns:
        FLOP of matrix products, convolutions and attention; the rest is small and not counted.
    """
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


@contextmanager
def pretend(*, gpu: bool, autocast: bool) -> Iterator[torch.device]:
    """Context in which tensors have shapes only, but behave as on a device.

    Args:
        gpu: as on a CUDA GPU with its fused attention; else as on a CPU. Backward passes need a CPU.
        autocast: compute in bfloat16 as `semrepa.runtime.autocast` does on a GPU.

    Yields:
        The device for networks and tensors, which must be made inside.
    """
    before = torch.is_autocast_enabled("cuda"), torch.get_autocast_dtype("cuda")
    torch.set_autocast_enabled("cuda", gpu and autocast)
    torch.set_autocast_dtype("cuda", torch.bfloat16)
    try:
        with FakeTensorMode(), _FusedAttention():
            yield torch.device("cuda" if gpu else "cpu")
    finally:
        torch.clear_autocast_cache()
        torch.set_autocast_enabled("cuda", before[0])
        torch.set_autocast_dtype("cuda", before[1])


def kept_bytes(run: Callable[[], object], own: Sequence[nn.Module]) -> int:
    """Count what a forward pass keeps for the backward pass.

    Args:
        run: the forward pass; call this inside `pretend`.
        own: the networks, whose weights do not count; casts of them do.

    Returns:
        Bytes, each storage once.
    """
    weights = {_key(tensor) for tensor in _weights(own)}
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        if _key(tensor) not in weights:
            kept[_key(tensor)] = tensor
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor):
        _result = run()
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


def peak_bytes(run: Callable[[], object], own: Sequence[nn.Module] = ()) -> int:
    """Count the most memory that is taken at once by what a function makes.

    Args:
        run: any function of tensors; call this inside `pretend`.
        own: the networks it runs, whose weights do not count; casts of them do.

    Returns:
        Bytes; the scratch memory of kernels and the gaps between blocks are not in it.
    """
    with LiveTensors() as live:
        live.add(_weights(own))
        before = live.live
        _result = run()
    return live.peak - before


def _weights(own: Sequence[nn.Module]) -> list[Tensor]:
    return [tensor for module in own for tensor in (*module.parameters(), *module.buffers())]


def _key(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata


class _FusedAttention(TorchFunctionMode):
    """Plain attention as GPUs do it: one kernel that never keeps the scores."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        del types
        named = dict(kwargs or {})
        if func is not functional.scaled_dot_product_attention or named.get("attn_mask") is not None:
            return func(*args, **named)
        given = dict(zip(("query", "key", "value"), args, strict=False)) | named
        query, key, value = given["query"], given["key"], given["value"]
        if query.device.type == "cuda" and torch.is_autocast_enabled("cuda"):
            query, key, value = (tensor.to(torch.bfloat16) for tensor in (query, key, value))
        return torch.ops.aten._scaled_dot_product_flash_attention(query, key, value)[0]
