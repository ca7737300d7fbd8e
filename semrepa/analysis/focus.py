"""What an identity aligner reads: how much lies on the face, how much in depth, and whose face it then sees.

The paper explains its Table 3 by depth latents that "serve as an implicit facial mask" (Sec. 5.3.2). If so,
an aligner with depth answers to the face's latents more, and to those around it less, than one without.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from semrepa.data.dataset import Batch
from semrepa.models.identity import IdentityAligner
from semrepa.shapes import TEMPORAL_RATIO, Embeddings, Latents

Cells = Float[Tensor, "b f h w"]
"""Share of each latent cell that belongs to a face."""


def face_cells(boxes: Float[Tensor, "b n 4"], latents: Latents, ratio: int = 8) -> Cells:
    """Which latent cells show the face.

    Args:
        boxes: face of each video frame, xyxy in pixels, NaN without one.
        latents: for the number of cells.
        ratio: pixels of a cell's side.

    Returns:
        Share of each cell that the boxes cover, averaged over the frames that its latent frame stands for.
    """
    rows, columns = (torch.arange(size, dtype=torch.float32) * ratio for size in latents.shape[-2:])

    def covered(starts: Tensor, low: Tensor, high: Tensor) -> Tensor:
        ends = torch.minimum(starts + ratio, high[..., None])
        return (ends - torch.maximum(starts, low[..., None])).clamp(min=0) / ratio

    left, top, right, bottom = boxes.nan_to_num(-1.0).unbind(-1)
    frames = covered(rows, top, bottom)[..., :, None] * covered(columns, left, right)[..., None, :]
    padded = torch.cat([frames[:, :1].expand(-1, TEMPORAL_RATIO - 1, -1, -1), frames], dim=1)
    return padded.unflatten(1, (-1, TEMPORAL_RATIO)).mean(dim=2)


def focus(aligner: IdentityAligner, batch: Batch, cells: Cells) -> dict[str, float]:
    """Where the aligner's likeness to the teacher comes from, by the size of its gradient.

    The gradient is taken in units of each channel's own spread, so that video and depth weigh alike.

    Args:
        aligner: with or without depth.
        batch: clips with faces.
        cells: from `face_cells`.

    Returns:
        `face_gradient`: share of the video latents' gradient on the face's cells; `face_area`: share of these
        cells; `depth_gradient`: share of the gradient on depth latents, of an aligner that reads them.
    """
    inputs = [batch.latents.clone().requires_grad_()]
    if aligner.config.use_depth:
        inputs.append(batch.depth_latents.clone().requires_grad_())
    answer = aligner(*inputs)
    likeness = torch.cosine_similarity(answer, batch.id_embeds, dim=-1) * batch.face_mask
    gradients = torch.autograd.grad(likeness.sum(), inputs)
    spread = aligner.std.split(batch.latents.shape[2])
    sizes = [
        (gradient * std.view(-1, 1, 1)).norm(dim=2) for gradient, std in zip(gradients, spread, strict=True)
    ]
    seen = cells.sum(dim=(2, 3)) > 0
    on_face = (sizes[0] * cells).sum(dim=(2, 3))[seen] / sizes[0].sum(dim=(2, 3))[seen].clamp(min=1e-20)
    found = {"face_gradient": on_face.mean().item(), "face_area": cells.mean(dim=(2, 3))[seen].mean().item()}
    if aligner.config.use_depth:
        total = sum(size.sum() for size in sizes)
        found["depth_gradient"] = (sizes[1].sum() / total).item()
    return found


def by_face_size(embeds: Embeddings, batch: Batch, cells: Cells) -> dict[str, float]:
    """How well small and large faces are read: a mask should help most where the face is hard to find.

    Args:
        embeds: answers of an aligner.
        batch: the clips.
        cells: from `face_cells`.

    Returns:
        Cosine to the teacher over the half of the clips with the smaller faces (`small_faces`), and over the
        other half (`large_faces`).
    """
    area = cells.sum(dim=(2, 3)).amax(dim=1)
    seen = torch.nonzero(batch.face_mask.any(dim=1))[:, 0]
    ranked = seen[area[seen].argsort(stable=True)]
    halves = {"small_faces": ranked[: len(ranked) // 2], "large_faces": ranked[len(ranked) // 2 :]}
    likeness = torch.cosine_similarity(embeds, batch.id_embeds, dim=-1)
    return {name: likeness[half][batch.face_mask[half]].mean().item() for name, half in halves.items()}


@torch.no_grad()
def borrowed_depth(aligner: IdentityAligner, batch: Batch, people: Sequence[object]) -> dict[str, float]:
    """Whom an aligner with depth sees when the depth latents are those of somebody else's clip.

    Args:
        aligner: with depth.
        batch: clips with faces.
        people: who is in each; a clip borrows from the next one that shows somebody else.

    Returns:
        Cosine to the teacher with the own depth (`own`) and with the other's (`own_borrowed`), and to the
        teacher's embedding of the other person (`other`, `other_borrowed`), where both show a face.

    Raises:
        ValueError: an aligner without depth, or clips of one person only.
    """
    names = [str(person) for person in people]
    if not aligner.config.use_depth or len(set(names)) < 2:
        raise ValueError(
            f"got use_depth={aligner.config.use_depth} and clips of {len(set(names))} people; expected an "
            "aligner with depth and at least two people; give another aligner, or more clips"
        )
    places = [[*range(i + 1, len(names)), *range(i)] for i in range(len(names))]
    partner = [next(j for j in after if names[j] != names[i]) for i, after in enumerate(places)]
    both = batch.face_mask & batch.face_mask[partner]
    other = batch.id_embeds[partner]
    answers = {"": batch.depth_latents, "_borrowed": batch.depth_latents[partner]}
    found = {}
    for name, depth in answers.items():
        embeds = aligner(batch.latents, depth)[both]
        for whose, target in (("own", batch.id_embeds), ("other", other)):
            found[f"{whose}{name}"] = torch.cosine_similarity(embeds, target[both], dim=-1).mean().item()
    return found
