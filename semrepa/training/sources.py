"""What a training run starts from: batches of the store, frozen networks, and a record of both."""

import dataclasses
import hashlib
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from typing import Any, Literal, TypeVar

import torch
from diffusers import CogVideoXTransformer3DModel, ModelMixin
from torch import nn

from semrepa import weights
from semrepa.config import Config, FinetuneConfig, TrainConfig
from semrepa.data.dataset import Batch, StoreDataset, batch_indices
from semrepa.data.store import FeatureStore
from semrepa.models.cogvideox import PARTS, CogVideoX
from semrepa.models.freeze import freeze
from semrepa.models.identity import IdentityAligner
from semrepa.models.lora import add_lora
from semrepa.models.structure import StructureAligner
from semrepa.models.transformer import compile_blocks
from semrepa.runtime import pick_device
from semrepa.training.alignment import Aligners
from semrepa.training.evaluate import Heldout
from semrepa.training.portion import NETWORK, own_random_numbers
from semrepa.training.processes import this_process

M = TypeVar("M", StructureAligner, IdentityAligner)
N = TypeVar("N", bound=ModelMixin)


def training_stream(
    store: FeatureStore, ids: Sequence[str], config: TrainConfig, seed: int
) -> Callable[[int], Iterator[list[Batch]]]:
    """Make the data of a run: in each step, the share that this process has of the step's batch.

    Args:
        store: prepared features.
        ids: training clips.
        config: clips per step over all processes, and into how many portions each process cuts its own.
        seed: seed of the order.

    Returns:
        A function from a step (0 is the first) to the endless stream of shares from there on, in portions.

    Raises:
        ValueError: no clips, clips without a record, or a batch that cannot be shared evenly.
    """
    state = this_process()
    size, parts = config.batch_size, state.num_processes * config.accumulate
    if size % parts:
        raise ValueError(
            f"batch_size: got {size} for {state.num_processes} processes and accumulate={config.accumulate}; "
            f"expected a multiple of {parts}; use {size - size % parts or parts}"
        )
    dataset, portion = StoreDataset(store, ids), size // parts
    first = state.process_index * config.accumulate * portion

    def stream(start: int) -> Iterator[list[Batch]]:
        for step in count(start):
            places = batch_indices(len(dataset), size, seed, step)
            starts = range(first, first + config.accumulate * portion, portion)
            yield [dataset.batch(places[start : start + portion]) for start in starts]

    return stream


