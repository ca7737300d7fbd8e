"""How YOLOv8 wants its pictures: scaled to fit, centred, on grey; and the way back for boxes."""

from typing import NamedTuple

import cv2
import numpy as np

GREY = 114
"""Colour of the borders."""


class Letterbox(NamedTuple):
    """How a frame lies in the model's input: scaled to fit, centred, on grey."""

    frame: tuple[int, int]
    """Height and width of the frame."""
    inner: tuple[int, int]
    """Height and width of the scaled frame."""
    outer: tuple[int, int]
    """Height and width of the input."""

    @classmethod
    def fit(cls, frame: tuple[int, int], full: tuple[int, int], stride: int | None = None) -> "Letterbox":
        """Fit a frame into a model's input, with the rounding of ultralytics.

        Args:
            frame: height and width of the frame, pixels.
            full: height and width of the input, pixels.
            stride: None fills the input; else borders are only as wide as this stride asks for.

        Returns:
            The place.
        """
        scale = min(whole / side for whole, side in zip(full, frame, strict=True))
        inner = max(round(frame[0] * scale), 1), max(round(frame[1] * scale), 1)
        if stride is None:
            return cls(frame, inner, full)
        high, wide = (part + (whole - part) % stride for whole, part in zip(full, inner, strict=True))
        return cls(frame, inner, (high, wide))

    @property
    def offset(self) -> tuple[int, int]:
        """Rows above and columns left of the scaled frame; the smaller half of an odd border comes first."""
        top, left = ((full - part) // 2 for full, part in zip(self.outer, self.inner, strict=True))
        return top, left

    def apply(self, image: np.ndarray) -> np.ndarray:
        """Draw a frame into the input.

        Args:
            image: (H, W, 3) uint8.

        Returns:
            (h, w, 3) uint8 of the size `outer`.
        """
        (top, left), (height, width) = self.offset, self.inner
        canvas = np.full((*self.outer, 3), GREY, np.uint8)
        scaled = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
        canvas[top : top + height, left : left + width] = scaled
        return canvas

    def undo(self, boxes: np.ndarray) -> np.ndarray:
        """Bring boxes back into the frame.

        Args:
            boxes: (k, 5) left, top, right, bottom in pixels of the input, score.

        Returns:
            (k, 5) the same in pixels of the frame, clipped to it.
        """
        (top, left), (height, width) = self.offset, self.frame
        gain = np.array([self.inner[1] / width, self.inner[0] / height] * 2, np.float32)
        corners = (boxes[:, :4] - np.array([left, top, left, top], np.float32)) / gain
        limit = np.array([width, height, width, height], np.float32)
        return np.concatenate([np.clip(corners, 0, limit), boxes[:, 4:]], axis=1)
