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
def pretend(*, autocast: bool) -> Iterator[None]:
    """Context in which tensors have shapes only, and networks keep what they would keep on a GPU.

    They are tensors of the CPU, since torch without CUDA cannot even pretend to have some of the GPU.

    Args:
        autocast: compute in bfloat16 as `semrepa.runtime.autocast` does on a GPU.
    """
    before = torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu")
    torch.set_autocast_enabled("cpu", autocast)
    torch.set_autocast_dtype("cpu", torch.bfloat16)
    try:
        with FakeTensorMode(), _AsOnGpu():
            yield
    finally:
        torch.clear_autocast_cache()
        torch.set_autocast_enabled("cpu", before[0])
        torch.set_autocast_dtype("cpu", before[1])


def kept_bytes(run: Callable[[], object], own: Sequence[nn.Module]) -> int:
    """Count what a forward pass keeps for the backward pass.

    Args:
        run: the forward pass of networks made inside `pretend`; call this there, too.
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
        run: any function of tensors made inside `pretend`; call this there, too.
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


class _AsOnGpu(TorchFunctionMode):
    """Does what a GPU does otherwise: attention in one kernel, and some operations of autocast in float32."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        del types
        named = dict(kwargs or {})
        autocast = torch.is_autocast_enabled("cpu")
        if func is functional.scaled_dot_product_attention and named.get("attn_mask") is None:
            given = dict(zip(("query", "key", "value"), args, strict=False)) | named
            parts = [given[name] for name in ("query", "key", "value")]
            parts = [part.to(torch.bfloat16) for part in parts] if autocast else parts
            return torch.ops.aten._scaled_dot_product_flash_attention(*parts)[0]
        if autocast and func in _PRECISE:
            args = [_float32(value) for value in args]
            named = {name: _float32(value) for name, value in named.items()}
        return func(*args, **named)


_PRECISE = (
    functional.group_norm,
    functional.layer_norm,
    functional.softmax,
    functional.interpolate,
    Tensor.softmax,
)
"""What autocast on a GPU computes in float32, as far as the networks here use it."""


def _float32(value: Any) -> Any:
    return value.float() if isinstance(value, Tensor) else value
