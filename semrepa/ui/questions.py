"""What would a threshold keep? Histograms and sliders over a manifest; nothing is deleted by moving them."""

import functools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from semrepa.data.manifest import query
from semrepa.data.manifest_files import table_of
from semrepa.ui.curation import numbers
from semrepa.ui.explorers import Explorer
from semrepa.ui.pictures import pick, to_images
from semrepa.ui.style import (
    BLUE,
    DASHES,
    GREY,
    HEAD,
    INK,
    PICTURE_DPI,
    RED,
    SMALL,
    bare,
    new_figure,
    squeezed,
    styled,
)

if TYPE_CHECKING:
    from semrepa.data.manifest import Manifest

BOUNDS = (
    "min_face_rate",
    "min_face_size",
    "min_person_score",
    "min_person_area",
    "min_motion",
    "max_motion",
    "max_jump",
    "max_duration",
)
"""Thresholds that get a slider where the manifest has their numbers."""
ANY = "any"
"""The choice that asks nothing."""
ROUND, QUANTILES = 10, 6
"""Values of a slider at round distances, and those that part the clips evenly; about as many of each."""
SHOWN = 5
"""Pictures of kept clips, and of dropped ones."""
READ = 64
"""Pictures that are not read again when a slider moves."""

UNITS = {
    "face_size": "shorter side of the face in pixels, median over the clip's frames",
    "motion": "mean change from frame to frame, 0 to 255",
}
"""What the numbers of a histogram are."""
BARS = 40
"""Bars of a histogram at most."""

Pictures = Sequence[tuple[np.ndarray, str]]
"""Pictures (H, W, 3) with the text under each."""


def questions(
    manifest: "Manifest",
    *,
    splits: Mapping[str, str],
    picture: Callable[[str], ArrayLike],
    bounds: Sequence[str] = BOUNDS,
    start: Mapping[str, float] | None = None,
    title: str = "What would these thresholds keep?",
) -> Explorer:
    """Move thresholds and see what `query` would keep, of which split, and how kept and dropped clips look.

    Args:
        manifest: rows of the clips; those that have a record are asked about.
        splits: clip to "train" or "heldout".
        picture: gives the picture (3, H, W) of a clip that has a record.
        bounds: `min_` or `max_` and a column of numbers; a slider comes where these differ between clips.
        start: first values by bound.
        title: headline.

    Returns:
        Explorer with a control for each bound; its note is the call of `query`, to be copied.

    Raises:
        ValueError: an unknown bound.
    """
    query(table_of([]), **dict.fromkeys(bounds, 0.0))  # refuses names that it does not know
    columns = dict.fromkeys(["clip_id", "status", *(name[4:] for name in bounds)])
    table = manifest.select([name for name in columns if name in manifest.column_names])
    place = {clip: row for row, clip in enumerate(table["clip_id"].to_pylist())}
    everyone = query(table)
    known = {bound: numbers(table, bound[4:]) for bound in bounds}
    first = dict(start or {})
    controls = {bound: choices(values, bound, first.get(bound)) for bound, values in known.items()}
    controls = {bound: values for bound, values in controls.items() if len(values) > 1}
    look = functools.lru_cache(READ)(lambda clip: to_images(np.asarray(picture(clip))[None])[0])

    def render(**state: object) -> Figure:
        asked = thresholds(state)
        kept = query(table, **asked)
        chosen = set(kept)
        dropped = _some([clip for clip in everyone if clip not in chosen])
        why = [too_far({bound: known[bound][place[clip]] for bound in asked}, asked) for clip in dropped]
        here, whole = _by_split(kept, splits), _by_split(everyone, splits)
        counts = {split: (here[split], whole[split]) for split in sorted(whole, reverse=True)}
        return _draw(
            title,
            counts,
            [(look(clip), squeezed(clip, 22)) for clip in _some(kept)],
            [
                (look(clip), f"{squeezed(clip, 22)}\n{reason}")
                for clip, reason in zip(dropped, why, strict=True)
            ],
        )

    begin = {bound: first.get(bound, ANY) for bound in controls}
    return Explorer(render, controls, begin, title, query_call)


