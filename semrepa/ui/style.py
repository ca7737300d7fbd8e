"""One look for every figure: palette, font scale, figure factory, labels and PNG writer.

All figures use matplotlib's object API (never `pyplot`), so they are safe in a kernel, a thread and a test.
They carry an opaque white background, and tables and lines do too: a picture in a saved notebook cannot know
in which theme it will be opened, and ink that is dark enough for white paper vanishes on a dark page. So one
picture reads the same in a light and a dark JupyterLab, in VS Code, on GitHub and in print.
"""

import functools
import io
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ParamSpec

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter
from PIL import Image

P = ParamSpec("P")

BLUE, ORANGE, GREEN, RED, PURPLE, SKY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9"
INK, GREY, FAINT, PAPER = "#1F2328", "#6E7781", "#D8DEE4", "#FFFFFF"
CYCLE = (BLUE, ORANGE, GREEN, PURPLE, RED, SKY, GREY)
"""Okabe and Ito's palette, told apart by all common kinds of colour blindness."""

LEGIBLE = 4.5
"""Least contrast of letters with what is behind them, as WCAG 2 asks."""

DASHES = (0, (4, 3))
"""Line style of floors, zero lines and guessing."""

PART_COLORS = {
    "loss": INK,
    "loss_diff": BLUE,
    "loss_struct": ORANGE,
    "loss_id": PURPLE,
    "grad_norm": GREEN,
    "cosine": BLUE,
}
"""The colour of each part of the loss, the same in every figure."""

SMALL, TEXT, HEAD, TITLE = 8.5, 9.5, 10.5, 12.5
"""The four sizes of letters, in points: on ticks and beside things; of axes; of panels; of headlines."""

BESIDE = {"textcoords": "offset points", "fontsize": SMALL}
"""Arguments of small text that stands some points beside what it names."""

DPI = 130
"""Pixels per inch of a chart; a notebook shows it at `SCREEN_DPI`, so it stays sharp on dense screens."""
PICTURE_DPI = 104
"""Pixels per inch of figures that are mostly video frames, which weigh much and gain nothing from more."""
SCREEN_DPI = 92
CHART_COLORS = 8192
"""Most colours of a chart, with the soft edges of its letters and lines; video frames have more."""

_STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": TEXT,
    "figure.titlesize": TITLE,
    "figure.titleweight": "bold",
    "axes.titlesize": HEAD,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": TEXT,
    "axes.labelcolor": INK,
    "axes.edgecolor": GREY,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.facecolor": PAPER,
    "figure.facecolor": PAPER,
    "grid.color": FAINT,
    "grid.linewidth": 0.6,
    "text.color": INK,
    "legend.fontsize": SMALL,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "lines.solid_capstyle": "round",
    "image.interpolation": "nearest",
} | {
    f"{axis}tick.{key}": value
    for axis in "xy"
    for key, value in (("labelsize", SMALL), ("color", GREY), ("labelcolor", INK))
}

_DRAWING = threading.RLock()
"""The settings are of the whole process, so that one thread draws at a time."""


