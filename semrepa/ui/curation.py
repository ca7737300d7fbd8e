"""Looking at a manifest: what became of the clips, and at which step of the filter they are lost.

A manifest is the table of `semrepa.data.manifest.read_manifest`, one row for each clip. Nothing here changes
it: thresholds are questions.
"""

import textwrap
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

from semrepa.data.manifest import query
from semrepa.ui.style import BLUE, INK, RED, SKY, SMALL, TEXT, new_figure, styled

if TYPE_CHECKING:
    from semrepa.data.manifest import Manifest

STEPS = {
    "can be read": (
        "missing",
        "unreadable",
        "empty",
        "not_video",
        "no_video_stream",
        "corrupt",
        "timeout",
        "crashed",
    ),
    "long enough": ("too_short",),
    "moves": ("static", "too_many_duplicate_frames"),
    "without a cut": ("cut",),
    "shows a person": ("no_person",),
}
"""Which reasons of `reject_reason` a clip can fall out for at each step, in the order it is looked at."""
OTHER = "no other fault"
"""The step of reasons that are not listed above."""
NAMED = 3
"""Reasons that a bar of the funnel names; the rest is counted."""

MINUS = "\N{MINUS SIGN}"


def of_clips(manifest: "Manifest", ids: Collection[str]) -> "Manifest":
    """The rows of some clips: a store's manifest also knows clips of other runs.

    Args:
        manifest: from `read_manifest`.
        ids: names of the clips.

    Returns:
        Their rows, in the order of the manifest.
    """
    wanted = set(ids)
    places = [k for k, name in enumerate(manifest["clip_id"].to_pylist()) if name in wanted]
    return manifest.take(np.array(places, dtype=np.int64))


def texts(manifest: "Manifest", name: str) -> list[str | None]:
    """A column of words; None where a clip has none, or nothing ever wrote the column."""
    known = name in manifest.column_names
    return manifest[name].to_pylist() if known else [None] * manifest.num_rows


def numbers(manifest: "Manifest", name: str) -> np.ndarray:
    """A column of numbers as float64; NaN where a clip has none, or nothing ever wrote the column."""
    if name not in manifest.column_names:
        return np.full(manifest.num_rows, np.nan)
    return np.asarray(manifest[name].to_numpy(), dtype=np.float64)


def stage_seconds(manifest: "Manifest") -> dict[str, float]:
    """Seconds that each stage took over all clips, as the manifest has it; longest first."""
    total: Counter[str] = Counter()
    known = manifest["seconds"].to_pylist() if "seconds" in manifest.column_names else []
    for clip in known:
        for stage, taken in clip or []:
            total[stage] += taken
    return dict(total.most_common())


@dataclass(frozen=True)
class Step:
    """One step of the funnel."""

    name: str
    """What a clip must be or have."""
    left: int
    """Clips that are left after it."""
    lost: Mapping[str, int] = field(default_factory=dict)
    """Clips that fall out here, by reason, most frequent first."""
    asked: bool = False
    """Whether this is only a question: those that fall out here have a record all the same."""


def funnel_steps(manifest: "Manifest", *, listed: int | None = None, **bounds: float) -> list[Step]:
    """Count what each step of the filter leaves.

    Args:
        manifest: rows of the clips.
        listed: clips in the index; those without a row have not been looked at yet. None: all have one.
        **bounds: thresholds as `query` takes them, such as `min_face_rate=0.5`; each is one more step.

    Returns:
        From all clips to those that are kept. Steps that are not in `STEPS` are there only when needed.

    Raises:
        ValueError: an unknown bound, or fewer clips in the index than in the manifest.
    """
    rows = manifest.num_rows
    total = rows if listed is None else listed
    if total < rows:
        raise ValueError(
            f"got {total} clips in the index and {rows} in the manifest; expected rows of these clips only; "
            "choose them with of_clips"
        )
    reasons = _reasons(manifest)
    waiting = Counter({"not looked at yet": total - rows, "to be tried again": reasons.pop("failed", 0)})
    steps = [Step("in the index", total)]
    if waiting := +waiting:
        steps.append(_next(steps, "looked at", waiting))
    for name, known in STEPS.items():
        steps.append(_next(steps, name, Counter({r: reasons.pop(r) for r in known if r in reasons})))
    if reasons:
        steps.append(_next(steps, OTHER, reasons))
    for count, (bound, value) in enumerate(bounds.items(), 1):
        kept = query(manifest, **dict(list(bounds.items())[:count]))
        side, sign = ("below", "≥") if bound.startswith("min_") else ("above", "≤")
        name = bound[4:].replace("_", " ")
        lost = +Counter({f"{side} {value:g} or unknown": steps[-1].left - len(kept)})
        steps.append(_next(steps, f"{name} {sign} {value:g}", lost, asked=True))
    return steps