def choices(values: np.ndarray, bound: str, first: float | None = None) -> list[object]:
    """The values of a slider: half of them at round distances, half where as many clips lie between them.

    Args:
        values: of all clips; NaN counts as no value.
        bound: name of the bound, `min_` or `max_` and a column.
        first: a value that must be among them, or None.

    Returns:
        Rising round numbers; `ANY` at the side where nothing is asked.
    """
    known = values[np.isfinite(values)]
    if not len(known) or known.min() == known.max():
        return [ANY]
    even = MaxNLocator(ROUND).tick_values(known.min(), known.max())
    spread = np.quantile(known, np.linspace(0, 1, QUANTILES + 1))
    steps, least = {float(f"{value:.2g}") for value in [*even, *spread]}, bound.startswith("min_")
    chosen = {step for step in steps if known.min() <= step <= known.max()}
    chosen.discard(float(known.min() if least else known.max()))
    ordered = sorted(chosen | ({float(first)} if first is not None else set()))
    return [ANY, *ordered] if least else [*ordered, ANY]


def thresholds(state: Mapping[str, object]) -> dict[str, float]:
    """The bounds that ask something, as `query` takes them."""
    return {bound: value for bound, value in state.items() if isinstance(value, float)}


def query_call(**state: object) -> str:
    """The lines that ask a manifest the same in a notebook of one's own.

    Args:
        **state: bound to threshold or `ANY`.

    Returns:
        Python, with the manifest in a variable `manifest`.
    """
    asked = "".join(f", {bound}={value!r}" for bound, value in thresholds(state).items())
    return f"from semrepa.data.manifest import query\n\nids = query(manifest{asked})"


def too_far(values: Mapping[str, float], asked: Mapping[str, float]) -> str:
    """What keeps a clip out, for the line under its picture.

    Args:
        values: the clip's numbers by bound.
        asked: thresholds by bound.

    Returns:
        Its first number beyond a threshold, such as `face rate 0.41`.
    """
    for bound, threshold in asked.items():
        value, name = values[bound], bound[4:].replace("_", " ")
        if np.isnan(value):
            return f"no {name}"
        if value < threshold if bound.startswith("min_") else value > threshold:
            return f"{name} {value:.3g}"
    return ""


def _some(clips: Sequence[str]) -> list[str]:
    return [clips[int(place)] for place in pick(len(clips), SHOWN)] if clips else []


def _by_split(clips: Sequence[str], splits: Mapping[str, str]) -> Counter[str]:
    return Counter(splits.get(clip, "other") for clip in clips)


@styled
def _draw(
    title: str,
    counts: Mapping[str, tuple[int, int]],
    kept: Pictures,
    dropped: Pictures,
) -> Figure:
    """Bars of what is kept of each split, beside pictures of what is kept and what is not."""
    figure, _ = new_figure(11, 3.9, title=title, dpi=PICTURE_DPI)
    figure.delaxes(figure.axes[0])
    halves: Any = figure.subfigures(1, 2, width_ratios=[1, 2.9])
    _bars(halves[0].subplots(), counts)
    rows: Any = halves[1].subfigures(2, 1, height_ratios=[1, 1.12])
    _strip(rows[0], "kept", BLUE, kept)
    _strip(rows[1], "dropped", RED, dropped)
    return figure


def _bars(axes: Axes, counts: Mapping[str, tuple[int, int]]) -> None:
    whole = {"all": (sum(k for k, _ in counts.values()), sum(n for _, n in counts.values())), **counts}
    for row, (split, (kept, known)) in enumerate(whole.items()):
        share = kept / max(1, known)
        axes.barh(row, share, color=BLUE, height=0.5)
        axes.barh(row, 1 - share, left=share, color=RED, alpha=0.35, height=0.5)
        axes.text(0, row - 0.29, f"{split}: {kept:,} of {known:,}", va="bottom", fontweight="bold", color=INK)
    axes.set_ylim(len(whole) - 0.5, -0.75)
    axes.set_xlim(0, 1)
    axes.set_yticks([])
    axes.set_xticks([0, 0.5, 1], ["0%", "50%", "100%"])
    axes.set_xlabel("share of the clips with a record")
    axes.grid(visible=False)
    axes.spines["left"].set_visible(False)


