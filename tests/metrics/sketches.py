"""Stand-ins for networks that judge, which answer by plain arithmetic, and pictures to judge."""

import numpy as np
import torch
from skimage import data

from semrepa.provenance import Kind, Provenance


def photo(name: str, height: int = 96, width: int = 144) -> torch.Tensor:
    """A real picture of scikit-image, its upper left part, (3, height, width) uint8."""
    picture = np.ascontiguousarray(getattr(data, name)()[:height, :width])
    picture = np.repeat(picture[..., None], 3, axis=2) if picture.ndim == 2 else picture
    return torch.from_numpy(picture).permute(2, 0, 1).contiguous()


def clip_of(*pictures: torch.Tensor) -> torch.Tensor:
    """One clip (1, n, 3, H, W)."""
    return torch.stack(pictures)[None]


class MeanColours:
    """Describes a picture by the means of its colours in four quarters: 12 features."""

    def __init__(self, kind: Kind = "random", name: str = "mean colours") -> None:
        self.provenance = Provenance(name=name, source="a test", kind=kind)

    def __call__(self, pictures: torch.Tensor) -> torch.Tensor:
        quarters = torch.nn.functional.adaptive_avg_pool2d(pictures.double(), 2)
        return (quarters.flatten(1) / 255).float()


class Shifts:
    """Sees the same flow everywhere: as far to the right as the mean brightness grows."""

    name = "shifts"
    provenance = Provenance(name="flow shifts", source="a test", kind="random")

    def __call__(self, frames: torch.Tensor) -> torch.Tensor:
        grown = frames.float().mean(dim=(1, 2, 3)).diff()
        flow = torch.zeros(len(frames) - 1, 2, *frames.shape[2:])
        flow[:, 0] = grown[:, None, None]
        return flow
