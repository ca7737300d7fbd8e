"""Teachers: the frozen networks (or exact answers) whose per-frame meaning the aligners learn to predict.

A depth teacher answers how far every pixel is, a face teacher who is in the picture. Both are called while
the feature store is prepared and when videos are scored, never inside a training step.
"""

from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from semrepa.data.index import ClipRow
from semrepa.data.sampling import Box
from semrepa.runtime import Provenance
from semrepa.shapes import Depth, Frames


@dataclass(frozen=True, kw_only=True)
class FaceTrack:
    """The face of one person through one clip of n frames."""

    embeds: Float[Tensor, "n 512"]
    """L2-normalised identity embedding of each frame, zeros where it is masked."""
    mask: Bool[Tensor, " n"]
    """True on frames where the person's face was found and is a good enough view to recognise."""
    boxes: Float[Tensor, "n 4"]
    """Left, top, right, bottom in pixels of the clip's frames, NaN where the face is missing."""
    points: Float[Tensor, "n 5 2"]
    """Eyes, nose, mouth corners (x, y) in pixels, NaN where the face is missing."""
    scores: Float[Tensor, " n"]
    """Detection score in [0, 1], 0 where the face is missing."""
    sizes: Float[Tensor, " n"]
    """Shorter side of the box in pixels, NaN where the face is missing."""
    cuts: Float[Tensor, " n"]
    """Share of the face outside the picture in [0, 1], NaN where the face is missing."""
    yaws: Float[Tensor, " n"]
    """Turn of the head: nose off the eyes' middle along the line of the eyes, in eye distances; positive to
    the right of the picture, about 0.5 in half profile, NaN where the face is missing."""


@runtime_checkable
class DepthTeacher(Protocol):
    """Answers how far every pixel of a clip is."""

    kind: Literal["metric", "disparity"]
    """"metric": distance along the viewing axis in metres. "disparity": large is near, unknown scale and
    shift."""
    provenance: Provenance
    """Where the answers come from."""

    def __call__(self, row: ClipRow, frames: Frames) -> Depth:
        """Estimate the depth of one clip.

        Args:
            row: the clip's row in the index.
            frames: (1, n, 3, H, W) RGB, 0 to 255.

        Returns:
            (1, n, H, W) depth of the teacher's `kind`.
        """
        ...


@runtime_checkable
class FaceTeacher(Protocol):
    """Finds and recognises the face of the person in a clip."""

    provenance: Provenance
    """Which model files answer."""

    def __call__(self, frames: UInt8[Tensor, "n 3 H W"], content: Box | None = None) -> FaceTrack:
        """Follow one person's face through a clip.

        Args:
            frames: (n, 3, H, W) RGB, 0 to 255; best at the source's own shape and resolution.
            content: top, left, height and width that they take in the clip's own frames, in whose pixels to
                answer; None: the given frames are the clip's own.

        Returns:
            The track; every frame is masked when there is no face.
        """
        ...
