"""Figures of a training run: its losses, with floors and evaluations drawn in, and what each part pulls."""

import json
import textwrap
from collections.abc import Mapping
from itertools import zip_longest
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator, PercentFormatter, StrMethodFormatter

from semrepa.ui.history import Floors, History, Series, panels, smooth
from semrepa.ui.monitors import draw_panel, monitor_panels
from semrepa.ui.style import (
    BESIDE,
    BLUE,
    FAINT,
    GREY,
    HEAD,
    INK,
    PAPER,
    PART_COLORS,
    RED,
    SMALL,
    draw_floors,
    label_ends,
    label_name,
    log_scale,
    new_figure,
    on_color,
    readable,
    styled,
)

Floor = float | Mapping[str, float] | None
"""The floors of one panel: one number, several with names, or none."""

MAX_POINTS = 2000
"""Points drawn per curve; longer ones are thinned."""

KEY = "bold: smoothed · faint: every step"
"""What the two lines of a panel are."""


@styled
def losses(
    history: History,
    *,
    floors: Floors | None = None,
    title: str = "",
    note: str = "",
    bar: tuple[float, str] | None = None,
) -> Figure:
    """Draw the training curves of a run.

    Args:
        history: from `read_history` or `to_history`.
        floors: what an answer without learning scores, drawn as dashed lines: `{"loss_id": 0.035}` or
            `{"loss_struct": {"mean output": 0.21, "zero output": 0.80}}`.
        title: headline of the figure; say which weights are trained.
        note: small text beside the title, such as the time left.
        bar: how much of the run is done (0 to 1) and in which colour that is said, along the upper edge.

    Returns:
        A figure with one panel for the total loss, each part, and the gradient norm; and for what else was
        measured, see `monitor_panels`. Behind each curve stand its newest smoothed value and, in black, the
        newest one on held-out clips.
    """
    names, others = panels(history) or ["loss"], monitor_panels(history)
    rows, columns = _layout(len(names) + len(others))
    height = 2.75 * rows + 0.7
    figure, grid = new_figure(11 if columns > 1 else 7, height, rows, columns, title=title or " ")
    for axes, panel in zip_longest(grid.flat[len(names) :], others):
        if panel:
            draw_panel(axes, panel)
        else:
            axes.set_visible(False)
    for axes, name in zip(grid.flat, names, strict=False):
        empty = (np.array([]), np.array([]))
        _panel(axes, name, history.get(name, empty), history.get(f"eval.{name}"), (floors or {}).get(name))
    figure.text(0.99, 1 - 0.1 / height, note, ha="right", va="top", color=readable(GREY))
    held = " · circles: held-out clips" if any(name.startswith("eval.") for name in history) else ""
    figure.supxlabel(KEY + held, x=0.99, ha="right", fontsize=SMALL, color=readable(GREY))
    if bar:
        engine: Any = figure.get_layout_engine()
        engine.set(h_pad=0.08)  # inches, for the bar above the title
        for share, color in ((1.0, FAINT), bar):
            place = {"transform": figure.transFigure, "color": color, "linewidth": 0}
            figure.add_artist(Rectangle((0, 1 - 0.05 / height), share, 0.05 / height, **place))
    return figure


