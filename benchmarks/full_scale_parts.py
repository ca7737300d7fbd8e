"""The parts that `benchmarks.full_scale` measures: how each is run, and what it should take."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass

import torch

from semrepa.config import Config, full, mini, override
from semrepa.data.dataset import Batch
from semrepa.estimate.formulas import cast_bytes, forward_flops, sample_bytes, step_bytes, step_flops
from semrepa.estimate.gpus import Kind
from semrepa.estimate.memory import finetuning as finetuning_memory
from semrepa.estimate.networks import (
    depth_bytes,
    depth_flops,
    identity_aligner,
    identity_bytes,
    identity_flops,
    latent_shape,
    parameters,
    structure_aligner,
    vae_bytes,
    vae_flops,
)
from semrepa.estimate.work import Sizes, sizes_of
from semrepa.estimate.work import finetuning as finetuning_work
from semrepa.models.blueprints import OFFICIAL, T5_XXL, VAE, blueprint
from semrepa.models.freeze import freeze
from semrepa.models.latents import decode, encode
from semrepa.models.transformer import call_transformer
from semrepa.models.video_depth_anything import VideoDepthAnything
from semrepa.runtime import autocast
from semrepa.training.alignment import Aligners
from semrepa.training.combined import CombinedObjective, Frozen
from semrepa.training.optimizer import make_optimizer
from semrepa.training.portion import portions
from semrepa.training.sources import trainable

TINY_TRANSFORMER = OFFICIAL["CogVideoX-5b-I2V"] | {
    "num_attention_heads": 2,
    "attention_head_dim": 16,
    "time_embed_dim": 16,
    "text_embed_dim": 16,
    "num_layers": 2,
    "max_text_seq_length": 8,
    "sample_height": 8,
    "sample_width": 12,
    "sample_frames": 9,
}
TINY_VAE = VAE | {"block_out_channels": [8, 8, 8, 8], "layers_per_block": 1, "norm_num_groups": 4}
TINY = {
    "video": {"num_frames": 9, "height": 64, "width": 96},
    "structure": {"num_layers": 2, "num_heads": 2, "head_dim": 16},
    "identity": {"width": 8, "num_blocks": 1},
    "depth": {"teacher": "video_depth_anything", "input_size": 56},
    "finetune.gradient_checkpointing": True,
}


@dataclass(frozen=True, kw_only=True)
class Scale:
    """Sizes and the device that they run on."""

    cfg: Config
    sizes: Sizes
    device: torch.device
    frozen: torch.dtype

    @property
    def on_gpu(self) -> bool:
        return self.device.type == "cuda"

    def autocast(self):
        """As the kit computes on a GPU; a CPU stays in float32, as its estimate does."""
        return autocast(self.device) if self.on_gpu else nullcontext()

    def clip(self, clips: int = 1) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Input of the base transformer: joined latents, text features, timesteps."""
        frames, channels, height, width = latent_shape(self.cfg.video)
        stack = self.sizes.clip
        return (
            torch.randn(clips, frames, 2 * channels, height, width, device=self.device),
            torch.randn(clips, stack.text_tokens, stack.text_features, device=self.device),
            torch.full((clips,), 500, device=self.device),
        )

    def latents(self) -> torch.Tensor:
        return torch.randn(1, *latent_shape(self.cfg.video), device=self.device)

    def frames(self) -> torch.Tensor:
        video = self.cfg.video
        return torch.randint(0, 256, (video.num_frames, 3, video.height, video.width), dtype=torch.uint8)


@dataclass(frozen=True, kw_only=True)
class Case:
    """One part: how to run it, and what it should take."""

    run: Callable[[], object]
    flops: list[tuple[float, Kind]]
    memory: float


