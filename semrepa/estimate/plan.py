"""The whole estimate of a run: its parts put together, with what does not fit."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from semrepa.config import Config
from semrepa.data.index import read_index
from semrepa.estimate.formulas import record_bytes
from semrepa.estimate.gpus import GIB, Gpu, find_gpu, visible_gpu
from semrepa.estimate.memory import Memory, all_memory
from semrepa.estimate.networks import (
    FACE_PARAMETERS,
    PERSON_PARAMETERS,
    depth_network,
    parameters,
    pixel_loss_bytes,
)
from semrepa.estimate.work import Sizes, Stage, Work, all_work, sizes_of
from semrepa.models.blueprints import blueprint

PAPER_CLIPS = 730_000
"""Clips of people that the paper trains on, Sec. 5.1.1."""
TRIMMED_TOKENS = 100
"""Tokens of a caption of a few sentences, where `data.trim_text` keeps no padding. Ours."""
USABLE = 0.97
"""Share of a GPU's memory that tensors can have; the driver and gaps take the rest."""


@dataclass(frozen=True, kw_only=True)
class StageTime:
    """How long a stage takes on the chosen GPUs, if they are kept busy."""

    stage: Stage
    """Stage of the run."""
    clips: int
    """Clips gone through, repeats included; videos for generation."""
    flops: float
    """FLOP per clip."""
    seconds: float
    """Seconds per clip on one GPU; nan where its speed is not known."""
    days: float
    """Days for all clips on all GPUs."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What a run will cost."""

    preset: str
    """Preset of the run."""
    gpu: Gpu
    """The GPU it is meant for."""
    gpus: int
    """How many of them."""
    clips: int
    """Clips in the feature store."""
    parameters: Mapping[str, int]
    """Weights by network."""
    work: tuple[Work, ...]
    """FLOP by stage and part."""
    memory: tuple[Memory, ...]
    """Memory of one GPU by stage."""
    pixel_loss: float
    """Bytes that a loss on decoded pixels would keep for one clip, which the aligners avoid."""
    record: Mapping[str, int]
    """Bytes of a clip's record in the feature store, by tensor."""
    caption: int
    """Bytes of a caption's features in the text cache, which holds them beside the store and whole."""
    times: tuple[StageTime, ...]
    """Time by stage."""
    warnings: tuple[str, ...]
    """What does not fit or is not known."""

    @property
    def disk(self) -> int:
        """Bytes of the feature store and the text cache; less where clips share captions."""
        return self.clips * (sum(self.record.values()) + self.caption)


def estimate(cfg: Config, *, clips: int | None = None, gpu: str | None = None, gpus: int = 1) -> Estimate:
    """Estimate what a run costs.

    Nothing is loaded or computed: networks are made without weights, so any machine will do.

    Args:
        cfg: resolved config.
        clips: clips to prepare; None: the paper's 730,000 for `full`, those of the sample world for `mini`.
        gpu: name of the GPU, see `find_gpu`; None: the one that torch sees here, else an H100 for `full` and
            the CPU for `mini`.
        gpus: GPUs that share the work.

    Returns:
        The estimate. Fine-tuning and pretraining go through as many clips as their steps and batches say.

    Raises:
        ValueError: an unknown GPU, a count below 1, or a base model whose sizes are not known.
    """
    for name, count in (("clips", clips), ("gpus", gpus)):
        if count is not None and count < 1:
            raise ValueError(f"{name}: got {count}; expected at least 1")
    seen = visible_gpu()
    device = find_gpu(gpu) if gpu else seen or find_gpu("H100" if cfg.preset == "full" else "cpu")
    clips = _usual_clips(cfg) if clips is None else clips
    sizes = sizes_of(cfg)
    work = all_work(cfg, sizes)
    memory = all_memory(cfg, sizes, gpus=gpus, gpu=not device.is_cpu)
    return Estimate(
        preset=cfg.preset,
        gpu=device,
        gpus=gpus,
        clips=clips,
        parameters=_parameters(cfg, sizes),
        work=work,
        memory=memory,
        pixel_loss=pixel_loss_bytes(sizes.given["vae"], cfg.video),
        record=_record(cfg, sizes),
        caption=sizes.clip.text_tokens * sizes.clip.text_features * 2,
        times=_times(cfg, work, device, clips, gpus),
        warnings=tuple(_warnings(cfg, memory, [device, *([seen] if seen else [])], gpus)),
    )


