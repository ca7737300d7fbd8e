"""Pretraining of the two aligners on stored latents (Eq. 2 to 7, Sec. 4.2)."""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import nn

from semrepa.config import Config, TrainConfig
from semrepa.data.dataset import Batch
from semrepa.data.store import FeatureStore
from semrepa.diffusion import alphas_cumprod
from semrepa.models.identity import IdentityAligner
from semrepa.models.structure import StructureAligner
from semrepa.runtime import pick_device, seed_everything
from semrepa.training.checkpoint import publish
from semrepa.training.checks import check_colormap, check_record, record_teachers
from semrepa.training.floors import floors, sample
from semrepa.training.log import StepLog
from semrepa.training.loop import train
from semrepa.training.objectives import IdentityObjective, StructureObjective
from semrepa.training.sources import (
    heldout_batches,
    store_record,
    trainable,
    training_stream,
    weights_record,
)
from semrepa.training.task import Task
from semrepa.training.throughput import throughput
from semrepa.weights import load_base


def pretrain_structure(
    cfg: Config,
    store: FeatureStore,
    run_dir: Path | str,
    *,
    train_ids: Sequence[str],
    heldout_ids: Sequence[str] = (),
    aligner: StructureAligner | None = None,
    resume: bool | None = None,
    allow_change: Sequence[str] = (),
) -> Iterator[StepLog]:
    """Pretrain the structure aligner; it ends up in `run_dir/structure_aligner`.

    Args:
        cfg: `cfg.structure`, `cfg.pretrain_structure` and the seed decide the run.
        store: prepared features.
        run_dir: run folder.
        train_ids: training clips.
        heldout_ids: clips for evaluation.
        aligner: where to start, not changed; None starts from random weights, or as `structure.warm_start`
            says from those of the base model's first layers.
        resume: go on from the last checkpoint of the folder; None: as `cfg.pretrain_structure` says.
        allow_change: settings that may differ from those of that checkpoint, such as `train.lr`.

    Returns:
        One log per step, see `train`; nothing is trained before the first is asked for.

    Raises:
        ValueError: clips without a record; a store with other colours or shapes; a warm start from a base
            model of another width, or beside a given aligner.
        FileNotFoundError: the base model is not on this machine (noisy formulation, warm start).

    Source: Eq. (2) to (5), Sec. 4.2.1.
    """
    config = cfg.pretrain_structure
    stream = _stream(cfg, store, train_ids, config)
    base = load_base(cfg, ("noise_scheduler",)) if cfg.structure.input == "noisy" else None
    table = alphas_cumprod(base.noise_scheduler, pick_device()) if base else None
    trained = trainable(_start(cfg, aligner), config)
    record_teachers(trained, store.fingerprint)
    objective = StructureObjective(trained, table)
    task = Task(
        objective=objective,
        batches=stream,
        speed=throughput().read,
        begin=lambda: cfg.save(Path(run_dir) / "config.json"),
        evaluate=lambda: objective.heldout(heldout_batches(store, heldout_ids, config.batch_size), cfg.seed),
        floors={"loss_struct": floors(store, heldout_ids, train_ids, table)["loss_struct"]},
        export=lambda: publish(trained.save_pretrained, Path(run_dir) / "structure_aligner"),
        recipe=_recipe("pretrain_structure", cfg, "structure", store, train_ids, trained),
    )
    return train(task, config, run_dir, seed=cfg.seed, resume=resume, allow_change=allow_change)


def _start(cfg: Config, aligner: StructureAligner | None) -> StructureAligner:
    """A structure aligner to be trained: a copy of the given one, or a new one."""
    if aligner is None:
        seed_everything(cfg.seed)
        return warm_structure_aligner(cfg) if cfg.structure.warm_start else new_structure_aligner(cfg)
    if cfg.structure.warm_start:
        raise ValueError(
            "got an aligner to start from and structure.warm_start=True; expected one of them; "
            "set structure.warm_start to False, or give no aligner"
        )
    return copy.deepcopy(aligner)