def scale_of(*, tiny: bool) -> Scale:
    """The full preset on the GPU, or something tiny on the CPU."""
    cfg = override(mini(), TINY) if tiny else full()
    cfg = override(cfg, {"finetune.batch_size": 1, "finetune.ema": None})
    given = {
        "transformer": TINY_TRANSFORMER if tiny else OFFICIAL["CogVideoX-5b-I2V"],
        "vae": TINY_VAE if tiny else VAE,
        "text_encoder": T5_XXL,
    }
    sizes = sizes_of(cfg, given)
    device = torch.device("cpu" if tiny else "cuda")
    return Scale(cfg=cfg, sizes=sizes, device=device, frozen=torch.float32 if tiny else torch.bfloat16)


def transformer_step(scale: Scale) -> Case:
    """Forward and backward in bfloat16 with checkpointing, without optimiser."""
    stack, given = scale.sizes.clip, scale.sizes.given["transformer"]
    model = blueprint("transformer", given, device=scale.device, dtype=torch.bfloat16).train()
    model.enable_gradient_checkpointing()
    inputs = scale.clip()

    def run() -> None:
        model.zero_grad(set_to_none=True)
        call_transformer(model, *inputs).square().mean().backward()

    how = {"trained": True, "checkpointing": True}
    return Case(
        run=run,
        flops=[(step_flops(stack, **how), "transformer")],
        memory=_held(model) + 2 * parameters(model) + step_bytes(stack, precision="bfloat16", **how),
    )


def finetuning_step(scale: Scale) -> Case:
    """A whole step as the config trains: optimiser, both aligners, the first frame through the VAE."""
    cfg, device, given = scale.cfg, scale.device, scale.sizes.given
    transformer = blueprint("transformer", given["transformer"], device=device)
    transformer = trainable(transformer, cfg.finetune).train()
    aligners = Aligners(
        structure=freeze(structure_aligner(cfg, device)),
        identity=freeze(identity_aligner(cfg.identity, device)),
    )
    text = (1, scale.sizes.clip.text_tokens, scale.sizes.clip.text_features)
    frozen = Frozen(
        vae=freeze(blueprint("vae", given["vae"], device=device, dtype=scale.frozen)),
        aligners=aligners,
        alphas_cumprod=torch.linspace(0.999, 0, 1000, device=device),
        empty_prompt=torch.zeros(text, device=device),
    )
    objective = CombinedObjective(transformer, frozen, cfg)
    optimizer = make_optimizer(list(transformer.parameters()), cfg.finetune)
    video = cfg.video
    batch = Batch(
        latents=scale.latents(),
        depth_latents=scale.latents(),
        first_frames=scale.frames()[:1].to(device),
        prompt_embeds=torch.randn(text, device=device),
        id_embeds=torch.zeros(1, video.num_frames, 512, device=device),
        face_mask=torch.ones(1, video.num_frames, dtype=torch.bool, device=device),
        ids=("random",),
    )

    def run() -> None:
        (portion,) = portions([batch], objective.count, seed=0, step=1)
        loss, _ = objective(portion.to(device))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return Case(
        run=run,
        flops=[(part.flops, part.kind) for part in finetuning_work(cfg, scale.sizes)],
        memory=finetuning_memory(cfg, scale.sizes, gpus=1, gpu=scale.on_gpu)[0].total,
    )


def structure_pass(scale: Scale) -> Case:
    """Frozen structure aligner: forward and the gradient of its input."""
    stack, aligner = scale.sizes.aligner, freeze(structure_aligner(scale.cfg, scale.device))
    latents = scale.latents().requires_grad_()

    def run() -> None:
        latents.grad = None
        with scale.autocast():
            answer = aligner(latents)
        answer.square().mean().backward()

    precision = "autocast" if scale.on_gpu else "float32"
    copies = cast_bytes(stack, scale.sizes.structure, trained=False) if scale.on_gpu else 0
    return Case(
        run=run,
        flops=[(step_flops(stack, trained=False), "transformer")],
        memory=_held(aligner) + copies + step_bytes(stack, trained=False, precision=precision),
    )


