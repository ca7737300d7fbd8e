"""The two presets of the one pipeline, and the table that shows what a run will do."""

import ast
import dataclasses
import inspect
import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from semrepa.config.inputs import (
    DataConfig,
    DepthConfig,
    FaceConfig,
    MetricsConfig,
    ModelConfig,
    PeopleConfig,
    VideoConfig,
    WeightsConfig,
)
from semrepa.config.schema import (
    Config,
    FinetuneConfig,
    GenerateConfig,
    IdentityConfig,
    ImageConfig,
    LaunchConfig,
    LossConfig,
    StructureConfig,
    TrainConfig,
)
from semrepa.config.strict import override


def mini() -> Config:
    """The sample world on two CPU cores: minutes, no network, shipped weights; sizes and rates are ours."""
    return Config(
        preset="mini",
        video=VideoConfig(num_frames=17, height=128, width=192),
        data=DataConfig(extra_train=40, extra_heldout=12),
        weights=WeightsConfig(),
        model=ModelConfig(),
        depth=DepthConfig(teacher="exact"),
        face=FaceConfig(detector_size=(576, 384), min_size=8.0),
        people=PeopleConfig(detector="face"),
        structure=StructureConfig(num_layers=4, num_heads=4, head_dim=32),
        identity=IdentityConfig(width=32, num_blocks=1, weight_cosine=0.1, noise=0.5, shift=3),
        image=ImageConfig(),
        loss=LossConfig(),
        pretrain_structure=TrainConfig(
            steps=240,
            batch_size=2,
            lr=1.5e-3,
            warmup=5,
            schedule="cosine",
            checkpoint_every=60,
            eval_every=60,
            resume=False,
        ),
        pretrain_identity=TrainConfig(
            steps=120,
            batch_size=8,
            lr=1e-3,
            warmup=5,
            schedule="cosine",
            checkpoint_every=60,
            eval_every=30,
            resume=False,
        ),
        finetune=FinetuneConfig(
            steps=60,
            batch_size=4,
            lr=3e-5,
            warmup=5,
            lora_rank=16,
            lora_alpha=8.0,
            probe_clips=2,
            samples=2,
            checkpoint_every=20,
            eval_every=20,
            resume=False,
        ),
        generate=GenerateConfig(num_inference_steps=20, guidance_scale=1.0),
        metrics=MetricsConfig(flow="dis"),
    )


def full() -> Config:
    """The paper's scale: CogVideoX-5b-I2V, 49 frames of 480x720 at 8 fps, on GPUs.

    Sizes and loss weights are the paper's; rates, batches and steps are ours, with precedent in fine-tunings
    of the same base model. Needs weights that are not shipped: the base model, Video Depth Anything and a
    face pack.

    Returns:
        A new config.
    """
    long: dict[str, Any] = {"checkpoint_every": 500, "eval_every": 500}
    averaged: dict[str, Any] = {"warmup": 500, "schedule": "cosine", "ema": 0.999}
    return Config(
        preset="full",
        video=VideoConfig(num_frames=49, height=480, width=720),
        data=DataConfig(extra_train=0, extra_heldout=0, read_timeout=60.0, picture_side=1080),
        weights=WeightsConfig(),
        model=ModelConfig(weights="THUDM/CogVideoX-5b-I2V"),
        depth=DepthConfig(teacher="video_depth_anything"),
        face=FaceConfig(
            detector_size=(640, 640),
            min_size=32.0,
            providers=("CUDAExecutionProvider", "CPUExecutionProvider"),
            max_cut=0.3,
        ),
        people=PeopleConfig(detector="yolov8"),
        structure=StructureConfig(num_heads=48, head_dim=64),
        identity=IdentityConfig(width=64, num_blocks=8),
        image=ImageConfig(),
        loss=LossConfig(),
        pretrain_structure=TrainConfig(steps=20_000, batch_size=16, lr=1e-4, **long, **averaged),
        pretrain_identity=TrainConfig(steps=30_000, batch_size=64, lr=2e-4, **long, **averaged),
        finetune=FinetuneConfig(
            steps=5_000,
            batch_size=8,
            lr=3e-6,
            warmup=200,
            optimizer="adamw8bit",
            weights_dtype="bfloat16",
            lora_rank=128,
            lora_alpha=64.0,
            gradient_checkpointing=True,
            balance_every=100,
            probe_every=500,
            sample_every=500,
            **long,
        ),
        generate=GenerateConfig(num_inference_steps=50, guidance_scale=6.0),
        launch=LaunchConfig(where="child"),
    )


def preset(name: str) -> Config:
    """Preset by name.

    Args:
        name: "mini" or "full".

    Returns:
        A new config.

    Raises:
        ValueError: another name.
    """
    presets = {"mini": mini, "full": full}
    if name not in presets:
        raise ValueError(f"preset: got {name!r}; expected one of {', '.join(presets)}")
    return presets[name]()


def configure(
    name: str,
    overrides: Mapping[str, Any] | Iterable[str] | None = None,
    headline: Mapping[str, Any] | None = None,
) -> Config:
    """Config of a notebook from its parameters: preset, then overrides, then headline values.

    Args:
        name: preset name.
        overrides: as `override` takes them; None changes nothing.
        headline: value by dotted name; a None value means "as the preset and the overrides say".

    Returns:
        The resolved config.

    Raises:
        ValueError: unknown preset or name, or a value out of range.
        TypeError: a value of the wrong type.
    """
    cfg = override(preset(name), overrides or {})
    return override(cfg, {key: value for key, value in (headline or {}).items() if value is not None})


class Row(NamedTuple):
    """One line of the table that a notebook shows before a run."""

    name: str
    """Dotted name, as `override` takes it."""
    value: object
    """Value of this run."""
    meaning: str
    """Meaning, unit and source."""
    changed: bool
    """Whether the value differs from the preset's."""


def describe(cfg: Config) -> list[Row]:
    """Every value of a config with its meaning, in the order of the fields.

    Args:
        cfg: the resolved config.

    Returns:
        One row per value; nested fields have dotted names.
    """
    return list(_rows(cfg, preset(cfg.preset)))


def _rows(section: Any, usual: Any, path: str = "") -> Iterator[Row]:
    meanings = _field_docs(type(section))
    for field in dataclasses.fields(section):
        value, default = getattr(section, field.name), getattr(usual, field.name)
        if dataclasses.is_dataclass(value):
            yield from _rows(value, default, f"{path}{field.name}.")
        else:
            yield Row(f"{path}{field.name}", value, meanings[field.name], value != default)


def _field_docs(cls: type) -> dict[str, str]:
    """Docstring under each field of a dataclass, its own and inherited, by field name."""
    docs = {}
    for parent in cls.__bases__:
        docs |= _field_docs(parent) if dataclasses.is_dataclass(parent) else {}
    tree = ast.parse(inspect.getsource(cls))
    body = next(node.body for node in ast.walk(tree) if isinstance(node, ast.ClassDef))
    for pair in itertools.pairwise(body):
        match pair:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                docs[name] = text
    return docs
