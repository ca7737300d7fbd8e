"""Videos to scaled VAE latents and back.

The only place that flips (b, f, c, h, w) to the VAE's (b, c, f, h, w) and that multiplies by the VAE's
scaling factor. The VAE is called by its own `encode` and `decode`, which cut time into chunks: encode a video
and its depth with the same number of frames, and never mix pieces that were encoded apart.
"""

import torch
from diffusers import AutoencoderKLCogVideoX
from jaxtyping import Float
from torch import Tensor

from semrepa.runtime import autocast
from semrepa.shapes import Frames, Latents, Pixels, num_frames, num_latent_frames

Generators = torch.Generator | list[torch.Generator] | None
"""One source of randomness, or one for each video of a batch; None stands for no randomness."""


def to_pixels(frames: Frames) -> Pixels:
    """Bring stored frames to the range of the VAE, as diffusers' VideoProcessor does.

    Args:
        frames: RGB, 0 to 255.

    Returns:
        RGB, -1 to 1, float32.
    """
    return frames.float() / 255 * 2 - 1


def to_frames(pixels: Pixels) -> Frames:
    """Bring the VAE's answer to stored frames, clipping what is out of range.

    Args:
        pixels: RGB, -1 to 1.

    Returns:
        RGB, 0 to 255, rounded.
    """
    return ((pixels.float() / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8)


def encode(vae: AutoencoderKLCogVideoX, frames: Frames, *, generator: Generators = None) -> Latents:
    """Encode videos (or colorized depth) to scaled latents.

    Args:
        vae: frozen VAE.
        frames: 4 k + 1 frames, height and width multiples of 8.
        generator: source of randomness for samples of the posterior; None takes its mode.

    Returns:
        Scaled latents in float32, without gradients.

    Raises:
        ValueError: when the size of the frames does not fit the VAE, or VAE tiling changes the size.
    """
    return vae.config["scaling_factor"] * posterior_latents(vae, to_pixels(frames), generator)


def encode_image(vae: AutoencoderKLCogVideoX, pixels: Pixels, *, generator: Generators = None) -> Latents:
    """Encode first frames, scaled as the checkpoint's image condition is.

    CogVideoX 1.0 multiplies by the scaling factor; 1.5 (`invert_scale_latents`) divides by it.

    Args:
        vae: frozen VAE.
        pixels: one frame for each clip (n = 1), -1 to 1; noise may push it beyond.
        generator: source of randomness for samples of the posterior; None takes its mode.

    Returns:
        Latents with f = 1 in float32, without gradients.
    """
    factor = vae.config["scaling_factor"]
    scale = 1 / factor if vae.config["invert_scale_latents"] else factor
    return scale * posterior_latents(vae, pixels, generator)


def repeat_first(latents: Latents, frames: int) -> Float[Tensor, "b g c h w"]:
    """Repeat the first latent frame in front, as CogVideoX 1.5 is trained (see `padded_frames`).

    Args:
        latents: latents of videos.
        frames: latent frames in all; no fewer than there are.

    Returns:
        Latents of that many frames; those of the video are the last ones.
    """
    count = frames - latents.shape[1]
    return torch.cat([latents[:, :1].expand(-1, count, -1, -1, -1), latents], dim=1) if count else latents


@torch.no_grad()
def decode(vae: AutoencoderKLCogVideoX, latents: Latents) -> Pixels:
    """Decode scaled latents to pixels.

    Args:
        vae: frozen VAE.
        latents: scaled latents with an odd number of frames.

    Returns:
        Pixels in float32, about -1 to 1 (not clipped), without gradients.

    Raises:
        ValueError: when the number of latent frames is even: the decoder would then give every latent frame
            four frames and no longer set the first apart.
    """
    count = latents.shape[1]
    if count % 2 == 0:
        raise ValueError(
            f"got {count} latent frames; expected an odd number for CogVideoX's decoder; "
            f"use videos of 8 k + 1 frames, such as {num_frames(count - 1)} or {num_frames(count + 1)}"
        )
    unscaled = latents.to(vae.device, vae.dtype) / vae.config["scaling_factor"]
    with autocast(vae.device):
        pixels = vae.decode(_flip(unscaled), return_dict=False)[0]
    return _flip(pixels).float()


@torch.no_grad()
def posterior_latents(vae: AutoencoderKLCogVideoX, pixels: Pixels, generator: Generators = None) -> Latents:
    """Encode pixels to latents that are not scaled yet.

    Args:
        vae: frozen VAE.
        pixels: RGB, -1 to 1.
        generator: source of randomness for samples of the posterior; None takes its mode.

    Returns:
        Unscaled latents in float32.

    Raises:
        ValueError: when the size of the frames does not fit the VAE, or VAE tiling changes the size.
    """
    batch, frames, _, height, width = pixels.shape
    ratio = 2 ** (len(vae.config["block_out_channels"]) - 1)
    if height % ratio or width % ratio:
        raise ValueError(f"got frames of {height}x{width} (height x width); expected multiples of {ratio}")
    expected = (
        batch,
        num_latent_frames(frames),
        vae.config["latent_channels"],
        height // ratio,
        width // ratio,
    )
    first = next(vae.parameters())  # vae.device and vae.dtype look through all layers
    with autocast(first.device):
        posterior = vae.encode(_flip(pixels.to(first.device, first.dtype)), return_dict=False)[0]
    latents = _flip(posterior.mode() if generator is None else posterior.sample(generator)).float()
    if latents.shape != expected:
        raise ValueError(
            f"got latents {tuple(latents.shape)} from the VAE; expected {expected}; "
            "turn tiling off for small frames: vae.disable_tiling()"
        )
    return latents


def _flip(video: Tensor) -> Tensor:
    return video.transpose(1, 2)
