"""What face embeddings tell apart: distances within and between videos, verification, maps."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from semrepa.shapes import Embeddings, FaceMask

Distance = Literal["cosine", "l1", "l2"]
"""`cosine`: 1 - cos. `l1`: mean absolute difference. `l2`: length of the difference of unit vectors."""
SamePairs = Literal["any", "one video", "two videos"]
"""Where the two faces of a pair of one person come from."""


@dataclass(frozen=True)
class IdDistances:
    """Distances within videos and between videos of different people (the paper's Table 3)."""

    intra: np.ndarray
    """Mean distance between the frames of a video, one per video with two faces or more."""
    inter: np.ndarray
    """Mean distance between the frames of two videos of different people, one per pair of videos."""
    gap: float
    """Mean of `inter` minus mean of `intra`: larger is better."""
    gap_low: float
    """Lower end of the gap's 95 % bootstrap interval over videos."""
    gap_high: float
    """Upper end."""


@dataclass(frozen=True)
class Verification:
    """How well a threshold on the likeness tells whether two faces are the same person's."""

    false_accepts: np.ndarray
    """Share of accepted pairs of different people at each threshold, rising from 0 to 1."""
    true_accepts: np.ndarray
    """Share of accepted pairs of one person at the same thresholds."""
    auc: float
    """Area under the curve: 1 is perfect, 0.5 is guessing."""
    eer: float
    """Error rate where both kinds of error are equal."""


def video_distances(embeds: Embeddings, face_mask: FaceMask, *, distance: Distance = "cosine") -> np.ndarray:
    """Mean distance between the faces of every two videos.

    Args:
        embeds: embeddings of v videos.
        face_mask: frames that show a face.
        distance: how two embeddings are compared; they are brought to length 1, except for `l1`.

    Returns:
        Symmetric array (v, v), on the diagonal the distance within each video, where a frame is not compared
        with itself; NaN where there are no two faces to compare.

    Raises:
        ValueError: unknown distance.

    Source: Table 3, Sec. 5.3.2.
    """
    clips = [video[mask].double() for video, mask in zip(embeds, face_mask, strict=True)]
    result = np.full((len(clips), len(clips)), np.nan)
    for i, first in enumerate(clips):
        for j, second in enumerate(clips[: i + 1]):
            pairs = _distances(first, second, distance)
            count = pairs.numel() - (len(first) if i == j else 0)
            if count:
                result[i, j] = result[j, i] = (pairs.sum() - (pairs.trace() if i == j else 0)).item() / count
    return result


def id_distances(
    embeds: Embeddings,
    face_mask: FaceMask,
    identities: Sequence[object],
    *,
    distance: Distance = "cosine",
    resamples: int = 1000,
    seed: int = 0,
) -> IdDistances:
    """Compare distances within videos with distances between people.

    Args:
        embeds: embeddings of v videos.
        face_mask: frames that show a face.
        identities: who each video shows; videos of one person are not compared with each other.
        distance: see `video_distances`.
        resamples: bootstrap samples for the interval of the gap.
        seed: seed of the resampling.

    Returns:
        The distances and their gap.

    Raises:
        ValueError: fewer than two people with a face, or counts that do not match.

    Source: Table 3, Sec. 5.3.2.
    """
    if len(identities) != len(embeds):
        raise ValueError(f"got {len(identities)} identities for {len(embeds)} videos; expected one each")
    table = video_distances(embeds, face_mask, distance=distance)
    people = np.array([str(identity) for identity in identities])
    between = np.where(people[:, None] != people[None], table, np.nan)
    intra, inter = np.diag(table), between[np.tril_indices(len(table), -1)]
    intra, inter = intra[np.isfinite(intra)], inter[np.isfinite(inter)]
    if not len(intra) or not len(inter):
        raise ValueError(
            "got faces of fewer than two people; expected videos of at least two; add clips with faces"
        )
    gaps = _bootstrap_gaps(np.diag(table), between, resamples, seed)
    low, high = np.nanpercentile(gaps, [2.5, 97.5])
    return IdDistances(intra, inter, float(inter.mean() - intra.mean()), float(low), float(high))


def verification(scores: np.ndarray | Tensor, same: np.ndarray | Tensor) -> Verification:
    """Curve, area and equal error rate of a likeness score.

    Args:
        scores: likeness of each pair, larger is more alike; ties are accepted together.
        same: True where the pair shows one person.

    Returns:
        The curve over all thresholds, its area, and the equal error rate.

    Raises:
        ValueError: only one kind of pair.
    """
    scores, same = np.asarray(scores, dtype=float), np.asarray(same, dtype=bool)
    if same.all() or not same.any():
        raise ValueError(
            f"got {same.sum()} same pairs of {len(same)}; expected both kinds; add people or clips"
        )
    order = np.argsort(-scores, kind="stable")
    last_of_tie = np.append(np.diff(scores[order]) != 0, True)
    accepts = np.stack([np.cumsum(same[order]), np.cumsum(~same[order])])[:, last_of_tie]
    true_accepts = np.append(0, accepts[0] / same.sum())
    false_accepts = np.append(0, accepts[1] / (~same).sum())
    auc = float(np.trapezoid(true_accepts, false_accepts))
    return Verification(false_accepts, true_accepts, auc, _equal_error(false_accepts, true_accepts))


def verification_pairs(
    embeds: Embeddings,
    face_mask: FaceMask,
    identities: Sequence[object],
    *,
    per_video: int = 4,
    same: SamePairs = "any",
) -> tuple[np.ndarray, np.ndarray]:
    """Cosines of all pairs of faces, and which pairs show one person.

    Args:
        embeds: embeddings of v videos.
        face_mask: frames that show a face.
        identities: who each video shows.
        per_video: evenly spread faces taken from each video, so that pairs do not swamp memory.
        same: which pairs of one person count; the others are left out. Within a video the same clothes, room
            and light make it easy: `two videos` is the harder and more telling test.

    Returns:
        `scores` and `same` for `verification`, one entry per unordered pair.
    """
    faces, people, videos = [], [], []
    for number, (video, mask, identity) in enumerate(zip(embeds, face_mask, identities, strict=True)):
        shown = torch.nonzero(mask)[:, 0]
        if len(shown):
            picked = shown[torch.linspace(0, len(shown) - 1, min(per_video, len(shown))).round().long()]
            faces.append(torch.nn.functional.normalize(video[picked].double(), dim=-1))
            people += [str(identity)] * len(picked)
            videos += [number] * len(picked)
    stacked = torch.cat(faces).numpy()
    one_person, one_video = (np.equal.outer(names, names) for names in (np.array(people), np.array(videos)))
    left_out = {"any": False, "one video": ~one_video, "two videos": one_video}[same]
    kept = np.triu(~(one_person & left_out), 1)
    return (stacked @ stacked.T)[kept], one_person[kept]


def pca(points: np.ndarray | Tensor, components: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Principal components, with signs fixed so that the map is the same on every machine.

    Args:
        points: (k, d).
        components: how many to keep.

    Returns:
        Coordinates (k, components), and the share of the variance of each component.
    """
    centred = np.asarray(points, dtype=float) - np.asarray(points, dtype=float).mean(axis=0)
    left, sizes, right = np.linalg.svd(centred, full_matrices=False)
    signs = np.sign(right[np.arange(len(right)), np.abs(right).argmax(axis=1)])
    share = sizes**2 / max((sizes**2).sum(), 1e-30)
    return (left * sizes * signs)[:, :components], share[:components]


def _distances(first: Tensor, second: Tensor, distance: Distance) -> Tensor:
    if distance == "l1":
        return torch.cdist(first, second, p=1) / max(first.shape[-1], 1)
    first, second = (torch.nn.functional.normalize(part, dim=-1) for part in (first, second))
    if distance == "cosine":
        return 1 - first @ second.T
    if distance == "l2":
        return torch.cdist(first, second)
    raise ValueError(f"got distance={distance!r}; expected 'cosine', 'l1' or 'l2'")


def _bootstrap_gaps(within: np.ndarray, between: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """Gaps of videos drawn again and again; a video drawn twice counts twice, but never against itself."""
    count = len(within)
    draws = (
        np.random.default_rng(seed)
        .multinomial(count, np.full(count, 1 / count), size=resamples)
        .astype(float)
    )
    known, pairs = np.isfinite(within), np.isfinite(between)
    with np.errstate(invalid="ignore"):
        intra = (draws @ np.where(known, within, 0)) / (draws @ known)
        inter = (draws @ np.where(pairs, between, 0) * draws).sum(1) / (draws @ pairs * draws).sum(1)
    return inter - intra


def _equal_error(false_accepts: np.ndarray, true_accepts: np.ndarray) -> float:
    """Where the curve crosses the line of equal errors, by linear interpolation."""
    surplus = false_accepts - (1 - true_accepts)
    after = int(np.argmax(surplus >= 0))
    if surplus[after] == 0:
        return float(false_accepts[after])
    share = -surplus[after - 1] / (surplus[after] - surplus[after - 1])
    return float(false_accepts[after - 1] + share * (false_accepts[after] - false_accepts[after - 1]))
