"""What a run has measured beside its losses: gradients by noise level, drift from the base model, speed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from semrepa.ui.history import History, Series
from semrepa.ui.style import (
    BLUE,
    DASHES,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    RED,
    SKY,
    label_ends,
    log_scale,
    new_figure,
    styled,
)

_PARTS = {"diff": ("diffusion", BLUE), "struct": ("structure", ORANGE), "id": ("identity", PURPLE)}
_PAIRS = {
    "diff_struct": ("diffusion, structure", GREEN),
    "diff_id": ("diffusion, identity", RED),
    "struct_id": ("structure, identity", SKY),
}
_RATIOS = {"contrast": ("contrast", BLUE), "saturation": ("saturation", ORANGE), "flow": ("motion", GREEN)}
_COLORS = {"red": ("red", RED), "green": ("green", GREEN), "blue": ("blue", BLUE)}


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One line of a panel."""

    label: str
    """What it shows; written where it ends."""
    points: Series
    """x and y."""
    color: str
    """Its colour."""
    earlier: Series = (np.array([]), np.array([]))
    """The same at the start of the run, drawn faint and dashed."""


@dataclass(frozen=True, kw_only=True)
class Panel:
    """Some lines on one pair of axes."""

    title: str
    """What they show."""
    x: str
    """What x is."""
    y: str
    """What y is, with its unit."""
    curves: tuple[Curve, ...]
    """The lines."""
    level: float | None = None
    """Where nothing has changed, or nothing is there."""
    log: bool = False
    """Whether y is on a log axis."""


def monitor_panels(history: History) -> list[Panel]:
    """Choose what belongs beside the losses of a run: the drift of its samples, and what pulls where.

    Args:
        history: from `read_history` or `to_history`.

    Returns:
        Panels that have something to show; none for a run without monitors.
    """
    return [panel for panel in (_drift(history), _norms(history)) if panel.curves]


@styled
def gradients_by_timestep(history: History, *, title: str = "What pulls, by noise level") -> Figure:
    """Show the gradient of each part of the loss at each probed noise level, and whether they agree.

    Args:
        history: of a run with `finetune.probe_every`.
        title: headline.

    Returns:
        A panel of norms and one of cosines; solid at the end of the run, dashed before its first step.

    Raises:
        ValueError: a run without probes.
    """
    _check(history, "grad_diff@", "finetune.probe_every")
    return _figure([_norms(history), _cosines(history)], title)


@styled
def drift(history: History, *, title: str = "How the samples drift from the base model's") -> Figure:
    """Show what has changed in the look of a run's samples since the base model's, which had the same seeds.

    Args:
        history: of a run with `finetune.sample_every`.
        title: headline.

    Returns:
        A panel of ratios and one of differences of the mean colour.

    Raises:
        ValueError: a run without samples.
    """
    _check(history, "drift_", "finetune.sample_every")
    return _figure([_drift(history), _colors(history)], title)


def speed(history: History) -> str:
    """Say how fast a run was when it was last read: `4.8 clips/s · 61 GiB · MFU 45 %`.

    Args:
        history: from `read_history` or `to_history`.

    Returns:
        What of it is known, or nothing.
    """
    shown = {"samples_per_second": "{:.3g} clips/s", "peak_memory": "{:.3g} GiB", "mfu": "MFU {:.0%}"}
    known = {name: history[name][1][-1] for name in shown if name in history}
    return " · ".join(shown[name].format(value) for name, value in known.items())


