"""Small clips whose faces are plain patches of colour, and a teacher that reads them."""

import numpy as np
import torch

from semrepa.miniature.clips import ClipSet
from semrepa.provenance import Provenance
from semrepa.teachers import FaceTrack

FRAMES, HEIGHT, WIDTH = 9, 32, 48
FACE = 12
"""Side of the faces, pixels."""


class PatchTeacher:
    """Takes pure red for a face; how much blue is in it says whose face it is."""

    provenance = Provenance(name="patches", source="test", kind="random")

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, frames: torch.Tensor) -> FaceTrack:
        self.asked += 1
        face = (frames[:, 0] == 255) & (frames[:, 1] == 0)
        mask = face.flatten(1).any(dim=1)
        embeds, boxes = torch.zeros(len(frames), 512), torch.full((len(frames), 4), torch.nan)
        for k in mask.nonzero()[:, 0].tolist():
            y, x = face[k].nonzero(as_tuple=True)
            embeds[k, int(frames[k, 2, y[0], x[0]])] = 1
            boxes[k] = torch.tensor([x.min(), y.min(), x.max() + 1, y.max() + 1])
        points = torch.full((len(frames), 5, 2), torch.nan)
        seen = dict.fromkeys(("scores", "sizes", "cuts", "yaws"), mask.float())
        return FaceTrack(embeds=embeds, mask=mask, boxes=boxes, points=points, **seen)


def paint_clips(count: int, *, frames: int = FRAMES, height: int = HEIGHT, width: int = WIDTH) -> ClipSet:
    """Noise of grays with a face that wanders, and is hidden in every third frame; a slope of 1 to 4 m."""
    rng = np.random.default_rng(0)
    video = rng.integers(20, 120, (count, frames, 1, height, width)).repeat(3, axis=2).astype(np.uint8)
    boxes = np.full((count, frames, 4), np.nan, np.float32)
    visible = np.arange(count * frames).reshape(count, frames) % 3 != 2
    for c, k in np.argwhere(visible):
        top, left = rng.integers(height - FACE), rng.integers(width - FACE)
        video[c, k, :, top : top + FACE, left : left + FACE] = np.array([255, 0, 40 * c])[:, None, None]
        boxes[c, k] = left, top, left + FACE, top + FACE
    slope = np.linspace(1, 4, width) + 0.1 * np.arange(count)[:, None, None, None]
    depth = np.broadcast_to(slope, (count, frames, height, width)).astype(np.float16)
    words = ("walks", "waves", "turns", "dances", "squats")
    captions = [f"a person {words[c % len(words)]}" for c in range(count)]
    return ClipSet(frames=video, depth=depth, boxes=boxes, visible=visible, captions=captions)