def _parameters(cfg: Config, sizes: Sizes) -> dict[str, int]:
    found = {
        "transformer": sizes.transformer,
        "VAE": parameters(blueprint("vae", sizes.given["vae"])),
        "text encoder": parameters(blueprint("text_encoder", sizes.given["text_encoder"])),
        "structure aligner": sizes.structure,
        "identity aligner": sizes.identity,
    }
    if cfg.depth.teacher != "exact":
        found["depth teacher"] = parameters(depth_network(cfg.depth.variant))
    if cfg.preset == "full":
        found["face teacher"] = FACE_PARAMETERS
    if cfg.people.detector == "yolov8":
        found["person detector"] = PERSON_PARAMETERS
    return found


def _record(cfg: Config, sizes: Sizes) -> Mapping[str, int]:
    video, stack = cfg.video, sizes.clip
    return record_bytes(
        num_frames=video.num_frames,
        height=video.height,
        width=video.width,
        text_tokens=min(stack.text_tokens, TRIMMED_TOKENS) if cfg.data.trim_text else stack.text_tokens,
        text_features=stack.text_features,
    )


def _usual_clips(cfg: Config) -> int:
    index = Path(cfg.data.index)
    if cfg.preset == "full":
        return PAPER_CLIPS
    return cfg.data.extra_train + cfg.data.extra_heldout + (len(read_index(index)) if index.is_file() else 0)


def _times(cfg: Config, work: tuple[Work, ...], gpu: Gpu, clips: int, gpus: int) -> tuple[StageTime, ...]:
    trainings = {
        "structure aligner": cfg.pretrain_structure,
        "identity aligner": cfg.pretrain_identity,
        "fine-tuning": cfg.finetune,
    }
    counts = {stage: config.steps * config.batch_size for stage, config in trainings.items()}
    found = []
    for stage in dict.fromkeys(part.stage for part in work):
        parts = [part for part in work if part.stage == stage]
        count = {"prepare": clips, "generation": 100} | counts
        seconds = sum(part.seconds(gpu) for part in parts)
        found.append(
            StageTime(
                stage=stage,
                clips=count[stage],
                flops=sum(part.flops for part in parts),
                seconds=seconds,
                days=count[stage] * seconds / gpus / 86400,
            )
        )
    return tuple(found)


def _warnings(cfg: Config, memory: tuple[Memory, ...], devices: list[Gpu], gpus: int) -> list[str]:
    """What does not fit, and batches that cannot be shared."""
    found = []
    for gpu in {(gpu.name, gpu.memory): gpu for gpu in devices}.values():
        tight = [entry for entry in memory if entry.chosen and entry.total > USABLE * gpu.memory]
        found += [
            f"{entry.stage} ({entry.how}) needs {entry.total / GIB:.0f} GiB per GPU, {gpu.name} has "
            f"{gpu.memory / GIB:.0f}; {_advice(entry, memory, gpu)}"
            for entry in tight
        ]
    for name in ("pretrain_structure", "pretrain_identity", "finetune"):
        batch = getattr(cfg, name).batch_size
        if batch % gpus:
            found.append(
                f"{name}.batch_size: {batch} clips cannot be shared by {gpus} GPUs; training refuses it"
            )
    if math.isnan(devices[0].transformer):
        found.append(f"the speed of {devices[0].name} is not known; name one that is with --gpu to see times")
    return found


def _advice(entry: Memory, memory: tuple[Memory, ...], gpu: Gpu) -> str:
    """What to do about a stage that does not fit."""
    if entry.stage in ("prepare", "generation"):
        return "set model.vae_tiling to True, or use a GPU with more memory"
    fewer = (
        "" if entry.how.startswith("1 clip") else "raise accumulate, use more GPUs or a smaller batch_size"
    )
    if entry.stage == "structure aligner" and "checkpointed" not in entry.how:
        return f"{fewer or 'use a larger GPU'}, or set pretrain_structure.gradient_checkpointing to True"
    others = [other for other in memory if other.stage == entry.stage and not other.chosen]
    fitting = [other for other in others if other.total <= USABLE * gpu.memory]
    simple = [other for other in fitting if list(other.changes) == ["finetune.gradient_checkpointing"]]
    if simple or (fitting and not fewer):
        fitting = simple or fitting
        changes = " and ".join(f"{name} to {value}" for name, value in fitting[0].changes.items())
        return f"set {changes}: {fitting[0].total / GIB:.0f} GiB"
    return fewer or "use a GPU with more memory"
