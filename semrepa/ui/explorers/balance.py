"""What other loss weights would have done: the pull of each loss, from the gradients that a run has logged.

A run logs, every few steps, the norm of each weighted loss's gradient and the cosines between them. Weights
only stretch these gradients, so the balance under any other weights follows without training anew. (What
the run itself would have become with them does not: for that it must be trained.)
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from semrepa.ui.explorers.shell import Explorer
from semrepa.ui.history import History, Series
from semrepa.ui.style import (
    PAPER,
    PART_COLORS,
    SMALL,
    draw_floor,
    label_ends,
    label_name,
    log_scale,
    new_figure,
    on_color,
    readable,
    styled,
)

PARTS = ("diff", "struct", "id")
"""The losses, as a run names them."""
STEPS = (0.0, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
"""Weights to choose from, beside the one that the run had."""


@dataclass(frozen=True, kw_only=True)
class Pulls:
    """How the losses pull at the weights of the transformer."""

    losses: Mapping[str, float]
    """Loss by part, weighted; mean over the run."""
    norms: Mapping[str, Series]
    """Norm of the part's weighted gradient at each measured step."""
    shares: Mapping[str, float]
    """Share of the part in the joint gradient: the length of its shadow on it. They add up to 1; below 0 a
    part pulls against where the joint gradient goes."""


def weight_explorer(history: History, *, title: str = "Who pulls, if the weights were others?") -> Explorer:
    """Move the weights of the alignment losses and see the balance of pulls.

    Args:
        history: of a run that logged its gradients, from `read_history`.
        title: headline.

    Returns:
        Explorer with a control for each alignment loss that the run had; its note is the line that trains so.

    Raises:
        ValueError: a run without logged gradients, or without alignment losses.
    """
    used = used_weights(history)
    controls = {f"weight_{part}": sorted({*STEPS, weight}) for part, weight in used.items()}

    @styled
    def render(**state: float) -> Figure:
        weights = {name.removeprefix("weight_"): value for name, value in state.items()}
        return _draw(pulls(history, weights), f"{title}  {_in_words(weights, used)}")

    start = {f"weight_{part}": weight for part, weight in used.items()}
    return Explorer(render, controls, start, title, override_line)


def override_line(**state: float) -> str:
    """The line of a parameters cell that trains with these weights.

    Args:
        **state: `weight_struct`, `weight_id`.

    Returns:
        Python.
    """
    weights = ", ".join(f'"loss.{name}": {weight:g}' for name, weight in state.items())
    return f"overrides = {{{weights}}}"


def used_weights(history: History) -> dict[str, float]:
    """The largest weight that each alignment loss had in a run, by part.

    Args:
        history: from `read_history`.

    Returns:
        `struct` and `id`, those that there are.

    Raises:
        ValueError: a run without logged gradients, or without alignment losses.
    """
    if "grad_diff" not in history:
        raise ValueError(
            "got a run that has logged no gradients; expected one with finetune.balance_every above 0; "
            "set it, for example to a sixth of the steps, and train again"
        )
    weights = {
        part: history.get(f"weight_{part}", (np.array([]), np.zeros(1)))[1].max() for part in PARTS[1:]
    }
    found = {part: float(weight) for part, weight in weights.items() if weight and f"grad_{part}" in history}
    if not found:
        raise ValueError(
            "got a run without alignment losses; expected loss.weight_struct or loss.weight_id above 0; "
            "take the aligned run, not its control"
        )
    return found


def pulls(history: History, weights: Mapping[str, float]) -> Pulls:
    """Work out how the losses of a run would pull with other weights.

    Args:
        history: from `read_history`.
        weights: new weight by part; that of the diffusion loss is 1.

    Returns:
        Losses, gradient norms and shares. Norms and cosines are those that the run measured, stretched by the
        ratio of the new weight to the one of the same step.
    """
    steps = history["grad_diff"][0]
    factors = {
        "diff": np.ones(len(steps)),
        **{part: _factor(history, part, steps, weights[part]) for part in weights},
    }
    norms = {part: _at(history, f"grad_{part}", steps) * factor for part, factor in factors.items()}
    gram = np.array(
        [[(norms[a] * norms[b] * _cosine(history, a, b, steps)).mean() for b in norms] for a in norms]
    )
    total = gram.sum()
    shares = gram.sum(axis=1) / total if total > 0 else np.full(len(norms), np.nan)
    losses = {part: weights.get(part, 1.0) * _mean(history, _LOSS[part]) for part in norms}
    return Pulls(
        losses=losses,
        norms={part: (steps, norm) for part, norm in norms.items()},
        shares=dict(zip(norms, shares.tolist(), strict=True)),
    )


_LOSS = {"diff": "loss_diff", "struct": "gated_struct", "id": "gated_id"}
"""What is logged of each part before its weight and after its gate."""
_SHORT = {"diff": "diffusion", "struct": "structure", "id": "identity"}


