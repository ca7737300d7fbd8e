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


def id_consecutive(embeds: Embeddings, face_mask: FaceMask, *, missing: Missing = "skip") -> PerSample:
    """Steadiness of the face: mean cosine between neighbouring frames that both show one.

    Args:
        embeds: embeddings of the video.
        face_mask: frames that show a face.
        missing: what neighbours of which one shows no face count as.

    Returns:
        Mean cosine per clip, (b,); NaN where no two neighbours show a face.
    """
    cosines = cosine_similarity(embeds[:, 1:], embeds[:, :-1], dim=-1)
    return _mean(cosines.masked_fill(~(face_mask[:, 1:] & face_mask[:, :-1]), torch.nan), missing)


def id_pairwise(embeds: Embeddings, face_mask: FaceMask, *, missing: Missing = "skip") -> PerSample:
    """Steadiness of the face over the whole clip: mean cosine between all pairs of frames.

    Args:
        embeds: embeddings of the video.
        face_mask: frames that show a face.
        missing: what pairs with a frame without a face count as.

    Returns:
        Mean cosine per clip, (b,), without frame 0; NaN where no pair counts.
    """
    embeds, face_mask = embeds[:, 1:], face_mask[:, 1:]
    cosines = cosine_similarity(embeds[:, :, None], embeds[:, None], dim=-1)
    above = torch.triu(torch.ones_like(cosines[0], dtype=torch.bool), diagonal=1)
    both = face_mask[:, :, None] & face_mask[:, None]
    return _mean(cosines.masked_fill(~both, torch.nan)[:, above], missing)


def id_centroid(embeds: Embeddings, face_mask: FaceMask, *, missing: Missing = "skip") -> PerSample:
    """Steadiness of the face: mean cosine of each frame to the mean embedding of the clip.

    Args:
        embeds: embeddings of the video.
        face_mask: frames that show a face.
        missing: what frames without a face count as.

    Returns:
        Mean cosine per clip, (b,), without frame 0; NaN where `skip` leaves no frame.
    """
    embeds, face_mask = embeds[:, 1:], face_mask[:, 1:]
    centre = embeds.masked_fill(~face_mask[..., None], 0).sum(dim=1)
    return _mean(likeness(embeds, face_mask, centre), missing)


def facesim_arc(embeds: Embeddings, face_mask: FaceMask, reference: Reference) -> PerSample:
    """FaceSim-Arc as ConsisID reckons it: 16 frames spread over the clip, cosines below 0 count as 0.

    Like theirs it counts frame 0 and skips frames without a face. The recogniser is whoever made the
    embeddings (theirs is that of buffalo_l), so the numbers are only alike in kind.

    Args:
        embeds: embeddings of the video.
        face_mask: frames that show a face.
        reference: embedding of the wanted person, one per clip.

    Returns:
        Mean per clip, (b,), 0 to 1; 0 where no frame shows a face.
    """
    chosen = torch.arange(16, device=embeds.device) * (embeds.shape[1] - 1) // 15
    cosines = likeness(embeds[:, chosen], face_mask[:, chosen], reference)
    return cosines.clamp(min=0).nanmean(dim=1).nan_to_num(0.0)


def id_vbench2_like(
    embeds: Embeddings, face_mask: FaceMask, *, least: int = 20, alike: float = 0.4
) -> PerSample:
    """Share of frames that show the person of frame 0, after Human Identity of VBench-2.0 (other recogniser).

    Args:
        embeds: embeddings of the video.
        face_mask: frames that show a face.
        least: frames with a face below which a clip is not judged, as in VBench-2.0.
        alike: cosine from which two faces are one person, as in VBench-2.0.

    Returns:
        Share per clip, (b,), of the frames after the first that show a face; NaN where frame 0 shows none or
        too few frames do.
    """
    cosines = likeness(embeds, face_mask, embeds[:, 0])[:, 1:]
    share = (cosines >= alike).float().masked_fill(cosines.isnan(), torch.nan).nanmean(dim=1)
    return share.masked_fill(~face_mask[:, 0] | (face_mask.sum(dim=1) < least), torch.nan)


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


def id_variants(
    embeds: Embeddings, face_mask: FaceMask, gt_embeds: Embeddings, gt_mask: FaceMask
) -> dict[str, PerSample]:
    """Every ID score under both policies, beside the detection rate without which none can be read.

    `skip` alone rewards a video whose face vanishes, `zero` is the better guess at the paper's ID score.

    Args:
        embeds: embeddings of the generated videos.
        face_mask: their frames that show a face.
        gt_embeds: embeddings of the true videos.
        gt_mask: their frames that show a face.

    Returns:
        Scores of `id_scores`, then `id_pairwise`, `id_centroid`, `facesim_arc` and `id_vbench2_like`; those
        that skip frames a second time with the ending `_zero`. Each (b,), NaN for clips that truly show no
        face.
    """
    first = gt_mask.float().argmax(dim=1)
    reference = gt_embeds[torch.arange(len(first)), first]
    found = id_scores(embeds, face_mask, gt_embeds, gt_mask)
    found |= {
        "id_pairwise": id_pairwise(embeds, face_mask),
        "id_centroid": id_centroid(embeds, face_mask),
        "facesim_arc": facesim_arc(embeds, face_mask, reference),
        "id_vbench2_like": id_vbench2_like(embeds, face_mask),
    }
    zero = id_scores(embeds, face_mask, gt_embeds, gt_mask, missing="zero")
    del zero["detection_rate"]
    zero |= {
        "id_consecutive": id_consecutive(embeds, face_mask, missing="zero"),
        "id_pairwise": id_pairwise(embeds, face_mask, missing="zero"),
        "id_centroid": id_centroid(embeds, face_mask, missing="zero"),
    }
    found |= {f"{name}_zero": score for name, score in zero.items()}
    faceless = ~gt_mask.any(dim=1)
    return {name: score.masked_fill(faceless, torch.nan) for name, score in found.items()}


def _mean(values: PerFrame, missing: Missing, counted: FaceMask | None = None) -> PerSample:
    """Mean over the counted frames; NaN frames are skipped or count as 0."""
    if missing not in ("skip", "zero"):
        raise ValueError(f"got missing={missing!r}; expected 'skip' or 'zero'")
    if missing == "zero":
        values = values.nan_to_num(0.0)
    if counted is not None:
        values = values.masked_fill(~counted, torch.nan)
    return values.nanmean(dim=1)
