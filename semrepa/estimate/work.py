"""What each stage of a run computes, part by part, for one clip (or one generated video)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from semrepa.config import Config
from semrepa.estimate.formulas import Stack, backward_flops, forward_flops, step_flops
from semrepa.estimate.gpus import Gpu, Kind
from semrepa.estimate.networks import (
    FACE_FLOPS,
    PERSON_FLOPS,
    Direction,
    depth_flops,
    identity_aligner,
    identity_flops,
    parameters,
    stack_of,
    structure_aligner,
    text_flops,
    vae_flops,
)
from semrepa.models.blueprints import Network, blueprint, settings
from semrepa.provenance import mini_asset

Stage = Literal["prepare", "structure aligner", "identity aligner", "fine-tuning", "generation"]


@dataclass(frozen=True, kw_only=True)
class Work:
    """One part of the work of a stage."""

    stage: Stage
    """Stage of the run."""
    part: str
    """What is computed."""
    flops: float
    """FLOP for one clip; in training, for one clip in one step."""
    kind: Kind
    """Decides how fast a GPU does it."""

    def seconds(self, gpu: Gpu) -> float:
        """Seconds that one GPU takes for it."""
        return self.flops / gpu.speed(self.kind)


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """The networks of a run, as far as formulas need them."""

    given: Mapping[Network, Mapping[str, Any]]
    """Settings of the base model's networks, see `semrepa.models.blueprints.settings`."""
    clip: Stack
    """The base transformer on one clip."""
    aligner: Stack
    """The structure aligner on one clip."""
    transformer: int
    """Weights of the base transformer."""
    structure: int
    """Weights of the structure aligner."""
    identity: int
    """Weights of the identity aligner."""


def sizes_of(cfg: Config, given: Mapping[Network, Mapping[str, Any]] | None = None) -> Sizes:
    """Look up or count the networks of a run.

    Args:
        cfg: resolved config.
        given: settings of the base model's networks; None: those of the one that the config names.

    Returns:
        Their sizes.

    Raises:
        ValueError: a base model that is not here and whose sizes are not known.
    """
    given = given or settings(cfg.model.weights or mini_asset("cogvideox"))
    structure = structure_aligner(cfg)
    return Sizes(
        given=given,
        clip=stack_of(given["transformer"], cfg.video),
        aligner=stack_of(structure.transformer.config, cfg.video),
        transformer=parameters(blueprint("transformer", given["transformer"])),
        structure=parameters(structure),
        identity=parameters(identity_aligner(cfg.identity)),
    )


def runs_structure(cfg: Config) -> bool:
    """Whether fine-tuning runs the structure aligner: for its own loss, or as what the other one reads."""
    reads = cfg.loss.weight_id > 0 and cfg.identity.use_depth and cfg.structure.input == "clean"
    return cfg.loss.weight_struct > 0 or reads


def all_work(cfg: Config, sizes: Sizes) -> tuple[Work, ...]:
    """List all work of a run.

    Args:
        cfg: resolved config.
        sizes: its networks.

    Returns:
        The parts, stage by stage; parts that cost nothing are left out.
    """
    listed = (
        *preparation(cfg, sizes),
        *pretraining(cfg, sizes),
        *finetuning(cfg, sizes),
        *generation(cfg, sizes),
    )
    return tuple(work for work in listed if work.flops)


