"""The fields of a run, each with its meaning, unit and source: its training and sampling.

Those of its videos, models and teachers are in `inputs.py`. A number that the paper does not give is marked
"ours". Defaults written here hold in both presets; a field without a default differs between them (see
`presets.py`).
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

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
from semrepa.config.kinds import Count, CountOrZero, NotNegative, Positive, Seed, Share
from semrepa.config.strict import Section, Within, build
from semrepa.runtime import write_json

PresetName = Literal["mini", "full"]


@dataclass(frozen=True, kw_only=True)
class StructureConfig(Section):
    """StructureAligner: a CogVideoX transformer with few layers (Eq. 2 and 4, Sec. 4.2.1)."""

    num_layers: Count = 4
    """Transformer layers. Ours (the paper: "reduced number of layers")."""
    num_heads: Count
    """Attention heads. Ours in mini; the base model's 48 in full."""
    head_dim: Count
    """Channels per head, a multiple of 16 for rotary positions in t, h, w."""
    input: Literal["clean", "noisy"] = "clean"
    """clean: the predicted clean latents (Eq. 2, 3, 8); noisy: latents one sampler step on (Eq. 4, 5, 9)."""
    step: Annotated[int, Within(1, 999)] = 20
    """Delta of Eq. 4 in timesteps, used when input is noisy. Ours."""
    gradient_checkpointing: bool = False
    """In fine-tuning, have the frozen aligner compute its activations again instead of keeping them. Ours."""
    warm_start: bool = False
    """Begin pretraining with the first layers of the base transformer, which must have its width. Ours."""
    weights: str | None = None
    """Folder of a trained aligner; None: the shipped one in mini, an error in full."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.head_dim % 16:
            raise ValueError(f"head_dim: got {self.head_dim}; expected a multiple of 16 (rotary positions)")


@dataclass(frozen=True, kw_only=True)
class IdentityConfig(Section):
    """IdentityAligner: residual blocks from latents to face embeddings (Eq. 6, Sec. 4.2.2)."""

    width: Count
    """Channels of the first residual block. Ours."""
    num_blocks: Count
    """Residual blocks. Ours."""
    use_depth: bool = True
    """Concatenate depth latents with the video latents, as in Eq. 6; False is the ablation of Table 3."""
    weight_cosine: NotNegative = 0.0
    """Weight of 1 - cosine beside Eq. 7 in pretraining; 0 is the paper. Ours, for short runs."""
    noise: NotNegative = 0.0
    """Most standard deviation of noise on the latents in pretraining. Ours, for few training clips."""
    shift: CountOrZero = 0
    """Most latent cells by which a clip is moved in pretraining. Ours, for few training clips."""
    weights: str | None = None
    """Folder of a trained aligner; None: the shipped one in mini, an error in full."""


@dataclass(frozen=True, kw_only=True)
class ImageConfig(Section):
    """The image-to-video recipe of CogVideoX."""

    noise_mean: Annotated[float, Within(-20, 5)] = -3.0
    """Mean of the log of the noise level put on the first frame. CogVideoX's value."""
    noise_std: NotNegative = 0.5
    """Standard deviation of that log; drawn anew at each step. CogVideoX's value."""
    dropout: Share = 0.05
    """Share of clips trained without their first frame. CogVideoX's value."""
    caption_dropout: Share = 0.1
    """Share of clips trained without their caption, for guidance. CogVideoX's value."""


@dataclass(frozen=True, kw_only=True)
class LossConfig(Section):
    """How the three losses are added (Eq. 11 and 12, Sec. 4.3)."""

    weight_struct: NotNegative = 0.01
    """Weight of the structure loss. Paper: 0.01, Sec. 5.3.3 and Table 2."""
    weight_id: NotNegative = 1.0
    """Weight of the identity loss. Paper: 1, Sec. 5.3.3 and Table 2."""
    gate: Literal["none", "snr"] = "none"
    """none: the paper; snr: structure weighted by alpha-bar, identity only where the noise is low. Ours."""
    gate_struct_snr: NotNegative = 0.0
    """Signal-to-noise ratio from which structure counts under the snr gate; 0: everywhere. Ours."""
    gate_id_snr: NotNegative = 1.0
    """The same for identity; 1: as much signal as noise, 2.8: as ControlNet++ (t <= 200). Ours."""
    self_target: bool = False
    """Structure target: False the teacher's depth latents; True the aligner on the true latents. Ours."""
    detach_depth_for_id: bool = False
    """Stop the identity loss's gradient at the predicted depth latents. Ours."""
    id_floor: NotNegative = 0.035
    """Identity loss of a zero output (mean |x| of a 512-d unit vector): a line in plots, not in the loss."""


