"""The networks that a config puts to work: their sizes, and the cost of those that no short formula has."""

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from semrepa.config import Config
from semrepa.config.inputs import VideoConfig
from semrepa.config.schema import IdentityConfig
from semrepa.estimate.counting import count_flops, kept_bytes, peak_bytes, pretend, remembered
from semrepa.estimate.formulas import Stack
from semrepa.models.blueprints import blueprint
from semrepa.models.freeze import freeze
from semrepa.models.identity import IdentityAligner
from semrepa.models.structure import StructureAligner
from semrepa.models.video_depth_anything import (
    Variant,
    VideoDepthAnything,
    estimate_memory,
    network_size,
)
from semrepa.models.video_depth_anything.windows import window_frames
from semrepa.shapes import num_latent_frames

CHANNELS = 16
"""Latent channels of CogVideoX's VAE."""
FACE_FLOPS = 75e9
"""FLOP of the face teacher for one frame: SCRFD-10G on 640x640 (13.3 G products) and ArcFace ResNet-100 on
one face (24.2 G products), as their papers give them."""
FACE_PARAMETERS = 4_230_000 + 65_150_000
"""SCRFD-10G with key points, and ArcFace ResNet-100."""
PERSON_FLOPS = 8.7e9
"""FLOP of YOLOv8n on one frame, the one that `semrepa.weights` says how to get, as its authors give it; the
largest, YOLOv8x: 258e9."""
PERSON_PARAMETERS = 3_200_000
"""YOLOv8n; YOLOv8x has 68.2 million."""

Direction = Literal["encode", "decode"]


def parameters(network: nn.Module) -> int:
    """Number of weights of a network."""
    return sum(parameter.numel() for parameter in network.parameters())


def latent_shape(video: VideoConfig) -> tuple[int, int, int, int]:
    """Frames, channels, height and width of the latents of a clip."""
    return num_latent_frames(video.num_frames), CHANNELS, video.height // 8, video.width // 8