def _strip(figure: SubFigure, name: str, color: str, pictures: Pictures) -> None:
    """A row of pictures with a line or two under each; empty places stay free, so that sizes do not jump."""
    row = figure.subplots(1, SHOWN, squeeze=False)[0]
    figure.suptitle(name if pictures else f"{name}: none", x=0.01, ha="left", color=color, fontsize=HEAD)
    for axes in row:
        bare(axes)
    for axes, (picture, label) in zip(row, pictures, strict=False):
        axes.imshow(picture)
        axes.set_anchor("N")
        axes.set_xlabel(label, fontsize=SMALL, color=INK if color == BLUE else GREY)


@styled
def spread(
    manifest: "Manifest", thresholds: Mapping[str, float], *, title: str = "Faces and motion"
) -> Figure:
    """Draw how a number spreads over the clips that have it, with a threshold and both its sides.

    Args:
        manifest: rows of the clips.
        thresholds: column, such as "face_size" or "motion", to the value to be judged.
        title: headline.

    Returns:
        The figure, one histogram for each column; one without values says so.
    """
    figure, grid = new_figure(11, 3.5, 1, len(thresholds), title=title)
    for axes, (name, threshold) in zip(grid[0], thresholds.items(), strict=True):
        values = numbers(manifest, name)
        axes.set_title(name.replace("_", " "))
        axes.set_xlabel(UNITS.get(name, name.replace("_", " ")), fontsize=SMALL)
        _histogram(axes, values[np.isfinite(values)], threshold, int(np.isnan(values).sum()))
    grid[0, 0].set_ylabel("clips")
    return figure


def _edges(values: np.ndarray, threshold: float) -> np.ndarray:
    """Edges of bars, one of them at the threshold. The rarest large values share the last bar."""
    low, high = values.min(), np.quantile(values, 0.995) if len(values) > 500 else values.max()
    low, high = min(low, threshold), max(high, threshold)
    width = (high - low) / min(BARS, max(8, 2 * round(len(values) ** 0.5))) or 1.0
    first, last = np.floor((low - threshold) / width), np.floor((high - threshold) / width) + 1
    edges = threshold + width * np.arange(first, last + 1)
    return np.concatenate([[low], edges[1:]]) if low < threshold else edges


def _histogram(axes: Axes, values: np.ndarray, threshold: float, unknown: int) -> None:
    """Bars on both sides of a threshold, each side with its number of clips."""
    if not len(values):
        axes.text(0.5, 0.5, "no clip has this number yet", transform=axes.transAxes, ha="center", color=GREY)
        axes.set_xticks([])
        axes.set_yticks([])
        return
    edges = _edges(values, threshold)
    counts = np.zeros(len(edges) - 1)
    for side, color in ((values < threshold, RED), (values >= threshold, BLUE)):
        here, _ = np.histogram(np.clip(values[side], edges[0], edges[-1]), edges)
        axes.bar(edges[:-1], here, np.diff(edges), bottom=counts, align="edge", color=color, alpha=0.8)
        counts += here
    below = int((values < threshold).sum())
    axes.axvline(threshold, color=INK, linestyle=DASHES, linewidth=1.4)
    axes.set_ylim(0, counts.max() * 1.05)
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.yaxis.set_major_formatter("{x:,.0f}")
    note = f"{below:,} below {threshold:g}, {len(values) - below:,} at or above"
    note += f", {unknown:,} without" if unknown else ""
    note += f"\nthe last bar holds all from {edges[-2]:.3g} on" if values.max() > edges[-1] else ""
    axes.set_title(f"{axes.get_title(loc='left')}\n{note}")
