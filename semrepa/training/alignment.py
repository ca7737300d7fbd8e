"""The losses of fine-tuning: what the frozen aligners say about the transformer's own clean prediction.

    pred_latents = clean prediction from v                                     (before Eq. 8)
    clean:  structure(pred_latents)                      against depth_latents (Eq. 8)
    noisy:  structure(one DDIM step on, its timestep)    against depth_latents with the true noise (Eq. 9)
    identity(pred_latents, predicted depth)              against identity(latents, depth_latents) (Eq. 10)

Everything here is a function of tensors and frozen networks: no state, no randomness.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import torch
from torch import Tensor

from semrepa.config import LossConfig, StructureConfig
from semrepa.data.dataset import Batch
from semrepa.diffusion import add_noise, clean_prediction, ddim_step
from semrepa.losses import diffusion_loss, identity_loss, structure_loss, total_loss
from semrepa.models.identity import IdentityAligner
from semrepa.models.latents import repeat_first
from semrepa.models.structure import StructureAligner
from semrepa.runtime import autocast
from semrepa.shapes import AlphaTable, Embeddings, Latents, PerSample, Scalar, Timesteps


@dataclass(frozen=True, kw_only=True)
class Aligners:
    """The frozen aligners of a run; one that is not needed may be None."""

    structure: StructureAligner | None = None
    """Depth latents from video latents."""
    identity: IdentityAligner | None = None
    """Face embeddings from video latents, with or without depth latents."""


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What the transformer saw in one step and what it answered."""

    noise: Latents
    """The noise that was added."""
    noisy_latents: Latents
    """Its input, besides the conditions."""
    timesteps: Timesteps
    """Noise level of each clip."""
    v_pred: Latents
    """Its answer."""
    alphas_cumprod: AlphaTable
    """Noise table."""

    def clean(self) -> Latents:
        """Clean latents that the answer stands for; gradients flow into `v_pred`."""
        return clean_prediction(self.noisy_latents, self.v_pred, self.timesteps, self.alphas_cumprod)

    def last(self, frames: int) -> "Prediction":
        """The part of it that belongs to the video: its last latent frames (see `padded_frames`)."""
        kept = {name: getattr(self, name)[:, -frames:] for name in ("noise", "noisy_latents", "v_pred")}
        return replace(self, **kept)


def finetune_losses(
    prediction: Prediction,
    batch: Batch,
    aligners: Aligners,
    *,
    loss: LossConfig,
    structure: StructureConfig,
    wanted: Collection[str] | None = None,
    similarity: bool = False,
) -> dict[str, PerSample]:
    """Compute the raw losses of each clip: `diff`, and `struct` and `id` where wanted.

    `diff` counts all latent frames that the transformer worked on, as CogVideoX 1.5 is trained; the aligners
    see those of the video.

    Args:
        prediction: one prediction of the transformer.
        batch: true latents, depth latents and face masks of the same clips.
        aligners: frozen aligners.
        loss: weights and targets.
        structure: clean or noisy formulation.
        wanted: alignment losses to compute; None: those whose weight is not 0. Others cost nothing.
        similarity: also measure the cosine between both sides of each alignment loss.

    Returns:
        One number per clip for each loss, with gradients into `v_pred` only; and where asked for, without
        gradients, `similarity_struct` and `similarity_id`, from -1 to 1.

    Raises:
        ValueError: a wanted loss needs an aligner that is None.

    Source: Eq. (8), (9), (10), Sec. 4.3.
    """
    names = wanted_losses(loss) if wanted is None else wanted
    latents = repeat_first(batch.latents, prediction.v_pred.shape[1])
    table = prediction.alphas_cumprod
    losses = {"diff": diffusion_loss(prediction.clean(), latents, prediction.timesteps, table)}
    if not names:
        return losses
    check_available(names, aligners, structure)
    prediction = prediction.last(batch.latents.shape[1])
    pred_latents = prediction.clean()
    with autocast(pred_latents.device):
        pred_depth = None
        if "struct" in names or _predicts_depth_for_id(aligners, structure):
            pred_depth, target = _structure(
                prediction, batch, aligners.structure, structure, loss.self_target
            )
        if "struct" in names:
            losses["struct"] = structure_loss(pred_depth, target)
            if similarity:
                losses["similarity_struct"] = _cosine(pred_depth.flatten(1), target.flatten(1))
        if "id" in names:
            known = pred_depth if structure.input == "clean" else batch.depth_latents
            pred, true = _identity(pred_latents, known, batch, aligners.identity, loss.detach_depth_for_id)
            losses["id"] = identity_loss(pred, true, batch.face_mask)
            if similarity:
                seen = batch.face_mask
                losses["similarity_id"] = (_cosine(pred, true) * seen).sum(1) / seen.sum(1).clamp(min=1)
    return losses