def draw_panel(axes: Axes, panel: Panel) -> None:
    """Draw a panel.

    Args:
        axes: empty axes.
        panel: what to draw.
    """
    for curve in panel.curves:
        few = len(curve.points[0]) < 30
        axes.plot(*curve.points, "o-" if few else "-", color=curve.color, markersize=3.5)
        axes.plot(*curve.earlier, color=curve.color, alpha=0.55, linewidth=1.2, linestyle=DASHES)
    if panel.log:
        values = np.concatenate([curve.points[1] for curve in panel.curves])
        log_scale(axes, values.max() / values.min())
    if panel.level is not None:
        axes.axhline(panel.level, color=GREY, linestyle=DASHES, linewidth=1.2, zorder=1)
    axes.set_title(panel.title)
    axes.set_xlabel(panel.x)
    axes.set_ylabel(panel.y)
    if panel.x == "timestep":
        axes.set_xticks(panel.curves[0].points[0])
    else:
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.margins(x=0.03)
    label_ends(axes, [(curve.label, float(curve.points[1][-1]), curve.color) for curve in panel.curves])


def _figure(panels: Sequence[Panel], title: str) -> Figure:
    figure, grid = new_figure(11, 3.4, 1, len(panels), title=title)
    for axes, panel in zip(grid.flat, panels, strict=True):
        draw_panel(axes, panel)
    return figure


def _check(history: History, beginning: str, setting: str) -> None:
    if not any(name.startswith(beginning) for name in history):
        raise ValueError(
            f"got a run that has measured nothing of this; expected one with {setting} above 0; "
            f"set it, for example to a sixth of the steps, and train again"
        )


def _by_level(history: History, name: str) -> tuple[Series, Series] | None:
    """The first and the last probe of a number: each its levels and values."""
    found = {int(key.partition("@")[2]): key for key in history if key.startswith(f"{name}@")}
    levels = sorted(found)
    if not levels:
        return None
    ends = [np.array([history[found[level]][1][place] for level in levels], dtype=float) for place in (0, -1)]
    return (np.array(levels, dtype=float), ends[0]), (np.array(levels, dtype=float), ends[1])


def _level_curves(history: History, kind: str, names: Mapping[str, tuple[str, str]]) -> tuple[Curve, ...]:
    curves = []
    for name, (label, color) in names.items():
        probes = _by_level(history, f"{kind}_{name}")
        if probes:
            first, last = probes
            curves.append(Curve(label=label, points=last, color=color, earlier=first))
    return tuple(curves)


def _norms(history: History) -> Panel:
    """Norms on a log axis, which has no place for those that are 0."""
    found = _level_curves(history, "grad", _PARTS)
    shown = [replace(c, points=_positive(c.points), earlier=_positive(c.earlier)) for c in found]
    curves = tuple(curve for curve in shown if len(curve.points[0]))
    axes = {"x": "timestep", "y": "norm, weighted (log)"}
    return Panel(title="gradient of each loss (dashed: at first)", curves=curves, log=True, **axes)


def _positive(points: Series) -> Series:
    x, y = points
    return x[y > 0], y[y > 0]


def _cosines(history: History) -> Panel:
    curves = _level_curves(history, "cos", _PAIRS)
    axes = {"x": "timestep", "y": "cosine"}
    return Panel(title="do they agree?", curves=curves, level=0.0, **axes)


def _since_base(
    history: History, names: Mapping[str, tuple[str, str]], start: float, form: str
) -> tuple[Curve, ...]:
    """Lines that begin at the base model, where nothing has changed."""
    curves = []
    for name, (label, color) in names.items():
        if f"drift_{name}" in history:
            steps, values = (
                np.concatenate([[first], rest])
                for first, rest in zip((0.0, start), history[f"drift_{name}"], strict=True)
            )
            curves.append(Curve(label=f"{label} {values[-1]:{form}}", points=(steps, values), color=color))
    return tuple(curves)


def _drift(history: History) -> Panel:
    curves = _since_base(history, _RATIOS, 1.0, ".2f")
    return Panel(
        title="drift of the samples", x="step", y="ratio to the base model", curves=curves, level=1.0
    )


def _colors(history: History) -> Panel:
    curves = _since_base(history, _COLORS, 0.0, "+.1f")
    return Panel(title="mean colour", x="step", y="difference, of 255", curves=curves, level=0.0)
