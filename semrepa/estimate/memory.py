"""How much memory one GPU needs in each stage, part by part."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace

import torch

from semrepa.config import Config, FinetuneConfig, TrainConfig
from semrepa.estimate.formulas import (
    Precision,
    block_bytes,
    cast_bytes,
    sample_bytes,
    state_bytes,
    step_bytes,
)
from semrepa.estimate.networks import (
    FACE_PARAMETERS,
    PERSON_PARAMETERS,
    depth_bytes,
    identity_bytes,
    parameters,
    vae_bytes,
)
from semrepa.estimate.work import Sizes, Stage, runs_structure
from semrepa.models.blueprints import blueprint

PARTS = (
    "weights",
    "gradients",
    "optimizer",
    "average",
    "frozen weights",
    "bfloat16 copies",
    "activations",
    "optimizer scratch",
)
"""Names of the parts, in the order in which they are stacked."""


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Memory of one GPU at the peak of a stage."""

    stage: Stage
    """Stage of the run."""
    how: str
    """How it is run, where there is a choice."""
    parts: Mapping[str, float]
    """Bytes by part, names from `PARTS`."""
    changes: Mapping[str, object] = field(default_factory=dict)
    """Settings by which it would be run so; empty: the config runs it so."""

    @property
    def chosen(self) -> bool:
        """Whether the config runs it so."""
        return not self.changes

    @property
    def standing(self) -> str:
        """Whether the config runs it so, in words."""
        return "as configured" if self.chosen else "not chosen"

    @property
    def total(self) -> float:
        """Bytes in all, without what the driver and the allocator take, about 1 GiB."""
        return sum(self.parts.values())


def all_memory(cfg: Config, sizes: Sizes, *, gpus: int, gpu: bool) -> tuple[Memory, ...]:
    """List the memory of all stages.

    Args:
        cfg: resolved config.
        sizes: its networks.
        gpus: GPUs that share a batch.
        gpu: as on a GPU, in bfloat16; else as on a CPU, in float32.

    Returns:
        One entry per stage; fine-tuning also in other ways, see `finetuning`.
    """
    tuned = finetuning(cfg, sizes, gpus=gpus, gpu=gpu)
    return (
        preparation(cfg, sizes, gpu=gpu),
        structure_pretraining(cfg, sizes, gpus=gpus, gpu=gpu),
        identity_pretraining(cfg, sizes, gpus=gpus, gpu=gpu),
        *tuned,
        generation(cfg, sizes, gpu=gpu),
    )


