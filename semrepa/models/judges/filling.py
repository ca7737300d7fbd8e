"""Gives a network its weights, from a file or by chance, and says which."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from semrepa.models.freeze import freeze
from semrepa.models.tensors import differences, not_numbers, read_tensors
from semrepa.provenance import Kind, Provenance

RANDOM_SEED = 0
"""Seed of random weights, so that their numbers too can be made again."""

Rename = Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]]


@contextmanager
def full_precision() -> Iterator[None]:
    """Within this context convolutions on a GPU keep all bits of float32, which they round to ten otherwise.

    Yields:
        Nothing.
    """
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        yield


def fill(
    network: nn.Module,
    file: Path,
    what: str,
    *,
    rename: Rename = dict,
    optional: Iterable[str] = (),
) -> None:
    """Put the tensors of a file into a network and freeze it.

    Args:
        network: changed in place.
        file: safetensors, or written by `torch.save`; code in it is never run.
        what: what it should hold, for messages.
        rename: from names in the file to those of the network; leaves out what is not needed.
        optional: ends of names that may be missing.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, or of another network; says which names.
    """
    tensors = {name: tensor.float() for name, tensor in rename(read_tensors(file, what)).items()}
    optional = tuple(optional)
    if listed := differences(tensors, network, optional):
        raise ValueError(f"{what} {file}: got tensors of another network; {listed}; use the published file")
    if odd := not_numbers(tensors):
        raise ValueError(f"{what} {file}: got tensors that are not finite numbers: {odd}; fetch it again")
    network.load_state_dict(tensors, strict=not optional)
    freeze(network)


def randomised(make: Callable[[], nn.Module]) -> nn.Module:
    """Make a network with random weights that depend on nothing but `RANDOM_SEED`.

    Args:
        make: makes it.

    Returns:
        The network, frozen.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(RANDOM_SEED)
        return freeze(make())


def record(name: str, file: Path | None, kind: Kind | None) -> Provenance:
    """Where the weights of a judge come from.

    Args:
        name: what judges, with all that its numbers depend on.
        file: its weights; None: random ones.
        kind: what they count as; None: as `Provenance.of` says.

    Returns:
        The record.
    """
    if file is None:
        return Provenance(name=name, source=f"random weights, seed {RANDOM_SEED}", kind="random")
    return Provenance.of(name, file, kind=kind)
