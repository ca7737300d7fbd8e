"""Explorers: a pure `render` of a chosen state, a thin shell of sliders, and a static answer for reports.

Every function here returns an `Explorer`. As the last line of a cell it shows its sliders in an interactive
notebook, and its static figure in a headless run, so that nothing in a report depends on a kernel.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from numpy.typing import ArrayLike

from semrepa.ui.pictures import GAP, montage, one_clip, pick, to_array, to_images
from semrepa.ui.show import Lines, is_headless, show
from semrepa.ui.style import (
    BLUE,
    CYCLE,
    GREY,
    INK,
    ORANGE,
    RED,
    SCREEN_DPI,
    bare,
    draw_floor,
    label_ends,
    new_figure,
    styled,
    to_png,
)


@dataclass(frozen=True)
class Explorer:
    """Something to look at under a few controls."""

    render: Callable[..., Figure]
    """Pure: one keyword per control in, a figure out."""
    controls: Mapping[str, Sequence[object]]
    """Name of each control to its choices, in order."""
    start: Mapping[str, object] = field(default_factory=dict)
    """First state, and the state of the static figure; the first choice where not given."""
    text: str = ""
    """One line that says what is shown."""
    note: Callable[..., str] | None = None
    """Pure: one keyword per control in, lines to be copied out, which stand between controls and picture."""

    def state(self) -> dict[str, object]:
        """The first state: one choice per control."""
        return {name: self.start.get(name, choices[0]) for name, choices in self.controls.items()}

    def static(self) -> Figure:
        """The figure that a report shows."""
        return self.render(**self.state())

    def widgets(self) -> Any:
        """Build the interactive shell: one slider or menu per control above the picture.

        Returns:
            An `ipywidgets.VBox` of controls, the note where there is one, and the picture; moving a control
            redraws it.
        """
        import ipywidgets

        first = self.static()
        image = ipywidgets.Image(
            value=to_png(first), format="png", width=round(first.get_size_inches()[0] * SCREEN_DPI)
        )
        controls = {
            name: (ipywidgets.SelectionSlider if len(choices) > 6 else ipywidgets.Dropdown)(
                options=list(choices),
                value=self.state()[name],
                description=name.replace("_", " "),
                style={"description_width": "initial"},
                continuous_update=False,
            )
            for name, choices in self.controls.items()
        }
        note = ipywidgets.HTML(Lines(self.note(**self.state())).html()) if self.note else None

        def redraw(_: object) -> None:
            state = {name: control.value for name, control in controls.items()}
            image.value = to_png(self.render(**state))
            if self.note and note:
                note.value = Lines(self.note(**state)).html()

        for control in controls.values():
            control.observe(redraw, names="value")
        row = ipywidgets.HBox(list(controls.values()), layout={"flex_flow": "row wrap"})
        return ipywidgets.VBox([row, *([note] if note else []), image])

    def _ipython_display_(self) -> None:
        if not is_headless():
            show(self.widgets())
            return
        show(self.static(), text=self.text)
        if self.note:
            show(Lines(self.note(**self.state())))


def latent_browser(latents: Mapping[str, ArrayLike], *, title: str = "Latent channels") -> Explorer:
    """Browse the channels of latents: which video, which latent frame.

    Args:
        latents: label to latents of one clip, (f, c, h, w) or (1, f, c, h, w); shapes may not differ.
        title: headline.

    Returns:
        Explorer with the controls `source` and `latent_frame`. All pictures share one symmetric scale.
    """
    arrays = {label: one_clip(values, 4) for label, values in latents.items()}
    limit = float(np.quantile(np.abs(np.stack(list(arrays.values()))), 0.995))
    count = len(next(iter(arrays.values())))

    @styled
    def render(source: str, latent_frame: int) -> Figure:
        values = arrays[source]
        channels, aspect = values.shape[1], values.shape[2] / values.shape[3]
        columns = min(channels, 4)
        rows = -(-channels // columns)
        figure, grid = new_figure(
            11,
            8.2 * rows / columns * aspect + 0.9,
            rows,
            columns + 1,
            title=f"{title}: {source}, latent frame {latent_frame}",
            width_ratios=[1] * columns + [1.1],
        )
        for channel, axes in zip(range(channels), grid[:, :columns].flat, strict=False):
            shown = {"cmap": "RdBu_r", "vmin": -limit, "vmax": limit}
            picture = bare(axes).imshow(values[latent_frame, channel], **shown)
            axes.set_title(f"{channel}", fontweight="normal", fontsize=8, pad=2)
        figure.colorbar(picture, ax=grid[:, :columns], location="bottom", aspect=50, shrink=0.7, pad=0.02)
        whole_column = grid[0, columns].get_gridspec()[:, columns]
        for axes in grid[:, columns]:
            axes.remove()
        _spread(figure.add_subplot(whole_column), values[latent_frame])
        return figure

    return Explorer(
        render,
        {"source": list(arrays), "latent_frame": list(range(count))},
        {"latent_frame": count // 2},
        title,
    )


def _spread(axes: Axes, values: np.ndarray) -> None:
    """Mean and spread of each channel as a dot with a line."""
    rows = np.arange(len(values))
    mean, spread = values.mean((1, 2)), values.std((1, 2))
    axes.hlines(rows, mean - spread, mean + spread, color=BLUE, linewidth=3, alpha=0.5)
    axes.plot(mean, rows, "o", color=BLUE, markersize=4)
    axes.axvline(0, color=GREY, linewidth=0.8)
    axes.set_yticks(rows, [str(row) for row in rows])
    axes.invert_yaxis()
    axes.set_title("mean ± spread", fontsize=9)
    axes.set_ylabel("channel")


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
        Explorer with the control `frame`.
    """
    lines = {label: to_array(values) for label, values in similarity.items()}
    faces = to_images(crops)
    video = to_images(frames) if frames is not None else None
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
    axes.set_ylabel("cosine")
    axes.set_xlabel("time in s; shaded: no face found", labelpad=4)