def heldout_batches(store: FeatureStore, ids: Sequence[str], batch_size: int) -> Iterator[Heldout]:
    """Read the held-out clips of this process in a fixed order.

    All processes have equally many, so that they stay in step where they share weights; what the last ones
    lack is filled up with clips that do not count.

    Args:
        store: prepared features.
        ids: held-out clips of all processes; none give no batches.
        batch_size: clips per batch of all processes together; the last one may be smaller.

    Yields:
        Batches on the device of the run.
    """
    if not ids:
        return
    process, dataset, device = this_process(), StoreDataset(store, ids), pick_device()
    share, size = -(-len(ids) // process.num_processes), max(1, batch_size // process.num_processes)
    own = range(process.process_index * share, (process.process_index + 1) * share)
    for first in range(0, share, size):
        places = own[first : first + size]
        batch = dataset.batch([min(place, len(ids) - 1) for place in places]).to(device)
        counts = torch.tensor([place < len(ids) for place in places], device=device)
        yield Heldout(batch=batch, places=tuple(places), counts=counts)


def store_record(store: FeatureStore, ids: Sequence[str]) -> dict[str, Any]:
    """Describe the data of a run for its checkpoints.

    Args:
        store: prepared features.
        ids: training clips.

    Returns:
        Fingerprint of the store and a hash of the names of the clips.
    """
    return {"store": store.fingerprint, "clips": hashlib.sha256("\n".join(ids).encode()).hexdigest()[:16]}


def weights_record(model: nn.Module | None) -> str | None:
    """Hash of a network's weights, for checkpoints: names, shapes and the first values of each tensor.

    Args:
        model: any network, or None.

    Returns:
        16 hexadecimal digits, or None.
    """
    if model is None:
        return None
    digest = hashlib.sha256()
    for name, value in model.state_dict().items():
        digest.update(f"{name} {tuple(value.shape)} ".encode())
        digest.update(value.detach().flatten()[:4096].cpu().double().numpy().tobytes())
    return digest.hexdigest()[:16]


def load_base(cfg: Config) -> CogVideoX:
    """Load the base model, its transformer in the type it is trained in; see `semrepa.weights.load_base`."""
    dtype = None if cfg.finetune.mode == "lora" else getattr(torch, cfg.finetune.weights_dtype)
    trained = weights.load_base(cfg, ("transformer",), dtype=dtype)
    frozen = weights.load_base(cfg, [part for part in PARTS if part != "transformer"])
    return dataclasses.replace(frozen, transformer=trained.transformer)


def trainable(network: N, config: TrainConfig) -> N:
    """Make a network ready to be trained as a whole: see also `economical`.

    Args:
        network: a diffusers model, changed in place.
        config: type of its weights; whether activations are kept or computed again, and blocks compiled.

    Returns:
        The same network, with gradients.

    Raises:
        ValueError: gradient checkpointing or compiled blocks of a network that has none.
    """
    network = network.to(getattr(torch, config.weights_dtype)).requires_grad_(True)
    return economical(network, config)


def trainable_lora(
    transformer: CogVideoXTransformer3DModel, config: FinetuneConfig, frozen: torch.dtype, seed: int
) -> CogVideoXTransformer3DModel:
    """Make a transformer ready to be trained by LoRA.

    Args:
        transformer: changed in place.
        config: rank, alpha and layers, and as for `trainable`.
        frozen: type of its own weights.
        seed: seed of the new matrices.

    Returns:
        The same transformer, with gradients for the new matrices only.

    Raises:
        ValueError: no layer has one of the names.
    """
    names = {"rank": config.lora_rank, "alpha": config.lora_alpha, "targets": config.lora_targets}
    with own_random_numbers(seed, 0, 0, NETWORK):
        add_lora(transformer.to(frozen), **names)
    for parameter in transformer.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.to(getattr(torch, config.weights_dtype))
    return economical(transformer, config)


def economical(network: N, config: TrainConfig) -> N:
    """Have a network save memory by gradient checkpointing, or time by compiled blocks, where wanted.

    Args:
        network: a diffusers model, changed in place.
        config: says what is wanted.

    Returns:
        The same network.

    Raises:
        ValueError: gradient checkpointing or compiled blocks of a network that has none.
    """
    if config.gradient_checkpointing:
        network.enable_gradient_checkpointing()
    if config.compile:
        compile_blocks(network)
    return network


def load_aligners(cfg: Config) -> Aligners:
    """Load the frozen aligners, those that have weights.

    Args:
        cfg: names their folders; in mini the shipped ones stand in for those not named.

    Returns:
        The aligners in float32.

    Raises:
        FileNotFoundError: a named folder holds no aligner.
    """
    structure = _load(StructureAligner, cfg, "structure")
    identity = _load(IdentityAligner, cfg, "identity")
    return Aligners(structure=structure, identity=identity)


def _load(kind: type[M], cfg: Config, role: Literal["structure", "identity"]) -> M | None:
    """One aligner from its named folder, else the shipped one where it fits, else none."""
    folder = weights.locate(cfg, role).path
    if folder is None:
        return None
    if not (folder / "config.json").is_file():
        raise FileNotFoundError(
            f"{role}.weights: got {folder}, which holds no aligner; expected a folder written by "
            f"pretrain_{role}; pretrain one, or set it to None for the shipped one (mini)"
        )
    return freeze(kind.from_pretrained(folder).float())
