"""The loss figure: one panel per part, raw faint, smoothed strong, floors and evaluations drawn in."""

import json
from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from semrepa.ui.history import History, Series, panels, smooth
from semrepa.ui.style import BLUE, GREY, INK, PART_COLORS, RED, label_name, new_figure, styled

Floors = Mapping[str, float | Mapping[str, float]]
"""Per panel, the score of an answer that has learned nothing: one number, or several with names."""

MAX_POINTS = 2000
"""Points drawn per curve; longer ones are thinned."""


@styled
def losses(history: History, *, floors: Floors | None = None, title: str = "", note: str = "") -> Figure:
    """Draw the training curves of a run.

    Args:
        history: from `read_history` or `to_history`.
        floors: what an answer without learning scores, drawn as dashed lines: ``{"loss_id": 0.035}`` or
            ``{"loss_struct": {"mean output": 0.21, "zero output": 0.80}}``.
        title: headline of the figure; say which weights are trained.
        note: small text under the title, such as the time left.

    Returns:
        A figure with one panel for the total loss, each part, and the gradient norm.
    """
    names = panels(history) or ["loss"]
    columns = min(len(names), 3)
    rows = -(-len(names) // columns)
    figure, grid = new_figure(11 if columns > 1 else 7, 2.75 * rows + 0.5, rows, columns)
    for axes in grid.flat[len(names) :]:
        axes.set_visible(False)
    for axes, name in zip(grid.flat, names, strict=False):
        empty = (np.array([]), np.array([]))
        _panel(axes, name, history.get(name, empty), history.get(f"eval.{name}"), (floors or {}).get(name))
    if title or note:
        figure.suptitle(title or " ", x=0.01, ha="left")
        figure.text(0.99, 0.98, note, ha="right", va="top", color=GREY)
    return figure


def _panel(axes: Axes, name: str, series: Series, evaluated: Series | None, floor: object) -> None:
    color = PART_COLORS.get(name, BLUE)
    steps, values = thin(series)
    finite = np.isfinite(values)
    curve = smooth(values)
    axes.plot(steps[finite], values[finite], color=color, alpha=0.25, linewidth=0.9)
    axes.plot(steps, curve, color=color)
    if finite.any():
        axes.annotate(
            f" {curve[-1]:.3g}", (steps[-1], curve[-1]), color=color, fontweight="bold", va="center", annotation_clip=False
        )
    if evaluated is not None:
        axes.plot(*evaluated, "o", color=INK, markersize=4.5, markerfacecolor="white", zorder=3)
        axes.annotate(
            "held out", (evaluated[0][0], evaluated[1][0]), (5, 5), textcoords="offset points", fontsize=8, color=INK
        )
    lines = {"floor": float(floor)} if isinstance(floor, int | float) else dict(floor or {})
    _scale(axes, np.concatenate([values[finite], (evaluated or ((), ()))[1], list(lines.values())]))
    for label, level in lines.items():
        axes.axhline(level, color=GREY, linestyle=(0, (4, 3)), linewidth=1.2)
        axes.annotate(
            f"{label} {level:.3g}", (0.99, level), xycoords=("axes fraction", "data"), ha="right", va="bottom",
            color=GREY, fontsize=8,
        )  # fmt: skip
    if not finite.all():
        bad = steps[~finite]
        axes.plot(bad, np.zeros(len(bad)), "|", color=RED, markersize=12, transform=axes.get_xaxis_transform())
        axes.text(0.02, 0.04, f"{len(bad)} non-finite", color=RED, transform=axes.transAxes)
    axes.set_title(label_name(name), color=color)
    axes.set_xlabel("step")
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.margins(x=0.02)


def _scale(axes: Axes, values: np.ndarray) -> None:
    """Choose a log axis where the values span much, and limits that single spikes do not stretch."""
    if not len(values):
        return
    low, high = np.percentile(values, [0, 99]) if len(values) > 50 else (values.min(), values.max())
    high = max(high, values[-1])
    if low > 0 and high / low > 6:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high / low < 300 else (1,)))
        axes.yaxis.set_major_formatter("{x:.3g}")
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.set_ylim(low * 0.85, high * 1.25)
    else:
        pad = (high - low or abs(high) or 1) * 0.08
        axes.set_ylim(low - pad, high + 1.5 * pad)


def thin(series: Series, limit: int = MAX_POINTS) -> Series:
    """Keep every k-th point so that at most ``limit`` remain, always with the last one."""
    steps, values = series
    stride = max(1, -(-len(steps) // limit))
    first = (len(steps) - 1) % stride if len(steps) else 0
    return steps[first::stride], values[first::stride]


def losses_plotly(history: History, *, floors: Floors | None = None, title: str = "") -> dict[str, object]:
    """Make the hover version of `losses` as plotly JSON, to ride in a bundle beside the PNG.

    Args:
        history: from `read_history` or `to_history`.
        floors: see `losses`.
        title: headline.

    Returns:
        ``{"data": [...], "layout": {...}}`` of plain lists and numbers.
    """
    from plotly.subplots import make_subplots

    names = panels(history) or ["loss"]
    columns = min(len(names), 3)
    figure = make_subplots(rows=-(-len(names) // columns), cols=columns, subplot_titles=[label_name(n) for n in names])
    for index, name in enumerate(names):
        cell = {"row": index // columns + 1, "col": index % columns + 1}
        steps, values = thin(history.get(name, (np.array([]), np.array([]))), 600)
        color = PART_COLORS.get(name, BLUE)
        for kind, line, opacity in (("raw", values, 0.3), ("smoothed", smooth(values), 1.0)):
            figure.add_scatter(x=_floats(steps), y=_floats(line), name=f"{label_name(name)}, {kind}", line_color=color,
                               opacity=opacity, mode="lines", showlegend=False, **cell)  # fmt: skip
        if f"eval.{name}" in history:
            where, what = history[f"eval.{name}"]
            figure.add_scatter(x=_floats(where), y=_floats(what), name="held out", mode="markers", marker_color=INK,
                               showlegend=False, **cell)  # fmt: skip
        floor = (floors or {}).get(name)
        for label, level in ({"floor": floor} if isinstance(floor, int | float) else dict(floor or {})).items():
            figure.add_hline(y=level, line_dash="dash", line_color=GREY, annotation_text=label, **cell)
    figure.update_layout(title=title, template="none", paper_bgcolor="white", plot_bgcolor="white", height=340)
    return json.loads(figure.to_json())


def _floats(values: np.ndarray) -> list[float | None]:
    return [float(f"{value:.5g}") if np.isfinite(value) else None for value in values]