def pretrain_identity(
    cfg: Config,
    store: FeatureStore,
    run_dir: Path | str,
    *,
    train_ids: Sequence[str],
    heldout_ids: Sequence[str] = (),
    aligner: IdentityAligner | None = None,
    resume: bool | None = None,
    allow_change: Sequence[str] = (),
) -> Iterator[StepLog]:
    """Pretrain the identity aligner; it ends up in `run_dir/identity_aligner`.

    Args:
        cfg: `cfg.identity`, `cfg.pretrain_identity` and the seed decide the run.
        store: prepared features.
        run_dir: run folder.
        train_ids: training clips.
        heldout_ids: clips for evaluation.
        aligner: where to start, not changed; None starts from random weights, with inputs normalised by the
            statistics of the training clips.
        resume: go on from the last checkpoint of the folder; None: as `cfg.pretrain_identity` says.
        allow_change: settings that may differ from those of that checkpoint, such as `train.lr`.

    Returns:
        One log per step, see `train`; nothing is trained before the first is asked for.

    Raises:
        ValueError: clips without a record, or a store with other colours or shapes.

    Source: Eq. (6), (7), Sec. 4.2.2.
    """
    config = cfg.pretrain_identity
    stream = _stream(cfg, store, train_ids, config)
    if aligner is None:
        seed_everything(cfg.seed)
        aligner = new_identity_aligner(cfg, sample(store, train_ids))
    trained = trainable(copy.deepcopy(aligner), config)
    record_teachers(trained, store.fingerprint)
    identity = cfg.identity
    objective = IdentityObjective(
        trained, weight_cosine=identity.weight_cosine, noise=identity.noise, shift=identity.shift
    )
    task = Task(
        objective=objective,
        batches=stream,
        speed=throughput().read,
        begin=lambda: cfg.save(Path(run_dir) / "config.json"),
        evaluate=lambda: objective.heldout(heldout_batches(store, heldout_ids, config.batch_size)),
        floors={"loss_id": floors(store, heldout_ids, train_ids)["loss_id"]},
        export=lambda: publish(trained.save_pretrained, Path(run_dir) / "identity_aligner"),
        recipe=_recipe("pretrain_identity", cfg, "identity", store, train_ids, trained),
    )
    return train(task, config, run_dir, seed=cfg.seed, resume=resume, allow_change=allow_change)


def _stream(
    cfg: Config, store: FeatureStore, train_ids: Sequence[str], config: TrainConfig
) -> Callable[[int], Iterator[list[Batch]]]:
    """The clips of a run, after a look at whether they fit the config."""
    stream = training_stream(store, train_ids, config, cfg.seed)
    check_colormap(cfg, store)
    check_record(cfg, store, train_ids)
    return stream


def warm_structure_aligner(cfg: Config) -> StructureAligner:
    """Build a structure aligner that begins with the first layers of the base transformer.

    Args:
        cfg: names the base model; and as for `new_structure_aligner`.

    Returns:
        The aligner, with the base model's size of the timestep's embedding.

    Raises:
        ValueError: the base model has another width, too few layers, or is of version 1.5.
        FileNotFoundError: the base model is not on this machine.
    """
    backbone = load_base(cfg, ("transformer",)).transformer
    aligner = new_structure_aligner(cfg, time_embed_dim=backbone.config.time_embed_dim)
    aligner.warm_start(backbone)
    return aligner


def new_structure_aligner(cfg: Config, time_embed_dim: int | None = None) -> StructureAligner:
    """Build an untrained structure aligner from the global random state.

    Args:
        cfg: its size, its input, the colours of depth and the size of the latents.
        time_embed_dim: size of the timestep's embedding; None: the aligner's own.

    Returns:
        The aligner.
    """
    return StructureAligner(
        num_layers=cfg.structure.num_layers,
        num_heads=cfg.structure.num_heads,
        head_dim=cfg.structure.head_dim,
        sample_height=cfg.video.height // 8,
        sample_width=cfg.video.width // 8,
        structure_input=cfg.structure.input,
        colormap=cfg.depth.colormap,
        time_embed_dim=time_embed_dim,
    )


def new_identity_aligner(cfg: Config, sample: Batch) -> IdentityAligner:
    """Build an untrained identity aligner from the global random state.

    Args:
        cfg: its size, and whether it reads depth.
        sample: clips whose statistics normalise its inputs.

    Returns:
        The aligner.
    """
    identity = cfg.identity
    aligner = IdentityAligner(
        width=identity.width,
        num_blocks=identity.num_blocks,
        channels=sample.latents.shape[2],
        use_depth=identity.use_depth,
        embed_dim=sample.id_embeds.shape[2],
    )
    aligner.set_normalization(sample.latents, sample.depth_latents if identity.use_depth else None)
    return aligner


def _recipe(
    stage: str, cfg: Config, section: str, store: FeatureStore, train_ids: Sequence[str], start: nn.Module
) -> Mapping[str, Any]:
    chosen = {name: value for name, value in asdict(getattr(cfg, section)).items() if name != "weights"}
    data = store_record(store, train_ids)
    return {"stage": stage, section: chosen, "start": weights_record(start), "data": data}