def preparation(cfg: Config, sizes: Sizes) -> list[Work]:
    """Work of preparing one clip: frozen networks, once.

    Args:
        cfg: resolved config.
        sizes: its networks.

    Returns:
        The parts; reading the video and rejected clips are not counted.
    """
    frames = cfg.video.num_frames
    encode = _vae(cfg, sizes, "encode", frames)
    has_depth, has_faces = cfg.depth.teacher != "exact", cfg.preset == "full"
    depth = depth_flops(cfg.depth.variant, cfg.video, input_size=cfg.depth.input_size) if has_depth else 0
    text = text_flops(sizes.given["text_encoder"], sizes.clip.text_tokens)
    faces = FACE_FLOPS * frames if has_faces else 0
    people = PERSON_FLOPS if cfg.people.detector == "yolov8" else 0
    precise = "float32" if cfg.depth.dtype == "float32" else "depth"
    return [
        Work(stage="prepare", part="VAE, video and depth", flops=2 * encode, kind="vae"),
        Work(stage="prepare", part=f"depth teacher, {cfg.depth.dtype}", flops=depth, kind=precise),
        Work(stage="prepare", part="text encoder", flops=text, kind="transformer"),
        Work(stage="prepare", part="face teacher", flops=faces, kind="float32"),
        Work(stage="prepare", part="person detector", flops=people, kind="float32"),
    ]


def pretraining(cfg: Config, sizes: Sizes) -> list[Work]:
    """Work of one clip in one step of pretraining, for both aligners.

    Args:
        cfg: resolved config.
        sizes: its networks.

    Returns:
        One part for each aligner.
    """
    again = cfg.pretrain_structure.gradient_checkpointing
    structure = step_flops(sizes.aligner, trained=True, checkpointing=again)
    identity = identity_flops(cfg.identity, cfg.video, trained=True)
    return [
        Work(stage="structure aligner", part="step", flops=structure, kind="transformer"),
        Work(stage="identity aligner", part="step", flops=identity, kind="vae"),
    ]


def finetuning(cfg: Config, sizes: Sizes) -> list[Work]:
    """Work of one clip in one step of fine-tuning.

    Args:
        cfg: resolved config.
        sizes: its networks.

    Returns:
        The parts: both passes of the transformer and of the aligners, and the first frame through the VAE.
    """
    full = cfg.finetune.mode == "full"  # LoRA's own products are too small to count
    forward, backward = forward_flops(sizes.clip), backward_flops(sizes.clip, trained=full)
    whole = step_flops(sizes.clip, trained=full, checkpointing=cfg.finetune.gradient_checkpointing)
    structure = step_flops(sizes.aligner, trained=False) if runs_structure(cfg) else 0
    structure += forward_flops(sizes.aligner) if structure and cfg.loss.self_target else 0
    identity = 0.0
    if cfg.loss.weight_id:
        both = identity_flops(cfg.identity, cfg.video, trained=False)
        identity = both * 1.5  # the true latents go through once more, forward only
    first = _vae(cfg, sizes, "encode", 1)
    parts: list[tuple[str, float, Kind]] = [
        ("transformer, forward", forward, "transformer"),
        ("transformer, forward again", whole - forward - backward, "transformer"),
        ("transformer, backward", backward, "transformer"),
        ("structure aligner", structure, "transformer"),
        ("identity aligner", identity, "vae"),
        ("first frame through the VAE", first, "vae"),
    ]
    return [Work(stage="fine-tuning", part=part, flops=flops, kind=kind) for part, flops, kind in parts]


def generation(cfg: Config, sizes: Sizes) -> list[Work]:
    """Work of one generated video.

    Args:
        cfg: resolved config.
        sizes: its networks.

    Returns:
        The parts; guidance doubles the transformer's.
    """
    guided = 2 if cfg.generate.guidance_scale > 1 else 1
    steps = cfg.generate.num_inference_steps * guided * forward_flops(sizes.clip)
    decode = _vae(cfg, sizes, "decode", cfg.video.num_frames)
    first = _vae(cfg, sizes, "encode", 1)
    text = guided * text_flops(sizes.given["text_encoder"], sizes.clip.text_tokens)
    return [
        Work(stage="generation", part="transformer, all steps", flops=steps, kind="transformer"),
        Work(stage="generation", part="VAE", flops=decode + first, kind="vae"),
        Work(stage="generation", part="text encoder", flops=text, kind="transformer"),
    ]


def _vae(cfg: Config, sizes: Sizes, direction: Direction, num_frames: int) -> int:
    return vae_flops(
        sizes.given["vae"], cfg.video, direction, tiling=cfg.model.vae_tiling, num_frames=num_frames
    )
