"""Video Depth Anything: depth of every frame of a video, steady over time.

Own implementation after the paper (arXiv 2501.12375) and the published behaviour, with the parameter names
of the published weights, so that `video_depth_anything_*.pth` loads as it is.
"""

import logging
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn import functional

from semrepa.data.sampling import ClipError
from semrepa.models.video_depth_anything.encoder import Encoder
from semrepa.models.video_depth_anything.head import Head
from semrepa.models.video_depth_anything.preprocess import network_size, normalise
from semrepa.models.video_depth_anything.sizes import MAX_FRAMES, PATCH, Variant, size_of
from semrepa.models.video_depth_anything.windows import FITTED, OVERLAP, Window, stitch, window_frames

log = logging.getLogger(__name__)

FRAME_BATCH = 4
"""Frames at a time where frames are not mixed, as in the published inference."""


class VideoDepthAnything(nn.Module):
    """Depth of video frames: a DINOv2 encoder for each frame, a head with temporal modules for all of them.

    Relative depth is disparity (large is near) of unknown scale and shift; metric depth is in metres (large
    is far). Both are never negative and can be 0. Nothing in the weights tells the two apart.

    Args:
        variant: "vits", "vitb", "vitl", or "mini" for tests.
        metric: whether the weights are those of a metric network.
    """

    def __init__(self, variant: Variant, *, metric: bool = False) -> None:
        super().__init__()
        size = size_of(variant)
        self.variant, self.metric = variant, metric
        self.pretrained = Encoder(size)
        self.head = Head(size)

    def set_precision(self, dtype: torch.dtype) -> "VideoDepthAnything":
        """Hold linear layers and convolutions in a number type, and compute in it.

        Norms, positions, the encoder's running sum and the last two convolutions stay in float32, as in the
        published inference.

        Args:
            dtype: float32, float16 or bfloat16.

        Returns:
            This network.
        """
        self.float()
        exact = set(self.head.scratch.output_conv2.modules())
        for layer in self.modules():
            if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d) and layer not in exact:
                layer.to(dtype)
        return self

    @property
    def precision(self) -> torch.dtype:
        """Number type of linear layers and convolutions."""
        return self.pretrained.patch_embed.proj.weight.dtype

    def forward(
        self, frames: Float[Tensor, "b t 3 H W"], *, frame_batch: int = FRAME_BATCH
    ) -> Float[Tensor, "b t H W"]:
        """Depth of clips of at most 32 frames.

        Args:
            frames: (b, t, 3, H, W) colours as `normalise` gives them; H and W multiples of 14.
            frame_batch: frames at a time in the parts that do not mix frames: less takes less memory, the
                answer is the same up to rounding.

        Returns:
            (b, t, H, W), not negative.

        Raises:
            TypeError: when frames are not numbers with a fraction.
            ValueError: for more than 32 frames, or sides that are no multiples of 14.
        """
        check_clips(frames)
        clips, count = frames.shape[:2]
        levels = self.encode(frames.flatten(0, 1), frame_batch)
        return self.head(levels, count, frame_batch).unflatten(0, (clips, count))

    def encode(self, frames: Float[Tensor, "k 3 H W"], frame_batch: int = FRAME_BATCH) -> list[Tensor]:
        """Run all that looks at each frame for itself before frames are mixed.

        Args:
            frames: (k, 3, H, W) normalised colours, sides multiples of 14.
            frame_batch: frames at a time.

        Returns:
            Four levels (k, channels of the level, H / 14, W / 14).

        Raises:
            ValueError: when `frame_batch` is not positive.
        """
        if frame_batch < 1:
            raise ValueError(f"frame_batch: got {frame_batch}; expected at least 1; use {FRAME_BATCH}")
        batches = [self.head.project(self.pretrained(some)) for some in frames.split(frame_batch)]
        return [torch.cat(level) for level in zip(*batches, strict=True)]

    @torch.no_grad()
    def infer_video_depth(
        self, frames: UInt8[Tensor, "n 3 H W"], *, input_size: int = 518, frame_batch: int = FRAME_BATCH
    ) -> Float[Tensor, "n H W"]:
        """Depth of a video of any length, in windows of 32 frames that are aligned and blended.

        The published inference, except that a frame that several windows see is encoded only once.

        Args:
            frames: (n, 3, H, W) RGB, 0 to 255.
            input_size: shorter side of the frames that the network sees, pixels, a multiple of 14.
            frame_batch: frames at a time in the parts that do not mix frames.

        Returns:
            (n, H, W) float32 on the CPU, not negative: disparity, or metres from a metric network.

        Raises:
            TypeError: when frames are not uint8.
            ValueError: for frames of another shape, or depth that is not finite or all the same.
        """
        check_video(frames)
        depths = self.window_depths(frames, input_size, frame_batch)
        plan = window_frames(len(frames))
        checked = (
            check_depth(depth.numpy(force=True), slots, self.precision)
            for depth, slots in zip(depths, plan, strict=True)
        )
        return torch.from_numpy(stitch(checked, len(frames), align=not self.metric))

    def window_depths(
        self, frames: UInt8[Tensor, "n 3 H W"], input_size: int, frame_batch: int
    ) -> Iterator[Float[Tensor, "32 H W"]]:
        """Depth of each window on its own, each with a scale and shift of its own unless metric.

        Args:
            frames: (n, 3, H, W) RGB, 0 to 255.
            input_size: shorter side of the frames that the network sees, pixels, a multiple of 14.
            frame_batch: frames at a time in the parts that do not mix frames.

        Yields:
            (32, H, W) float32 on the network's device, for the frames that `window_frames` says.
        """
        height, width = frames.shape[-2:]
        size = network_size(height, width, input_size)
        log.info("%d frames of %s, seen at %s", len(frames), (height, width), size)
        known: dict[int, list[Tensor]] = {}
        for slots in window_frames(len(frames)):
            known = {number: known[number] for number in slots if number in known}
            known |= self._encode_frames(frames, sorted(set(slots) - set(known)), size, frame_batch)
            levels = [torch.stack([known[number][k] for number in slots]) for k in range(4)]
            known = {number: [level[slot] for level in levels] for slot, number in enumerate(slots)}
            depth = self.head(levels, len(slots), frame_batch)[:, None].float()
            yield functional.interpolate(depth, frames.shape[-2:], mode="bilinear", align_corners=True)[:, 0]

    def _encode_frames(
        self, frames: Tensor, numbers: list[int], size: tuple[int, int], frame_batch: int
    ) -> dict[int, list[Tensor]]:
        """The four levels of some frames, by their number."""
        device, found = self.pretrained.cls_token.device, {}
        for some in (numbers[k : k + frame_batch] for k in range(0, len(numbers), frame_batch)):
            levels = self.encode(normalise(frames[some].to(device), size), frame_batch)
            found |= {number: [level[k] for level in levels] for k, number in enumerate(some)}
        return found


