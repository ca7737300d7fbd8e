"""Browse latents: all channels of one moment, or one channel over time, and where two clips differ."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from semrepa.ui.checks import check_lengths
from semrepa.ui.explorers.shell import Explorer
from semrepa.ui.pictures import one_clip
from semrepa.ui.style import BLUE, GREY, TEXT, bare, new_figure, styled

ALL = "all"
"""The choice that shows every channel."""
COLUMNS = 4
"""Channels in a row."""


def latent_browser(latents: Mapping[str, ArrayLike], *, title: str = "Latent channels") -> Explorer:
    """Browse the channels of latents: which video, which latent frame, and one channel through time.

    Args:
        latents: label to latents of one clip, (f, c, h, w) or (1, f, c, h, w); shapes may not differ. Of two
            labels the difference, second minus first, can be chosen as well.
        title: headline.

    Returns:
        Explorer with the controls `source`, `latent_frame` and `channel`. All pictures share one symmetric
        scale. A single channel is shown for all sources and all latent frames.

    Raises:
        ValueError: no latents, of several clips, or of different shapes.
    """
    arrays = _checked(latents)
    limit = float(np.quantile(np.abs(np.stack(list(arrays.values()))), 0.995)) or 1.0
    count, channels = next(iter(arrays.values())).shape[:2]
    if len(arrays) == 2:
        (first, one), (second, two) = arrays.items()
        arrays |= {f"{second} - {first}": two - one}

    @styled
    def render(source: str, latent_frame: int, channel: str | int) -> Figure:
        if channel == ALL:
            where = f"{title}: {source}, latent frame {latent_frame} (of 0 to {count - 1})"
            return _all_channels(arrays[source][latent_frame], limit, where)
        chosen = {label: values[:, int(channel)] for label, values in arrays.items()}
        return _one_channel(chosen, source, latent_frame, limit, f"{title}: channel {channel} over time")

    controls = {
        "source": list(arrays),
        "latent_frame": list(range(count)),
        "channel": [ALL, *range(channels)],
    }
    return Explorer(render, controls, {"latent_frame": count // 2}, title)


def _checked(latents: Mapping[str, ArrayLike]) -> dict[str, np.ndarray]:
    arrays = {label: one_clip(values, 4) for label, values in latents.items()}
    check_lengths(
        {label: array.size for label, array in arrays.items()}, "numbers", "pass latents of one clip"
    )
    shapes = {label: array.shape for label, array in arrays.items()}
    if len(set(shapes.values())) > 1 or len(next(iter(shapes.values()))) != 4:
        told = ", ".join(f"{label}: {shape}" for label, shape in shapes.items())
        raise ValueError(
            f"got latents of shapes {told}; expected one shape (f, c, h, w), one clip; index the batch first"
        )
    return arrays


def _all_channels(values: np.ndarray, limit: float, title: str) -> Figure:
    """A picture of each channel, and mean and spread of each at the right."""
    channels, aspect = len(values), values.shape[1] / values.shape[2]
    columns = min(channels, COLUMNS)
    rows = -(-channels // columns)
    ratios = [1] * columns + [1.1]
    height = 8.2 * rows / columns * aspect + 0.9
    figure, grid = new_figure(11, height, rows, columns + 1, title=title, width_ratios=ratios)
    pictures = grid[:, :columns]
    for axes in pictures.flat:
        bare(axes)
    for channel, axes in zip(range(channels), pictures.flat, strict=False):
        picture = _picture(axes, values[channel], limit)
        axes.set_ylabel(str(channel), rotation=0, ha="right", va="center")
    _bar(figure, picture, pictures)
    whole_column = grid[0, columns].get_gridspec()[:, columns]
    for axes in grid[:, columns]:
        axes.remove()
    _spread(figure.add_subplot(whole_column), values)
    return figure


def _one_channel(
    chosen: Mapping[str, np.ndarray], source: str, latent_frame: int, limit: float, title: str
) -> Figure:
    """A row for each source, a column for each latent frame; the chosen ones in bold."""
    count, high, wide = next(iter(chosen.values())).shape
    height = 10.2 / count * high / wide * len(chosen) + 1.2
    figure, grid = new_figure(11, height, len(chosen), count, title=title)
    for row, (label, values) in zip(grid, chosen.items(), strict=True):
        for place, axes in enumerate(row):
            picture = _picture(bare(axes), values[place], limit)
        row[0].set_ylabel(label, fontweight="bold" if label == source else "normal")
    for place, axes in enumerate(grid[0]):
        weight = "bold" if place == latent_frame else "normal"
        axes.set_title(
            f"latent frame {place}" if place == 0 else str(place), fontsize=TEXT, fontweight=weight
        )
    _bar(figure, picture, grid)
    return figure


def _picture(axes: Axes, values: np.ndarray, limit: float) -> object:
    return axes.imshow(values, cmap="RdBu_r", vmin=-limit, vmax=limit)


def _bar(figure: Figure, picture: object, axes: np.ndarray) -> None:
    """The shared scale of all pictures."""
    label = "latent, scaled as the transformer sees it (no unit)"
    figure.colorbar(picture, ax=axes, location="bottom", aspect=50, shrink=0.7, pad=0.02, label=label)


def _spread(axes: Axes, values: np.ndarray) -> None:
    """Mean and spread of each channel as a dot with a line."""
    rows = np.arange(len(values))
    mean, spread = values.mean((1, 2)), values.std((1, 2))
    axes.hlines(rows, mean - spread, mean + spread, color=BLUE, linewidth=3, alpha=0.5)
    axes.plot(mean, rows, "o", color=BLUE, markersize=4)
    axes.axvline(0, color=GREY, linewidth=0.8)
    axes.set_yticks(rows, [str(row) for row in rows])
    axes.invert_yaxis()
    axes.set_title("mean ± standard deviation", fontsize=TEXT)
    axes.set_ylabel("channel")
