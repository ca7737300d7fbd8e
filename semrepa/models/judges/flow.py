"""Optical flow: RAFT by torchvision, and OpenCV's DIS, which has no weights and runs on a laptop."""

from itertools import pairwise
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.optical_flow import raft_large, raft_small

from semrepa.models.judges.filling import fill, full_precision, randomised, record
from semrepa.provenance import Kind, Provenance

RaftSize = Literal["raft_large", "raft_small"]
UPDATES = 12
"""Steps of RAFT's refinement, as torchvision evaluates it."""
LEAST = 128
"""Pixels that a side must have, for RAFT's coarsest level."""


class RaftFlow(nn.Module):
    """RAFT (Teed and Deng, 2020).

    Args:
        size: `raft_large` for the headline, `raft_small` for a third of the work.
        file: torchvision's weights; None: random ones.
        kind: what the file counts as; None: mini inside the package, else real.
        batch: pairs of frames at a time: memory only.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged or of another network.

    Attributes:
        name: the size.
        provenance: where the weights come from.
    """

    def __init__(
        self,
        size: RaftSize = "raft_large",
        *,
        file: Path | None = None,
        kind: Kind | None = None,
        batch: int = 2,
    ) -> None:
        super().__init__()
        self.name, self.batch = size, batch
        make = {"raft_large": raft_large, "raft_small": raft_small}[size]
        self.network = randomised(lambda: make(weights=None, progress=False))
        if file is not None:
            fill(self.network, file, f"torchvision {size} weights", optional=("num_batches_tracked",))
        self.provenance = record(f"flow {size}, {UPDATES} updates", file, kind)

    @full_precision()
    @torch.no_grad()
    def forward(self, frames: UInt8[Tensor, "n 3 H W"]) -> Float[Tensor, "m 2 H W"]:
        """Flow from each frame to the next.

        Args:
            frames: RGB, 0 to 255; sides that are small or no multiples of 8 are padded by their last pixels.

        Returns:
            n - 1 flows, pixels.
        """
        height, width = frames.shape[-2:]
        padding = [max(LEAST, -(-side // 8) * 8) - side for side in (width, height)]
        device = next(self.network.parameters()).device
        colours = frames.to(device).float() / 127.5 - 1
        colours = functional.pad(colours, (0, padding[0], 0, padding[1]), mode="replicate")
        pairs = zip(colours[:-1].split(self.batch), colours[1:].split(self.batch), strict=True)
        flows = [self.network(*pair, num_flow_updates=UPDATES)[-1] for pair in pairs]
        return torch.cat(flows)[..., :height, :width]


class DisFlow:
    """Dense inverse search (Kroeger et al., 2016) by OpenCV, on the CPU; no learned weights.

    Attributes:
        name: `dis`.
        provenance: that it is no network; its numbers are real, and not those of RAFT.
    """

    name = "dis"
    provenance = Provenance(name="flow dis, medium preset", source="OpenCV's DIS: no weights", kind="real")

    def __call__(self, frames: UInt8[Tensor, "n 3 H W"]) -> Float[Tensor, "m 2 H W"]:
        """Flow from each frame to the next.

        Args:
            frames: RGB, 0 to 255.

        Returns:
            n - 1 flows, pixels.
        """
        finder = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        pictures = np.ascontiguousarray(frames.permute(0, 2, 3, 1).cpu().numpy())
        grey = [cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in pictures]
        flows = [finder.calc(*pair, None) for pair in pairwise(grey)]
        return torch.from_numpy(np.stack(flows)).permute(0, 3, 1, 2).to(frames.device)