def check_clips(frames: Tensor) -> None:
    """Check what the network is given.

    Args:
        frames: clips of frames.

    Raises:
        TypeError: when they are not numbers with a fraction.
        ValueError: when they are not (b, t, 3, H, W) with 1 to 32 frames and sides that are multiples of 14.
    """
    if not frames.is_floating_point():
        raise TypeError(f"got frames of type {frames.dtype}; expected normalised colours; use normalise")
    if frames.ndim != 5 or frames.shape[2] != 3 or not len(frames):
        raise ValueError(f"got frames of shape {tuple(frames.shape)}; expected (b, t, 3, H, W)")
    count, (height, width) = frames.shape[1], frames.shape[-2:]
    if not 1 <= count <= MAX_FRAMES:
        raise ValueError(
            f"got clips of {count} frames; expected 1 to {MAX_FRAMES}; use infer_video_depth for longer ones"
        )
    if height % PATCH or width % PATCH or not height * width:
        raise ValueError(
            f"got frames of {height} x {width} pixels; expected multiples of {PATCH}; resize them as "
            "network_size says, or use infer_video_depth"
        )


def check_video(frames: Tensor) -> None:
    """Check what `infer_video_depth` is given.

    Args:
        frames: frames of one video.

    Raises:
        TypeError: when they are not uint8.
        ValueError: when they are not (n, 3, H, W) with at least one frame.
    """
    if frames.dtype != torch.uint8:
        raise TypeError(f"got frames of type {frames.dtype}; expected torch.uint8, RGB from 0 to 255")
    if frames.ndim != 4 or frames.shape[1] != 3 or not len(frames):
        raise ValueError(
            f"got frames of shape {tuple(frames.shape)}; expected (n, 3, H, W), one video; pass frames[0]"
        )


def check_depth(depth: Window, frames: Sequence[int], dtype: torch.dtype) -> Window:
    """Refuse depth that overflowed or went black.

    Args:
        depth: one window.
        frames: numbers of its frames.
        dtype: number type in which it was computed.

    Returns:
        The same depth.

    Raises:
        ClipError: when a value is not finite, or all are the same; its reason is "no_depth".
    """
    where = f"Video Depth Anything: the window of frames {min(frames[OVERLAP:])} to {max(frames)}"
    remedy = "check the weights" if dtype == torch.float32 else f"use float32 instead of {dtype}"
    bad = sorted({frame for frame, one in zip(frames, depth, strict=True) if not np.isfinite(one).all()})
    if bad:
        raise ClipError(
            "no_depth", f"{where} has depth that is not finite on frames {bad}; expected numbers; {remedy}"
        )
    low, high = depth.min(axis=(1, 2)), depth.max(axis=(1, 2))
    if not high[FITTED:].max() > low[FITTED:].min():
        raise ClipError(
            "no_depth",
            f"{where} is black: depth is {high[-1]:.4g} everywhere; expected depth that varies; {remedy}, "
            "or leave the clip out if it shows nothing",
        )
    flat = sorted({frame for frame, one in zip(frames, high > low, strict=True) if not one})
    if flat:
        log.warning("depth of frames %s is the same everywhere", flat)
    return depth
