"""The rejected: a picture, a reason and a short message for each clip that was left out."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.textpath import TextPath
from torch import Tensor

from semrepa.data.index import ClipRow
from semrepa.data.video import ClipError, read_clip, write_video
from semrepa.ui.curation import texts
from semrepa.ui.pictures import pick, to_images
from semrepa.ui.style import FAINT, GREY, INK, PICTURE_DPI, RED, SMALL, TEXT, TITLE, bare, squeezed, styled

if TYPE_CHECKING:
    from semrepa.data.manifest import Manifest

COLUMNS = 5
"""Tiles in a row."""
WIDTH, SPACE = 2.06, 0.16
"""Inches of a tile, and between two."""
HEAD, FOOT = 0.4, 0.98
"""Inches of the heading above a tile, and of the text below."""
LETTERS, LINES = 38, 6
"""Letters in a line of that text at most, fewer where they are wide; and lines, for which there is room."""
ROOM = 0.9
"""Share of a tile's width that a line may take; letters fitted to pixels come out a bit wider."""
HEIGHT = 128
"""Pixels of a picture."""


@dataclass(frozen=True)
class Rejected:
    """One clip that was left out."""

    id: str
    """Name of the clip."""
    reason: str
    """The word it is counted under."""
    message: str
    """What was got, expected, and what to do."""
    path: str
    """Its file; empty where the manifest does not know it."""


def rejected(manifest: "Manifest") -> dict[str, list[Rejected]]:
    """Clips that were left out, by reason.

    Args:
        manifest: rows of the clips.

    Returns:
        Reason to clips, the most frequent reason first.
    """
    columns = (texts(manifest, name) for name in ("clip_id", "status", "reject_reason", "message", "path"))
    found: dict[str, list[Rejected]] = {}
    for name, status, reason, message, path in zip(*columns, strict=True):
        if status != "done":
            word = reason or ("failed" if status == "failed" else "no reason given")
            found.setdefault(word, []).append(Rejected(name or "", word, message or "", path or ""))
    return dict(sorted(found.items(), key=lambda item: (-len(item[1]), item[0])))


def first_picture(path: str | Path, *, shape: float, timeout: float | None) -> np.ndarray | None:
    """The first picture of a file, small.

    Args:
        path: a file, or what should be one.
        shape: width by height of the frames that clips are read as.
        timeout: seconds until reading it, in a process of its own, is given up; None: in this one.

    Returns:
        RGB, 0 to 255, (H, W, 3); None where the file has none.
    """
    size = HEIGHT, 2 * round(HEIGHT * shape / 2)
    try:
        clip = read_clip(path, num_frames=1, fps=1.0, size=size, pad_last=True, timeout=timeout)
    except ClipError:
        return None
    return to_images(clip.frames)[0]


@styled
def rejected_gallery(
    groups: dict[str, list[Rejected]],
    *,
    shape: float = 1.5,
    most: int = COLUMNS,
    timeout: float | None = 20.0,
    title: str = "Left out, by reason",
) -> Figure:
    """Show clips that were left out, with the reason above and what is wrong below.

    Args:
        groups: from `rejected`.
        shape: width by height of the frames that clips are read as.
        most: clips shown of each reason, evenly spread over its clips.
        timeout: see `first_picture`. A file that crashes a decoder does no harm when it is given.
        title: headline.

    Returns:
        The figure: a picture for each clip, a grey tile where its file has none.
    """
    shown = {reason: [clips[k] for k in pick(len(clips), most)] for reason, clips in groups.items()}
    places, rows = _places([len(clips) for clips in shown.values()])
    tile = WIDTH / shape
    row_height, top = HEAD + tile + FOOT, 0.45
    height = top + max(1, rows) * row_height
    figure = Figure(figsize=(COLUMNS * (WIDTH + SPACE), height), dpi=PICTURE_DPI)
    figure.text(0.01, 1 - 0.12 / height, title, va="top", fontsize=TITLE, fontweight="bold")
    if not groups:
        figure.text(0.01, 0.5, "no clip was left out", color=GREY)
    starts = iter(places)
    for reason, clips in shown.items():
        for number, clip in enumerate(clips):
            row, column = next(starts)
            left, bottom = column * (WIDTH + SPACE) + SPACE / 2, height - top - row * row_height - HEAD - tile
            box = (
                left / figure.get_figwidth(),
                bottom / height,
                WIDTH / figure.get_figwidth(),
                tile / height,
            )
            picture = first_picture(clip.path, shape=shape, timeout=timeout) if clip.path else None
            _tile(figure, box, clip, picture)
            if number == 0:
                count = f"{len(groups[reason]):,} clip{'s' * (len(groups[reason]) > 1)}"
                count += f", {len(clips)} shown" if len(clips) < len(groups[reason]) else ""
                _heading(figure, box, squeezed(reason, 28), count)
    return figure


