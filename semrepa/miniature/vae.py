"""The mini VAE: `AutoencoderKLCogVideoX` in its real geometry, trained on frames first and on clips then.

Why images first: single frames of many clips carry far more information per second of training than the
frames of one clip; the temporal layers are trained after colours and shapes are there.
"""

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKLCogVideoX
from diffusers.models.autoencoders.autoencoder_kl_cogvideox import CogVideoXSpatialNorm3D
from torch import Tensor

from semrepa import depth as depth_maps
from semrepa.miniature.clips import ClipSet
from semrepa.miniature.fit import Recipe, fit
from semrepa.miniature.shortcuts import fast_training

_log = logging.getLogger(__name__)

LATENT_NOISE = 0.05
"""Standard deviation of the posterior, fixed instead of learned."""
DEPTH_SHARE = 0.3
"""Share of training samples that are colorized depth."""
IMAGE_PHASE = Recipe(steps=2000, lr=1.5e-3, cooldown=0.05)
VIDEO_PHASE = Recipe(steps=3850, lr=1.2e-3, cooldown=0.28)


def new_vae(seed: int) -> AutoencoderKLCogVideoX:
    """Builds the mini VAE: 4x temporal, 8x8 spatial, 16 channels, 2.6 M parameters, neutral spatial norms.

    Args:
        seed: of the initial weights.

    Returns:
        An untrained VAE whose posterior has the fixed deviation `LATENT_NOISE`.
    """
    torch.manual_seed(seed)
    vae = AutoencoderKLCogVideoX(
        block_out_channels=(16, 32, 64, 64),
        down_block_types=("CogVideoXDownBlock3D",) * 4,
        up_block_types=("CogVideoXUpBlock3D",) * 4,
        latent_channels=16,
        layers_per_block=1,
        norm_num_groups=8,
        sample_height=128,
        sample_width=192,
    )
    with torch.no_grad():
        for module in vae.modules():
            if isinstance(module, CogVideoXSpatialNorm3D):
                for conv, bias in ((module.conv_y.conv, 1.0), (module.conv_b.conv, 0.0)):
                    conv.weight.mul_(0.5)
                    conv.bias.fill_(bias)
        out = vae.encoder.conv_out.conv
        out.weight[16:] = 0
        out.bias[16:] = 2 * np.log(LATENT_NOISE)
    return vae


@dataclass(frozen=True)
class Crops:
    """A batch of training crops: pixels in [-1, 1] as (b, 3, n, H, W) and the loss weight of each pixel."""

    pixels: Tensor
    weight: Tensor


def draw_crops(clips: ClipSet, rng: np.random.Generator, *, batch: int, frames: int, size: int) -> Crops:
    """Draws random crops, half of them around a face; faces weigh three times, colorized depth is mixed in.

    Args:
        clips: rendered clips.
        rng: source of randomness.
        batch: crops.
        frames: 1 or 8 k + 1 consecutive frames, cut anywhere in the clip.
        size: height and width of the crop in pixels.

    Returns:
        The crops.
    """
    pixels, weights = [], []
    for _ in range(batch):
        clip = int(rng.integers(len(clips.frames)))
        first = int(rng.integers(clips.frames.shape[1] - frames + 1))
        span = slice(first, first + frames)
        top, left = _corner(clips.boxes[clip, first], clips.frames.shape[-2:], size, rng)
        if rng.random() < DEPTH_SHARE:
            crop = _depth_crop(clips.depth[clip], span, top, left, size)
            weight = np.ones((frames, size, size), np.float32)
        else:
            crop = clips.frames[clip, span, :, top : top + size, left : left + size]
            weight = _face_weight(clips, clip, span, top, left, size)
        if rng.random() < 0.5:
            crop, weight = crop[..., ::-1], weight[..., ::-1]
        pixels.append(torch.from_numpy(np.ascontiguousarray(crop)))
        weights.append(torch.from_numpy(np.ascontiguousarray(weight)))
    stacked = torch.stack(pixels).permute(0, 2, 1, 3, 4)
    return Crops(stacked.float() / 127.5 - 1, torch.stack(weights)[:, None])


def _corner(box: np.ndarray, shape: tuple[int, int], size: int, rng: np.random.Generator) -> tuple[int, int]:
    if np.isfinite(box).all() and rng.random() < 0.5:
        wanted = (
            np.array([(box[1] + box[3]) / 2, (box[0] + box[2]) / 2]) - size / 2 + rng.normal(0, size / 6, 2)
        )
    else:
        wanted = rng.random(2) * (np.array(shape) - size)
    top, left = np.clip(wanted.round().astype(int), 0, np.array(shape) - size)
    return int(top), int(left)


