"""The paper's losses. Each gives one number per clip, in float32 or better, before weights and batch mean.

Reductions are means over elements: with the paper's weights (0.01 and 1) sums would drown the diffusion loss.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from semrepa.shapes import AlphaTable, Embeddings, FaceMask, Latents, PerSample, Scalar, Timesteps


def diffusion_loss(
    pred_latents: Latents, latents: Latents, timesteps: Timesteps, alphas_cumprod: AlphaTable
) -> PerSample:
    """Compare the clean prediction with the truth as CogVideoX is trained: MSE / (1 - a), the MSE on v.

    Args:
        pred_latents: clean prediction of the transformer.
        latents: clean latents.
        timesteps: noise level of each clip, 0 or more.
        alphas_cumprod: noise table.

    Returns:
        Mean squared error of v for each clip.

    Source: Eq. (11), Sec. 4.3.
    """
    error = _difference(pred_latents, latents).square().mean(dim=(1, 2, 3, 4))
    return error / (1 - alphas_cumprod[timesteps])


def structure_loss(pred_depth_latents: Latents, depth_latents: Latents) -> PerSample:
    """Compare predicted depth latents with the teacher's colorized and encoded depth.

    The same distance serves pretraining on clean (Eq. 3) and noisy (Eq. 5) latents, and fine-tuning through
    the frozen aligner (Eq. 8 clean, Eq. 9 noisy: there both sides are at `timesteps - step`).

    Args:
        pred_depth_latents: answer of the structure aligner.
        depth_latents: target.

    Returns:
        Mean squared error for each clip.

    Source: Eq. (3), (5), Sec. 4.2.1 and Eq. (8), (9), Sec. 4.3.
    """
    return _difference(pred_depth_latents, depth_latents).square().mean(dim=(1, 2, 3, 4))


def identity_loss(pred_embeds: Embeddings, target_embeds: Embeddings, face_mask: FaceMask) -> PerSample:
    """Compare face embeddings on the frames that show a usable face.

    In pretraining the target is the teacher's L2-normalised embedding (Eq. 7), in fine-tuning the frozen
    aligner's own answer on the true latents (Eq. 10). For 512 numbers a zero output scores about 0.035 and
    two strangers about 0.050, so a loss near 0.035 means that nothing was learned.

    Args:
        pred_embeds: predicted embeddings, not normalised.
        target_embeds: target embeddings; their values do not matter where the mask is False.
        face_mask: frames that count.

    Returns:
        Mean absolute error over the counted frames of each clip. A clip without any gives a zero that is part
        of the graph, with zero gradients.

    Raises:
        ValueError: when the shapes do not agree.

    Source: Eq. (7), Sec. 4.2.2 and Eq. (10), Sec. 4.3.
    """
    if face_mask.shape != pred_embeds.shape[:2]:
        raise ValueError(
            f"got face_mask {tuple(face_mask.shape)} for embeddings {tuple(pred_embeds.shape)}; "
            "expected one entry for each clip and frame"
        )
    distance = _difference(pred_embeds, target_embeds).abs().mean(dim=-1)
    return torch.where(face_mask, distance, 0).sum(dim=1) / face_mask.sum(dim=1).clamp(min=1)


def total_loss(
    loss_diff: PerSample,
    loss_struct: PerSample,
    loss_id: PerSample,
    weight_struct: float,
    weight_id: float,
    g_struct: PerSample,
    g_id: PerSample,
    *,
    totals: Mapping[str, Scalar] | None = None,
) -> tuple[Scalar, Mapping[str, Scalar]]:
    """Add the three losses of a batch, each alignment loss with its weight and its gate.

    Each loss is averaged over the clips whose gate is open: without gates, as in the paper, over all of them.

    Args:
        loss_diff: diffusion loss of each clip.
        loss_struct: structure loss of each clip.
        loss_id: identity loss of each clip.
        weight_struct: weight of the structure loss (paper: 0.01).
        weight_id: weight of the identity loss (paper: 1).
        g_struct: gate of the structure loss (paper: 1).
        g_id: gate of the identity loss (paper: 1).
        totals: number of clips that each mean is over, `diff`, `struct` and `id`, where these clips are only
            part of a batch; None: counted here.

    Returns:
        The loss to minimise, and for plots, detached means: `loss_diff`, and for `struct` and `id` the raw
        `loss_*`, the gated `gated_*`, the weighted `weighted_*` that enters the sum, and the share of clips
        `active_*` whose gate is open.

    Source: Eq. (11), (12), Sec. 4.3.
    """
    if totals is None:
        totals = {"diff": loss_diff.new_tensor(len(loss_diff))}
        totals |= {name: (g > 0).sum().clamp(min=1) for name, g in (("struct", g_struct), ("id", g_id))}
    total = loss_diff.sum() / totals["diff"]
    parts = {"loss_diff": total}
    for name, loss, weight, g in (
        ("struct", loss_struct, weight_struct, g_struct),
        ("id", loss_id, weight_id, g_id),
    ):
        gated = (g * loss).sum() / totals[name]
        parts[f"loss_{name}"] = torch.where(g > 0, loss, 0).sum() / totals[name]
        parts[f"gated_{name}"] = gated
        parts[f"weighted_{name}"] = weight * gated
        parts[f"active_{name}"] = (g > 0).sum() / totals["diff"]
        total = total + parts[f"weighted_{name}"]
    return total, {name: part.detach() for name, part in parts.items()}


def _difference(prediction: Tensor, target: Tensor) -> Tensor:
    """Subtract in float32 or better, refusing to broadcast."""
    if prediction.shape != target.shape:
        raise ValueError(
            f"got prediction {tuple(prediction.shape)} and target {tuple(target.shape)}; "
            "expected equal shapes"
        )
    return prediction.to(torch.promote_types(prediction.dtype, torch.float32)) - target
