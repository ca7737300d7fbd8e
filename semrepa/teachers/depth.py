"""The depth teacher of the paper: Video Depth Anything on a local file of weights."""

import logging
from pathlib import Path
from typing import Literal, get_args

import torch
from safetensors import SafetensorError, safe_open

from semrepa.data.index import ClipRow
from semrepa.data.sampling import ClipError
from semrepa.models.video_depth_anything import (
    FRAME_BATCH,
    Variant,
    load_video_depth_anything,
    network_size,
)
from semrepa.provenance import Kind, Provenance
from semrepa.runtime import pick_device
from semrepa.shapes import Depth, Frames
from semrepa.teachers.pack import KIND_KEY

log = logging.getLogger(__name__)

Precision = Literal["float32", "float16", "bfloat16"]


class VideoDepthAnythingTeacher:
    """Depth by Video Depth Anything: disparity, or metres from a metric network.

    Disparity can be 0, which is infinitely far. Metric depth of 0 has no disparity, so that a clip with such
    pixels is refused rather than mended.

    Args:
        weights: `video_depth_anything_vits.pth` and the like, or the same as safetensors.
        variant: "vits", "vitb", "vitl", or "mini" for tests.
        metric: whether the file is that of a metric network; the file itself does not tell.
        input_size: shorter side of the frames that the network sees, pixels, a multiple of 14.
        dtype: number type of linear layers and convolutions.
        frame_batch: frames at a time in the parts that do not mix frames.
        device: where it runs; None: the GPU if there is one.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: when the file does not fit, or a setting cannot work.
    """

    def __init__(
        self,
        weights: Path | str,
        *,
        variant: Variant,
        metric: bool = False,
        input_size: int = 518,
        dtype: Precision = "float32",
        frame_batch: int = FRAME_BATCH,
        device: torch.device | str | None = None,
    ) -> None:
        network_size(480, 720, input_size)
        if dtype not in get_args(Precision):
            raise ValueError(f"dtype: got {dtype!r}; expected one of {', '.join(get_args(Precision))}")
        if frame_batch < 1:
            raise ValueError(f"frame_batch: got {frame_batch}; expected at least 1; use {FRAME_BATCH}")
        self.file, self.input_size, self.frame_batch = Path(weights).expanduser(), input_size, frame_batch
        self.device = torch.device(device) if device is not None else pick_device()
        self.model = load_video_depth_anything(
            self.file, variant, metric=metric, device=self.device, dtype=getattr(torch, dtype)
        )
        self.kind: Literal["metric", "disparity"] = "metric" if metric else "disparity"
        self.provenance = Provenance.of("depth teacher", self.file, kind=kind_of(self.file))
        log.info(
            "Video Depth Anything %s (%s, %s) from %s (sha256 %s) runs on %s",
            variant, self.kind, dtype, self.file, self.provenance.sha256, self.device,
        )  # fmt: skip

    def __call__(self, row: ClipRow, frames: Frames) -> Depth:
        """Estimate the depth of one clip.

        Args:
            row: the clip's row in the index, named in messages.
            frames: (1, n, 3, H, W) RGB, 0 to 255.

        Returns:
            (1, n, H, W) float32 on the CPU: disparity of unknown scale and shift, or metres.

        Raises:
            ValueError: when there is not one clip.
            ClipError: when its depth is not finite or all the same, or metric depth is 0 somewhere.
        """
        if len(frames) != 1:
            raise ValueError(
                f"got frames of {len(frames)} clips; expected (1, n, 3, H, W), one clip; pass one at a time"
            )
        depth = self.model.infer_video_depth(
            frames[0], input_size=self.input_size, frame_batch=self.frame_batch
        )
        if self.kind == "metric":
            check_metres(depth, row.id)
        return depth[None]


def check_metres(depth: torch.Tensor, clip: str) -> None:
    """Refuse metric depth that cannot be inverted.

    Args:
        depth: (n, H, W) metres.
        clip: id of the clip.

    Raises:
        ClipError: when depth is not above 0 everywhere; says where and how much.
    """
    bad = depth <= 0
    if bad.any():
        frames = torch.nonzero(bad.flatten(1).any(dim=1))[:, 0].tolist()
        raise ClipError(
            "no_depth",
            f"metric depth of clip {clip!r}: got 0 metres on {bad.float().mean():.2%} of the pixels (frames "
            f"{frames[0]} to {frames[-1]}); expected more than 0, since it is inverted; leave the clip out, "
            "or use relative weights with depth.metric=False",
        )


def kind_of(file: Path) -> Kind:
    """What a file of weights says of its origin.

    Args:
        file: weights.

    Returns:
        The entry "semrepa.kind" in the metadata of safetensors; "real" without one, and for other files,
        which have no metadata.

    Raises:
        ValueError: when the entry is none of the known kinds.
    """
    try:
        with safe_open(file, framework="pt") as content:
            kind = (content.metadata() or {}).get(KIND_KEY, "real")
    except SafetensorError:
        return "real"
    if kind not in get_args(Kind):
        raise ValueError(
            f"{file}: got {KIND_KEY}={kind!r} in its metadata; expected one of {', '.join(get_args(Kind))}"
        )
    return kind