def styled(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Run a figure function under the kit's style, and leave matplotlib's own settings as they were."""

    @functools.wraps(draw)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with _DRAWING, matplotlib.rc_context(_STYLE):
            return draw(*args, **kwargs)

    return wrapper


def new_figure(
    width: float,
    height: float,
    rows: int = 1,
    columns: int = 1,
    *,
    title: str = "",
    dpi: float = DPI,
    **grid: Any,
) -> tuple[Figure, np.ndarray]:
    """Make a figure and its grid of axes, without any global state.

    Args:
        width: inches; 11 fills a notebook cell.
        height: inches.
        rows: rows of axes.
        columns: columns of axes.
        title: headline, at the left.
        dpi: pixels per inch of its PNG.
        **grid: passed on to `Figure.subplots` (`sharex`, `width_ratios`, ...).

    Returns:
        The figure and its axes, always a 2-D array (rows, columns).
    """
    figure = Figure(figsize=(width, height), dpi=dpi, layout="constrained")
    if title:
        figure.suptitle(title, x=0.01, ha="left")
    return figure, figure.subplots(rows, columns, squeeze=False, **grid)


def contrast(a: str, b: str) -> float:
    """Contrast of two colours as WCAG 2 defines it: from 1, the same, to 21, black on white."""
    lighter, darker = sorted((_luminance(a), _luminance(b)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


@functools.cache
def readable(color: str) -> str:
    """The colour for letters on paper: darker, where it is too light to be read.

    Args:
        color: a colour of the palette.

    Returns:
        A colour of the same hue with a contrast of at least `LEGIBLE`.
    """
    red, green, blue = to_rgb(color)
    shades = (to_hex((k * red, k * green, k * blue)) for k in np.linspace(1, 0, 51))
    return next(shade for shade in shades if contrast(shade, PAPER) >= LEGIBLE)


def on_color(color: str) -> str:
    """The colour for letters on an area: paper or ink, whichever is read better."""
    return max((PAPER, INK), key=lambda letters: contrast(letters, color))


def _luminance(color: str) -> float:
    channels = np.array(to_rgb(color))
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ (0.2126, 0.7152, 0.0722))


def label_ends(axes: Axes, ends: Sequence[tuple[str, float, str]]) -> None:
    """Write the labels of several lines at the right of the axes, moved apart where they would overlap.

    Args:
        axes: where the lines have been drawn; its limits must not change afterwards.
        ends: label, last y value and colour of each line; those without a finite value are left out.
    """
    ends = [end for end in ends if np.isfinite(end[1])]
    if not ends:
        return
    points = axes.transData.transform([(axes.get_xlim()[1], y) for _, y, _ in ends])
    wanted = axes.transAxes.inverted().transform(points)[:, 1]
    step = 13 / 72 * axes.figure.dpi / axes.bbox.height  # 13 points
    order = np.argsort(wanted, kind="stable")
    for place, index in zip(_apart(wanted[order], step), order, strict=True):
        text, _, color = ends[index]
        where = {"xycoords": "axes fraction", "textcoords": "offset points", "va": "center"}
        axes.annotate(text, (1, place), (6, 0), color=readable(color), fontweight="bold", **where)


def _apart(wanted: np.ndarray, step: float) -> np.ndarray:
    """The nearest places (least squares) to those wanted, in the same order, each `step` above the last."""
    shift, blocks = step * np.arange(len(wanted)), []
    for value in wanted - shift:
        blocks.append((value, 1))
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            (low, few), (high, more) = blocks.pop(), blocks.pop()
            blocks.append(((low * few + high * more) / (few + more), few + more))
    means, sizes = zip(*blocks, strict=True)
    return np.repeat(means, sizes) + shift


def log_scale(axes: Axes, span: float) -> None:
    """Put y on a log axis whose ticks are plain numbers.

    Args:
        axes: the axes.
        span: the largest value as a multiple of the smallest.
    """
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if span < 300 else (1,)))
    axes.yaxis.set_major_formatter("{x:.3g}")
    axes.yaxis.set_minor_formatter(NullFormatter())


def draw_floor(axes: Axes, label: str, level: float) -> None:
    """Draw the level that an answer without learning reaches, with its name and number."""
    axes.axhline(level, color=GREY, linestyle=DASHES, linewidth=1.2)
    place = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points", "ha": "right"}
    paper = {"facecolor": PAPER, "edgecolor": "none", "alpha": 0.75, "pad": 0.5}
    words = {"color": readable(GREY), "fontsize": SMALL, "va": "bottom", "bbox": paper}
    axes.annotate(f"{label} {level:.3g}", (0.99, level), (0, 2), **place, **words)


def draw_floors(axes: Axes, levels: Mapping[str, float]) -> None:
    """Draw several floors; those that lie on each other become one line with all their names.

    Args:
        axes: the axes.
        levels: level by name.
    """
    together: dict[str, float] = {}
    for label, level in sorted(levels.items(), key=lambda floor: floor[1]):
        twin = next((name for name, other in together.items() if level < 1.03 * other), None)
        if twin is None:
            together[label] = level
        else:
            together[f"{twin}, {label}"] = together.pop(twin)
    for label, level in together.items():
        draw_floor(axes, label, level)


def bare(axes: Axes) -> Axes:
    """Strip ticks, grid and frame from the axes of a picture."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    return axes


def to_png(figure: Figure, dpi: float | None = None) -> bytes:
    """Write a figure as PNG bytes on its own opaque background; a chart, with its few colours, as a palette.

    Args:
        figure: the figure.
        dpi: pixels per inch; None: the figure's own.

    Returns:
        The file.
    """
    figure.set_dpi(dpi or figure.dpi)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    buffer = io.BytesIO()
    _with_palette(Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3])).save(buffer, format="PNG")
    return buffer.getvalue()


def fewer_colors(png: bytes) -> bytes:
    """Store a picture again in 256 colours: video frames weigh a third then, and look the same.

    Args:
        png: the file.

    Returns:
        The smaller file.
    """
    buffer = io.BytesIO()
    with Image.open(io.BytesIO(png)) as picture:
        picture.quantize(256).save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def _with_palette(picture: Image.Image) -> Image.Image:
    """A chart in 256 colours, a third of the bytes, its paper as it was; video frames have more and stay."""
    colors = picture.getcolors(CHART_COLORS)
    if colors is None:
        return picture
    small = picture.quantize(256, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    paper = max(colors)[1]
    entry = np.asarray(small)[(np.asarray(picture) == paper).all(axis=-1)][0]
    palette = np.array(small.getpalette())
    palette[3 * entry : 3 * entry + 3] = paper
    small.putpalette(palette.tolist())
    return small


_WORDS = {
    "loss": "total loss",
    "loss_diff": "diffusion loss",
    "loss_struct": "structure loss",
    "loss_id": "identity loss",
    "grad_norm": "gradient norm",
    "cosine": "cosine to the teacher ↑",
    "id_ref": "ID to the reference ↑",
    "id_gt_frame": "ID to the true frame ↑",
    "id_consecutive": "ID frame to frame ↑",
    "detection_rate": "faces found ↑",
    "abs_rel": "depth error (AbsRel) ↓",
    "depth_error": "depth error ↓",
    "depth_abs_rel": "depth error (AbsRel) ↓",
    "lpips_alex": "LPIPS (alex) ↓",
    "lpips_vgg": "LPIPS (vgg) ↓",
    "delta": "depth within 1.25 ↑",
    "psnr": "PSNR in dB ↑",
    "ssim": "SSIM ↑",
}


def label_name(name: str) -> str:
    """Turn the name of a number into words, with an arrow towards better where it is a score."""
    bare, bracket, kind = name.partition(" (")
    return _WORDS.get(bare, bare.replace("_", " ")) + bracket + kind


def squeezed(text: str, most: int) -> str:
    """Shorten a name in its middle where it is longer than `most` letters, so that both ends can be read."""
    if len(text) <= most:
        return text
    head = (most - 1) // 2
    return f"{text[:head]}…{text[head + 1 - most :]}"