@dataclass(frozen=True, kw_only=True)
class WeightSchedule(Section):
    """How the weight of an alignment loss changes in a run. Without change, as here, it is the paper's."""

    warmup: CountOrZero = 0
    """Steps in which the weight grows linearly from 0. Ours."""
    decay: Literal["none", "linear", "cosine"] = "none"
    """How the weight falls after its warm-up. Ours."""
    decay_until: CountOrZero = 0
    """Step at which it has fallen to `decay_to`, and stays there. Ours."""
    decay_to: Share = 0.0
    """What is left of it then, as a share. Ours."""
    last_step: Annotated[int | None, Within(1)] = None
    """Last step in which the loss counts, as in HASTE; None: no such step. Ours."""
    until_similarity: Annotated[float | None, Within(-1, 1)] = None
    """The loss ends for good when the averaged cosine between what the aligner makes of the prediction and
    its target reaches this; None: never. Ours."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.decay != "none" and self.decay_until <= self.warmup:
            raise ValueError(
                f"decay_until: got {self.decay_until} with decay={self.decay!r} and warmup={self.warmup}; "
                "expected a step after the warm-up"
            )


@dataclass(frozen=True, kw_only=True)
class TrainConfig(Section):
    """One training run: either aligner, or the fine-tuning. All numbers are ours; see the presets."""

    steps: Count
    """Optimiser steps."""
    batch_size: Count
    """Clips per optimiser step, over all devices and portions."""
    accumulate: Count = 1
    """Portions into which each device cuts its clips of a step, to save memory: same step, up to rounding."""
    lr: NotNegative
    """Peak learning rate of AdamW; 0 changes nothing and is allowed for checks."""
    warmup: CountOrZero
    """Steps of linear warm-up."""
    optimizer: Literal["adamw", "adamw8bit", "adamw8bit_torchao"] = "adamw"
    """adamw: of torch, 8 bytes of state per weight; adamw8bit: 2 bytes, of bitsandbytes; adamw8bit_torchao:
    of torchao, for devices without CUDA. Never replaced by another. Paper: 8-bit Adam."""
    weights_dtype: Literal["float32", "bfloat16"] = "float32"
    """Type of the trained weights; bfloat16: half the memory, updates rounded up or down at random. Ours."""
    compile: bool = False
    """Compile the transformer blocks with torch.compile: minutes at the start, faster steps after."""
    weight_decay: NotNegative = 1e-4
    """AdamW weight decay."""
    betas: Annotated[tuple[float, float], Within(0, 0.999999)] = (0.9, 0.95)
    """AdamW momenta."""
    clip_norm: Positive = 1.0
    """Largest gradient norm; longer gradients are scaled down to it."""
    schedule: Literal["constant", "cosine", "linear"] = "constant"
    """Learning rate after warm-up; cosine and linear end at zero."""
    checkpoint_every: Count
    """Steps between checkpoints; one more is written at the end."""
    checkpoint_minutes: Annotated[float | None, Within(0)] = None
    """Minutes after which a checkpoint is written even so; None: never."""
    keep: Count = 2
    """Checkpoints that stay in the run folder; the oldest go."""
    eval_every: Count
    """Steps between evaluations on held-out clips."""
    log_every: Count = 1
    """Steps between lines of metrics.jsonl."""
    trackers: tuple[Literal["tensorboard", "wandb"], ...] = ()
    """Where the lines of metrics.jsonl go besides; each needs its package."""
    ema: Annotated[float | None, Within(0, 0.999999)] = None
    """Decay of the averaged weights; None: no average."""
    gradient_checkpointing: bool = False
    """Keep few activations and compute the others again: a third more work, a tenth of that memory. Ours."""
    max_bad_steps: Count = 3
    """Steps in a row without a finite loss and gradient, all skipped, after which the run gives up. Ours."""
    resume: bool = True
    """Go on from the last checkpoint of the run folder, where there is one."""


@dataclass(frozen=True, kw_only=True)
class FinetuneConfig(TrainConfig):
    """Fine-tuning of the base model's transformer. All numbers are ours; see the presets."""

    mode: Literal["full", "lora"] = "full"
    """full: all weights; lora: small matrices beside frozen weights, which usually want an lr of 1e-4."""
    lora_rank: Count
    """Rank of these matrices. Ours in mini; 128 in full, as VideoREPA's 5B."""
    lora_alpha: Positive
    """What they add is multiplied by `lora_alpha / lora_rank`. Ours in mini; 64 in full, as VideoREPA's."""
    lora_targets: tuple[str, ...] = ("to_q", "to_k", "to_v", "to_out.0")
    """Ends of the names of the layers that get such matrices. As in diffusers' CogVideoX training."""
    timesteps: Literal["uniform", "stratified"] = "uniform"
    """How noise levels are drawn; stratified: the clips of a step share them out evenly. Ours."""
    balance_every: CountOrZero = 0
    """Steps between measurements of the gradient of each loss on the step's own clips; 0: never. One takes as
    long as 2 to 3 steps. Ours."""
    probe_every: CountOrZero = 0
    """Steps between the same at five noise levels, on held-out clips; 0: never. One takes as long as training
    on 12 times `probe_clips`. Ours."""
    probe_clips: Count = 8
    """Clips of such a measurement, shared out over the devices, one at a time. Ours."""
    sample_every: CountOrZero = 0
    """Steps between videos of held-out clips, at first the base model's; 0: never. One takes as long as
    training on 25 clips in full, on 8 in mini. Ours."""
    samples: Count = 8
    """How many videos, shared out over the devices, one at a time. Ours."""


