"""How hard each term of the loss pulls at the trained weights, and whether the terms agree.

A gradient of 5.6 billion weights takes 22 GB, and comparing three would need three of them at once. So each
is folded as soon as it is there: its numbers are dealt out in turn to `PLACES` sums, with random signs that
are the same for all gradients. Sums of folded gradients are the folded sums, so that portions and processes
add up; norms and cosines stay what they were, up to an error of about 1 / sqrt(PLACES). Gradients of no more
than `PLACES` numbers are compared exactly.

Source: count sketch, Charikar et al. 2002; its dot products are right on average.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import combinations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributed.tensor import DTensor

from semrepa.shapes import Scalar
from semrepa.training.processes import summed, this_process

PLACES = 2**24
"""Sums that a gradient is folded into: 64 MiB for each term of the loss. Ours."""


def gradient_balance(
    portions: Iterable[Mapping[str, Scalar]],
    parameters: Sequence[Tensor],
    names: Sequence[str] | None = None,
    add: Callable[[Tensor], Tensor] | None = None,
) -> dict[str, float]:
    """Measure the gradient of each term of the loss.

    Args:
        portions: terms of the loss by name for each portion of the batch, those of one sharing a graph.
        parameters: trained weights.
        names: terms that any process may have; None: those that this one has.
        add: sums numbers over the processes that share the batch, which must all call this; None: there is
            only one.

    Returns:
        `grad_<name>`: norm of the term's gradient over the whole batch; `cos_<a>_<b>`: cosine between two
        gradients, 0 where one of them vanishes. Terms that no portion had are left out.

    Raises:
        ValueError: weights that are spread over processes.
    """
    _check_whole(parameters)
    folded: dict[str, Tensor] = {}
    for pulls in map(partial(_pulls, parameters), portions):  # keeps no graph while the next one is made
        for name, pull in pulls.items():
            folded[name] = folded[name].add_(pull) if name in folded else pull
    if add is not None:
        folded = _summed(folded, names or list(folded), parameters, add)
    # In float64: sums of 16 million squares in float32 are wrong in the third digit on a CPU.
    norms = {name: torch.linalg.vector_norm(pull, dtype=torch.float64) for name, pull in folded.items()}
    values = {f"grad_{name}": norm.item() for name, norm in norms.items()}
    for a, b in combinations(folded, 2):
        dot, scale = (folded[a].double() * folded[b]).sum(), norms[a] * norms[b]
        values[f"cos_{a}_{b}"] = (dot / scale).item() if scale else 0.0
    return values


def over_processes() -> Callable[[Tensor], Tensor] | None:
    """Give what sums numbers over all processes; None where there is only one."""
    return None if this_process().num_processes == 1 else summed


def _check_whole(parameters: Sequence[Tensor]) -> None:
    if any(isinstance(parameter, DTensor) for parameter in parameters):
        raise ValueError(
            "balance_every, probe_every: got weights that are spread over processes (FSDP); "
            "expected whole weights on each; set both to 0, or train with DDP or ZeRO-2"
        )


def _pulls(parameters: Sequence[Tensor], terms: Mapping[str, Scalar]) -> dict[str, Tensor]:
    """Folded gradient of each term."""
    found = {}
    for name, term in terms.items():
        gradient = torch.autograd.grad(term, parameters, retain_graph=True, allow_unused=True)
        found[name] = _folded(gradient, parameters)
    return found


def _places(parameters: Sequence[Tensor]) -> int:
    return min(PLACES, sum(parameter.numel() for parameter in parameters))


def _folded(gradient: Sequence[Tensor | None], parameters: Sequence[Tensor]) -> Float[Tensor, " places"]:
    """Deal the numbers of a gradient out in turn, with random signs where a place gets more than one."""
    total = sum(parameter.numel() for parameter in parameters)
    sums = torch.zeros(_places(parameters), device=parameters[0].device)
    begun = 0
    for part, parameter in zip(gradient, parameters, strict=True):
        if part is not None:
            _deal(part.flatten(), begun, sums, signed=total > len(sums))
        begun += parameter.numel()
    return sums


def _deal(numbers: Tensor, begun: int, sums: Tensor, *, signed: bool) -> None:
    """Add numbers to the places that follow the first `begun` numbers, going round."""
    while len(numbers):
        place = begun % len(sums)
        now = numbers[: len(sums) - place].float()
        if signed:
            generator = torch.Generator(now.device).manual_seed(begun)
            heads = torch.randint(0, 2, now.shape, generator=generator, device=now.device, dtype=torch.int8)
            now = now * (2 * heads - 1)
        sums[place : place + len(now)] += now
        numbers, begun = numbers[len(now) :], begun + len(now)


def _summed(
    folded: Mapping[str, Tensor],
    names: Sequence[str],
    parameters: Sequence[Tensor],
    add: Callable[[Tensor], Tensor],
) -> dict[str, Tensor]:
    """Sums over processes, of which some may not have computed every term."""
    empty = torch.zeros(_places(parameters), device=parameters[0].device)
    counted = add(torch.tensor([float(name in folded) for name in names])).tolist()
    sums = {name: add(folded.get(name, empty)) for name in names}
    return {name: sums[name] for name, known in zip(names, counted, strict=True) if known}
