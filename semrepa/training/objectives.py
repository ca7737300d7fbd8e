"""What the two aligners minimise in pretraining (Eq. 2 to 7, Sec. 4.2)."""

import dataclasses
from collections.abc import Iterable, Sequence

import torch
from torch import nn
from torch.nn.functional import cosine_similarity

from semrepa.data.dataset import Batch
from semrepa.diffusion import add_noise
from semrepa.losses import identity_loss, structure_loss
from semrepa.models.identity import IdentityAligner
from semrepa.models.structure import StructureAligner
from semrepa.runtime import autocast
from semrepa.shapes import AlphaTable, Embeddings, Latents, PerSample, Scalar, Timesteps
from semrepa.training.evaluate import Heldout, eval_timesteps, means
from semrepa.training.portion import Portion, normal, uniform


class StructureObjective(nn.Module):
    """Loss of the structure aligner on clean latents, or on noisy ones when it has a noise table."""

    def __init__(self, aligner: StructureAligner, table: AlphaTable | None = None) -> None:
        """Put the parts together.

        Args:
            aligner: what is trained.
            table: noise table for the noisy formulation; None is the clean one.
        """
        super().__init__()
        self.aligner = aligner
        self.table = table

    def count(self, portion: Portion) -> dict[str, float]:
        """Count the clips that the mean is over: all."""
        return {"clips": float(len(portion.batch.ids))}

    def forward(self, portion: Portion) -> tuple[Scalar, dict[str, Scalar]]:
        """Loss of a portion and its detached part.

        Args:
            portion: clips; noise and timesteps are drawn for each.

        Returns:
            What adds up to the mean squared error of the whole batch, and the same as `loss_struct`.

        Source: Eq. (2), (3) clean and Eq. (4), (5) noisy, Sec. 4.2.1.
        """
        batch = portion.batch
        if self.table is None:
            error = self.clean(batch)
        else:
            noise = normal(batch.latents, portion.generators())
            error = self.noisy(batch, noise, portion.timesteps(len(self.table)).to(noise.device))
        loss = portion.mean(error, "clips")
        return loss, {"loss_struct": loss.detach()}

    def clean(self, batch: Batch) -> PerSample:
        """Loss of each clip on clean latents (Eq. 2 and 3).

        Args:
            batch: clips.

        Returns:
            Mean squared error of each clip.
        """
        with autocast(batch.latents.device):
            pred = self.aligner(batch.latents)
        return structure_loss(pred, batch.depth_latents)

    def noisy(self, batch: Batch, noise: Latents, timesteps: Timesteps) -> PerSample:
        """Loss of each clip on noisy latents: the same noise on video and depth (Eq. 4 and 5).

        Args:
            batch: clips.
            noise: noise for both.
            timesteps: noise level of each clip.

        Returns:
            Mean squared error of each clip.
        """
        with autocast(noise.device):
            pred = self.aligner(add_noise(batch.latents, noise, timesteps, self.table), timesteps)
        return structure_loss(pred, add_noise(batch.depth_latents, noise, timesteps, self.table))

    def heldout(self, batches: Iterable[Heldout], seed: int) -> dict[str, float]:
        """Evaluate, on noisy latents at nine fixed noise levels with fixed noise.

        Args:
            batches: held-out clips.
            seed: seed of the noise.

        Returns:
            `loss_struct`, and `loss_struct@<timestep>` for the noisy formulation.
        """
        losses: dict[str, list[PerSample]] = {}
        for heldout in batches:
            batch, counts = heldout.batch, heldout.counts
            if self.table is None:
                losses.setdefault("loss_struct", []).append(self.clean(batch)[counts])
                continue
            noise = normal(batch.latents, heldout.generators(seed))
            for level in eval_timesteps(len(self.table)):
                timesteps = torch.full((len(noise),), level, device=noise.device)
                error = self.noisy(batch, noise, timesteps)
                losses.setdefault(f"loss_struct@{level}", []).append(error[counts])
        return means(losses)


