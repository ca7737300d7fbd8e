"""Distances between faces from three sides: histograms, a matrix of videos, and a map with thumbnails."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.offsetbox import AnnotationBbox, OffsetImage
from matplotlib.patches import Rectangle
from torch import Tensor

from semrepa.analysis import Distance, IdDistances, id_distances, pca, video_distances
from semrepa.data.store import FeatureStore
from semrepa.shapes import Embeddings, FaceMask
from semrepa.ui.checks import check_lengths
from semrepa.ui.explorers.shell import Explorer
from semrepa.ui.pictures import to_images
from semrepa.ui.plots import BOX, draw_distances, draw_matrix
from semrepa.ui.style import BLUE, CYCLE, INK, ORANGE, PAPER, SMALL, new_figure, readable, styled

THUMBNAIL = 30
"""Points in height of a face on the map."""
MOST_LABELS = 30
"""Videos up to which the matrix names each."""


@dataclass(frozen=True, kw_only=True)
class _Known:
    """What is worked out once for each kind of embeddings."""

    distances: IdDistances
    table: np.ndarray
    """Distance between every two videos (v, v)."""
    points: list[np.ndarray]
    """Place on the map of each face, by video: (faces, 2)."""
    share: np.ndarray
    """Share of the variance of both directions of the map."""


@dataclass(frozen=True, kw_only=True)
class _Videos:
    """The videos, sorted by person."""

    names: list[str]
    people: list[str]
    pictures: list[np.ndarray | None]


def distance_explorer(
    embeds: Mapping[str, Embeddings],
    face_mask: FaceMask,
    identities: Sequence[object],
    *,
    faces: Sequence[np.ndarray | None] = (),
    distance: Distance = "cosine",
    seed: int = 0,
    start: str | None = None,
    title: str = "Distances between faces",
) -> Explorer:
    """Look at the distances of embeddings: within videos and between people, and where each video lies.

    Args:
        embeds: label to embeddings of v videos, such as `with depth` and `without depth`.
        face_mask: frames that show a face.
        identities: who each video shows.
        faces: a picture of the face (H, W, 3) for each video, None where there is none; empty: names only.
        distance: how two embeddings are compared.
        seed: seed of the intervals.
        start: the embeddings shown first; None: the first ones.
        title: headline.

    Returns:
        Explorer with the controls `embeddings` and `video`: the chosen video is marked everywhere.

    Raises:
        ValueError: no embeddings, counts that differ, unknown `start`, or faces of fewer than two people.
    """
    counted = {name: len(values) for name, values in embeds.items()}
    counted |= {"face_mask": len(face_mask), "identities": len(identities)}
    counted |= {"faces": len(faces)} if faces else {}
    check_lengths(counted, "videos", "take all of them from the same clips")
    if start is not None and start not in embeds:
        raise ValueError(f"start: got {start!r}; expected one of {', '.join(embeds)}")
    named = _names(identities)
    order = sorted(range(len(named)), key=lambda place: named[place])
    mask, people = face_mask[order], [str(identities[place]) for place in order]
    pictures = [faces[place] if faces else None for place in order]
    videos = _Videos(names=[named[place] for place in order], people=people, pictures=pictures)
    found = {  # in the order given, so that intervals are those of `id_distances` elsewhere
        label: id_distances(values, face_mask, identities, distance=distance, seed=seed)
        for label, values in embeds.items()
    }
    known = {label: _work_out(found[label], embeds[label][order], mask, distance) for label in embeds}
    unit = "1 - cosine" if distance == "cosine" else distance

    @styled
    def render(embeddings: str, video: str) -> Figure:
        return _draw(f"{title}: {embeddings}", unit, known[embeddings], videos, videos.names.index(video))

    first = {
        "embeddings": start or next(iter(embeds)),
        "video": videos.names[int(mask.any(dim=1).int().argmax())],
    }
    return Explorer(render, {"embeddings": list(embeds), "video": videos.names}, first, title)


def first_faces(store: FeatureStore, ids: Sequence[str]) -> list[np.ndarray | None]:
    """Cut the face out of the first frame of clips.

    Args:
        store: prepared features.
        ids: names of clips.

    Returns:
        RGB, uint8 (H, W, 3) for each clip; None where no face was found there.
    """
    records = map(store.read, ids)
    return [_cut(record["first_frame"], record["face_boxes"][0]) for record in records]


def _cut(frame: Tensor, box: Tensor) -> np.ndarray | None:
    if not box.isfinite().all():
        return None
    left, top, right, bottom = (int(side) for side in box.round())
    picture = to_images(frame[None])[0][max(top, 0) : bottom, max(left, 0) : right]
    return picture if picture.size else None


def _names(identities: Sequence[object]) -> list[str]:
    """A name for each video: the person, with a number where there are several videos."""
    people = [str(person) for person in identities]
    seen: dict[str, int] = {}
    names = []
    for person in people:
        seen[person] = seen.get(person, 0) + 1
        names.append(f"{person} #{seen[person]}" if people.count(person) > 1 else person)
    return names


def _work_out(found: IdDistances, embeds: Embeddings, mask: FaceMask, distance: Distance) -> _Known:
    points, share = pca(torch.nn.functional.normalize(embeds[mask].float(), dim=-1))
    counts = mask.sum(dim=1).tolist()
    return _Known(
        distances=found,
        table=video_distances(embeds, mask, distance=distance),
        points=np.split(points, np.cumsum(counts)[:-1]),
        share=share,
    )


def _draw(title: str, unit: str, found: _Known, videos: _Videos, place: int) -> Figure:
    """Histogram above matrix, and the map at the right; the video at `place` is marked."""
    figure, grid = new_figure(11, 7.4, 2, 2, title=title, height_ratios=[1, 1.75])
    whole = grid[0, 1].get_gridspec()[:, 1]
    for axes in grid[:, 1]:
        axes.remove()
    draw_distances(grid[0, 0], found.distances)
    grid[0, 0].set_xlabel(f"distance ({unit})")
    _own_distances(grid[0, 0], found.table[place], videos, place)
    draw_matrix(grid[1, 0], found.table, videos.names if len(videos.names) <= MOST_LABELS else (), unit)
    _frame(grid[1, 0], place, len(videos.names))
    _map(figure.add_subplot(whole), found, videos, place)
    return figure


def _own_distances(axes: Axes, row: np.ndarray, videos: _Videos, place: int) -> None:
    """Two marks under the bars: the spread of the chosen video, and the nearest other person."""
    others = np.array([person != videos.people[place] for person in videos.people])
    away = np.where(others, row, np.nan)
    marks = [(row[place], f"{videos.names[place]}: within", BLUE)]
    if np.isfinite(away).any():
        nearest = int(np.nanargmin(away))
        marks.append((away[nearest], f"to {videos.people[nearest]}, the nearest", ORANGE))
    for line, (value, text, color) in enumerate(marks):
        if np.isfinite(value):
            axes.plot(value, 0, "^", color=color, markersize=9, markeredgecolor=INK, clip_on=False, zorder=4)
        number = f"{value:.3f}" if np.isfinite(value) else "no two faces"
        look = {"transform": axes.transAxes, "color": readable(color), "fontsize": SMALL, "ha": "right"}
        axes.text(0.995, 0.72 - 0.11 * line, f"{text} {number} ▲", va="top", bbox=BOX, **look)


def _frame(axes: Axes, place: int, count: int) -> None:
    """A frame around the row and the column of the chosen video."""
    look = {"fill": False, "edgecolor": INK, "linewidth": 1.6}
    axes.add_patch(Rectangle((-0.5, place - 0.5), count, 1, **look))
    axes.add_patch(Rectangle((place - 0.5, -0.5), 1, count, **look))


def _map(axes: Axes, found: _Known, videos: _Videos, place: int) -> None:
    """Faces as dots, one colour per person, and a thumbnail at the middle of each video."""
    colors = {person: CYCLE[k % len(CYCLE)] for k, person in enumerate(dict.fromkeys(videos.people))}
    for row in [*(row for row in range(len(videos.names)) if row != place), place]:
        dots, color, chosen = found.points[row], colors[videos.people[row]], row == place
        if not len(dots):
            continue
        axes.scatter(*dots.T, s=26 if chosen else 14, color=color, alpha=0.9 if chosen else 0.5, linewidth=0)
        middle = np.median(dots, axis=0)
        _thumbnail(axes, middle, videos.names[row], videos.pictures[row], color, chosen)
    for axis, number in ((axes.xaxis, 0), (axes.yaxis, 1)):
        axis.set_label_text(f"component {number + 1} ({found.share[number]:.0%} of the variance)")
    axes.margins(0.09)
    axes.set_title("map of faces: a dot is a frame")


def _thumbnail(
    axes: Axes, where: np.ndarray, name: str, picture: np.ndarray | None, color: str, chosen: bool
) -> None:
    """The face of a video with its name below, framed in the colour of its person."""
    if picture is not None:
        zoom = THUMBNAIL * (1.5 if chosen else 1.0) / picture.shape[0]
        look = {"edgecolor": INK if chosen else color, "linewidth": 2.5 if chosen else 1.5}
        box = AnnotationBbox(
            OffsetImage(picture, zoom=zoom, interpolation="bilinear"), tuple(where), pad=0.05, bboxprops=look
        )
        axes.add_artist(box)
    down = 0 if picture is None else -(THUMBNAIL * (0.75 if chosen else 0.5) + 4)
    text = {
        "textcoords": "offset points",
        "fontsize": SMALL,
        "ha": "center",
        "va": "center" if not down else "top",
    }
    box = {"facecolor": PAPER, "edgecolor": "none", "alpha": 0.7, "pad": 0.4}
    weight = "bold" if chosen else "normal"
    color = readable(color) if not chosen else INK
    axes.annotate(name, where, (0, down), color=color, fontweight=weight, bbox=box, zorder=6, **text)
