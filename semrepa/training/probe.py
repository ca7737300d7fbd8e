"""Which noise levels the losses pull at: their gradients at five fixed timesteps, on a few fixed clips."""

from collections.abc import Mapping, Sequence

import torch

from semrepa.config import Config
from semrepa.data.store import FeatureStore
from semrepa.shapes import PerSample
from semrepa.training.alignment import Prediction, weighted_terms
from semrepa.training.balance import gradient_balance, over_processes
from semrepa.training.combined import CombinedObjective
from semrepa.training.evaluate import Heldout, eval_timesteps
from semrepa.training.processes import this_process
from semrepa.training.sources import heldout_batches
from semrepa.training.task import Monitor


def probe_levels(num_timesteps: int) -> list[int]:
    """Timesteps of a probe: the middles of five equal parts of the noise table, evaluated as well.

    Args:
        num_timesteps: length of the noise table.

    Returns:
        Five timesteps.
    """
    return eval_timesteps(num_timesteps)[::2]


def probe(objective: CombinedObjective, store: FeatureStore, ids: Sequence[str], cfg: Config) -> Monitor:
    """Make a monitor of the gradients by noise level; the processes share the clips.

    Args:
        objective: what is trained.
        store: prepared features.
        ids: clips, the first of which are taken.
        cfg: interval, number of clips, and the seed of the noise.

    Returns:
        The monitor; its clips go through one at a time, so that it needs no more memory than training does.
    """
    levels, ids = probe_levels(len(objective.frozen.alphas_cumprod)), ids[: cfg.finetune.probe_clips]

    def measure(step: int) -> Mapping[str, float]:
        clips = list(heldout_batches(store, ids, this_process().num_processes))
        where = {"seed": cfg.seed, "step": max(step, 1), "count": len(ids)}
        return balance_by_timestep(objective, clips, levels, **where)

    return Monitor(every=cfg.finetune.probe_every, measure=measure)


def balance_by_timestep(
    objective: CombinedObjective,
    clips: Sequence[Heldout],
    levels: Sequence[int],
    *,
    seed: int,
    step: int,
    count: int,
) -> dict[str, float]:
    """Measure how hard each loss pulls at the transformer at some noise levels, with fixed noise.

    It takes a forward pass for each level and clip, and a backward pass for each loss there.

    Args:
        objective: what is trained.
        clips: this process's part of the clips.
        levels: timesteps.
        seed: seed of the noise.
        step: step, from 1 on, whose weights count.
        count: clips of all processes together.

    Returns:
        As `gradient_balance` names them, with the level, such as `grad_struct@300`: gated and weighted. A
        loss that is gated away at a level is left out there.
    """
    views, values = list(objective.views(clips, seed)), {}
    total = torch.tensor(float(count), device=objective.device)
    for level in levels:
        gates = {
            name: gate.to(objective.device)
            for name, gate in objective.gates(step, torch.tensor([level])).items()
        }
        weights = {name: weight for name, weight in objective.weights.at(step).items() if gates[name].any()}
        names = ("diff", *weights)
        totals = dict.fromkeys(names, total)
        terms = (
            weighted_terms(_counted(objective, part, predict(level), list(weights)), gates, weights, totals)
            for part, predict in views
        )
        found = gradient_balance(terms, objective.trained(), names, over_processes())
        values |= {f"{name}@{level}": value for name, value in found.items()}
    return values


def _counted(
    objective: CombinedObjective, clips: Heldout, prediction: Prediction, wanted: Sequence[str]
) -> dict[str, PerSample]:
    """Losses of the clips, 0 for those that do not count."""
    losses = objective.losses(prediction, clips.batch, wanted)
    return {name: loss * clips.counts for name, loss in losses.items()}