def _depth_crop(depth: np.ndarray, span: slice, top: int, left: int, size: int) -> np.ndarray:
    values = depth_maps.normalize(torch.from_numpy(depth.astype(np.float32))[None], kind="metric")
    crop = values[:, span, top : top + size, left : left + size]
    return depth_maps.colorize(crop, "inferno")[0].numpy()


def _face_weight(clips: ClipSet, clip: int, span: slice, top: int, left: int, size: int) -> np.ndarray:
    weight = np.ones((span.stop - span.start, size, size), np.float32)
    for k, box in enumerate(clips.boxes[clip, span]):
        if np.isfinite(box).all():
            x0, y0, x1, y1 = (np.array(box).round().astype(int) - [left, top, left, top]).clip(0, size)
            weight[k, y0:y1, x0:x1] = 3.0
    return weight


def reconstruction_loss(vae: AutoencoderKLCogVideoX, crops: Crops, generator: torch.Generator) -> Tensor:
    """Weighted L1 + L2 of pixels, L1 of their spatial differences, and a weak pull of the latents to zero.

    Args:
        vae: the VAE.
        crops: training crops.
        generator: draws the posterior noise.

    Returns:
        Scalar.
    """
    mean = vae.encode(crops.pixels).latent_dist.mean
    noisy = mean + LATENT_NOISE * torch.randn(mean.shape, generator=generator)
    error = vae.decode(noisy).sample.float() - crops.pixels
    weight = crops.weight / crops.weight.mean()
    pixel = (weight * (error.abs() + 2 * error.square())).mean()
    edges = sum(error.diff(dim=d).abs().mean() for d in (-1, -2))
    chroma = (error - error.mean(dim=1, keepdim=True)).abs().mean()
    return pixel + 0.5 * edges + 0.5 * chroma + 1e-3 * mean.float().square().mean()


@torch.no_grad()
def psnr(vae: AutoencoderKLCogVideoX, clips: ClipSet, *, count: int, frames: int) -> dict[str, float]:
    """Reconstruction PSNR in dB on whole frames of the first clips, mean of the clips.

    Args:
        vae: the VAE.
        clips: held-out clips.
        count: clips used.
        frames: frames used of each.

    Returns:
        `psnr_rgb` and `psnr_depth`.
    """
    values = depth_maps.normalize(torch.from_numpy(clips.depth[:count].astype(np.float32)), kind="metric")
    videos = {
        "psnr_rgb": torch.from_numpy(clips.frames[:count, :frames]),
        "psnr_depth": depth_maps.colorize(values[:, :frames], "inferno"),
    }
    result = {}
    for name, video in videos.items():
        pixels = video.permute(0, 2, 1, 3, 4).float() / 127.5 - 1
        scores = []
        for pair in pixels.split(2):
            with torch.autocast("cpu", dtype=torch.bfloat16):
                decoded = vae.decode(vae.encode(pair).latent_dist.mode()).sample
            error = (decoded.float().clamp(-1, 1) - pair).square().mean(dim=(1, 2, 3, 4)) / 4
            scores.append(-10 * error.log10())
        result[name] = torch.cat(scores).mean().item()
    return result


def train_vae(
    clips: ClipSet, heldout: ClipSet, *, seed: int, work: Path, log: Path
) -> AutoencoderKLCogVideoX:
    """Trains the VAE: frames first, then clips of 9 frames.

    Args:
        clips: training clips.
        heldout: clips of other people, for the log.
        seed: of weights and crops.
        work: folder of the checkpoints.
        log: folder of the logs.

    Returns:
        The VAE with averaged weights.
    """
    vae = new_vae(seed)
    phases = (("image", IMAGE_PHASE, 16, 1), ("video", VIDEO_PHASE, 2, 9))
    for name, recipe, batch, frames in phases:

        def loss_of_step(step: int, batch: int = batch, frames: int = frames) -> Tensor:
            rng = np.random.default_rng([seed, frames, step])
            generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
            crops = draw_crops(clips, rng, batch=batch, frames=frames, size=64)
            return reconstruction_loss(vae, crops, generator)

        with fast_training(vae):
            fit(
                vae,
                loss_of_step,
                recipe,
                checkpoint=work / f"vae_{name}.pt",
                log=log / f"vae_{name}.jsonl",
                evaluate=lambda frames=frames: psnr(vae, heldout, count=8, frames=min(17, 2 * frames - 1)),
            )
    return vae
