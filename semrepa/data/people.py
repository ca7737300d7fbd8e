"""The human filter: keep the videos that show a person.

The filter is a rule about boxes; who draws the boxes is up to the caller. The paper lets YOLOv8 look at the
first frame, here `semrepa.teachers.people`. Source: Sec. 5.1.1.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, UInt8
from torch import Tensor

from semrepa.data.sampling import Box, placed

PersonDetector = Callable[[UInt8[Tensor, "3 H W"]], Float[Tensor, "k 5"]]
"""From a frame, RGB 0 to 255, to the k people in it: left, top, right, bottom in pixels, score 0 to 1."""


@dataclass(frozen=True, kw_only=True)
class Sighting:
    """What the filter decided about a clip, and on what grounds."""

    present: bool
    """Whether a person was found that is sure and large enough."""
    frame: int
    """Frame that decided."""
    box: tuple[float, float, float, float] | None
    """Left, top, right, bottom of its most convincing person, pixels, inside the picture; None when nobody
    was seen at all."""
    score: float
    """Score of that person, 0 to 1."""
    area: float
    """Share of the picture that the box covers, 0 to 1."""


@dataclass(frozen=True, kw_only=True)
class PersonFilter:
    """Looks for a person who is sure and large enough."""

    detector: PersonDetector
    """Draws boxes around people."""
    min_score: float = 0.5
    """Least score."""
    min_area: float = 0.02
    """Least share of the picture."""
    looks: int = 1
    """Frames to look at, spread evenly, until one shows a person. The paper looks at the first only."""

    def __call__(self, pictures: UInt8[Tensor, "n 3 h w"], content: Box | None = None) -> Sighting:
        """Decide about one clip.

        Args:
            pictures: RGB, 0 to 255, without padding.
            content: top, left, height and width that they take in the clip's frames, in whose pixels the box
                is given; None: the pictures are the frames.

        Returns:
            The first look that shows a person, else the one with the highest score.
        """
        step = max(1, len(pictures) // self.looks)
        seen = []
        for index in range(0, len(pictures), step)[: self.looks]:
            seen.append(self._look(pictures[index], index))
            if seen[-1].present:
                break
        best = seen[-1] if seen[-1].present else max(seen, key=lambda sighting: sighting.score)
        if content is None or best.box is None:
            return best
        height, width = pictures.shape[2:]
        corners = placed(np.array(best.box).reshape(2, 2), (height, width), content)
        left, top, right, bottom = corners.ravel().tolist()
        return replace(best, box=(left, top, right, bottom))

    def _look(self, frame: UInt8[Tensor, "3 H W"], index: int) -> Sighting:
        height, width = frame.shape[1:]
        best = Sighting(present=False, frame=index, box=None, score=0.0, area=0.0)
        for left, top, right, bottom, score in self.detector(frame).tolist():
            box = max(left, 0.0), max(top, 0.0), min(right, float(width)), min(bottom, float(height))
            area = max(box[2] - box[0], 0.0) * max(box[3] - box[1], 0.0) / (width * height)
            present = score >= self.min_score and area >= self.min_area
            if (present, score) > (best.present, best.score):
                best = Sighting(present=present, frame=index, box=box, score=score, area=area)
        return best
