"""What fine-tuning minimises: the combined loss of a batch (Eq. 11 and 12, Sec. 4.3)."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from diffusers import AutoencoderKLCogVideoX, CogVideoXDDIMScheduler, CogVideoXTransformer3DModel
from jaxtyping import Float
from torch import Tensor, nn

from semrepa.config import Config
from semrepa.data.dataset import Batch
from semrepa.diffusion import add_noise, gate
from semrepa.models.cogvideox import image_condition, predict_v
from semrepa.models.latents import repeat_first
from semrepa.models.single_frame import single_frames
from semrepa.models.transformer import padded_frames
from semrepa.runtime import autocast
from semrepa.shapes import AlphaTable, Latents, PerSample, PromptEmbeds, Scalar, Timesteps
from semrepa.training.alignment import (
    Aligners,
    Prediction,
    combine,
    finetune_losses,
    weighted_terms,
)
from semrepa.training.balance import gradient_balance, over_processes
from semrepa.training.evaluate import Heldout, eval_timesteps, means
from semrepa.training.portion import Portion, normal, uniform
from semrepa.training.schedules import LossWeights


@dataclass(frozen=True, kw_only=True)
class Frozen:
    """All that fine-tuning needs besides the transformer, none of it trained."""

    vae: AutoencoderKLCogVideoX
    """Encodes the first frame anew in each step, with fresh noise."""
    aligners: Aligners
    """Frozen aligners."""
    alphas_cumprod: AlphaTable
    """Noise table of the checkpoint."""
    empty_prompt: PromptEmbeds
    """Text features of the empty caption, (1, l, e), for caption dropout."""
    noise_scheduler: CogVideoXDDIMScheduler | None = None
    """Sampler of the checkpoint, for samples."""


class CombinedObjective(nn.Module):
    """The loss of one batch as a function of the transformer's weights.

    Only the transformer is a submodule: the frozen networks are neither trained, saved nor wrapped.
    """

    def __init__(self, transformer: CogVideoXTransformer3DModel, frozen: Frozen, cfg: Config) -> None:
        """Put the parts together.

        Args:
            transformer: what is trained.
            frozen: everything else.
            cfg: image recipe, structure formulation, weights and gate.
        """
        super().__init__()
        self.transformer = transformer
        self.frozen = frozen
        self.cfg = cfg
        self.weights = LossWeights(
            {"struct": cfg.loss.weight_struct, "id": cfg.loss.weight_id},
            {"struct": cfg.struct_schedule, "id": cfg.id_schedule},
        )
        self._table = frozen.alphas_cumprod.cpu()

    def count(self, portion: Portion) -> dict[str, float]:
        """Count the clips that each mean is over.

        Args:
            portion: clips.

        Returns:
            All clips as `diff`; those whose gate is open as `struct` and `id`.
        """
        gates = self.gates(portion.step, self.timesteps(portion))
        opened = {name: float((g > 0).sum()) for name, g in gates.items()}
        return {"diff": float(len(portion.batch.ids)), **opened}

    def forward(self, portion: Portion) -> tuple[Scalar, dict[str, Scalar]]:
        """Loss of a portion and its detached parts; an alignment loss that is gated away costs nothing.

        Args:
            portion: clips on the device of the transformer.

        Returns:
            What adds up over all portions of the step to the loss to minimise, and to the means of its raw,
            gated and weighted parts.

        Source: Eq. (11), (12), Sec. 4.3.
        """
        losses, gates, weights = self._measure(portion)
        loss, parts = combine(losses, gates, weights, portion.totals)
        if self.weights.measures_similarity:
            for name in weights:
                found = losses.get(f"similarity_{name}")
                similar = torch.zeros_like(losses["diff"]) if found is None else found
                parts[f"similarity_{name}"] = portion.mean(similar * (gates[name] > 0), name)
        return loss, parts

    def balance(self, portions: Sequence[Portion]) -> dict[str, float]:
        """Measure how hard each loss pulls at the transformer, for one forward and one backward per loss.

        Args:
            portions: the portions of a step.

        Returns:
            Gradient norms and cosines of the gated and weighted losses, see `gradient_balance`.
        """
        terms = map(self._terms, portions)
        return gradient_balance(terms, self.trained(), ("diff", *self.weights.weights), over_processes())

    def _terms(self, portion: Portion) -> dict[str, Scalar]:
        return weighted_terms(*self._measure(portion), portion.totals)

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.frozen.alphas_cumprod.device

    def trained(self) -> list[Tensor]:
        """Weights of the transformer that are trained."""
        return [p for p in self.transformer.parameters() if p.requires_grad]

    def _measure(
        self, portion: Portion
    ) -> tuple[dict[str, PerSample], dict[str, PerSample], dict[str, float]]:
        """Raw losses of each clip, their gates, and the weights of this step."""
        timesteps, weights = self.timesteps(portion), self.weights.at(portion.step)
        gates = self.gates(portion.step, timesteps)
        wanted = [name for name in weights if (gates[name] > 0).any()]
        prediction = self.predict(portion)
        losses = self.losses(prediction, portion.batch, wanted)
        device = prediction.timesteps.device
        return losses, {name: g.to(device, non_blocking=True) for name, g in gates.items()}, weights

    def timesteps(self, portion: Portion) -> Timesteps:
        """Noise level of each clip, on the CPU."""
        return portion.timesteps(len(self._table), self.cfg.finetune.timesteps)

    def gates(self, step: int, timesteps: Timesteps) -> dict[str, PerSample]:
        """Decide how much each clip's alignment losses count.

        Args:
            step: step, from 1 on.
            timesteps: noise levels, on the CPU.

        Returns:
            Gate of each clip for `struct` and `id`, on the CPU; 0 where the weight of this step is 0.
        """
        loss, weights = self.cfg.loss, self.weights.at(step)
        limits = {"struct_snr": loss.gate_struct_snr, "id_snr": loss.gate_id_snr}
        opened = dict(zip(("struct", "id"), gate(loss.gate, timesteps, self._table, **limits), strict=True))
        return {name: g * (weights.get(name, 0.0) > 0) for name, g in opened.items()}

    def predict(self, portion: Portion) -> Prediction:
        """Ask the transformer for v as in training: random timestep, noisy first frame, dropped conditions.

        Args:
            portion: clips.

        Returns:
            What it saw and what it answered.
        """
        image, batch = self.cfg.image, portion.batch
        generators, latents = portion.generators(), self._padded(batch)
        noise = normal(latents, generators)
        dropped = (uniform(generators) < image.caption_dropout).to(latents.device)
        with single_frames(self.frozen.vae):
            image_latents = image_condition(
                self.frozen.vae,
                batch.first_frames,
                latents.shape[1],
                generator=generators,
                noise_mean=image.noise_mean,
                noise_std=image.noise_std,
                dropout=image.dropout,
            )
        prompts = torch.where(dropped.view(-1, 1, 1), self.frozen.empty_prompt, batch.prompt_embeds)
        timesteps = self.timesteps(portion).to(latents.device)
        return self.predict_at(latents, noise, timesteps, image_latents, prompts)

    def predict_at(
        self,
        latents: Latents,
        noise: Latents,
        timesteps: Timesteps,
        image_latents: Latents,
        prompt_embeds: PromptEmbeds,
    ) -> Prediction:
        """Ask the transformer for v with everything given.

        Args:
            latents: clean latents, with as many frames as the transformer works on.
            noise: noise to add.
            timesteps: noise level of each clip.
            image_latents: first-frame condition.
            prompt_embeds: text features.

        Returns:
            What it saw and what it answered.
        """
        noisy = add_noise(latents, noise, timesteps, self.frozen.alphas_cumprod)
        with self._precision(noisy.device):
            v_pred = predict_v(self.transformer, noisy, image_latents, prompt_embeds, timesteps)
        return Prediction(
            noise=noise,
            noisy_latents=noisy,
            timesteps=timesteps,
            v_pred=v_pred,
            alphas_cumprod=self.frozen.alphas_cumprod,
        )

    def _precision(self, device: torch.device) -> AbstractContextManager[Any]:
        """As `autocast`; a transformer all in bfloat16 needs none."""
        low = {p.dtype for p in self.transformer.parameters()} == {torch.bfloat16}
        return nullcontext() if low else autocast(device)

    def losses(
        self, prediction: Prediction, batch: Batch, wanted: Sequence[str] | None = None
    ) -> dict[str, PerSample]:
        """Raw losses of each clip, see `finetune_losses`.

        Args:
            prediction: from `predict` or `predict_at`.
            batch: the same clips.
            wanted: alignment losses to compute; None: those with a weight.

        Returns:
            One number per clip for each loss.
        """
        return finetune_losses(
            prediction,
            batch,
            self.frozen.aligners,
            loss=self.cfg.loss,
            structure=self.cfg.structure,
            wanted=wanted,
            similarity=self.weights.measures_similarity,
        )

    @torch.no_grad()
    def heldout(self, batches: Iterable[Heldout], seed: int) -> dict[str, float]:
        """Evaluate at nine fixed noise levels, with fixed noise and the undisturbed first frame.

        Every alignment loss that has an aligner is computed, also those without a weight, so that a plain
        fine-tuning can be compared with an aligned one.

        Args:
            batches: held-out clips.
            seed: seed of the noise.

        Returns:
            `loss_diff`, `loss_struct`, `loss_id`: means over clips and noise levels; and each at one level,
            such as `loss_diff@300`. Clips without a face do not count in `loss_id`.
        """
        wanted = self.computable()
        values: dict[str, list[PerSample]] = defaultdict(list)
        for clips, predict in self.views(batches, seed):
            for level in eval_timesteps(len(self._table)):
                losses = self.losses(predict(level), clips.batch, wanted)
                for name, loss in ((name, losses[name]) for name in ("diff", *wanted)):
                    faces = clips.batch.face_mask.any(dim=1) if name == "id" else True
                    values[f"loss_{name}@{level}"].append(loss[clips.counts & faces])
        return means(values)

    def views(
        self, batches: Iterable[Heldout], seed: int
    ) -> Iterator[tuple[Heldout, Callable[[int], Prediction]]]:
        """Look at clips at any noise level, with fixed noise, the undisturbed first frame and the caption.

        Args:
            batches: clips, and their places among all, on which their noise depends.
            seed: seed of the noise.

        Yields:
            Each batch, with what the transformer answers at a timestep.
        """
        for clips in batches:
            batch = clips.batch
            latents = self._padded(batch)
            noise = normal(latents, clips.generators(seed))
            image_latents = image_condition(self.frozen.vae, batch.first_frames, latents.shape[1])
            yield clips, partial(self._view, latents, noise, image_latents, batch.prompt_embeds)

    def _view(
        self, latents: Latents, noise: Latents, image_latents: Latents, prompts: PromptEmbeds, level: int
    ) -> Prediction:
        timesteps = torch.full((len(latents),), level, device=self.device)
        return self.predict_at(latents, noise, timesteps, image_latents, prompts)

    def _padded(self, batch: Batch) -> Float[Tensor, "b g c h w"]:
        """Clean latents with as many frames as the transformer works on."""
        return repeat_first(batch.latents, padded_frames(self.transformer, batch.latents.shape[1]))

    def computable(self) -> list[str]:
        """Alignment losses that the aligners can compute.

        Returns:
            Some of `struct` and `id`.
        """
        structure, identity = self.frozen.aligners.structure, self.frozen.aligners.identity
        reads_depth = (
            identity is not None and identity.config.use_depth and self.cfg.structure.input == "clean"
        )
        can_id = identity is not None and (structure is not None or not reads_depth)
        return [name for name, possible in (("struct", structure is not None), ("id", can_id)) if possible]
