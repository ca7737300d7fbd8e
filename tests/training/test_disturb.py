"""Disturbed latents and the cosine term of identity pretraining."""

import dataclasses

import torch

from semrepa.data.dataset import Batch
from semrepa.losses import identity_loss
from semrepa.models.identity import IdentityAligner
from semrepa.training.objectives import IdentityObjective, disturb
from semrepa.training.portion import portions


def _batch(count: int = 3) -> Batch:
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(count, 2, 16, 8, 8, generator=generator)
    embeds = torch.nn.functional.normalize(torch.randn(count, 5, 512, generator=generator), dim=-1)
    return Batch(
        latents=latents,
        depth_latents=2 * latents,
        first_frames=torch.zeros(count, 3, 64, 64, dtype=torch.uint8),
        prompt_embeds=torch.zeros(count, 4, 8),
        id_embeds=embeds,
        face_mask=torch.ones(count, 5, dtype=torch.bool),
        ids=tuple("abc"[:count]),
    )


def _generators() -> list[torch.Generator]:
    return [torch.Generator().manual_seed(7 + clip) for clip in range(3)]


def _loss(objective: IdentityObjective, batch: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    return objective(portions([batch], objective.count, seed=0, step=1)[0])


def test_nothing_asked_changes_nothing() -> None:
    batch = _batch()
    assert disturb(batch, _generators(), noise=0.0, shift=0) is batch


def test_video_and_depth_move_together_and_nothing_is_lost() -> None:
    batch = _batch()
    moved = disturb(batch, _generators(), noise=0.0, shift=3)
    assert not torch.equal(moved.latents, batch.latents)
    assert torch.equal(moved.depth_latents, 2 * moved.latents)
    assert torch.equal(moved.latents.flatten(1).sort().values, batch.latents.flatten(1).sort().values)


def test_noise_stays_under_its_limit_and_follows_the_generators() -> None:
    batch = _batch()
    noisy = disturb(batch, _generators(), noise=0.5, shift=0)
    deviation = (noisy.latents - batch.latents).flatten(1).std(dim=1)
    assert ((deviation > 0) & (deviation < 0.55)).all()
    assert torch.equal(noisy.latents, disturb(batch, _generators(), noise=0.5, shift=0).latents)


def test_the_cosine_term_is_added_with_its_weight() -> None:
    torch.manual_seed(0)
    aligner = IdentityAligner(width=8, num_blocks=1)
    batch = _batch()
    loss, parts = _loss(IdentityObjective(aligner, weight_cosine=0.5), batch)
    plain, _ = _loss(IdentityObjective(aligner), batch)
    error = identity_loss(
        aligner(batch.latents, batch.depth_latents), batch.id_embeds, batch.face_mask
    ).mean()
    assert torch.allclose(plain, error, rtol=0.05)
    assert torch.allclose(loss, parts["loss_id"] + 0.5 * (1 - parts["cosine"]))


def test_faceless_clips_give_zero_error_with_a_graph() -> None:
    batch = dataclasses.replace(_batch(), face_mask=torch.zeros(3, 5, dtype=torch.bool))
    loss, _ = _loss(IdentityObjective(IdentityAligner(width=8, num_blocks=1)), batch)
    assert loss.item() == 0
    loss.backward()