def stack_of(given: Mapping[str, Any], video: VideoConfig) -> Stack:
    """Describe a transformer at work on clips of a size.

    Args:
        given: its settings, as diffusers writes them.
        video: the size of the clips.

    Returns:
        Its sizes.
    """
    frames, _, height, width = latent_shape(video)
    patch, patch_t = given["patch_size"], given.get("patch_size_t") or 1
    cells = patch * patch * patch_t
    return Stack(
        layers=given["num_layers"],
        heads=given["num_attention_heads"],
        head_dim=given["attention_head_dim"],
        video_tokens=-(-frames // patch_t) * (height // patch) * (width // patch),
        text_tokens=given["max_text_seq_length"],
        patch_inputs=given["in_channels"] * cells,
        patch_outputs=given["out_channels"] * cells,
        text_features=given["text_embed_dim"],
    )


def structure_aligner(cfg: Config, device: torch.device | str = "meta") -> StructureAligner:
    """The structure aligner of a config, without weights that mean anything."""
    _, channels, height, width = latent_shape(cfg.video)
    with torch.device(device):
        return StructureAligner(
            num_layers=cfg.structure.num_layers,
            num_heads=cfg.structure.num_heads,
            head_dim=cfg.structure.head_dim,
            channels=channels,
            sample_height=height,
            sample_width=width,
            structure_input=cfg.structure.input,
            colormap=cfg.depth.colormap,
        )


def identity_aligner(identity: IdentityConfig, device: torch.device | str = "meta") -> IdentityAligner:
    """The identity aligner of a config, without weights that mean anything."""
    with torch.device(device):
        return IdentityAligner(
            width=identity.width,
            num_blocks=identity.num_blocks,
            channels=CHANNELS,
            use_depth=identity.use_depth,
        )


@remembered
def identity_flops(identity: IdentityConfig, video: VideoConfig, *, trained: bool) -> int:
    """Count a forward and backward pass of the identity aligner for one clip.

    Args:
        identity: its sizes.
        video: size of the clip.
        trained: gradients of its weights; False: of its inputs.

    Returns:
        FLOP.
    """
    aligner = identity_aligner(identity).requires_grad_(trained)
    inputs = _identity_inputs(identity, video, 1, "meta", trained=trained)
    return count_flops(lambda: aligner(*inputs).sum().backward())


@remembered
def identity_bytes(
    identity: IdentityConfig, video: VideoConfig, clips: int, *, gpu: bool, trained: bool
) -> int:
    """Count what the identity aligner keeps of some clips for its backward pass.

    Args:
        identity: its sizes.
        video: size of the clips.
        clips: clips at once.
        gpu: in bfloat16 as on a GPU, else in float32.
        trained: gradients of its weights; False: of its inputs.

    Returns:
        Bytes, bfloat16 copies of weights included.
    """
    with pretend(autocast=gpu):
        aligner = identity_aligner(identity, "cpu").requires_grad_(trained)
        inputs = _identity_inputs(identity, video, clips, "cpu", trained=trained)
        return kept_bytes(lambda: aligner(*inputs), [aligner])


def _identity_inputs(
    identity: IdentityConfig, video: VideoConfig, clips: int, device: torch.device | str, *, trained: bool
) -> list[Tensor]:
    shape, count = (clips, *latent_shape(video)), 2 if identity.use_depth else 1
    return [torch.empty(shape, device=device, requires_grad=not trained) for _ in range(count)]


@remembered
def vae_flops(
    given: Mapping[str, Any], video: VideoConfig, direction: Direction, *, tiling: bool, num_frames: int
) -> int:
    """Count the VAE on one clip.

    It works on 8 frames at a time, so two short clips tell the cost of a long one.

    Args:
        given: settings of the VAE.
        video: height and width of the clip.
        direction: pixels to latents, or back.
        tiling: whether it works in tiles.
        num_frames: video frames; 1 for a first frame.

    Returns:
        FLOP.
    """
    vae = blueprint("vae", given)
    short, long, rest = num_frames, num_frames, 0
    if num_frames > 17 and num_frames % 8 == 1:
        short, long, rest = 9, 17, (num_frames - 17) // 8
    first, last = (
        count_flops(lambda n=n: _run_vae(vae, video, direction, n, tiling, torch.float32, "meta"))
        for n in (short, long)
    )
    return last + rest * (last - first)


@remembered
def vae_bytes(
    given: Mapping[str, Any], video: VideoConfig, direction: Direction, *, tiling: bool, gpu: bool
) -> int:
    """Count the memory that the VAE takes at its peak on one clip, without gradients.

    Args:
        given: settings of the VAE.
        video: size of the clip; beyond 17 frames the peak stays the same.
        direction: pixels to latents, or back.
        tiling: whether it works in tiles.
        gpu: as on a GPU, under bfloat16 autocast; else in float32.

    Returns:
        Bytes without weights.
    """
    dtype = torch.bfloat16 if gpu else torch.float32
    frames = min(video.num_frames, 17)
    with pretend(autocast=gpu):
        vae = blueprint("vae", given, device="cpu", dtype=dtype)
        return peak_bytes(lambda: _run_vae(vae, video, direction, frames, tiling, dtype, "cpu"), [vae])


@remembered
def pixel_loss_bytes(given: Mapping[str, Any], video: VideoConfig) -> int:
    """Count what a loss on decoded pixels would keep: the alternative to aligners.

    Args:
        given: settings of the VAE.
        video: size of the clip.

    Returns:
        Bytes kept by the VAE's decoder in bfloat16, frozen, for gradients of one clip's latents.
    """
    with pretend(autocast=False):
        vae: Any = freeze(blueprint("vae", given, device="cpu", dtype=torch.bfloat16))
        frames, channels, height, width = latent_shape(video)
        latents = torch.empty(1, channels, frames, height, width, dtype=torch.bfloat16, requires_grad=True)
        return kept_bytes(lambda: vae.decode(latents), [vae])


@torch.no_grad()
def _run_vae(
    vae: Any,
    video: VideoConfig,
    direction: Direction,
    num_frames: int,
    tiling: bool,
    dtype: torch.dtype,
    device: torch.device | str,
) -> None:
    if tiling:
        vae.enable_tiling()
    pixels = (1, 3, num_frames, video.height, video.width)
    latents = (1, CHANNELS, num_latent_frames(num_frames), video.height // 8, video.width // 8)
    shape = pixels if direction == "encode" else latents
    getattr(vae, direction)(torch.empty(shape, dtype=dtype, device=device), return_dict=False)


@remembered
def text_flops(given: Mapping[str, Any], tokens: int) -> int:
    """FLOP of the text encoder for one caption of a number of tokens."""
    encoder: Any = freeze(blueprint("text_encoder", given))
    return count_flops(lambda: encoder(torch.zeros(1, tokens, dtype=torch.long, device="meta")))


def depth_network(variant: Variant) -> VideoDepthAnything:
    """A depth teacher on the meta device."""
    with torch.device("meta"):
        return VideoDepthAnything(variant)


@remembered
@torch.no_grad()
def depth_flops(variant: Variant, video: VideoConfig, *, input_size: int) -> int:
    """Count the depth teacher on one clip: each frame encoded once, and the head on windows of 32 frames.

    The published inference encodes each window anew: 96 frames for a clip of 49 instead of 49.

    Args:
        variant: its size.
        video: size of the clip.
        input_size: shorter side that it looks at.

    Returns:
        FLOP.
    """
    network, windows = depth_network(variant), window_frames(video.num_frames)
    frames = torch.empty(1, 3, *network_size(video.height, video.width, input_size), device="meta")
    encoding = count_flops(lambda: network.encode(frames))
    slots = len(windows[0])
    levels = [level.expand(slots, *level.shape[1:]) for level in network.encode(frames)]
    head = count_flops(lambda: network.head(levels, slots, slots))
    before = [(), *windows]
    encoded = sum(len(set(now) - set(known)) for known, now in zip(before, windows, strict=False))
    return encoded * encoding + len(windows) * head


@remembered
def depth_bytes(
    variant: Variant, video: VideoConfig, *, input_size: int, dtype: torch.dtype, frame_batch: int
) -> tuple[int, int]:
    """Count the memory of the depth teacher.

    Args:
        variant: its size.
        video: size of the clip.
        input_size: shorter side that it looks at.
        dtype: number type of its weights.
        frame_batch: frames at a time.

    Returns:
        Bytes of its weights, and at the peak beside them.
    """
    own = sum(value.nbytes for value in depth_network(variant).set_precision(dtype).state_dict().values())
    size = (video.num_frames, video.height, video.width)
    return own, estimate_memory(variant, *size, frame_batch, dtype, input_size=input_size) - own
