"""Figures made of video frames: contact sheets, depth, and what an aligner predicts beside its teacher."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from numpy.typing import ArrayLike
from PIL import Image, ImageDraw, ImageFont

from semrepa.depth import DepthKind
from semrepa.ui.checks import check_lengths
from semrepa.ui.style import PAPER, PICTURE_DPI, TEXT, bare, new_figure, styled

GAP = 6
"""White pixels between two pictures of a sheet."""


def to_array(values: ArrayLike | torch.Tensor) -> np.ndarray:
    """Bring an array, a list or a tensor on any device to numpy; half precision becomes float32."""
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu()
        values = values.float() if values.is_floating_point() else values
    return np.asarray(values)


def one_clip(values: ArrayLike | torch.Tensor, axes: int) -> np.ndarray:
    """Bring values to numpy, without the batch axis of a single clip; `axes` is how many axes stay."""
    array = to_array(values)
    return array[0] if array.ndim == axes + 1 and len(array) == 1 else array


def to_images(frames: ArrayLike) -> np.ndarray:
    """Bring frames to uint8 pictures as plotting libraries want them.

    Args:
        frames: (n, 3, H, W) or (1, n, 3, H, W), array or tensor; uint8, or float in [-1, 1] or [0, 1].

    Returns:
        uint8 array (n, H, W, 3).

    Raises:
        ValueError: for any other shape, or no frames at all.
    """
    array = one_clip(frames, 4)
    if array.ndim == 4 and not array.size:
        raise ValueError(f"got frames of shape {array.shape}; expected at least one frame; the clip is empty")
    if array.ndim != 4 or array.shape[1] != 3:
        raise ValueError(
            f"got frames of shape {array.shape}; expected (n, 3, H, W), one clip; index the batch first"
        )
    if array.dtype != np.uint8:
        array = array.astype(np.float32)
        array = (array + 1) / 2 if array.min() < 0 else array
        array = np.round(array.clip(0, 1) * 255).astype(np.uint8)
    return np.ascontiguousarray(array.transpose(0, 2, 3, 1))


def same_clips(clips: Mapping[str, ArrayLike]) -> dict[str, np.ndarray]:
    """Bring clips to pictures, all of one size and length, so that they can be shown in step.

    Args:
        clips: label to frames (n, 3, H, W).

    Returns:
        Label to uint8 array (n, H, W, 3).

    Raises:
        ValueError: no clips, empty ones, or clips that differ in size or length.
    """
    pictures = {label: to_images(frames) for label, frames in clips.items()}
    check_lengths({label: len(clip) for label, clip in pictures.items()}, "frames", "cut them to one length")
    shapes = {f"{clip.shape[2]} x {clip.shape[1]}" for clip in pictures.values()}
    if len(shapes) > 1:
        raise ValueError(
            f"got clips of {' and '.join(sorted(shapes))} pixels; expected one size; resize them first"
        )
    return pictures


def pick(count: int, columns: int) -> np.ndarray:
    """Indices of at most `columns` frames, evenly spread from the first to the last."""
    return np.unique(np.linspace(0, count - 1, min(columns, count)).round().astype(int))


@styled
def contact_sheet(
    rows: Mapping[str, ArrayLike], *, columns: int = 6, fps: float = 8.0, title: str = "", width: float = 11.0
) -> Figure:
    """Lay clips out as rows of evenly spaced frames, with a label per row and the time above each column.

    Args:
        rows: label to frames (n, 3, H, W); all of one height and width and length.
        columns: frames shown per clip.
        fps: frames per second, for the times.
        title: headline.
        width: inches.

    Returns:
        The figure.

    Raises:
        ValueError: no clips, or clips that differ in size or length.
    """
    clips = same_clips(rows)
    shown = pick(len(next(iter(clips.values()))), columns)
    sheet = montage([[clip[i] for i in shown] for clip in clips.values()])
    high, wide = next(iter(clips.values())).shape[1:3]
    label_width = 0.09 * max(len(line) for label in clips for line in label.split("\n")) + 0.15
    height = (width - label_width) * sheet.shape[0] / sheet.shape[1] + 0.35 + (0.3 if title else 0)
    figure, grid = new_figure(width, height, dpi=PICTURE_DPI, title=title)
    axes = bare(grid[0, 0])
    axes.imshow(sheet, interpolation="antialiased")
    axes.set_yticks([(high + GAP) * row + high / 2 for row in range(len(clips))], list(clips))
    axes.set_xticks(
        [(wide + GAP) * k + wide / 2 for k in range(len(shown))], [f"{i / fps:.2f} s" for i in shown]
    )
    axes.tick_params(length=0, labeltop=True, labelbottom=False, labelsize=TEXT)
    return figure


def montage(grid: Sequence[Sequence[np.ndarray]], gap: int = GAP) -> np.ndarray:
    """Join rows of equal pictures (H, W, 3) into one, with white gaps between them."""
    high, wide = grid[0][0].shape[:2]
    rows, columns = len(grid), max(len(row) for row in grid)
    sheet = np.full((rows * (high + gap) - gap, columns * (wide + gap) - gap, 3), 255, np.uint8)
    for r, row in enumerate(grid):
        for c, picture in enumerate(row):
            top, left = r * (high + gap), c * (wide + gap)
            sheet[top : top + high, left : left + wide] = picture
    return sheet


@styled
def depth_figure(
    frames: ArrayLike,
    depth: ArrayLike,
    *,
    kind: DepthKind = "metric",
    colormap: str = "inferno",
    columns: int = 5,
    fps: float = 8.0,
    title: str = "",
) -> Figure:
    """Show a clip above its depth, coloured as the depth latents are: near is bright.

    Args:
        frames: (n, 3, H, W).
        depth: metres, or disparity of unknown scale, (n, H, W) or (1, n, H, W).
        kind: "metric" or "disparity".
        colormap: the colour map of the depth frames.
        columns: frames shown.
        fps: frames per second.
        title: headline.

    Returns:
        The figure, with a colour bar in metres or from far to near.
    """
    images, values = to_images(frames), one_clip(depth, 3).astype(np.float32)
    shown = pick(len(images), columns)
    disparity = 1 / values if kind == "metric" else values
    norm = Normalize(disparity.min(), disparity.max())
    aspect = images.shape[1] / images.shape[2]
    figure, grid = new_figure(
        11, 11 / len(shown) * aspect * 1.9 + 0.6, 2, len(shown), dpi=PICTURE_DPI, title=title
    )
    for column, index in enumerate(shown):
        bare(grid[0, column]).imshow(images[index])
        bare(grid[1, column]).imshow(disparity[index], norm=norm, cmap=colormap)
        grid[0, column].set_title(f"{index / fps:.2f} s", fontweight="normal", loc="center", fontsize=TEXT)
    ticks = _depth_ticks(values, kind)
    bar = figure.colorbar(
        ScalarMappable(norm, colormap),
        ax=grid,
        ticks=list(ticks),
        aspect=28,
        pad=0.01,
        label="distance from the camera" if kind == "metric" else "disparity, no unit",
    )
    bar.ax.set_yticklabels(list(ticks.values()))
    grid[0, 0].set_ylabel("video")
    grid[1, 0].set_ylabel("depth")
    return figure


def _depth_ticks(values: np.ndarray, kind: DepthKind) -> dict[float, str]:
    """Labels by disparity."""
    if kind == "metric":
        return {1 / metre: f"{metre:g} m" for metre in _metre_ticks(values)}
    return {float(values.min()): "far", float(values.max()): "near"}


def _metre_ticks(metres: np.ndarray, most: int = 7) -> np.ndarray:
    """Round distances, thinned to lie about evenly on the disparity axis."""
    near, far = 1 / metres.min(), 1 / metres.max()
    spans = (np.arange(0.2, 2, 0.1), np.arange(2, 5, 0.5), np.arange(5, 20), np.arange(20, 101, 10))
    rounded = np.round(np.concatenate(spans), 1)
    kept: list[float] = []
    for metre in rounded[(1 / rounded <= near) & (1 / rounded >= far)]:
        if not kept or 1 / kept[-1] - 1 / metre > (near - far) / most:
            kept.append(float(metre))
    return np.array(kept or [float(f"{metres.mean():.2g}")])


@styled
def aligner_figure(
    frames: ArrayLike,
    teacher: ArrayLike,
    predicted: ArrayLike,
    *,
    labels: Sequence[str] = (),
    colormap: str = "inferno",
    title: str = "",
) -> Figure:
    """Show what an aligner predicts beside its teacher, one row per picture: video, teacher, aligner, error.

    Args:
        frames: (k, 3, H, W).
        teacher: normalised disparity in [0, 1], near is 1, (k, H, W).
        predicted: the same from the aligner.
        labels: one name per row, such as `held-out clip 3, frame 8`.
        colormap: the colour map of the depth frames.
        title: headline.

    Returns:
        The figure; the error has its own colour bar, and its mean is written on each row.
    """
    images = to_images(frames)
    target, answer = (one_clip(maps, 3).astype(np.float32) for maps in (teacher, predicted))
    error = np.abs(answer - target)
    rows, aspect = len(images), images.shape[1] / images.shape[2]
    figure, grid = new_figure(11, 2.62 * aspect * rows + 0.85, rows, 4, dpi=PICTURE_DPI, title=title)
    top = max(0.1, float(np.quantile(error, 0.995)))
    for row in range(rows):
        bare(grid[row, 0]).imshow(images[row])
        for column, value in ((1, target), (2, answer)):
            near = bare(grid[row, column]).imshow(value[row], cmap=colormap, vmin=0, vmax=1)
        wrong = bare(grid[row, 3]).imshow(error[row], cmap="Greys", vmin=0, vmax=top)
        box = {"facecolor": PAPER, "edgecolor": "none", "pad": 1.5}
        place = {"va": "top", "transform": grid[row, 3].transAxes, "bbox": box}
        grid[row, 3].text(0.03, 0.95, f"mean {error[row].mean():.3f}", **place)
        if labels:
            grid[row, 0].set_ylabel(labels[row])
    for axes, name in zip(grid[0], ("video", "teacher depth", "aligner's depth", "|error|"), strict=True):
        axes.set_title(name)
    bar = figure.colorbar(
        near, ax=grid[:, :3], location="bottom", aspect=60, shrink=0.6, ticks=[0, 1], pad=0.02
    )
    bar.ax.set_xticklabels(["far", "near"])
    figure.colorbar(wrong, ax=grid[:, 3], location="bottom", aspect=20, shrink=0.9, pad=0.02)
    return figure


def side_by_side(clips: Mapping[str, ArrayLike]) -> np.ndarray:
    """Join clips of one size left to right, with each label written above its clip.

    Args:
        clips: label to frames (n, 3, H, W); the shortest clip sets the length.

    Returns:
        uint8 frames (n, 3, H', W'), both sides even, ready for `write_side_by_side`.
    """
    pictures = {label: to_images(frames) for label, frames in clips.items()}
    high, wide = next(iter(pictures.values())).shape[1:3]
    band = max(14, high // 9)
    header = Image.new("RGB", (len(pictures) * (wide + GAP) - GAP, band), PAPER)
    draw = ImageDraw.Draw(header)
    font = ImageFont.load_default(size=band * 0.72)
    for column, label in enumerate(pictures):
        draw.text((column * (wide + GAP) + 2, band / 2), label, fill="black", font=font, anchor="lm")
    length = min(len(clip) for clip in pictures.values())
    rows = [montage([[clip[i] for clip in pictures.values()]]) for i in range(length)]
    video = np.stack([np.vstack([np.asarray(header), row]) for row in rows])
    even = np.pad(
        video, [(0, 0), (0, video.shape[1] % 2), (0, video.shape[2] % 2), (0, 0)], constant_values=255
    )
    return np.ascontiguousarray(even.transpose(0, 3, 1, 2))


def write_side_by_side(path: Path | str, clips: Mapping[str, ArrayLike], *, fps: float = 8.0) -> Path:
    """Write clips side by side, labels on the picture, as one mp4.

    Args:
        path: where the file goes.
        clips: label to frames (n, 3, H, W) of one size.
        fps: frames per second.

    Returns:
        The path of the file.
    """
    from semrepa.data.video import write_video

    write_video(Path(path), torch.from_numpy(side_by_side(clips)), fps=fps)
    return Path(path)
