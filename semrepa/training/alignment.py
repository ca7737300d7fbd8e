"""The losses of fine-tuning: what the frozen aligners say about the transformer's own clean prediction.

    pred_latents = clean prediction from v                                     (before Eq. 8)
    clean:  structure(pred_latents)                      against depth_latents (Eq. 8)
    noisy:  structure(one DDIM step on, its timestep)    against depth_latents with the true noise (Eq. 9)
    identity(pred_latents, predicted depth)              against identity(latents, depth_latents) (Eq. 10)

Everything here is a function of tensors and frozen networks: no state, no randomness.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import torch
from torch import Tensor

from semrepa.config import LossConfig, StructureConfig
from semrepa.data.dataset import Batch
from semrepa.diffusion import add_noise, clean_prediction, ddim_step, gate
from semrepa.losses import diffusion_loss, identity_loss, structure_loss, total_loss
from semrepa.models.identity import IdentityAligner
from semrepa.models.latents import repeat_first
from semrepa.models.structure import StructureAligner
from semrepa.runtime import autocast
from semrepa.shapes import AlphaTable, Latents, PerSample, Scalar, Timesteps


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

    Returns:
        One number per clip for each loss, with gradients into `v_pred` only.

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
        if "id" in names:
            known = pred_depth if structure.input == "clean" else batch.depth_latents
            losses["id"] = _identity(pred_latents, known, batch, aligners.identity, loss.detach_depth_for_id)
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
    losses: Mapping[str, PerSample], timesteps: Timesteps, alphas_cumprod: AlphaTable, loss: LossConfig
) -> tuple[Scalar, dict[str, Scalar]]:
    """Add raw losses with gates and weights.

    Args:
        losses: raw losses of each clip, from `finetune_losses`.
        timesteps: noise level of each clip.
        alphas_cumprod: noise table.
        loss: weights and gate.

    Returns:
        The loss to minimise, and detached batch means of the computed parts: raw, gated and weighted.

    Source: Eq. (11), (12), Sec. 4.3.
    """
    zero = torch.zeros_like(losses["diff"])
    g_struct, g_id = gate(loss.gate, timesteps, alphas_cumprod)
    total, parts = total_loss(
        losses["diff"],
        losses.get("struct", zero),
        losses.get("id", zero),
        loss.weight_struct,
        loss.weight_id,
        g_struct,
        g_id,
    )
    return total, {name: value for name, value in parts.items() if name.rpartition("_")[2] in losses}


def weighted_terms(
    losses: Mapping[str, PerSample], timesteps: Timesteps, alphas_cumprod: AlphaTable, loss: LossConfig
) -> dict[str, Scalar]:
    """Split the total into its terms, each with its gradient.

    Args:
        losses: raw losses of each clip, from `finetune_losses`.
        timesteps: noise level of each clip.
        alphas_cumprod: noise table.
        loss: weights and gate.

    Returns:
        Gated and weighted batch mean of each loss; their sum is the loss of `combine`.
    """
    g_struct, g_id = gate(loss.gate, timesteps, alphas_cumprod)
    factors = {"diff": 1.0, "struct": loss.weight_struct * g_struct, "id": loss.weight_id * g_id}
    return {name: (factors[name] * value).mean() for name, value in losses.items()}


def gradient_balance(terms: Mapping[str, Scalar], parameters: Sequence[Tensor]) -> dict[str, float]:
    """Measure how hard each term of the loss pulls at the weights, and whether the terms agree.

    Args:
        terms: terms of the loss by name, sharing one graph.
        parameters: trained weights.

    Returns:
        `grad_<name>`: norm of the term's gradient; `cos_<a>_<b>`: cosine between two gradients, 0 where one
        of them vanishes.
    """
    gradients = {}
    for name, term in terms.items():
        parts = torch.autograd.grad(term, parameters, retain_graph=True, allow_unused=True)
        gradients[name] = torch.cat([part.float().flatten() for part in parts if part is not None])
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
) -> PerSample:
    """Embeddings of predicted latents against those of the true ones, both by the frozen aligner (Eq. 10)."""
    depths: tuple[Latents | None, Latents | None] = (None, None)
    if aligner.config.use_depth:
        depths = (known_depth.detach() if detach else known_depth, batch.depth_latents)
    with torch.no_grad():
        target = aligner(batch.latents, depths[1])
    return identity_loss(aligner(pred_latents, depths[0]), target, batch.face_mask)


def _predicts_depth_for_id(aligners: Aligners, structure: StructureConfig) -> bool:
    identity = aligners.identity
    return structure.input == "clean" and identity is not None and identity.config.use_depth