def _places(sizes: Sequence[int]) -> tuple[list[tuple[int, int]], int]:
    """Row and column of each tile, and rows in all; a group that does not fit into a row begins a new one."""
    places: list[tuple[int, int]] = []
    row, column = 0, 0
    for size in sizes:
        if column and column + size > COLUMNS:
            row, column = row + 1, 0
        for _ in range(size):
            if column == COLUMNS:
                row, column = row + 1, 0
            places.append((row, column))
            column += 1
    return places, row + 1 if places else 0


def _heading(figure: Figure, box: tuple[float, float, float, float], reason: str, count: str) -> None:
    left, top = box[0], box[1] + box[3]
    gap = 0.05 / figure.get_figheight()
    figure.text(left, top + 4 * gap, reason, color=RED, fontsize=TEXT, fontweight="bold", va="bottom")
    figure.text(left, top + gap, count, color=INK, fontsize=SMALL, va="bottom")


def _tile(
    figure: Figure, box: tuple[float, float, float, float], clip: Rejected, picture: np.ndarray | None
) -> None:
    axes = bare(figure.add_axes(box))
    if picture is None:
        axes.add_patch(Rectangle((0, 0), 1, 1, color=FAINT))
        axes.text(0.5, 0.5, f"{squeezed(clip.reason, 28)}\nno picture", ha="center", va="center", color=GREY)
    else:
        axes.imshow(picture, aspect="auto")
    place = {"va": "top", "fontsize": SMALL, "linespacing": 1.2}
    figure.text(box[0], box[1] - 0.05 / figure.get_figheight(), _below(clip), **place)


def _below(clip: Rejected) -> str:
    """Name and message in lines that are not wider than a tile."""
    words, lines = short_message(clip), list[str]()
    for letters in range(LETTERS, 9, -1):
        wrapped = textwrap.wrap(words, letters, max_lines=LINES - 1, placeholder=" …")
        lines = [squeezed(clip.id, letters), *wrapped]
        widths = (TextPath((0, 0), line, size=SMALL).get_extents().width for line in lines if line)
        if max(widths) < ROOM * 72 * WIDTH:
            break
    return "\n".join(lines)


def short_message(clip: Rejected) -> str:
    """What is wrong, without the folder of the file and without what to do about it.

    Args:
        clip: the clip.

    Returns:
        Such as `got short.mp4 of 0.62 s; expected a picture at 2.00 s`.
    """
    text = clip.message.replace(clip.path, Path(clip.path).name) if clip.path else clip.message
    return ";".join(text.split(";")[:2]).strip()


def spoiled_files(folder: Path, row: ClipRow, frames: Tensor, *, fps: float) -> list[ClipRow]:
    """Write a handful of files as one meets them in the wild, made of one good clip.

    Args:
        folder: gets a folder for these frames; files that are there stay as they are.
        row: the good clip.
        frames: its frames (n, 3, H, W), 0 to 255.
        fps: their rate, frames per second.

    Returns:
        Rows for `prepare`: an empty file, a text, one cut off while downloading, one that is too short, a
        still picture, and one in which the picture changes too seldom.
    """
    folder = folder / sha256(frames.contiguous().numpy().tobytes() + str(fps).encode()).hexdigest()[:12]
    folder.mkdir(parents=True, exist_ok=True)
    whole = row.path.read_bytes()
    contents = {
        "empty": b"",
        "page": b"<html>404 not found</html>",
        "cut_off": whole[: len(whole) // 10],
    }
    films = {
        "short": (frames[:5], fps),
        "still": (frames[:1].expand(len(frames), -1, -1, -1), fps),
        "slow": (frames[::4], fps / 4),
    }
    for name, data in contents.items():
        (folder / f"{name}.mp4").write_bytes(data)
    for name, (pictures, rate) in films.items():
        if not (folder / f"{name}.mp4").is_file():
            write_video(folder / f"{name}.mp4", pictures, fps=rate)
    names = [*contents, *films]
    return [replace(row, id=f"spoiled_{name}", path=folder / f"{name}.mp4", start=0.0) for name in names]