def _layout(count: int) -> tuple[int, int]:
    """Rows and columns for so many panels: up to four beside each other where three would leave a gap."""
    columns = 4 if count in (4, 7, 8) else min(count, 3)
    return -(-count // columns), columns


def _panel(axes: Axes, name: str, series: Series, evaluated: Series | None, floor: Floor) -> None:
    color, levels = PART_COLORS.get(name, BLUE), _levels(floor)
    steps, values = thin(series)
    finite, curve = np.isfinite(values), smooth(values)
    axes.plot(steps[finite], values[finite], color=color, alpha=0.25, linewidth=0.9)
    axes.plot(steps, curve, color=color)
    ends = [(f"{curve[-1]:.3g}", curve[-1], color)] if finite.any() else []
    at, heldout = _finite(evaluated)
    if len(heldout):
        look = {"color": INK, "linewidth": 0.8, "markersize": 4.5, "markerfacecolor": PAPER}
        axes.plot(at, heldout, "o-", zorder=3, clip_on=False, **look)
        ends.append((f"{heldout[-1]:.3g}", heldout[-1], INK))
    _scale(axes, np.concatenate([values[finite], heldout, list(levels.values())]))
    draw_floors(axes, levels)
    if not finite.all():
        _mark_bad(axes, steps[~finite])
    axes.set_title(label_name(name), color=readable(color))
    axes.set_xlabel("step")
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.margins(x=0.02)
    label_ends(axes, ends)


def _finite(series: Series | None) -> Series:
    """The finite points of a series; none of no series."""
    steps, values = series or (np.array([]), np.array([]))
    known = np.isfinite(values)
    return steps[known], values[known]


def _mark_bad(axes: Axes, steps: np.ndarray) -> None:
    """Ticks on the step axis where a number was not finite."""
    look = {"color": RED, "markersize": 12, "transform": axes.get_xaxis_transform()}
    axes.plot(steps, np.zeros(len(steps)), "|", **look)
    words = {"color": readable(RED), "transform": axes.transAxes, "fontsize": SMALL, "fontweight": "bold"}
    axes.text(0.02, 0.05, f"{len(steps)} not finite", **words)


def _levels(floor: Floor) -> dict[str, float]:
    """The floors of one panel by name."""
    if isinstance(floor, Mapping):
        return dict(floor)
    return {} if floor is None else {"floor": floor}


def _scale(axes: Axes, values: np.ndarray) -> None:
    """Choose a log axis where the values span much, and limits that single spikes do not stretch."""
    if not len(values):
        return
    low, high = np.percentile(values, [0, 99]) if len(values) > 50 else (values.min(), values.max())
    high = max(high, values[-1])
    if low > 0 and high / low > 6:
        log_scale(axes, high / low)
        axes.set_ylim(low * 0.85, high * 1.25)
    else:
        pad = (high - low or abs(high) or 1) * 0.08
        axes.set_ylim(low - pad, high + 1.5 * pad)


def thin(series: Series, limit: int = MAX_POINTS) -> Series:
    """Keep every k-th point so that at most `limit` remain, always with the last one."""
    steps, values = series
    stride = max(1, -(-len(steps) // limit))
    first = (len(steps) - 1) % stride if len(steps) else 0
    return steps[first::stride], values[first::stride]


@styled
def balance_bars(
    balance: Mapping[str, Mapping[str, float]], *, title: str = "What pulls on the transformer"
) -> Figure:
    """Show how much each part of the loss contributes, as shares of one bar per quantity.

    Args:
        balance: quantity to part to size, from `semrepa.ui.history.balance`:
            `{"weighted loss": {"loss_diff": 0.1, ...}, "gradient norm": {...}}`.
        title: headline.

    Returns:
        The figure, with the share and the size of every part.
    """
    figure, grid = new_figure(9, 0.75 * len(balance) + 1.1, title=title)
    axes = grid[0, 0]
    for row, parts in enumerate(balance.values()):
        _bar(axes, row, parts)
    names = list(dict.fromkeys(name for parts in balance.values() for name in parts))
    handles = [axes.barh(0, 0, color=_part_color(name)) for name in names]
    below = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.2), "ncols": len(names)}
    axes.legend(handles, [label_name(name) for name in names], **below)
    axes.set_yticks(range(len(balance)), list(balance))
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    return figure


def _bar(axes: Axes, row: int, parts: Mapping[str, float]) -> None:
    """One bar of shares; wide parts carry their numbers inside, narrow ones above."""
    total, left = sum(parts.values()) or 1.0, 0.0
    for name, size in parts.items():
        share, color = size / total, _part_color(name)
        middle = left + share / 2
        axes.barh(row, share, left=left, color=color, height=0.62, edgecolor=PAPER, linewidth=1.5)
        if share > 0.07:
            text = {"ha": "center", "va": "center", "fontsize": SMALL, "fontweight": "bold"}
            axes.text(middle, row, f"{share:.0%}\n{size:.3g}", color=on_color(color), **text)
        else:
            words = {"ha": "center", "color": readable(color), **BESIDE}
            axes.annotate(f"{share:.1%}", (middle, row - 0.31), (0, 2), **words)
        left += share


def _part_color(name: str) -> str:
    return PART_COLORS.get(name, GREY)


def losses_plotly(history: History, *, floors: Floors | None = None, title: str = "") -> dict[str, object]:
    """Make the hover version of `losses` as plotly JSON, to ride in a bundle beside the PNG.

    Args:
        history: from `read_history` or `to_history`.
        floors: see `losses`.
        title: headline.

    Returns:
        `{"data": [...], "layout": {...}}` of plain lists and numbers.
    """
    from plotly.subplots import make_subplots

    names, others = panels(history) or ["loss"], monitor_panels(history)
    titles = [label_name(name) for name in names] + [panel.title for panel in others]
    rows, columns = _layout(len(titles))
    wrapped = ["<br>".join(textwrap.wrap(panel, 22)) for panel in titles]  # they would run into each other
    figure = make_subplots(rows=rows, cols=columns, subplot_titles=wrapped)
    figure.update_annotations(font_size=round(HEAD / 0.75))  # points as pixels
    cells: list[dict[str, Any]] = [
        {"row": index // columns + 1, "col": index % columns + 1} for index in range(len(titles))
    ]
    for cell, panel in zip(cells[len(names) :], others, strict=True):
        for curve in panel.curves:
            x, y = map(_floats, curve.points)
            figure.add_scatter(x=x, y=y, name=curve.label, line_color=curve.color, showlegend=False, **cell)
        figure.update_yaxes(type="log" if panel.log else "linear", **cell)
    for cell, name in zip(cells, names, strict=False):
        for trace in _traces(history, name):
            figure.add_scatter(**trace, showlegend=False, **cell)
        for label, level in _levels((floors or {}).get(name)).items():
            line: dict[str, Any] = {"line_dash": "dash", "line_color": GREY, "annotation_text": label}
            figure.add_hline(y=level, **line, **cell)
    figure.update_layout(
        title=title,
        template="none",
        paper_bgcolor="white",
        plot_bgcolor="white",
        height=80 + 250 * rows,
        margin={"l": 50, "r": 30, "t": 90, "b": 40},
    )
    return json.loads(figure.to_json() or "{}")


def _traces(history: History, name: str) -> list[dict[str, Any]]:
    """The raw curve, the smoothed one and the evaluations of one panel."""
    steps, values = thin(history.get(name, (np.array([]), np.array([]))), 600)
    line: dict[str, Any] = {"x": _floats(steps), "mode": "lines", "line_color": PART_COLORS.get(name, BLUE)}
    traces = [
        {**line, "y": _floats(values), "name": f"{label_name(name)}, raw", "opacity": 0.3},
        {**line, "y": _floats(smooth(values)), "name": f"{label_name(name)}, smoothed"},
    ]
    if f"eval.{name}" in history:
        x, y = (_floats(part) for part in history[f"eval.{name}"])
        traces.append({"x": x, "y": y, "name": "held out", "mode": "lines+markers", "line_color": INK})
    return traces


def _floats(values: np.ndarray) -> list[float | None]:
    return [float(f"{value:.5g}") if np.isfinite(value) else None for value in values]
