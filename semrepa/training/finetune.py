"""Fine-tuning the diffusion transformer with the combined loss (Eq. 11 and 12, Sec. 4.3)."""

import copy
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch
from diffusers import CogVideoXTransformer3DModel
from torch import nn

from semrepa.config import Config, FinetuneConfig
from semrepa.data.store import FeatureStore
from semrepa.diffusion import alphas_cumprod
from semrepa.models.cogvideox import CogVideoX, encode_prompts
from semrepa.models.freeze import freeze
from semrepa.models.lora import save_lora
from semrepa.models.variants import check_size
from semrepa.runtime import compute_dtype, pick_device
from semrepa.shapes import num_latent_frames
from semrepa.training.alignment import Aligners
from semrepa.training.checkpoint import publish
from semrepa.training.checks import check_aligners, check_colormap, check_record, check_teachers
from semrepa.training.combined import CombinedObjective, Frozen
from semrepa.training.log import StepLog
from semrepa.training.loop import train
from semrepa.training.portion import Portion
from semrepa.training.probe import probe
from semrepa.training.samples import sampler
from semrepa.training.sources import (
    heldout_batches,
    load_aligners,
    load_base,
    store_record,
    trainable,
    trainable_lora,
    training_stream,
    weights_record,
)
from semrepa.training.task import Task
from semrepa.training.throughput import throughput


def finetune(
    cfg: Config,
    store: FeatureStore,
    run_dir: Path | str,
    *,
    train_ids: Sequence[str],
    heldout_ids: Sequence[str] = (),
    parts: CogVideoX | None = None,
    aligners: Aligners | None = None,
    resume: bool | None = None,
    allow_change: Sequence[str] = (),
) -> Iterator[StepLog]:
    """Fine-tune the transformer, for the stock pipeline.

    It ends up as a whole in `run_dir/transformer`, or as LoRA in `run_dir/lora`, for `load_lora_weights`.

    Args:
        cfg: `cfg.finetune`, `cfg.loss`, `cfg.structure`, `cfg.image` and the seed decide the run.
        store: prepared features.
        run_dir: run folder.
        train_ids: training clips.
        heldout_ids: clips for evaluation, probes and samples; without any, the latter take training clips.
        parts: the loaded base model, which stays as it is; None loads the one that `cfg` names.
        aligners: aligners, frozen here; None loads those that `cfg` names.
        resume: go on from the last checkpoint of the folder; None: as `cfg.finetune` says.
        allow_change: settings that may differ from those of that checkpoint, such as `train.lr`.

    Returns:
        One log per step, see `train`; nothing is trained before the first is asked for.

    Raises:
        ValueError: clips without a record, aligners that do not fit the config, an aligner missing, or videos
            of a size that the base model has no positions for; a store of other teachers, colours or shapes.
        FileNotFoundError: weights that are not on this machine.
    """
    config, stream = cfg.finetune, training_stream(store, train_ids, cfg.finetune, cfg.seed)
    aligners = aligners or load_aligners(cfg)
    _check(cfg, store, aligners)
    transformer, frozen = _prepare(parts, cfg, aligners)
    check_record(cfg, store, train_ids, transformer=transformer, aligners=aligners)
    objective, watched = CombinedObjective(transformer, frozen, cfg), (store, heldout_ids or train_ids)
    task = Task(
        objective=objective,
        batches=stream,
        begin=lambda: cfg.save(Path(run_dir) / "config.json"),
        evaluate=lambda: objective.heldout(heldout_batches(store, heldout_ids, config.batch_size), cfg.seed),
        inspect=partial(_balance, objective, config.balance_every) if config.balance_every else None,
        observe=objective.weights.observe,
        monitors=(probe(objective, *watched, cfg), sampler(objective, *watched, cfg, Path(run_dir))),
        speed=throughput(cfg).read,
        state={"loss_weights": objective.weights},
        frozen=_watched(objective),
        floors={"loss_id": {"zero output": cfg.loss.id_floor}},
        export=lambda: _export(transformer, config, Path(run_dir)),
        recipe=_recipe(cfg, store, train_ids, transformer, aligners),
    )
    return train(task, config, run_dir, seed=cfg.seed, resume=resume, allow_change=allow_change)


