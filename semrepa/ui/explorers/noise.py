"""Walk through the noise levels: what is seen and predicted there, each loss, and how hard it pulls."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from numpy.typing import ArrayLike

from semrepa.analysis.noise import NoiseLevel
from semrepa.ui.checks import check_lengths
from semrepa.ui.explorers.shell import Explorer
from semrepa.ui.pictures import pick, to_array, to_images
from semrepa.ui.style import (
    BLUE,
    CYCLE,
    INK,
    PART_COLORS,
    PICTURE_DPI,
    TEXT,
    bare,
    draw_floor,
    label_ends,
    label_name,
    log_scale,
    new_figure,
    readable,
    styled,
)

COLUMNS = 6
"""Noise levels side by side in a report."""
TITLE = "What the aligners see at each noise level"
"""Headline where none is given."""


def noise_level_explorer(levels: Sequence[NoiseLevel], *, title: str = TITLE) -> Explorer:
    """Walk through the noise levels of one clip: latents, clean prediction, both decoded, losses, gradients.

    Args:
        levels: from `semrepa.analysis.noise.noise_levels`, timesteps rising.
        title: headline.

    Returns:
        Explorer with the control `timestep`; see `noise_explorer`.

    Raises:
        ValueError: no levels.
    """
    check_lengths({"levels": len(levels)}, "timesteps", "choose some")
    names, pictures = list(levels[0].latents), dict[str, ArrayLike]()
    groups = _false_colours([[level.latents[name] for level in levels] for name in names])
    for place, (name, coloured) in enumerate(zip(names, groups, strict=True)):
        if place < 2:
            pictures[f"{name}\n(channels as colours)"] = coloured
        pictures[f"{name},\ndecoded"] = torch.stack([level.frames[name] for level in levels])
    curves = {
        label_name(f"loss_{part}"): [level.losses[part] for level in levels] for part in levels[0].losses
    }
    pulls = {
        label_name(f"loss_{part}"): [level.gradients[part] for level in levels]
        for part in levels[0].gradients
    }
    return noise_explorer(
        [level.timestep for level in levels], pictures, curves, gradients=pulls, title=title
    )


def noise_explorer(
    timesteps: Sequence[int],
    pictures: Mapping[str, ArrayLike],
    curves: Mapping[str, ArrayLike],
    *,
    gradients: Mapping[str, ArrayLike] | None = None,
    floors: Mapping[str, float] | None = None,
    title: str = TITLE,
) -> Explorer:
    """Walk through the noise levels: pictures of one clip at each timestep, and how the losses change.

    Args:
        timesteps: the k timesteps, rising.
        pictures: label to frames (k, 3, H, W), one per timestep: noisy latents, clean prediction, its depth.
        curves: label to numbers (k,), a panel each: losses, signal share.
        gradients: label to gradient norms (k,), together in one panel with a log axis.
        floors: label of a curve to a level drawn as a dashed line.
        title: headline.

    Returns:
        Explorer with the control `timestep`; its static figure shows up to six timesteps at once.

    Raises:
        ValueError: parts that do not have one entry for each timestep.
    """
    times = [int(timestep) for timestep in timesteps]
    walk = _Walk(
        title=title,
        times=times,
        images={label: to_images(frames) for label, frames in pictures.items()},
        numbers={label: to_array(values).astype(float) for label, values in curves.items()},
        pulls={label: to_array(values).astype(float) for label, values in (gradients or {}).items()},
        floors=floors or {},
    )
    parts = {**walk.images, **walk.numbers, **walk.pulls}
    counted = {label.split("\n")[0]: len(values) for label, values in parts.items()}
    check_lengths({"timesteps": len(times), **counted}, "entries", "give one for each timestep")
    middle = {"timestep": times[len(times) // 2]}
    return Explorer(styled(walk.render), {"timestep": times}, middle, title, overview=styled(walk.overview))


@dataclass(frozen=True, kw_only=True)
class _Walk:
    """The data of a noise explorer, and how it is drawn."""

    title: str
    times: list[int]
    images: Mapping[str, np.ndarray]
    numbers: Mapping[str, np.ndarray]
    pulls: Mapping[str, np.ndarray]
    floors: Mapping[str, float]

    def render(self, timestep: int) -> Figure:
        """One timestep."""
        index = self.times.index(timestep)
        top, bottom = _halves(4.9, f"{self.title}: timestep {timestep}", [1, 1.1])
        for axes, (label, frames) in zip(_row(top, len(self.images)), self.images.items(), strict=True):
            bare(axes).imshow(frames[index])
            axes.set_title(label, fontsize=TEXT)
        self._curves(bottom, index)
        return top.get_figure(root=True)

    def overview(self) -> Figure:
        """Several timesteps side by side."""
        shown = pick(len(self.times), COLUMNS)
        high, wide = next(iter(self.images.values())).shape[1:3]
        height = 9.2 / len(shown) * high / wide * len(self.images) + 0.3
        top, bottom = _halves(height + 2.9, self.title, [height, 2.5])
        rows: Any = top.subplots(len(self.images), len(shown), squeeze=False)
        for row, (label, frames) in zip(rows, self.images.items(), strict=True):
            for axes, index in zip(row, shown, strict=True):
                bare(axes).imshow(frames[index])
            row[0].set_ylabel(label, rotation=0, ha="right", va="center")
        for axes, index in zip(rows[0], shown, strict=True):
            axes.set_title(f"timestep {self.times[index]}", fontsize=TEXT)
        self._curves(bottom, None)
        return top.get_figure(root=True)

    def _curves(self, figure: SubFigure, index: int | None) -> None:
        row = _row(figure, len(self.numbers) + bool(self.pulls))
        for axes, (label, values) in zip(row, self.numbers.items(), strict=False):
            color = _color(label)
            _curve(axes, self.times, values, index, color)
            axes.set_ylim(min(0, 1.08 * values.min()), 1.08 * max(0, values.max()) or 1)
            title = label if index is None else f"{label}: {values[index]:.3g}"
            axes.set_title(title, color=readable(color))
            if label in self.floors:
                draw_floor(axes, "floor", self.floors[label])
        if self.pulls:
            _gradients(row[-1], self.times, self.pulls, index)


def _halves(height: float, title: str, ratios: Sequence[float]) -> tuple[SubFigure, SubFigure]:
    """An empty figure of pictures above and curves below."""
    figure, _ = new_figure(11, height, title=title, dpi=PICTURE_DPI)
    figure.delaxes(figure.axes[0])
    halves: Any = figure.subfigures(2, 1, height_ratios=ratios)
    return halves[0], halves[1]


def _row(figure: SubFigure, count: int) -> np.ndarray:
    return figure.subplots(1, count, squeeze=False)[0]


def _color(label: str) -> str:
    """The colour of a part of the loss, where it is one."""
    known = {label_name(part): color for part, color in PART_COLORS.items()}
    return known.get(label, BLUE)


def _curve(axes: Axes, times: list[int], values: np.ndarray, index: int | None, color: str) -> None:
    axes.plot(times, values, "o-", color=color, markersize=3.5)
    axes.set_xlabel("timestep")
    if index is not None:
        axes.plot(times[index], values[index], "o", color=INK, markersize=8, zorder=3)
        axes.axvline(times[index], color=INK, linewidth=1)


def _gradients(axes: Axes, times: list[int], pulls: Mapping[str, np.ndarray], index: int | None) -> None:
    """Norms of the weighted gradients; one that is nowhere above 0 is left out."""
    shown = {label: values for label, values in pulls.items() if (values > 0).any()}
    ends = []
    for place, (label, values) in enumerate(shown.items()):
        color = _color(label) if _color(label) != BLUE or place == 0 else CYCLE[place]
        known = np.where(values > 0, values, np.nan)
        _curve(axes, times, known, index, color)
        short = label.removesuffix(" loss")
        number = "" if index is None else f" {values[index]:.2g}"
        ends.append((f"{short}{number}", float(known[np.isfinite(known)][-1]), color))
    if shown:
        positive = np.concatenate([values[values > 0] for values in shown.values()])
        log_scale(axes, positive.max() / positive.min())
        axes.margins(y=0.1)
        label_ends(axes, ends)
    axes.set_title("weighted gradient")
    axes.set_ylabel("norm at the prediction (log)")


def _false_colours(groups: Sequence[Sequence[ArrayLike]]) -> list[np.ndarray]:
    """Three directions of the channels as red, green and blue, the same for all groups."""
    # Those in which the prediction from the least noise differs most from place to place.
    arrays = [np.stack([to_array(values) for values in group]).astype(float) for group in groups]
    reference = arrays[min(1, len(arrays) - 1)][0]
    points = reference.reshape(len(reference), -1)
    middle = points.mean(axis=1, keepdims=True)
    _, directions = np.linalg.eigh(np.cov(points))
    spread = (directions.T[:-4:-1] @ (points - middle)).std(axis=1).max() * 2.5 or 1.0
    mixed = [
        np.einsum("dc,kchw->kdhw", directions.T[:-4:-1], values - middle[None, :, :, None])
        for values in arrays
    ]
    return [np.round((values / spread / 2 + 0.5).clip(0, 1) * 255).astype(np.uint8) for values in mixed]
