"""ID score: how much the face in a video stays the wanted face, from per-frame embeddings.

A frame without a found face has no embedding. It is left out of the mean (`missing="skip"`, with the
detection rate beside it, because a video whose face vanishes would otherwise look good) or counted as 0
(`"zero"`).
"""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import cosine_similarity

from semrepa.shapes import Embeddings, FaceMask, PerFrame, PerSample

Missing = Literal["skip", "zero"]

Reference = Float[Tensor, "b d"]
"""One embedding per clip, (b, d)."""


def likeness(embeds: Embeddings, face_mask: FaceMask, reference: Reference) -> PerFrame:
    """Cosine between the face of each frame and a reference face.

    Args:
        embeds: embeddings of the video.
        face_mask: frames that show a face.
        reference: embedding of the wanted person, one per clip.

    Returns:
        Cosines (b, n), NaN where no face was found.
    """
    return cosine_similarity(embeds, reference[:, None], dim=-1).masked_fill(~face_mask, torch.nan)


def id_ref(
    embeds: Embeddings, face_mask: FaceMask, reference: Reference, *, missing: Missing = "skip"
) -> PerSample:
    """ID score against a reference face, over all frames but the given first one.

    Args:
        embeds: embeddings of the video.
        face_mask: frames that show a face.
        reference: embedding of the wanted person, one per clip, such as the face of the first frame.
        missing: what frames without a face count as.

    Returns:
        Mean cosine per clip, (b,); NaN where `skip` leaves no frame.
    """
    return _mean(likeness(embeds, face_mask, reference)[:, 1:], missing)


def id_gt_frame(
    embeds: Embeddings,
    face_mask: FaceMask,
    gt_embeds: Embeddings,
    gt_mask: FaceMask,
    *,
    missing: Missing = "skip",
) -> PerSample:
    """ID score against the true video frame by frame, which takes the pose out of the comparison.

    Args:
        embeds: embeddings of the generated video.
        face_mask: its frames that show a face.
        gt_embeds: embeddings of the true video.
        gt_mask: its frames that show a face; only these count.
        missing: what frames whose face the generated video lost count as.

    Returns:
        Mean cosine per clip, (b,), without frame 0; NaN where no frame counts.
    """
    cosines = cosine_similarity(embeds, gt_embeds, dim=-1).masked_fill(~face_mask, torch.nan)
    return _mean(cosines[:, 1:], missing, counted=gt_mask[:, 1:])


def id_consecutive(embeds: Embeddings, face_mask: FaceMask) -> PerSample:
    """Steadiness of the face: mean cosine between neighbouring frames that both show one.

    Args:
        embeds: embeddings of the video.
        face_mask: frames that show a face.

    Returns:
        Mean cosine per clip, (b,); NaN where no two neighbours show a face.
    """
    cosines = cosine_similarity(embeds[:, 1:], embeds[:, :-1], dim=-1)
    return _mean(cosines.masked_fill(~(face_mask[:, 1:] & face_mask[:, :-1]), torch.nan), "skip")


def detection_rate(face_mask: FaceMask, gt_mask: FaceMask | None = None) -> PerSample:
    """Share of the frames on which a face was found, without frame 0.

    Args:
        face_mask: frames that show a face.
        gt_mask: frames on which the true video shows one; None: all frames.

    Returns:
        Share per clip, (b,); NaN where the true video shows no face.
    """
    found = face_mask[:, 1:].float()
    return _mean(found, "skip", counted=None if gt_mask is None else gt_mask[:, 1:])


def id_scores(
    embeds: Embeddings,
    face_mask: FaceMask,
    gt_embeds: Embeddings,
    gt_mask: FaceMask,
    *,
    missing: Missing = "skip",
) -> dict[str, PerSample]:
    """All ID scores of generated videos against their true ones.

    The reference face of a clip is the first face that the true video shows.

    Args:
        embeds: embeddings of the generated videos.
        face_mask: their frames that show a face.
        gt_embeds: embeddings of the true videos.
        gt_mask: their frames that show a face.
        missing: what frames without a face count as.

    Returns:
        `id_ref` (the headline), `id_gt_frame`, `id_consecutive` and `detection_rate`, each (b,).
    """
    first = gt_mask.float().argmax(dim=1)
    reference = gt_embeds[torch.arange(len(first)), first]
    scores = {
        "id_ref": id_ref(embeds, face_mask, reference, missing=missing),
        "id_gt_frame": id_gt_frame(embeds, face_mask, gt_embeds, gt_mask, missing=missing),
        "id_consecutive": id_consecutive(embeds, face_mask),
        "detection_rate": detection_rate(face_mask, gt_mask),
    }
    faceless = ~gt_mask.any(dim=1)
    return {name: score.masked_fill(faceless, torch.nan) for name, score in scores.items()}


def _mean(values: PerFrame, missing: Missing, counted: FaceMask | None = None) -> PerSample:
    """Mean over the counted frames; NaN frames are skipped or count as 0."""
    if missing not in ("skip", "zero"):
        raise ValueError(f"got missing={missing!r}; expected 'skip' or 'zero'")
    if missing == "zero":
        values = values.nan_to_num(0.0)
    if counted is not None:
        values = values.masked_fill(~counted, torch.nan)
    return values.nanmean(dim=1)
