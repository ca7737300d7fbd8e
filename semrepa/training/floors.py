"""Losses of answers that need no learning: the lines that a training curve has to fall below."""

from collections.abc import Sequence

import torch

from semrepa.data.dataset import Batch, StoreDataset
from semrepa.data.store import FeatureStore
from semrepa.losses import identity_loss
from semrepa.shapes import AlphaTable
from semrepa.training.evaluate import eval_timesteps

MOST_CLIPS = 256
"""Clips from which means, floors and the normalisation of inputs are computed, where there are more."""


def floors(
    store: FeatureStore,
    heldout_ids: Sequence[str],
    train_ids: Sequence[str],
    table: AlphaTable | None = None,
) -> dict[str, dict[str, float]]:
    """Losses of answers that need no learning; an aligner that stays near them has learned nothing.

    Args:
        store: prepared features.
        heldout_ids: clips the answers are scored on; none give no floors.
        train_ids: clips whose mean is one of the answers (a part of them where there are very many).
        table: noise table, for the noisy formulation: expected losses over the noise levels of evaluations.

    Returns:
        For `loss_struct`: "zero output", "mean output" and "copy of the video"; for `loss_id`: "zero output"
        and "mean output".
    """
    if not heldout_ids:
        return {"loss_struct": {}, "loss_id": {}}
    scored, known = sample(store, heldout_ids), sample(store, train_ids)
    depth, mean_depth = scored.depth_latents, known.depth_latents.mean(dim=0, keepdim=True)
    mean_face = known.id_embeds[known.face_mask].mean(dim=0)
    signal = torch.ones(1) if table is None else table[eval_timesteps(len(table))].cpu()
    share, noise = signal.mean(), (1 - signal).mean()
    answers = {
        "zero output": torch.zeros_like(scored.id_embeds),
        "mean output": mean_face.expand_as(scored.id_embeds),
    }
    seen = scored.face_mask.any(dim=1)
    return {
        "loss_struct": {
            "zero output": (share * depth.square().mean() + noise).item(),
            "mean output": (share * (depth - mean_depth).square().mean() + noise).item(),
            "copy of the video": (share * (depth - scored.latents).square().mean()).item(),
        },
        "loss_id": {
            name: identity_loss(answer, scored.id_embeds, scored.face_mask)[seen].mean().item()
            for name, answer in answers.items()
            if seen.any() and known.face_mask.any()
        },
    }


def sample(store: FeatureStore, ids: Sequence[str]) -> Batch:
    """Read up to 256 clips, evenly spread over `ids`.

    Args:
        store: prepared features.
        ids: clips to choose from.

    Returns:
        One batch on the CPU.
    """
    stride = -(-len(ids) // MOST_CLIPS)
    dataset = StoreDataset(store, ids[:: max(1, stride)])
    return dataset.batch(range(len(dataset)))
