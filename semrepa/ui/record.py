"""One clip's record explained: what each feature is, and what it looks like."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike

from semrepa.data.store import Record
from semrepa.ui.curation import of_clips
from semrepa.ui.pictures import to_array, to_images
from semrepa.ui.show import Table, table
from semrepa.ui.style import (
    BESIDE,
    BLUE,
    DASHES,
    FAINT,
    GREEN,
    GREY,
    INK,
    ORANGE,
    PICTURE_DPI,
    PURPLE,
    SKY,
    SMALL,
    bare,
    new_figure,
    squeezed,
    styled,
)

if TYPE_CHECKING:
    from semrepa.data.manifest import Manifest

MEANING = {
    "latents": "the video as the VAE sees it",
    "depth_latents": "the teacher's depth, coloured, as the VAE sees it",
    "depth_range": "smallest and largest disparity behind these colours",
    "first_frame": "the image condition, RGB",
    "prompt_embeds": "the caption as the text encoder reads it",
    "id_embeds": "who it is on each frame; zeros where masked",
    "face_mask": "frames with a usable face",
    "face_boxes": "left, top, right, bottom in pixels of each frame",
    "face_scores": "how sure the face detector is",
    "face_sizes": "shorter side of the face, pixels",
    "face_cuts": "share of the face outside the picture",
    "face_yaws": "turn of the head, in eye distances",
    "person_box": "left, top, right, bottom in pixels, and score",
    "content": "top, left, height, width of the picture in the frame",
    "timestamps": "when each source frame came on screen, seconds",
}
"""What the features of a record are."""


def record_table(record: Record, *, caption: str = "") -> Table:
    """List the features of a record.

    Args:
        record: from `FeatureStore.read`.
        caption: a line above the table.

    Returns:
        A row for each feature: name, shape, type, kilobytes, range of its finite values, what it is.
    """
    rows = []
    for name, values in record.items():
        rows.append(
            {
                "feature": name,
                "shape": " x ".join(map(str, values.shape)) or "one number",
                "type": str(values.dtype).removeprefix("torch."),
                "kB": round(values.numel() * values.element_size() / 1000, 2),
                "range": _range(values),
                "what it is": MEANING.get(name, ""),
            }
        )
    return table(
        sorted(
            rows, key=lambda row: list(MEANING).index(row["feature"]) if row["feature"] in MEANING else 99
        ),
        caption=caption,
    )


def _range(values: torch.Tensor) -> str:
    if values.dtype == torch.bool:
        return f"{int(values.sum())} of {values.numel()} yes"
    finite = values.float()[values.float().isfinite()]
    if not len(finite):
        return "no finite value"
    unknown = values.numel() - len(finite)
    return f"{finite.min():.3g} to {finite.max():.3g}" + (f", {unknown} not a number" if unknown else "")


def row_of(manifest: "Manifest", clip_id: str) -> dict[str, Any]:
    """A clip's row of the manifest as plain values.

    Args:
        manifest: from `read_manifest`.
        clip_id: name of the clip.

    Returns:
        Values by column; `seconds` by stage.

    Raises:
        KeyError: the manifest has no such clip.
    """
    found = of_clips(manifest, [clip_id])
    if not found.num_rows:
        raise KeyError(f"got clip {clip_id!r}; expected one of the {manifest.num_rows} in the manifest")
    return found.to_pylist(maps_as_pydicts="strict")[0]


def in_words(row: Mapping[str, Any]) -> list[str]:
    """What a clip's row of the manifest says, as short lines.

    Args:
        row: from `row_of`; what it lacks is left out.

    Returns:
        One fact in each line.
    """
    known = {name: value for name, value in row.items() if value is not None}
    seconds = known.get("seconds") or {}
    parts = ", ".join(f"{stage} {taken:.2g}" for stage, taken in seconds.items())
    lines = [
        ("{status}", ["status"]),
        ("file {path}", ["path"]),
        ("{width} x {height} pixels, {fps:.4g} frames per second", ["width", "height", "fps"]),
        ("{duration:.2f} s of {codec}, read by {backend}", ["duration", "codec", "backend"]),
        ("{valid_frames} frames that are not repeated", ["valid_frames"]),
        ("motion: frames differ by {motion:.2f} of 255", ["motion"]),
        ("largest change {jump:.1f} times the usual one", ["jump"]),
        ("person: score {person_score:.2f}", ["person_score"]),
        ("person: {person_area:.0%} of the picture", ["person_area"]),
        ("face: usable on {face_rate:.0%} of the frames", ["face_rate"]),
        ("face: {face_size:.0f} pixels, median", ["face_size"]),
        ("record: {kilobytes:,.0f} kB, SHA-256 {checksum:.10}…", ["bytes", "checksum"]),
        ("seconds: {parts}", ["seconds"]),
        ("by worker {worker}, library {version}", ["worker", "version"]),
    ]
    short = {"parts": parts, "kilobytes": known.get("bytes", 0) / 1000}
    facts = known | short | {"path": squeezed(Path(known.get("path", "")).name, 34)}
    return [
        text.format(**facts)
        for text, needs in lines
        if all(known.get(need) not in (None, {}) for need in needs)
    ]


@styled
def record_figure(
    record: Record,
    row: Mapping[str, Any],
    *,
    fps: float,
    start: float = 0.0,
    limits: Mapping[str, float] | None = None,
    depth: ArrayLike | torch.Tensor | None = None,
    title: str = "",
) -> Figure:
    """Show what a record says: boxes on the first frame, the face over time, source pictures on a time line.

    Args:
        record: from `FeatureStore.read`.
        row: the clip's row of the manifest.
        fps: frames per second of the sampled clip.
        start: second at which sampling began.
        limits: least "size", largest "cut" and "yaw" of a face that is not masked; those given are drawn.
        depth: the first of the depth latents, decoded: one frame (3, H, W), or None.
        title: headline.

    Returns:
        The figure; what the record does not hold is left out.
    """
    figure, _ = new_figure(11, 7.9, title=title, dpi=PICTURE_DPI)
    figure.delaxes(figure.axes[0])
    halves: Any = figure.subfigures(2, 1, height_ratios=[1, 1.75])
    top = halves[0].subplots(1, 2 if depth is None else 3, squeeze=False)[0]
    _boxes(bare(top[0]), record)
    if depth is not None:
        bare(top[1]).imshow(to_images(to_array(depth)[None])[0])
        top[1].set_title("depth latents, decoded: near is bright")
    words = "\n".join(in_words(row))
    bare(top[-1]).text(0, 1, words, va="top", fontsize=SMALL, linespacing=1.5, transform=top[-1].transAxes)
    top[-1].set_title("its row of the manifest")
    below: Any = halves[1].subplots(5, 1, sharex=True, height_ratios=[0.28, 1, 1, 1, 0.75])
    count = len(record["timestamps"])
    times = np.arange(count) / fps
    _mask(below[0], record, times, fps)
    for axes, (name, words, color) in zip(below[1:4], QUALITY, strict=True):
        _quality(axes, times, record.get(f"face_{name}s"), words, color, (limits or {}).get(name))
    _stamps(below[4], times, to_array(record["timestamps"]) - start)
    return figure


QUALITY = (
    ("size", "face size\nin pixels", BLUE),
    ("cut", "share\ncut off", ORANGE),
    ("yaw", "turn in eye\ndistances", PURPLE),
)
"""What is measured of a face on each frame."""


def _boxes(axes: Axes, record: Record) -> None:
    """The first frame with the content, the person and the face, each named below in its colour."""
    picture = to_images(record["first_frame"][None])[0]
    axes.imshow(picture)
    axes.set_title("first frame")
    top, left, height, width = (float(side) for side in record["content"])
    named = [("picture", GREEN, (left, top, left + width, top + height))]
    if "person_box" in record:
        named.append(("person", SKY, tuple(record["person_box"][:4].tolist())))
    face = record["face_boxes"][0] if "face_boxes" in record else torch.full((4,), torch.nan)
    seen = bool(face.isfinite().all())
    named.append(("face" if seen else "no face here", ORANGE, tuple(face.tolist()) if seen else None))
    for place, (name, color, box) in enumerate(named):
        if box is not None:
            corner, size = (box[0] - 0.5, box[1] - 0.5), (box[2] - box[0], box[3] - box[1])
            axes.add_patch(Rectangle(corner, *size, fill=False, edgecolor=color, linewidth=2, clip_on=False))
        across = (0.0, 0.23, 0.45)[place]
        axes.text(across, -0.03, name, color=color, va="top", fontweight="bold", transform=axes.transAxes)


def _mask(axes: Axes, record: Record, times: np.ndarray, fps: float) -> None:
    """A strip with a field for each frame: is there a usable face?"""
    mask = to_array(record["face_mask"]) if "face_mask" in record else np.zeros(len(times), dtype=bool)
    for time, usable in zip(times, mask, strict=True):
        axes.axvspan(time - 0.45 / fps, time + 0.45 / fps, color=GREEN if usable else FAINT, linewidth=0)
    axes.set_yticks([])
    axes.set_ylim(0, 1)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.set_title(f"Face over time: usable on {int(mask.sum())} of {len(mask)} frames (green)")


def _quality(
    axes: Axes, times: np.ndarray, values: torch.Tensor | None, words: str, color: str, limit: float | None
) -> None:
    axes.set_ylabel(words, fontsize=SMALL, rotation=0, ha="right", va="center")
    known = np.full(len(times), np.nan) if values is None else to_array(values)
    axes.plot(times, known, "o-", color=color, markersize=3.5)
    if not np.isfinite(known).any():
        axes.text(0.5, 0.5, "no face was found", transform=axes.transAxes, ha="center", color=GREY)
        return
    ends = [0.0, float(np.nanmin(known)), float(np.nanmax(known)) * 1.15]
    if limit is not None and limit <= 2 * max(ends[2], 0.3):
        for level in {limit, limit if "turn" not in words else -limit}:
            axes.axhline(level, color=GREY, linestyle=DASHES, linewidth=1.2)
        place = {"xycoords": ("axes fraction", "data"), "ha": "right", "va": "bottom", "color": GREY}
        axes.annotate(
            f"masked {'below' if 'size' in words else 'above'} {limit:g}",
            (0.995, limit),
            (0, 1),
            **place,
            **BESIDE,
        )
        ends.append(limit * 1.3)
    low, high = min(ends), max(*ends, 0.1)
    axes.set_ylim(low - 0.05 * (high - low), high)


def _stamps(axes: Axes, times: np.ndarray, stamps: np.ndarray) -> None:
    """Asked moments above, source pictures below, and which picture was on screen at each moment."""
    for asked, came in zip(times, stamps, strict=True):
        axes.plot([asked, came], [1, 0], color=FAINT, linewidth=1.2, zorder=1)
    axes.plot(times, np.ones(len(times)), "|", color=INK, markersize=11, markeredgewidth=1.4)
    axes.plot(stamps, np.zeros(len(stamps)), "|", color=BLUE, markersize=11, markeredgewidth=1.4)
    axes.set_yticks([1, 0], ["moment asked for", "picture came on"])
    axes.set_ylim(-0.45, 1.45)
    axes.grid(visible=False)
    late = float(np.max(times - stamps)) * 1000
    axes.set_title(
        f"Source time stamps: when asked for, a picture had been on screen for at most {late:.0f} ms"
    )
    axes.set_xlabel("seconds after the clip's first frame")