def _factor(history: History, part: str, steps: np.ndarray, weight: float) -> np.ndarray:
    """New weight by that of each step; 0 where the loss did not count."""
    then = _at(history, f"weight_{part}", steps)
    return np.divide(weight, then, out=np.zeros(len(steps)), where=then > 0)


def _at(history: History, name: str, steps: np.ndarray) -> np.ndarray:
    """Values of a series at some steps, 0 where it has none."""
    known = dict(zip(*history.get(name, ((), ())), strict=True))
    return np.array([known.get(step, 0.0) for step in steps])


def _cosine(history: History, a: str, b: str, steps: np.ndarray) -> np.ndarray:
    if a == b:
        return np.ones(len(steps))
    name = f"cos_{a}_{b}"
    return _at(history, name if name in history else f"cos_{b}_{a}", steps)


def _mean(history: History, name: str) -> float:
    values = history[name][1] if name in history else np.array([np.nan])
    return float(np.nanmean(values))


def _in_words(weights: Mapping[str, float], used: Mapping[str, float]) -> str:
    words = [f"{label_name(f'loss_{part}')} x {weight:g}" for part, weight in weights.items()]
    return f"({', '.join(words)}{'; as trained' if weights == used else ''})"


def _draw(found: Pulls, title: str) -> Figure:
    figure, grid = new_figure(11, 4.2, 1, 2, title=title, width_ratios=[1.35, 1])
    bars, curves = grid[0]
    mean = {part: float(norm.mean()) for part, (_, norm) in found.norms.items()}
    rows = {
        "weighted loss": found.losses,
        "gradient norm": mean,
        "share of the\njoint gradient": found.shares,
    }
    for place, (name, sizes) in enumerate(rows.items()):
        _bar(bars, place, sizes, is_share=name not in ("weighted loss", "gradient norm"))
    bars.set_yticks(range(len(rows)), list(rows))
    bars.invert_yaxis()
    bars.set_ylim(len(rows) - 0.4, -0.75)
    bars.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    bars.set_xlim(min(0, *(min(0, share) for share in found.shares.values())) * 1.05, 1.0)
    bars.grid(visible=False, axis="y")
    _legend(bars, list(mean))
    _norms(curves, found.norms)
    return figure


def _legend(axes: Axes, parts: list[str]) -> None:
    """Names in their colours above the bars."""
    for place, part in enumerate(parts):
        name = f"loss_{part}"
        text = {"transform": axes.transAxes, "color": readable(PART_COLORS[name]), "fontweight": "bold"}
        axes.text(0.34 * place, 1.0, label_name(name), va="bottom", **text)


def _bar(axes: Axes, row: int, sizes: Mapping[str, float], *, is_share: bool) -> None:
    """One bar of shares, each with its number; parts below 0 go to the left."""
    total = 1.0 if is_share else sum(sizes.values())
    right = left = 0.0
    for part, size in sizes.items():
        share, color = size / total if total else 0.0, PART_COLORS[f"loss_{part}"]
        begin = right if share >= 0 else left
        axes.barh(row, share, left=begin, color=color, height=0.6, edgecolor=PAPER, linewidth=1.5)
        right, left = right + max(share, 0), left + min(share, 0)
        number = "" if is_share else f"\n{size:.3g}"
        if abs(share) > 0.08:
            text = {"ha": "center", "va": "center", "fontsize": SMALL, "fontweight": "bold"}
            axes.text(begin + share / 2, row, f"{share:.0%}{number}", color=on_color(color), **text)
        elif share:
            text = {"fontsize": SMALL, "color": readable(color), "ha": "center", "va": "bottom"}
            axes.text(begin + share / 2, row - 0.31, f"{share:.1%}", **text)


def _norms(axes: Axes, norms: Mapping[str, Series]) -> None:
    """The weighted gradient of each part through the run, on a log axis."""
    shown = {part: series for part, series in norms.items() if (series[1] > 0).any()}
    for part, (steps, norm) in shown.items():
        axes.plot(
            steps, np.where(norm > 0, norm, np.nan), "o-", color=PART_COLORS[f"loss_{part}"], markersize=4
        )
    values = np.concatenate([norm[norm > 0] for _, norm in shown.values()])
    log_scale(axes, values.max() / values.min())
    axes.margins(y=0.1)
    axes.set_title("weighted gradient through the run")
    axes.set_xlabel("step")
    axes.set_ylabel("norm (log)")
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    diffusion = float(norms["diff"][1].mean())
    draw_floor(axes, "diffusion, mean", diffusion)
    ends = []
    for part, (_, norm) in shown.items():
        ratio = float(norm.mean()) / diffusion if diffusion else np.nan
        name = (
            _SHORT[part]
            if part == "diff" or not np.isfinite(ratio)
            else f"{_SHORT[part]} {ratio:.2g} x diffusion"
        )
        ends.append((name, float(norm[norm > 0][-1]), PART_COLORS[f"loss_{part}"]))
    label_ends(axes, ends)