class IdentityObjective(nn.Module):
    """Loss of the identity aligner, with or without depth latents as its config says."""

    def __init__(
        self, aligner: IdentityAligner, *, weight_cosine: float = 0.0, noise: float = 0.0, shift: int = 0
    ) -> None:
        """Put the parts together.

        Args:
            aligner: what is trained.
            weight_cosine: weight of 1 - cosine beside the paper's mean absolute error, which alone first
                pulls all answers to zero and then learns slowly.
            noise: see `disturb`.
            shift: see `disturb`.
        """
        super().__init__()
        self.aligner = aligner
        self.weight_cosine = weight_cosine
        self.noise = noise
        self.shift = shift

    def count(self, portion: Portion) -> dict[str, float]:
        """Count the clips that the mean is over: those that show a face."""
        return {"faces": float(portion.batch.face_mask.any(dim=1).sum())}

    def forward(self, portion: Portion) -> tuple[Scalar, dict[str, Scalar]]:
        """Loss of a portion, averaged over the clips that show a face, and its detached parts.

        Args:
            portion: clips; disturbances are drawn for each.

        Returns:
            What adds up over the whole batch to the mean absolute error plus the weighted 1 - cosine; and
            apart from each other `loss_id`, the mean absolute error, and the `cosine` to the teacher's
            embeddings.

        Source: Eq. (6), (7), Sec. 4.2.2.
        """
        batch = portion.batch
        pred = self.predict(disturb(batch, portion.generators(), noise=self.noise, shift=self.shift))
        error = portion.mean(identity_loss(pred, batch.id_embeds, batch.face_mask), "faces")
        similar = _cosine(pred, batch)
        loss = error
        if self.weight_cosine:
            apart = (1 - similar) * batch.face_mask.any(dim=1)
            loss = error + self.weight_cosine * portion.mean(apart, "faces")
        return loss, {"loss_id": error.detach(), "cosine": portion.mean(similar.detach(), "faces")}

    def predict(self, batch: Batch) -> Embeddings:
        """Predict the face embeddings of true latents (Eq. 6).

        Args:
            batch: clips.

        Returns:
            Embedding of each video frame.
        """
        depth = batch.depth_latents if self.aligner.config.use_depth else None
        with autocast(batch.latents.device):
            return self.aligner(batch.latents, depth)

    def heldout(self, batches: Iterable[Heldout]) -> dict[str, float]:
        """Evaluate on clips that show a face.

        Args:
            batches: held-out clips.

        Returns:
            `loss_id` and `cosine` to the teacher's embeddings.
        """
        losses: dict[str, list[PerSample]] = {"loss_id": [], "cosine": []}
        for heldout in batches:
            batch = heldout.batch
            pred, seen = self.predict(batch), batch.face_mask.any(dim=1) & heldout.counts
            losses["loss_id"].append(identity_loss(pred, batch.id_embeds, batch.face_mask)[seen])
            losses["cosine"].append(_cosine(pred, batch)[seen])
        return means(losses)


def disturb(batch: Batch, generators: Sequence[torch.Generator], *, noise: float, shift: int) -> Batch:
    """Disturb latents and depth latents, so that an aligner cannot learn training clips by heart.

    Args:
        batch: clips.
        generators: CPU source of randomness of each clip.
        noise: most standard deviation of added noise; each clip draws its own, uniform from 0.
        shift: most latent cells by which a clip is moved, down and to the right or back; what leaves on one
            side enters on the other.

    Returns:
        The disturbed clips; without noise and shift the batch itself.
    """
    if not noise and not shift:
        return batch
    pair = torch.stack([batch.latents, batch.depth_latents], dim=1)
    strength = (noise * uniform(generators)).view(-1, 1, 1, 1, 1, 1).to(pair.device)
    pair = pair + strength * normal(pair, generators)
    moves = [torch.randint(-shift, shift + 1, (2,), generator=g).tolist() for g in generators]
    moved = torch.stack([clip.roll(move, dims=(-2, -1)) for clip, move in zip(pair, moves, strict=True)])
    return dataclasses.replace(batch, latents=moved[:, 0], depth_latents=moved[:, 1])


def _cosine(pred: Embeddings, batch: Batch) -> PerSample:
    """Mean cosine to the teacher's embeddings over the frames that show a face; 0 for a clip without any."""
    similar = cosine_similarity(pred, batch.id_embeds, dim=-1) * batch.face_mask
    return similar.sum(dim=1) / batch.face_mask.sum(dim=1).clamp(min=1)
