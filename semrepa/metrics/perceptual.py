"""LPIPS: how far the true frame is in the layers of an image classifier."""

from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from semrepa.metrics.features import Pictures
from semrepa.metrics.image import AnyFrames, Content, inside, to_bytes
from semrepa.provenance import Provenance
from semrepa.shapes import PerFrame


@runtime_checkable
class PairNetwork(Protocol):
    """A frozen network that says how different two pictures look."""

    provenance: Provenance
    """Whose weights answer."""

    def __call__(self, pictures: Pictures, reference: Pictures) -> Float[Tensor, " k"]:
        """Compare pictures one by one.

        Args:
            pictures: RGB, 0 to 255.
            reference: as many, of the same size.

        Returns:
            Distances, 0 for equal pictures.
        """
        ...


def lpips(
    frames: AnyFrames,
    reference: AnyFrames,
    network: PairNetwork,
    *,
    content: Content | None = None,
    batch: int = 4,
) -> PerFrame:
    """Perceptual distance of each frame.

    Args:
        frames: video to score, uint8 or float in [0, 1].
        reference: true video.
        network: LPIPS on AlexNet (what evaluations use) or VGG: their numbers differ, so name it.
        content: the picture inside its padding; None: all of it.
        batch: frames at a time: memory only, not the answer.

    Returns:
        Distances, (b, n), lower is better.

    Raises:
        ValueError: the videos differ in shape, hold numbers outside [0, 1], or the answer is not finite.
    """
    if frames.shape != reference.shape:
        raise ValueError(
            f"got frames {tuple(frames.shape)} and reference {tuple(reference.shape)}; "
            "expected equal shapes; cut or resize them to one size first"
        )
    pair = [inside(to_bytes(x), content).flatten(0, 1).split(batch) for x in (frames, reference)]
    with torch.no_grad():
        found = torch.cat([network(x, y) for x, y in zip(*pair, strict=True)])
    if not found.isfinite().all():
        raise ValueError(
            f"got distances that are not finite; expected numbers; check the weights of "
            f"{network.provenance.source}, or use float32"
        )
    return found.view(frames.shape[:2])