def clips_per_gpu(config: TrainConfig, gpus: int) -> int:
    """Clips of a batch that one GPU holds at a time."""
    return -(-config.batch_size // (gpus * config.accumulate))


def preparation(cfg: Config, sizes: Sizes, *, gpu: bool) -> Memory:
    """Memory of preparing clips one at a time; the text encoder has come and gone before.

    Args:
        cfg: resolved config.
        sizes: its networks.
        gpu: see `all_memory`.

    Returns:
        Peak over the text encoder, the VAE and the depth teacher.
    """
    size, given = _frozen_size(cfg, gpu), sizes.given
    weights = size * parameters(blueprint("vae", given["vae"]))
    working = vae_bytes(given["vae"], cfg.video, "encode", tiling=cfg.model.vae_tiling, gpu=gpu) * (
        1 if gpu else 2
    )
    if teacher := depth_teacher(cfg):
        weights += teacher.parts["frozen weights"]
        working = max(working, teacher.parts["activations"])
    if cfg.preset == "full":
        weights += 4 * (FACE_PARAMETERS + (PERSON_PARAMETERS if cfg.people.detector == "yolov8" else 0))
    text = size * parameters(blueprint("text_encoder", given["text_encoder"]))
    parts = {"frozen weights": float(weights), "activations": float(working)}
    parts = parts if sum(parts.values()) > text else {"frozen weights": float(text)}
    return Memory(stage="prepare", how="one clip at a time", parts=parts)


def depth_teacher(cfg: Config) -> Memory | None:
    """Memory of the depth teacher alone on one clip, a part of preparation; None where depth is exact."""
    depth = cfg.depth
    if depth.teacher == "exact":
        return None
    how = {"input_size": depth.input_size, "frame_batch": depth.frame_batch}
    own, beside = depth_bytes(depth.variant, cfg.video, **how, dtype=getattr(torch, depth.dtype))
    return Memory(
        stage="prepare",
        how=f"Video Depth Anything {depth.variant} in {depth.dtype}, {depth.frame_batch} frames at a time",
        parts={"frozen weights": float(own), "activations": float(beside)},
    )


def structure_pretraining(cfg: Config, sizes: Sizes, *, gpus: int, gpu: bool) -> Memory:
    """Memory of pretraining the structure aligner.

    Args:
        cfg: resolved config.
        sizes: its networks.
        gpus: see `all_memory`.
        gpu: see `all_memory`.

    Returns:
        Memory of one GPU.
    """
    config, precision = cfg.pretrain_structure, _precision(gpu)
    clips, again = clips_per_gpu(config, gpus), config.gradient_checkpointing
    parts = _state(sizes.structure, config)
    parts["activations"] = clips * step_bytes(
        sizes.aligner, trained=True, precision=precision, checkpointing=again
    )
    if gpu:
        parts["bfloat16 copies"] = cast_bytes(sizes.aligner, sizes.structure, trained=True)
    how = _counted(clips) + (", checkpointed" if again else "")
    return Memory(stage="structure aligner", how=how, parts=_with_scratch(parts, sizes.structure))


def identity_pretraining(cfg: Config, sizes: Sizes, *, gpus: int, gpu: bool) -> Memory:
    """Memory of pretraining the identity aligner.

    Args:
        cfg: resolved config.
        sizes: its networks.
        gpus: see `all_memory`.
        gpu: see `all_memory`.

    Returns:
        Memory of one GPU.
    """
    clips = clips_per_gpu(cfg.pretrain_identity, gpus)
    parts = _state(sizes.identity, cfg.pretrain_identity)
    parts["activations"] = _identity_kept(cfg, clips, gpu=gpu, trained=True)
    how = _counted(clips)
    return Memory(stage="identity aligner", how=how, parts=_with_scratch(parts, sizes.identity))


LEAN = {"optimizer": "adamw8bit", "weights_dtype": "bfloat16", "gradient_checkpointing": True}
"""Settings with which all weights are trained in the least memory."""


def finetuning(cfg: Config, sizes: Sizes, *, gpus: int, gpu: bool) -> list[Memory]:
    """Memory of fine-tuning: as the config says, and in other ways.

    Args:
        cfg: resolved config.
        sizes: its networks.
        gpus: see `all_memory`.
        gpu: see `all_memory`.

    Returns:
        As configured, and with the other choice of checkpointing; on a GPU also all weights in bfloat16 with
        8-bit AdamW, and LoRA, where the config does not say so already.
    """
    wanted = [{}, {"gradient_checkpointing": not cfg.finetune.gradient_checkpointing}]
    if gpu:
        wanted += [{**LEAN, "mode": "full"}, {"mode": "lora", "gradient_checkpointing": True}]
    ways: dict[FinetuneConfig, None] = dict.fromkeys(replace(cfg.finetune, **changes) for changes in wanted)
    return [_finetuning_way(cfg, way, sizes, gpus=gpus, gpu=gpu) for way in ways]


def _finetuning_way(cfg: Config, way: FinetuneConfig, sizes: Sizes, *, gpus: int, gpu: bool) -> Memory:
    """Memory of fine-tuning in one way."""
    clips, lora = clips_per_gpu(way, gpus), way.mode == "lora"
    low = way.weights_dtype == "bfloat16" and not lora
    precision: Precision = "bfloat16" if gpu and low else _precision(gpu)
    count = _lora_weights(way, sizes) if lora else sizes.transformer
    parts = _state(count, way) | _frozen_beside(cfg, sizes, gpu)
    if lora:
        parts["frozen weights"] += _frozen_size(cfg, gpu) * sizes.transformer
    again = way.gradient_checkpointing
    parts |= _finetuning_peak(cfg, sizes, clips, precision, trained=not lora, checkpointing=again)
    type_ = "bfloat16" if low else "float32"
    kind = "8-bit AdamW" if way.optimizer != "adamw" else "AdamW"
    how = f"{_counted(clips)}, {'LoRA' if lora else type_} {kind}, "
    how += "checkpointed" if again else "all activations kept"
    usual = asdict(cfg.finetune)
    changes = {f"finetune.{name}": value for name, value in asdict(way).items() if value != usual[name]}
    scratch = count if way.optimizer == "adamw" else 0
    return Memory(stage="fine-tuning", how=how, parts=_with_scratch(parts, scratch), changes=changes)


def _lora_weights(way: FinetuneConfig, sizes: Sizes) -> int:
    """Trained numbers of LoRA: two matrices beside each square one of attention."""
    return sizes.clip.layers * len(way.lora_targets) * 2 * way.lora_rank * sizes.clip.width


def generation(cfg: Config, sizes: Sizes, *, gpu: bool) -> Memory:
    """Memory of generating one video at a time, with all networks on the GPU.

    Args:
        cfg: resolved config.
        sizes: its networks.
        gpu: see `all_memory`.

    Returns:
        Peak over the transformer, which guidance gives two clips at once, and the VAE's decoder.
    """
    size, given = _frozen_size(cfg, gpu), sizes.given
    others = [parameters(blueprint(name, given[name])) for name in ("vae", "text_encoder")]
    guided = 2 if cfg.generate.guidance_scale > 1 else 1
    passing = guided * sample_bytes(sizes.clip, _precision(gpu))
    working = max(passing, vae_bytes(given["vae"], cfg.video, "decode", tiling=cfg.model.vae_tiling, gpu=gpu))
    weights = size * (sizes.transformer + sum(others))
    return Memory(
        stage="generation",
        how="one video at a time",
        parts={"frozen weights": float(weights), "activations": float(working)},
    )


def _finetuning_peak(
    cfg: Config, sizes: Sizes, clips: int, precision: Precision, *, trained: bool, checkpointing: bool
) -> dict[str, float]:
    """Activations and bfloat16 copies at the peak of a step.

    Without checkpointing everything is there when the backward pass begins. With it, what blocks keep is
    there all the time, and beside it one after the other: the copies of all weights (until the transformer
    has answered), all that the aligners keep, all that one block needs.

    Returns:
        Bytes of both.
    """
    aligners, copies = 0.0, 0.0
    if runs_structure(cfg):
        seen = "float32" if precision == "float32" else "autocast"  # aligners stay in float32
        aligners = clips * step_bytes(sizes.aligner, trained=False, precision=seen)
        copies = cast_bytes(sizes.aligner, sizes.structure, trained=False)
    if cfg.loss.weight_id:
        aligners += _identity_kept(cfg, clips, gpu=precision != "float32", trained=False)
    copies = copies if precision != "float32" else 0.0
    held = precision == "bfloat16" or not trained  # weights that are in bfloat16 already
    casts = cast_bytes(sizes.clip, sizes.transformer, trained=True) if precision == "autocast" else 0.0
    casts = 0.0 if held else casts
    how = {"trained": trained, "precision": precision}
    if not checkpointing:
        kept = clips * step_bytes(sizes.clip, **how)
        return {"activations": kept + aligners, "bfloat16 copies": casts + copies}
    whole = clips * step_bytes(sizes.clip, **how, checkpointing=True)
    block = clips * block_bytes(sizes.clip, **how)
    phases = ((block, 0.0), (aligners, copies), (0.0, casts))
    most, copied = max(phases, key=sum)
    return {"activations": whole - block + most, "bfloat16 copies": copied}


def _frozen_beside(cfg: Config, sizes: Sizes, gpu: bool) -> dict[str, float]:
    """Frozen networks that fine-tuning holds: the VAE, and the aligners in float32."""
    vae = _frozen_size(cfg, gpu) * parameters(blueprint("vae", sizes.given["vae"]))
    structure = 4 * sizes.structure if runs_structure(cfg) else 0
    identity = 4 * sizes.identity if cfg.loss.weight_id else 0
    return {"frozen weights": float(vae + structure + identity)}


def _state(count: int, config: TrainConfig) -> dict[str, float]:
    """What is trained, as each of several processes holds it; gradients lie in what they exchange."""
    weight = 2 if config.weights_dtype == "bfloat16" else 4
    return state_bytes(
        count,
        weight=weight,
        gradient=weight,
        optimizer=8 if config.optimizer == "adamw" else 2,
        average=0 if config.ema is None else weight,
    )


def _with_scratch(parts: dict[str, float], count: int) -> dict[str, float]:
    """Adds what AdamW takes beyond the activations, which are gone by then: one float32 number per weight."""
    working = parts["activations"] + parts.get("bfloat16 copies", 0.0)
    return parts | {"optimizer scratch": max(0.0, 4 * count - working)}


def _identity_kept(cfg: Config, clips: int, *, gpu: bool, trained: bool) -> float:
    one, two = (identity_bytes(cfg.identity, cfg.video, n, gpu=gpu, trained=trained) for n in (1, 2))
    return one + (clips - 1) * (two - one)


def _counted(clips: int) -> str:
    return f"{clips} clip" if clips == 1 else f"{clips} clips"


def _precision(gpu: bool) -> Precision:
    return "autocast" if gpu else "float32"


def _frozen_size(cfg: Config, gpu: bool) -> int:
    """Bytes per weight of the base model's frozen networks."""
    return 2 if cfg.model.dtype == "bfloat16" or (gpu and cfg.model.dtype == "auto") else 4
