"""Held-out losses clip by clip, the same ones for all arms, whatever an arm was trained with."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from semrepa.analysis.diagnostics import failing
from semrepa.analysis.errors import error_by_timestep
from semrepa.analysis.runs import BASE, load_models
from semrepa.config import Config, override
from semrepa.data.store import FeatureStore
from semrepa.models.freeze import freeze
from semrepa.models.structure import StructureAligner
from semrepa.runtime import pick_device
from semrepa.training.alignment import Aligners
from semrepa.training.combined import CombinedObjective
from semrepa.training.evaluate import eval_timesteps
from semrepa.training.floors import floors
from semrepa.training.sources import heldout_batches

ClipValues = Mapping[str, Mapping[str, float]]
"""By clip, numbers by name."""


@torch.no_grad()
def heldout_losses(
    cfg: Config,
    store: FeatureStore,
    heldout_ids: Sequence[str],
    *,
    run: Path | None = None,
    noisy: Path | None = None,
) -> ClipValues:
    """Evaluate a transformer at nine fixed noise levels, with noise that depends on seed and clip only.

    Args:
        cfg: clean formulation; names base model and aligners, and its seed is that of the noise.
        store: prepared features.
        heldout_ids: clips.
        run: run folder of a fine-tuning; None: the base model.
        noisy: structure aligner for noisy latents; None: without its loss.

    Returns:
        By clip `loss_diff`, `loss_struct` (Eq. 8), `loss_id` (Eq. 10, with predicted depth) and
        `loss_struct_noisy` (Eq. 9), means over the noise levels, and each at one level, such as
        `loss_id@300`. A clip without a face has no `loss_id`.
    """
    models = load_models(cfg, {} if run is None else {"arm": run})
    model = models[BASE if run is None else "arm"]
    other = None if noisy is None else _noisy_formulation(model, cfg, noisy)
    found: dict[str, dict[str, float]] = {}
    for clips, predict in model.views(heldout_batches(store, heldout_ids, cfg.finetune.batch_size), cfg.seed):
        faces = clips.batch.face_mask.any(dim=1).tolist()
        for level in eval_timesteps(len(model.frozen.alphas_cumprod)):
            prediction = predict(level)
            losses = dict(model.losses(prediction, clips.batch, ("struct", "id")))
            if other is not None:
                losses["struct_noisy"] = other.losses(prediction, clips.batch, ("struct",))["struct"]
            for name, values in losses.items():
                for clip, face, value in zip(clips.batch.ids, faces, values.tolist(), strict=True):
                    if face or name != "id":
                        found.setdefault(clip, {})[f"loss_{name}@{level}"] = value
    return {clip: _means(values) | values for clip, values in found.items()}


def _noisy_formulation(model: CombinedObjective, cfg: Config, noisy: Path) -> CombinedObjective:
    """The same transformer judged by the noisy structure aligner."""
    aligner = freeze(StructureAligner.from_pretrained(noisy).float()).to(pick_device())
    frozen = replace(model.frozen, aligners=Aligners(structure=aligner))
    return CombinedObjective(model.transformer, frozen, override(cfg, {"structure.input": "noisy"}))


def _means(values: Mapping[str, float]) -> dict[str, float]:
    """Mean over the noise levels of each loss."""
    names = dict.fromkeys(name.partition("@")[0] for name in values)
    levels = {name: [v for key, v in values.items() if key.startswith(f"{name}@")] for name in names}
    return {name: sum(found) / len(found) for name, found in levels.items()}


def unreadable(
    cfg: Config, store: FeatureStore, train_ids: Sequence[str], heldout_ids: Sequence[str]
) -> dict[str, dict[str, float]]:
    """Find held-out clips on whose true latents an aligner is no better than an answer without learning.

    Args:
        cfg: clean formulation; names base model and aligners.
        store: prepared features.
        train_ids: clips whose mean is such an answer.
        heldout_ids: clips to look at.

    Returns:
        Error of the aligner by clip, for `loss_id` and `loss_struct`.
    """
    model = load_models(cfg, {})[BASE]
    size = cfg.finetune.batch_size
    batches = [clips.batch for clips in heldout_batches(store, heldout_ids, size)]
    readings = error_by_timestep({BASE: model}, batches, (), seed=cfg.seed)
    known = floors(store, heldout_ids, train_ids)
    found = failing(readings, {"struct_mse": known["loss_struct"], "id_l1": known["loss_id"]})
    return {"loss_id": found.get("id_loss", {}), "loss_struct": found.get("struct_mse", {})}
