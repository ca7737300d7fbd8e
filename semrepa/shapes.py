"""Names for the tensors of the kit, and the one rule that ties video frames to latent frames.

Axis letters: `b` clips in a batch, `n` video frames, `f` latent frames (`n = 4 (f - 1) + 1`), `c` latent
channels, `h` and `w` latent height and width, `H` and `W` height and width in pixels, `l` text tokens,
`e` text features, `d` face embedding size.
"""

from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

Frames = UInt8[Tensor, "b n 3 H W"]
"""RGB video at rest, 0 to 255."""

Pixels = Float[Tensor, "b n 3 H W"]
"""RGB video as the VAE sees it, -1 to 1."""

Images = UInt8[Tensor, "b 3 H W"]
"""One RGB picture per clip (its first frame), 0 to 255."""

Latents = Float[Tensor, "b f c h w"]
"""Scaled VAE latents: of a video, of its colorized depth, or of its first frame."""

JoinedLatents = Float[Tensor, "b f C h w"]
"""Latents with others joined on the channels, C of them in all."""

Depth = Float[Tensor, "b n H W"]
"""One number per pixel: metric depth, disparity, or either of them brought to [0, 1]."""

DepthRange = Float[Tensor, "b 2"]
"""Smallest and largest disparity of each clip, which stand for 0 and 1."""

Embeddings = Float[Tensor, "b n d"]
"""One face embedding per video frame."""

FaceMask = Bool[Tensor, "b n"]
"""True on frames that show a usable face."""

Timesteps = Int[Tensor, "b"]
"""Diffusion timestep of each clip, an index into the noise table."""

PromptEmbeds = Float[Tensor, "b l e"]
"""Text features of each caption."""

PerSample = Float[Tensor, "b"]
"""One number per clip, such as a loss before it is weighted."""

PerFrame = Float[Tensor, "b n"]
"""One number per video frame, such as a score."""

Scalar = Float[Tensor, ""]
"""One number."""

AlphaTable = Float[Tensor, "T"]
"""Signal share `alphas_cumprod` of each of the T timesteps, between 0 and 1."""

TEMPORAL_RATIO = 4
"""Video frames per latent frame, after the first, which stands alone."""


def num_latent_frames(num_frames: int) -> int:
    """Count the latent frames of a video.

    Args:
        num_frames: video frames, n.

    Returns:
        The count f with n = 4 (f - 1) + 1.

    Raises:
        ValueError: when no latent count fits exactly.
    """
    if num_frames < 1 or num_frames % TEMPORAL_RATIO != 1:
        lower = max(1, (num_frames - 1) // TEMPORAL_RATIO * TEMPORAL_RATIO + 1)
        raise ValueError(
            f"got num_frames={num_frames}; expected 4 k + 1 frames (1, 5, 9, ...); "
            f"use {lower} or {lower + TEMPORAL_RATIO}"
        )
    return (num_frames - 1) // TEMPORAL_RATIO + 1


def num_frames(latent_frames: int) -> int:
    """Count the video frames that a number of latent frames stands for.

    Args:
        latent_frames: latent frames, f.

    Returns:
        The count n = 4 (f - 1) + 1.

    Raises:
        ValueError: when there is no latent frame.
    """
    if latent_frames < 1:
        raise ValueError(f"got latent_frames={latent_frames}; expected at least 1")
    return TEMPORAL_RATIO * (latent_frames - 1) + 1