def identity_pass(scale: Scale) -> Case:
    """Frozen identity aligner: forward and the gradient of its inputs."""
    identity, video = scale.cfg.identity, scale.cfg.video
    aligner = freeze(identity_aligner(identity, scale.device))
    inputs = [scale.latents().requires_grad_() for _ in range(2 if identity.use_depth else 1)]

    def run() -> None:
        for tensor in inputs:
            tensor.grad = None
        with scale.autocast():
            answer = aligner(*inputs)
        answer.square().mean().backward()

    kept = identity_bytes(identity, video, 1, gpu=scale.on_gpu, trained=False)
    flops = identity_flops(identity, video, trained=False)
    return Case(run=run, flops=[(flops, "vae")], memory=_held(aligner) + kept)


def depth_teacher(scale: Scale) -> Case:
    """Video Depth Anything on one clip, all windows."""
    depth, video = scale.cfg.depth, scale.cfg.video
    variant, dtype = depth.variant if scale.on_gpu else "mini", getattr(torch, depth.dtype)
    with scale.device:
        network = freeze(VideoDepthAnything(variant).set_precision(dtype))
    frames = scale.frames()

    def run() -> None:
        with torch.no_grad():
            for _ in network.window_depths(frames, depth.input_size, depth.frame_batch):
                pass

    kind = "float32" if dtype is torch.float32 else "depth"
    size = {"input_size": depth.input_size}
    memory = depth_bytes(variant, video, **size, dtype=dtype, frame_batch=depth.frame_batch)
    return Case(run=run, flops=[(depth_flops(variant, video, **size), kind)], memory=sum(memory))


def vae_encode(scale: Scale) -> Case:
    """One clip to latents, as preparation does it."""
    vae, frames = _vae(scale), scale.frames()[None].to(scale.device)
    return _vae_case(scale, "encode", vae, lambda: encode(vae, frames))


def vae_decode(scale: Scale) -> Case:
    """Latents of one clip to pixels."""
    vae, latents = _vae(scale), scale.latents()
    return _vae_case(scale, "decode", vae, lambda: decode(vae, latents))


def generation_step(scale: Scale) -> Case:
    """One sampler step with guidance: two clips through the transformer, without gradients."""
    stack, given = scale.sizes.clip, scale.sizes.given["transformer"]
    model = freeze(blueprint("transformer", given, device=scale.device, dtype=scale.frozen))
    inputs = scale.clip(2)

    def run() -> None:
        with torch.no_grad(), scale.autocast():
            call_transformer(model, *inputs)

    precision = "autocast" if scale.on_gpu else "float32"
    return Case(
        run=run,
        flops=[(2 * forward_flops(stack), "transformer")],
        memory=_held(model) + 2 * sample_bytes(stack, precision),
    )


PARTS: dict[str, Callable[[Scale], Case]] = {
    "transformer step": transformer_step,
    "fine-tuning step": finetuning_step,
    "structure aligner": structure_pass,
    "identity aligner": identity_pass,
    "depth teacher": depth_teacher,
    "VAE encode": vae_encode,
    "VAE decode": vae_decode,
    "generation step": generation_step,
}


def _vae(scale: Scale):
    return freeze(blueprint("vae", scale.sizes.given["vae"], device=scale.device, dtype=scale.frozen))


def _vae_case(scale: Scale, direction, vae, run: Callable[[], object]) -> Case:
    given, video = scale.sizes.given["vae"], scale.cfg.video
    flops = vae_flops(given, video, direction, tiling=False, num_frames=video.num_frames)
    memory = vae_bytes(given, video, direction, tiling=False, gpu=scale.on_gpu)
    return Case(run=run, flops=[(flops, "vae")], memory=_held(vae) + memory)


def _held(network: torch.nn.Module) -> int:
    return sum(tensor.nbytes for tensor in (*network.parameters(), *network.buffers()))