def _check(cfg: Config, store: FeatureStore, aligners: Aligners) -> None:
    check_aligners(cfg, aligners)
    check_colormap(cfg, store)
    check_teachers(store, aligners)


def _balance(objective: CombinedObjective, every: int, portions: Sequence[Portion]) -> Mapping[str, float]:
    """Gradient norms and cosines of the losses, in every so many steps."""
    return objective.balance(portions) if (portions[0].step - 1) % every == 0 else {}


def _prepare(
    parts: CogVideoX | None, cfg: Config, aligners: Aligners
) -> tuple[CogVideoXTransformer3DModel, Frozen]:
    """Transformer to be trained, and the frozen rest; the text encoder is only needed here, then freed."""
    device = pick_device()
    loaded = parts or load_base(cfg)
    transformer = copy.deepcopy(loaded.transformer) if parts else loaded.transformer
    length, video = transformer.config.max_text_seq_length, cfg.video
    check_size(transformer.config, num_latent_frames(video.num_frames), video.height // 8, video.width // 8)
    frozen = Frozen(
        vae=loaded.vae.to(device),
        aligners=_frozen(aligners, device),
        alphas_cumprod=alphas_cumprod(loaded.noise_scheduler, device),
        empty_prompt=encode_prompts([""], loaded.tokenizer, loaded.text_encoder, length).float().to(device),
        noise_scheduler=loaded.noise_scheduler,
    )
    if cfg.structure.gradient_checkpointing and aligners.structure is not None:
        aligners.structure.enable_gradient_checkpointing()
    if cfg.finetune.mode == "lora":
        dtype = compute_dtype(device, cfg.model.dtype)
        return trainable_lora(transformer, cfg.finetune, dtype, cfg.seed).train(), frozen
    return trainable(transformer, cfg.finetune).train(), frozen


def _export(transformer: CogVideoXTransformer3DModel, config: FinetuneConfig, run_dir: Path) -> None:
    """Write what was trained; what an earlier run of the folder left in the other mode goes."""
    if config.mode == "lora":
        publish(partial(save_lora, transformer), run_dir / "lora")
    else:
        publish(transformer.save_pretrained, run_dir / "transformer")
    shutil.rmtree(run_dir / ("transformer" if config.mode == "lora" else "lora"), ignore_errors=True)


def _frozen(aligners: Aligners, device: torch.device) -> Aligners:
    found = {
        name: freeze(aligner).to(device) for name, aligner in vars(aligners).items() if aligner is not None
    }
    return Aligners(**found)


def _watched(objective: CombinedObjective) -> dict[str, nn.Module]:
    """Networks whose frozen weights must come out of the run as they went in."""
    frozen = objective.frozen
    named = {"VAE": frozen.vae, "transformer": objective.transformer, **vars(frozen.aligners)}
    return {name: network for name, network in named.items() if network is not None}


def _recipe(
    cfg: Config,
    store: FeatureStore,
    train_ids: Sequence[str],
    transformer: CogVideoXTransformer3DModel,
    aligners: Aligners,
) -> dict[str, Any]:
    return {
        "stage": "finetune",
        "structure": {"input": cfg.structure.input, "step": cfg.structure.step},
        "image": asdict(cfg.image),
        "loss": asdict(cfg.loss),
        "struct_schedule": asdict(cfg.struct_schedule),
        "id_schedule": asdict(cfg.id_schedule),
        "start": {
            "transformer": weights_record(transformer),
            "structure": weights_record(aligners.structure),
            "identity": weights_record(aligners.identity),
        },
        "data": store_record(store, train_ids),
    }
