"""Exact depth of clips of the sample world: rendered again from the seed in the index."""

import math
from typing import Literal

import numpy as np
import torch

from semrepa.data.index import ClipRow
from semrepa.data.video import TOLERANCE, content_box, probe
from semrepa.runtime import Provenance
from semrepa.shapes import Depth, Frames
from semrepa.world import ClipSpec, render_clip, sample_spec


class ExactDepth:
    """A depth teacher that knows the answer: metric depth along the viewing axis, in metres."""

    kind: Literal["metric", "disparity"] = "metric"
    provenance = Provenance(name="exact depth", source="semrepa.world", kind="mini")

    def __init__(self, *, fps: float = 8.0) -> None:
        """Fix the frame rate.

        Args:
            fps: frames per second at which the clips are sampled.
        """
        self.fps = fps

    def __call__(self, row: ClipRow, frames: Frames) -> Depth:
        """Render the depth of the moments that `read_clip` sampled.

        Args:
            row: a clip of the sample world, with its seed; its file tells the frame rate and whether it is
                vertical.
            frames: (1, n, 3, H, W) as read from the file; only the shape is used.

        Returns:
            (1, n, H, W) metres, float32. Padding beside a vertical clip is as far as the clip's farthest
            point.

        Raises:
            ValueError: If the row has no seed or arguments that the world does not know, or there is not
                one clip.
            FileNotFoundError: If the row's file is missing.
        """
        if len(frames) != 1:
            raise ValueError(
                f"got frames of {len(frames)} clips; expected (1, n, 3, H, W), one clip; pass one at a time"
            )
        info = probe(row.path)
        spec = world_spec(row, vertical=info.height > info.width)
        _, count, _, height, width = frames.shape
        top, left, inner_height, inner_width = content_box(info.width, info.height, (height, width))
        shown = [
            render_clip(
                spec, size=(inner_height, inner_width), num_frames=1, start=second, depth_only=True
            ).depth
            for second in on_screen(row.start, self.fps, count, info.fps)
        ]
        content = np.concatenate(shown)
        depth = np.full((count, height, width), content.max(), np.float32)
        depth[:, top : top + inner_height, left : left + inner_width] = content
        return torch.from_numpy(depth)[None]


def world_spec(row: ClipRow, *, vertical: bool) -> ClipSpec:
    """What a row of the sample world shows.

    Args:
        row: its seed, and `world` with further arguments of `sample_spec`.
        vertical: whether the file is taller than wide.

    Returns:
        The description to render.

    Raises:
        ValueError: If the row has no seed, or `world` does not fit.
    """
    if row.seed is None:
        raise ValueError(
            f"exact depth of clip {row.id!r}: got no seed; expected a clip of the sample world, "
            f'whose row has one; for other videos set depth.teacher to "video_depth_anything"'
        )
    who = {"identity": row.identity} if isinstance(row.identity, int) else {}
    arguments = {"vertical": vertical, **who, **(row.world or {})}
    try:
        return sample_spec(row.seed, **arguments)
    except TypeError as error:
        raise ValueError(
            f"exact depth of clip {row.id!r}: got world={row.world}; expected arguments of "
            f"semrepa.world.sample_spec such as motion and shot; correct the row ({error})"
        ) from error


def on_screen(start: float, fps: float, count: int, native_fps: float) -> list[float]:
    """When the pictures were taken that are on screen at the sampled moments.

    Args:
        start: second of the first sampled moment.
        fps: sampled moments per second.
        count: how many.
        native_fps: pictures per second in the file.

    Returns:
        Seconds, each the last multiple of 1 / native_fps that is not after its moment.
    """
    return [math.floor((start + k / fps + TOLERANCE) * native_fps) / native_fps for k in range(count)]