def _reasons(manifest: "Manifest") -> Counter[str]:
    """Clips by the reason they were left out; those to be tried again are "failed"."""
    pairs = Counter(zip(texts(manifest, "status"), texts(manifest, "reject_reason"), strict=True))
    found: Counter[str] = Counter()
    for (status, reason), clips in pairs.items():
        if status != "done":
            found["failed" if status == "failed" else reason or "no reason given"] += clips
    return found


def _next(steps: Sequence[Step], name: str, lost: Counter[str], *, asked: bool = False) -> Step:
    return Step(name, steps[-1].left - lost.total(), dict(lost.most_common()), asked)


def _lost_in_words(step: Step) -> str:
    """`3 corrupt, 1 empty`, each with a minus; what is rare is counted together."""
    named = [f"{MINUS}{clips:,} {reason}" for reason, clips in list(step.lost.items())[:NAMED]]
    rest = list(step.lost.values())[NAMED:]
    named += [f"{MINUS}{sum(rest):,} for {len(rest)} more reason{'s' * (len(rest) > 1)}"] if rest else []
    return textwrap.fill(", ".join(named), 54)


def _share(part: int, whole: int) -> str:
    """A share that is never rounded to all or nothing when it is neither."""
    if not whole:
        return "-"
    share = part / whole
    return f"{share:.1%}" if 0.995 <= share < 1 or 0 < share < 0.01 else f"{share:.0%}"


@styled
def funnel(steps: Sequence[Step], *, title: str = "From the index to the clips that are kept") -> Figure:
    """Draw how many clips each step leaves, and why the others fall out.

    Args:
        steps: from `funnel_steps`.
        title: headline.

    Returns:
        The figure: a bar for each step, its loss in red with the reasons at the right; questions are paler.
    """
    total = max(1, steps[0].left)
    figure, grid = new_figure(11, 0.5 * len(steps) + 0.7, title=title)
    axes = grid[0, 0]
    for row, step in enumerate(steps):
        lost = sum(step.lost.values())
        axes.barh(row, step.left / total, color=SKY if step.asked else BLUE, height=0.66)
        axes.barh(row, lost / total, left=step.left / total, color=RED, alpha=0.75, height=0.66)
        count = f"{step.left:,} clips  ({_share(step.left, steps[0].left)})"
        inside = (step.left + lost) / total > 0.25
        place = {"va": "center", "fontweight": "bold", "color": "white" if inside else INK}
        axes.text(0.01 if inside else (step.left + lost) / total + 0.01, row, count, **place)
        axes.text(1.03, row, _lost_in_words(step), va="center", color=RED, fontsize=SMALL)
    axes.set_yticks(range(len(steps)), [step.name for step in steps])
    axes.invert_yaxis()
    axes.set_xlim(0, 1.8)
    axes.set_xticks(np.linspace(0, 1, 5), [f"{share:.0%}" for share in np.linspace(0, 1, 5)])
    axes.set_xlabel("share of the clips in the index", x=0.5 / 1.8)
    axes.tick_params(axis="y", length=0, labelsize=TEXT)
    axes.grid(visible=False)
    axes.spines[["bottom", "left"]].set_visible(False)
    return figure


def funnel_plotly(steps: Sequence[Step]) -> dict[str, Any]:
    """The funnel for hovering, as plotly JSON that rides in a bundle beside the PNG.

    Args:
        steps: from `funnel_steps`.

    Returns:
        `{"data": [...], "layout": {...}}` of plain lists and numbers.
    """
    names = [step.name for step in steps]
    lost = [sum(step.lost.values()) for step in steps]
    why = ["<br>".join(f"{clips:,} {reason}" for reason, clips in step.lost.items()) for step in steps]
    look = {"type": "bar", "orientation": "h", "y": names, "textposition": "auto"}
    left = {
        "name": "left",
        "x": [step.left for step in steps],
        "text": [f"{step.left:,}" for step in steps],
        "marker": {"color": [SKY if step.asked else BLUE for step in steps]},
        "hovertemplate": "%{y}: %{x:,} clips left<extra></extra>",
    }
    gone = {
        "name": "lost",
        "x": lost,
        "customdata": why,
        "marker": {"color": RED},
        "hovertemplate": "%{x:,} lost here<br>%{customdata}<extra></extra>",
    }
    layout = {
        "title": {"text": "From the index to the clips that are kept"},
        "barmode": "stack",
        "showlegend": False,
        "height": 46 * len(steps) + 130,
        "margin": {"l": 150, "r": 20, "t": 50, "b": 50},
        "xaxis": {"title": {"text": "clips"}},
        "yaxis": {"autorange": "reversed"},
        "paper_bgcolor": "white",
        "plot_bgcolor": "white",
    }
    return {"data": [{**look, **left}, {**look, **gone}], "layout": layout}