def wanted_losses(loss: LossConfig) -> list[str]:
    """Names of the alignment losses that have a weight.

    Args:
        loss: weights.

    Returns:
        Some of `struct` and `id`.
    """
    return [name for name, weight in (("struct", loss.weight_struct), ("id", loss.weight_id)) if weight]


def check_available(wanted: Collection[str], aligners: Aligners, structure: StructureConfig) -> None:
    """Refuse to go on without the aligners that the losses need.

    Args:
        wanted: some of `struct` and `id`.
        aligners: what is there.
        structure: clean or noisy formulation; in the clean one the identity aligner reads predicted depth.

    Raises:
        ValueError: names the missing aligner and what to do.
    """
    if "id" in wanted and aligners.identity is None:
        raise ValueError(
            "got no identity aligner; expected one for the identity loss; "
            "name its folder in identity.weights, or set loss.weight_id to 0"
        )
    needed = "struct" in wanted or ("id" in wanted and _predicts_depth_for_id(aligners, structure))
    if needed and aligners.structure is None:
        raise ValueError(
            "got no structure aligner; expected one for the structure loss, or for the depth that the "
            "identity aligner reads; name its folder in structure.weights, set the loss weights to 0, "
            "or set identity.use_depth to False"
        )


def combine(
    losses: Mapping[str, PerSample],
    gates: Mapping[str, PerSample],
    weights: Mapping[str, float],
    totals: Mapping[str, Scalar] | None = None,
) -> tuple[Scalar, dict[str, Scalar]]:
    """Add raw losses with gates and weights.

    Args:
        losses: raw losses of each clip, from `finetune_losses`; an alignment loss that is not there is 0.
        gates: gate of each clip for `struct` and `id`.
        weights: weights of the alignment losses of the run.
        totals: see `total_loss`.

    Returns:
        The loss to minimise, and detached means of the parts that belong to `weights`: raw, gated, weighted,
        and the share of clips that count.

    Source: Eq. (11), (12), Sec. 4.3.
    """
    zero = torch.zeros_like(losses["diff"])
    total, parts = total_loss(
        losses["diff"],
        losses.get("struct", zero),
        losses.get("id", zero),
        weights.get("struct", 0.0),
        weights.get("id", 0.0),
        gates["struct"],
        gates["id"],
        totals=totals,
    )
    kept = {"diff", *weights}
    return total, {name: value for name, value in parts.items() if name.rpartition("_")[2] in kept}


def weighted_terms(
    losses: Mapping[str, PerSample],
    gates: Mapping[str, PerSample],
    weights: Mapping[str, float],
    totals: Mapping[str, Scalar],
) -> dict[str, Scalar]:
    """Split the total into its terms, each with its gradient.

    Args:
        losses: raw losses of each clip, from `finetune_losses`.
        gates: gate of each clip for `struct` and `id`.
        weights: weights of the alignment losses.
        totals: number of clips that each mean is over.

    Returns:
        Gated and weighted mean of each loss that was computed; their sum is the loss of `combine`.
    """
    factors = {"diff": 1.0, **{name: weights[name] * gates[name] for name in weights}}
    return {name: (factors[name] * losses[name]).sum() / totals[name] for name in factors if name in losses}