@dataclass(frozen=True, kw_only=True)
class GenerateConfig(Section):
    """Sampling with the stock pipeline."""

    num_inference_steps: Annotated[int, Within(1, 1000)]
    """DDIM steps. CogVideoX: 50; mini: ours."""
    guidance_scale: Annotated[float, Within(1)]
    """Classifier-free guidance; 1 turns it off and halves the time. CogVideoX: 6."""
    seeds: Annotated[tuple[int, ...], Within(0, 2**32 - 1)] = (0,)
    """One video per clip and seed; every compared model uses the same ones."""


@dataclass(frozen=True, kw_only=True)
class LaunchConfig(Section):
    """Where notebooks train. All of it is ours, and nothing of it changes the numbers on one device."""

    where: Literal["kernel", "child"] = "kernel"
    """kernel: in the notebook itself; child: as `accelerate launch` in processes of their own."""
    num_processes: Annotated[int | None, Within(1)] = None
    """Processes of a child on this machine; None: as the config file says, else one per GPU."""
    config_file: str | None = None
    """Config file of `accelerate launch`; None: one process, or plain data parallel on several."""


@dataclass(frozen=True, kw_only=True)
class BaselinesConfig(Section):
    """Models that the paper compares with (Sec. 5.2.2); only `semrepa.runs` loads them."""

    svd: str | None = None
    """Folder of Stable Video Diffusion; None: looked for by its official name."""
    i2vgen_xl: str | None = None
    """Folder of I2VGen-XL; None: looked for by its official name."""


@dataclass(frozen=True, kw_only=True)
class Config(Section):
    """Everything that decides a run. Make one with `preset(name)` and change it with `override`."""

    preset: PresetName = field(metadata={"fixed": "choose it with preset(name)"})
    """Preset this config was made from."""
    seed: Seed = 0
    """Seed of data order, noise and new weights."""
    video: VideoConfig
    data: DataConfig
    weights: WeightsConfig
    model: ModelConfig
    depth: DepthConfig
    face: FaceConfig
    people: PeopleConfig
    structure: StructureConfig
    identity: IdentityConfig
    image: ImageConfig
    loss: LossConfig
    struct_schedule: WeightSchedule = WeightSchedule()
    id_schedule: WeightSchedule = WeightSchedule()
    pretrain_structure: TrainConfig
    pretrain_identity: TrainConfig
    finetune: FinetuneConfig
    generate: GenerateConfig
    launch: LaunchConfig = LaunchConfig()
    baselines: BaselinesConfig = BaselinesConfig()
    metrics: MetricsConfig = field(default_factory=MetricsConfig)

    def save(self, path: str | Path) -> Path:
        """Write the config as JSON, atomically; returns the path."""
        return write_json(path, self)

    @classmethod
    def load(cls, path: str | Path) -> "Config":
        """Config from a file written by `save`, checked as strictly as `override`.

        Args:
            path: JSON file; fields that have a default may be missing.

        Returns:
            A config equal to the one that was written.

        Raises:
            FileNotFoundError: no such file.
            ValueError: unknown or missing names, a value out of range, or no JSON object.
            TypeError: a value of the wrong type.
        """
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(
                f"config: got {path}; expected the config.json of a run, but nothing is there"
            )
        values = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(values, dict):
            raise ValueError(f"config: got {type(values).__name__}; expected an object, as save() writes it")
        return build(cls, values)
