"""Errors by noise level: those of training where training sees them, and right where the answer is known."""

import math

import pytest
import torch

from semrepa.analysis.errors import (
    NOISED,
    TRUE,
    Reading,
    Seen,
    above_floor,
    depth_judge,
    error_by_timestep,
    median_by_timestep,
    see,
    values_by_timestep,
)
from semrepa.config import override
from semrepa.losses import structure_loss
from semrepa.models.structure import StructureAligner
from semrepa.training.alignment import Aligners
from semrepa.training.evaluate import in_order
from semrepa.training.objectives import IdentityObjective

LEVELS = [100, 700]


def values(readings: list[Reading], seen: str, level: int | None, name: str) -> list[float]:
    return [r.values[name] for r in readings if (r.seen, r.timestep) == (seen, level)]


def test_everything_is_measured_for_every_clip(models, batches):
    readings = error_by_timestep(models, batches, LEVELS, seed=1)
    assert len(readings) == 5 * (1 + 2 * 3)
    assert {r.seen for r in readings} == {TRUE, NOISED, "base", "knowing"}
    again = error_by_timestep(models, batches, LEVELS, seed=1)
    assert [str(r) for r in again] == [str(r) for r in readings]  # NaN is not equal to itself
    other = error_by_timestep(models, batches, LEVELS, seed=2)
    assert values(other, TRUE, None, "struct_mse") == values(readings, TRUE, None, "struct_mse")
    assert values(other, NOISED, 700, "struct_mse") != values(readings, NOISED, 700, "struct_mse")


def test_predictions_have_the_losses_of_training(models, batches, float32):
    readings = error_by_timestep(models, batches, LEVELS, seed=1)
    for level in LEVELS:
        expected = {"struct": [], "id": []}
        for clips, predict in models["base"].views(in_order(batches), 1):
            losses = models["base"].losses(predict(level), clips.batch)
            for name in expected:
                expected[name] += losses[name].tolist()
        assert values(readings, "base", level, "struct_mse") == pytest.approx(expected["struct"], rel=1e-2)
        faces = values(readings, "base", level, "id_loss")
        assert faces[:4] == pytest.approx(expected["id"][:4], rel=2e-2)
        assert math.isnan(faces[4]) and expected["id"][4] == 0  # the clip without a face


def test_true_latents_have_the_error_of_pretraining(models, batches, aligners):
    readings = error_by_timestep(models, batches, LEVELS, seed=1)
    with torch.no_grad():
        structure = [structure_loss(aligners.structure(b.latents), b.depth_latents) for b in batches]
        answers = [IdentityObjective(aligners.identity).predict(batch) for batch in batches]
    l1 = (answers[0][0] - batches[0].id_embeds[0]).abs().mean(dim=-1)[batches[0].face_mask[0]].mean()
    assert values(readings, TRUE, None, "struct_mse") == pytest.approx(
        torch.cat(structure).tolist(), rel=1e-2
    )
    assert values(readings, TRUE, None, "id_l1")[0] == pytest.approx(l1.item(), rel=2e-2)
    assert values(readings, TRUE, None, "id_loss")[:4] == [0, 0, 0, 0]


def test_a_model_that_knows_the_answer_is_read_like_true_latents(models, batches):
    readings = error_by_timestep(models, batches, LEVELS, seed=1)
    true = values(readings, TRUE, None, "struct_mse")
    for level in LEVELS:
        assert values(readings, "knowing", level, "struct_mse") == pytest.approx(true, rel=1e-2)
        assert values(readings, "base", level, "struct_mse") != pytest.approx(true, rel=1e-2)


class Perfect(StructureAligner):
    """Answers with the noised depth latents of Eq. 4, since it was told depth and video."""

    def tell(self, batch, table):
        self.shift = batch.depth_latents - batch.latents
        self.table = table
        return self

    def forward(self, latents, timesteps=None):
        signal = 1.0 if timesteps is None else self.table[timesteps].sqrt().view(-1, 1, 1, 1, 1)
        return latents + signal * self.shift


@pytest.mark.parametrize("source", ["noised", "predicted"])
def test_known_noise_is_taken_out_of_a_noisy_aligners_answer(models, batches, cfg, source):
    _, predict = next(iter(models["knowing"].views(in_order(batches[:1]), 0)))
    batch = batches[0]
    aligner = Perfect(1, 1, 16).tell(batch, models["base"].frozen.alphas_cumprod)
    noisy = override(cfg, {"structure.input": "noisy"}).structure
    for level in (5, 300, 700):  # 5 is below one sampler step: the prediction itself, without noise
        seen = see(Aligners(structure=aligner), noisy, batch, source, predict(level))
        torch.testing.assert_close(seen.depth_latents, batch.depth_latents, rtol=1e-2, atol=5e-3)
        assert seen.embeds is None


def test_identity_sees_true_depth_with_true_latents_and_predicted_depth_else(models, batches, aligners, cfg):
    _, predict = next(iter(models["base"].views(in_order(batches[:1]), 0)))
    batch = batches[0]
    clean = predict(300).clean()
    with torch.no_grad():
        true = see(aligners, cfg.structure, batch, "true")
        predicted = see(aligners, cfg.structure, batch, "predicted", predict(300))
        close = {"rtol": 0.05, "atol": 0.01}
        torch.testing.assert_close(
            true.embeds, aligners.identity(batch.latents, batch.depth_latents), **close
        )
        answer = aligners.identity(clean, aligners.structure(clean))
        torch.testing.assert_close(predicted.embeds, answer, **close)
        assert (
            see(Aligners(identity=aligners.identity), cfg.structure, batch, "noised", predict(9)).embeds
            is None
        )


@pytest.mark.parametrize("kind", ["metric", "disparity"])
def test_depth_is_compared_after_decoding(parts, batches, kind):
    batch = batches[0]
    ranges = {name: torch.tensor([[0.2, 1.0]]) for name in batch.ids}
    judge = depth_judge(parts.vae, "inferno", ranges, kind)
    right = judge(Seen(latents=batch.latents, depth_latents=batch.depth_latents, embeds=None), batch)
    wrong = judge(Seen(latents=batch.latents, depth_latents=-batch.depth_latents, embeds=None), batch)
    assert right["abs_rel"].tolist() == [0, 0]
    assert right["delta_1.25"].tolist() == [1, 1]
    assert (wrong["abs_rel"] > 0.01).all()
    assert judge(Seen(latents=batch.latents, depth_latents=None, embeds=None), batch) == {}


def test_clips_without_a_number_are_skipped():
    readings = [
        Reading(clip=clip, timestep=level, seen="base", values={"id_l1": value})
        for clip, level, value in [
            ("a", 1, 2.0),
            ("b", 1, math.nan),
            ("c", 1, 4.0),
            ("d", 1, 90.0),
            ("a", 5, 7.0),
        ]
    ]
    assert values_by_timestep(readings, "id_l1")["base"][1].tolist() == [2, 4, 90]
    assert median_by_timestep(readings, "id_l1") == {"base": {1: 4.0, 5: 7.0}}
    assert values_by_timestep(readings, "other") == {}


def test_clips_on_which_an_aligner_fails_are_found():
    readings = [
        Reading(clip=clip, timestep=None, seen=seen, values={"id_l1": value})
        for clip, seen, value in [
            ("a", TRUE, 0.03),
            ("b", TRUE, 0.16),
            ("c", TRUE, math.nan),
            ("a", "base", 0.9),
        ]
    ]
    assert above_floor(readings, "id_l1", 0.035) == {"b": 0.16}