def gradient_balance(
    portions: Iterable[Mapping[str, Scalar]],
    parameters: Sequence[Tensor],
    *,
    add: Callable[[Tensor], Tensor] | None = None,
    names: Collection[str] = (),
) -> dict[str, float]:
    """Measure how hard each term of the loss pulls at the weights, and whether the terms agree.

    Args:
        portions: terms of the loss by name for each portion of the batch, those of one sharing a graph.
        parameters: trained weights.
        add: sums tensors over processes that each have portions of their own; None: there is only one.
        names: with `add`, names of all terms that some process may have.

    Returns:
        `grad_<name>`: norm of the term's gradient; `cos_<a>_<b>`: cosine between two gradients, 0 where one
        of them vanishes.
    """
    gradients: dict[str, Tensor] = {}
    for terms in portions:
        for name, term in terms.items():
            parts = torch.autograd.grad(term, parameters, retain_graph=True, allow_unused=True)
            found = [
                torch.zeros_like(p) if part is None else part
                for p, part in zip(parameters, parts, strict=True)
            ]
            pull = torch.cat([part.float().flatten() for part in found])
            gradients[name] = gradients[name] + pull if name in gradients else pull
    if add:
        nothing = torch.zeros(sum(p.numel() for p in parameters), device=parameters[0].device)
        sums = {name: add(gradients.get(name, nothing)) for name in names}
        gradients = {name: total for name, total in sums.items() if total.any()}
    values = {f"grad_{name}": gradient.norm().item() for name, gradient in gradients.items()}
    for a, b in combinations(gradients, 2):
        values[f"cos_{a}_{b}"] = torch.cosine_similarity(gradients[a], gradients[b], dim=0).item()
    return values


def _structure(
    prediction: Prediction,
    batch: Batch,
    aligner: StructureAligner,
    structure: StructureConfig,
    self_target: bool,
) -> tuple[Latents, Latents]:
    """Predicted depth latents and their target: clean (Eq. 8), or noisy, one sampler step on (Eq. 9)."""
    if structure.input == "clean":
        seen, timesteps, true, target = prediction.clean(), None, batch.latents, batch.depth_latents
    else:
        now, table = prediction.timesteps, prediction.alphas_cumprod
        lower = now - structure.step
        seen = ddim_step(prediction.noisy_latents, prediction.clean(), now, structure.step, table)
        true, target = (
            add_noise(clean, prediction.noise, lower, table) for clean in (batch.latents, batch.depth_latents)
        )
        timesteps = lower.clamp(min=0)
    if self_target:
        with torch.no_grad():
            target = aligner(true, timesteps)
    return aligner(seen, timesteps), target


def _identity(
    pred_latents: Latents, known_depth: Latents | None, batch: Batch, aligner: IdentityAligner, detach: bool
) -> tuple[Embeddings, Embeddings]:
    """Embeddings of predicted latents and of the true ones, both by the frozen aligner (Eq. 10)."""
    depths: tuple[Latents | None, Latents | None] = (None, None)
    if aligner.config.use_depth:
        depths = (known_depth.detach() if detach else known_depth, batch.depth_latents)
    with torch.no_grad():
        target = aligner(batch.latents, depths[1])
    return aligner(pred_latents, depths[0]), target


def _cosine(a: Tensor, b: Tensor) -> Tensor:
    """Cosine along the last axis, without gradients."""
    return torch.cosine_similarity(a.detach().float(), b.float(), dim=-1)


def _predicts_depth_for_id(aligners: Aligners, structure: StructureConfig) -> bool:
    identity = aligners.identity
    return structure.input == "clean" and identity is not None and identity.config.use_depth
