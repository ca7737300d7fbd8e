"""Likeness to a reference face through a clip, with the faces under the axis."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from semrepa.ui.checks import check_lengths
from semrepa.ui.explorers.shell import Explorer
from semrepa.ui.pictures import GAP, montage, pick, to_array, to_images
from semrepa.ui.style import CYCLE, INK, RED, bare, label_ends, new_figure, styled

SHOWN = 7
"""Faces under the axis."""


def identity_over_frames(
    similarity: Mapping[str, ArrayLike],
    crops: ArrayLike,
    *,
    frames: ArrayLike | None = None,
    fps: float = 8.0,
    title: str = "Likeness to the reference face",
) -> Explorer:
    """Follow the likeness to a reference face through a clip, with the faces under the axis.

    Args:
        similarity: label to cosine per frame (n,), NaN where no face was found: the line has a gap there.
        crops: face pictures (n, 3, S, S) of the first label, black or anything where there is no face.
        frames: the video (n, 3, H, W) to show at the chosen frame, or None.
        fps: frames per second.
        title: headline.

    Returns:
        Explorer with the control `frame`. A clip that never shows a face is drawn, and says so.

    Raises:
        ValueError: no frames, or lines, faces and video of different lengths.
    """
    lines = {label: to_array(values) for label, values in similarity.items()}
    faces, video = to_images(crops), None if frames is None else to_images(frames)
    counted = {f"cosine of {label}": len(line) for label, line in lines.items()} | {"crops": len(faces)}
    counted |= {} if video is None else {"video": len(video)}
    check_lengths(counted, "frames", "take all of them from the same clip")
    found = np.isfinite(next(iter(lines.values())))

    @styled
    def render(frame: int) -> Figure:
        columns = 1 if video is None else 2
        ratios: dict[str, Any] = {"height_ratios": [2.3, 1], "width_ratios": [2.5, 1][:columns]}
        figure, grid = new_figure(11, 4.6, 2, columns, **ratios)
        axes = grid[0, 0]
        _likeness(axes, lines, fps)
        _crops(grid[1, 0], faces, found, frame, fps)
        axes.axvline(frame / fps, color=INK, linewidth=1)
        axes.set_title(title)
        if video is not None:
            bare(grid[0, 1]).imshow(video[frame])
            value = next(iter(lines.values()))[frame]
            grid[0, 1].set_title(
                f"{frame / fps:.2f} s: " + (f"cosine {value:.2f}" if np.isfinite(value) else "no face")
            )
            grid[1, 1].set_visible(False)
        return figure

    return Explorer(render, {"frame": list(range(len(faces)))}, {"frame": len(faces) // 2}, title)


def _likeness(axes: Axes, lines: Mapping[str, np.ndarray], fps: float) -> None:
    """One line per clip; where a clip shows no face its line has a gap and the axis is shaded."""
    ends = []
    for color, (label, values) in zip(CYCLE, lines.items(), strict=False):
        times, known = np.arange(len(values)) / fps, values[np.isfinite(values)]
        ends.append((label, float(known[-1]), color) if len(known) else (f"{label}: no face", 0.0, color))
        axes.plot(times, values, "o-", color=color, markersize=3.5)
        for missing in np.flatnonzero(~np.isfinite(values)):
            axes.axvspan((missing - 0.5) / fps, (missing + 0.5) / fps, color=color, alpha=0.12, linewidth=0)
    lowest = np.nanmin(np.concatenate([[0.0], *lines.values()]))
    axes.set_ylim(lowest - 0.03, 1.03)
    label_ends(axes, ends)
    axes.set_ylabel("cosine, 1 is the same face")
    axes.set_xlabel("time in s; shaded: no face found", labelpad=4)


def _crops(axes: Axes, faces: np.ndarray, found: np.ndarray, frame: int, fps: float) -> None:
    """Some faces in a strip; the one nearest to the chosen frame has its time in bold."""
    shown = pick(len(faces), SHOWN)
    size = faces.shape[1]
    blank = np.full_like(faces[0], 240)
    bare(axes).imshow(montage([[faces[index] if found[index] else blank for index in shown]]))
    nearest = int(np.abs(shown - frame).argmin())
    for place, index in enumerate(shown):
        middle = place * (size + GAP) + size / 2
        weight = "bold" if place == nearest else "normal"
        axes.text(middle, size * 1.06, f"{index / fps:.2f} s", ha="center", va="top", fontweight=weight)
        if not found[index]:
            axes.text(middle, size / 2, "no face", ha="center", va="center", color=RED)