def _crops(axes: Axes, faces: np.ndarray, found: np.ndarray, frame: int, fps: float) -> None:
    """Seven faces in a strip; the one nearest to the chosen frame has its time in bold."""
    shown = pick(len(faces), 7)
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


def noise_explorer(
    timesteps: Sequence[int],
    pictures: Mapping[str, ArrayLike],
    curves: Mapping[str, ArrayLike],
    *,
    floors: Mapping[str, float] | None = None,
    title: str = "What the aligner sees at each noise level",
) -> Explorer:
    """Walk through the noise levels: pictures of one clip at each timestep, and how the losses change.

    Args:
        timesteps: the k timesteps, rising.
        pictures: label to frames (k, 3, H, W), one per timestep: noisy latents, clean prediction, its depth.
        curves: label to numbers (k,): structure loss, gradient size, signal share.
        floors: label of a curve to a level drawn as a dashed line.
        title: headline.

    Returns:
        Explorer with the control `timestep`.
    """
    times = [int(timestep) for timestep in timesteps]
    images = {label: to_images(frames) for label, frames in pictures.items()}
    numbers = {label: to_array(values) for label, values in curves.items()}
    levels = floors or {}

    @styled
    def render(timestep: int) -> Figure:
        index = times.index(timestep)
        figure, _ = new_figure(11, 5.4, title=f"{title}: timestep {timestep}")
        figure.delaxes(figure.axes[0])
        halves: Any = figure.subfigures(2, 1, height_ratios=[1.15, 1])
        top, bottom = halves
        for axes, (label, frames) in zip(_row(top, len(images)), images.items(), strict=True):
            bare(axes).imshow(frames[index])
            axes.set_title(label)
        for axes, (label, values) in zip(_row(bottom, len(numbers)), numbers.items(), strict=True):
            _noise_curve(axes, times, values, index)
            axes.set_title(f"{label}: {values[index]:.3g}")
            if label in levels:
                draw_floor(axes, "floor", levels[label])
        return figure

    return Explorer(render, {"timestep": times}, {"timestep": times[len(times) // 2]}, title)


def _row(figure: SubFigure, count: int) -> np.ndarray:
    return figure.subplots(1, count, squeeze=False)[0]


def _noise_curve(axes: Axes, times: list[int], values: np.ndarray, index: int) -> None:
    axes.plot(times, values, color=BLUE)
    axes.plot(times[index], values[index], "o", color=ORANGE, markersize=8)
    axes.axvline(times[index], color=ORANGE, linewidth=1)
    axes.set_xlabel("timestep")
    axes.set_ylim(bottom=min(0, values.min()))
