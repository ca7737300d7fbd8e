"""A clip beside its depth: the teacher's, the predicted one, and where they differ, under one slider."""

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import ArrayLike

from semrepa.depth import Colormap, colorize
from semrepa.ui.checks import check_lengths
from semrepa.ui.pictures import one_clip
from semrepa.ui.scrubber import Scrubber, scrubber

NAMES = ("video", "teacher's depth", "predicted depth")
"""What the panels are called."""


def depth_scrubber(
    frames: ArrayLike,
    teacher: ArrayLike,
    predicted: ArrayLike | Mapping[str, ArrayLike],
    *,
    colormap: Colormap = "inferno",
    fps: float = 8.0,
    title: str = "",
    height: int = 150,
) -> Scrubber:
    """Scrub through a clip: video, teacher's depth, predicted depth, and the size of the error.

    Args:
        frames: RGB (n, 3, H, W).
        teacher: normalised disparity in [0, 1], near is 1, (n, H, W) or (1, n, H, W).
        predicted: the same from an aligner; or name to depth of several, of the first of which the error is
            shown.
        colormap: the colour map of the depth frames.
        fps: frames per second.
        title: headline.
        height: pixels of each picture on screen.

    Returns:
        The scrubber. The mean error of each frame stands beside the clock; the brightest error stands for the
        number that the panel names.

    Raises:
        ValueError: parts of different length or size, or depth outside of [0, 1].
    """
    answers = dict(predicted) if isinstance(predicted, Mapping) else {NAMES[2]: predicted}
    maps = {name: _map(name, values) for name, values in {NAMES[1]: teacher, **answers}.items()}
    check_lengths(
        {name: len(values) for name, values in maps.items()}, "frames", "take all from the same clip"
    )
    shapes = {values.shape[1:] for values in maps.values()}
    if len(shapes) > 1:
        raise ValueError(f"got depth of sizes {sorted(shapes)}; expected one size; resize it first")
    target, answer, *_ = maps.values()
    error = np.abs(answer - target)
    top = max(0.05, float(f"{np.quantile(error, 0.995):.1g}"))
    panels = {name: _painted(values, colormap) for name, values in maps.items()}
    panels[f"|error|,\nwhite: {top:g} or more"] = _painted((error / top).clip(0, 1), "gray")
    notes = [f"mean |error| {value:.3f}" for value in error.mean((1, 2))]
    return scrubber({NAMES[0]: frames, **panels}, fps=fps, title=title, height=height, notes=notes)


def _map(name: str, values: ArrayLike) -> np.ndarray:
    array = one_clip(values, 3).astype(np.float32)
    if array.ndim != 3 or not array.size:
        raise ValueError(
            f"{name}: got shape {array.shape}; expected (n, H, W), one clip; index the batch first"
        )
    return array


def _painted(values: np.ndarray, colormap: Colormap) -> np.ndarray:
    return colorize(torch.from_numpy(values)[None], colormap)[0].numpy()
