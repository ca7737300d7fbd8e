"""The method as one picture: a row of pictures for each stage, and what turns each into the next."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from semrepa.ui.pictures import to_array, to_images
from semrepa.ui.style import (
    FAINT,
    GREY,
    INK,
    PART_COLORS,
    PICTURE_DPI,
    SMALL,
    bare,
    label_name,
    new_figure,
    styled,
)

Panel = ArrayLike | torch.Tensor | Mapping[str, float]
"""A frame (3, H, W), a map of values around zero (H, W), a vector (d,), or named losses."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One row of the picture."""

    title: str
    """What happens in this row, in a few words."""
    panels: Mapping[str, Panel]
    """Name to what is shown, from left to right."""
    steps: Sequence[str]
    """What turns each panel into the next, one fewer than panels; empty draws no arrow."""


@styled
def flow(stages: Sequence[Stage], *, title: str = "") -> Figure:
    """Draw stages below each other, with arrows between their panels.

    Args:
        stages: the rows.
        title: headline.

    Returns:
        The figure.

    Raises:
        ValueError: a stage whose steps do not fit its panels.
    """
    for stage in stages:
        if len(stage.steps) != len(stage.panels) - 1:
            raise ValueError(
                f"got {len(stage.steps)} steps for {len(stage.panels)} panels in {stage.title!r}; "
                "expected one fewer than panels; use '' where no arrow is wanted"
            )
    columns = max(len(stage.panels) for stage in stages)
    figure, grid = new_figure(
        11, 1.72 * len(stages) + 0.3, len(stages), columns, dpi=PICTURE_DPI, title=title
    )
    layout = figure.get_layout_engine()
    if layout is not None:
        layout.set(wspace=0.12, hspace=0.04)  # pyright: ignore[reportCallIssue] room for arrows
    for stage, row in zip(stages, grid, strict=True):
        for axes in row[len(stage.panels) :]:
            figure.delaxes(axes)
        for axes, (name, panel) in zip(row, stage.panels.items(), strict=False):
            _draw(axes, panel)
            axes.set_xlabel(name, labelpad=4, color=INK, fontsize=SMALL)
        for axes, step in zip(row, stage.steps, strict=False):
            _arrow(axes, step)
        row[0].set_title(stage.title, pad=8)
    return figure


def _draw(axes: Axes, panel: Panel) -> None:
    if isinstance(panel, Mapping):
        _bars(axes, panel)
        return
    values = to_array(panel)
    if values.ndim == 3:
        bare(axes).imshow(to_images(values[None])[0], interpolation="antialiased")
    elif values.ndim == 2:
        top = float(np.abs(values).max())
        bare(axes).imshow(values, cmap="RdBu_r", vmin=-top, vmax=top)
    else:
        bare(axes).bar(np.arange(len(values)), values, width=1.0, color=PART_COLORS["loss_id"])
        axes.axhline(0, color=FAINT, linewidth=0.8)
        axes.set_box_aspect(0.66)


def _bars(axes: Axes, losses: Mapping[str, float]) -> None:
    """Losses as bars, each with its name and number above it."""
    bare(axes).set_box_aspect(0.66)
    top = max(losses.values())
    for place, (name, value) in enumerate(losses.items()):
        axes.barh(place, value / top, height=0.34, color=PART_COLORS.get(name, GREY))
        axes.text(0, place - 0.24, f"{label_name(name)} {value:.3g}", fontsize=SMALL, va="bottom")
    axes.set_ylim(len(losses) - 0.6, -0.75)
    axes.set_xlim(0, 1)


def _arrow(axes: Axes, step: str) -> None:
    """An arrow behind a panel, with what it stands for above it."""
    if not step:
        return
    place = {"xycoords": "axes fraction", "textcoords": "axes fraction", "annotation_clip": False}
    look = {"arrowstyle": "-|>", "color": GREY, "linewidth": 1.4, "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", (1.42, 0.5), (1.05, 0.5), arrowprops=look, **place)
    text = {"ha": "center", "va": "bottom", "fontsize": SMALL, "color": INK, "linespacing": 1.05}
    axes.annotate(step, (1.23, 0.55), (1.23, 0.55), **text, **place)
