"""Text score: cosine between each frame and the caption in CLIP, as it is (no factor 100, no clamp at 0)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import cosine_similarity

from semrepa.metrics.features import Pictures
from semrepa.metrics.image import AnyFrames, Content, inside, to_bytes
from semrepa.provenance import Provenance
from semrepa.shapes import PerFrame


@runtime_checkable
class TextNetwork(Protocol):
    """A frozen network that puts pictures and captions into one space."""

    provenance: Provenance
    """Whose weights answer."""
    max_tokens: int
    """Tokens of a caption that are read, with the marks at both ends."""

    def see(self, pictures: Pictures) -> Float[Tensor, "k d"]:
        """Embed pictures.

        Args:
            pictures: RGB, 0 to 255, of any size; what a centre crop cuts off is not seen.

        Returns:
            Embeddings of any length.
        """
        ...

    def read(self, captions: Sequence[str]) -> tuple[Float[Tensor, "b d"], Int[Tensor, " b"]]:
        """Embed captions.

        Args:
            captions: texts; what is too long is cut.

        Returns:
            Embeddings, and how many tokens each caption has uncut.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class TextScore:
    """How well videos fit their captions."""

    frames: PerFrame
    """Cosine of each frame."""
    truncated: Bool[Tensor, " b"]
    """Captions of which the end was not read."""
    provenance: Provenance
    """The network."""


def text_score(
    frames: AnyFrames,
    captions: Sequence[str],
    network: TextNetwork,
    *,
    content: Content | None = None,
    batch: int = 16,
) -> TextScore:
    """Cosine between frames and captions.

    Args:
        frames: (b, n, 3, H, W) RGB, uint8 or float in [0, 1].
        captions: b texts.
        network: CLIP ViT-B/32 for the headline; numbers of other sizes differ by more than models do.
        content: the picture inside its padding; None: all of it.
        batch: frames at a time: memory only, not the answer.

    Returns:
        The cosines, and which captions were cut: say how many in a table.

    Raises:
        ValueError: another number of captions, an empty caption, or embeddings that are not finite.
    """
    empty = sum(not caption.strip() for caption in captions)
    if len(captions) != len(frames) or empty:
        raise ValueError(
            f"got {len(captions)} captions, {empty} of them empty, "
            f"for {len(frames)} clips; expected one text for each; leave clips without a caption out"
        )
    pictures = inside(to_bytes(frames), content).flatten(0, 1)
    with torch.no_grad():
        texts, tokens = network.read(captions)
        seen = torch.cat([network.see(part) for part in pictures.split(batch)])
    if not (seen.isfinite().all() and texts.isfinite().all()):
        raise ValueError(
            f"got embeddings that are not finite; expected numbers; check the weights of "
            f"{network.provenance.source}, or use float32"
        )
    cosines = cosine_similarity(seen.unflatten(0, frames.shape[:2]), texts[:, None], dim=-1)
    return TextScore(frames=cosines, truncated=tokens > network.max_tokens, provenance=network.provenance)
