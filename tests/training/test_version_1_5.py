"""Fine-tuning of CogVideoX 1.5: one more latent frame in front of an odd number, and aligners without it."""

import pytest
import torch

from semrepa.config import override
from semrepa.diffusion import add_noise, alphas_cumprod, velocity
from semrepa.models.cogvideox import predict_v
from semrepa.training.combined import CombinedObjective, Frozen
from semrepa.training.evaluate import Heldout
from semrepa.training.portion import portions
from tests.official import version_transformer


@pytest.fixture
def pairs(cfg, parts, aligners):
    """The objective of a transformer that takes latent frames in pairs."""
    frozen = Frozen(
        vae=parts.vae,
        aligners=aligners,
        alphas_cumprod=alphas_cumprod(parts.noise_scheduler, torch.device("cpu")),
        empty_prompt=torch.zeros(1, 8, 16),
    )
    return CombinedObjective(version_transformer("1.5"), frozen, override(cfg, {"image.dropout": 0.0}))


def test_version_1_5_is_trained_with_the_first_latent_frame_repeated(pairs, batch, monkeypatch):
    seen = {}

    def spy(transformer, noisy, image_latents, prompt_embeds, timesteps):
        seen.update(noisy=noisy, image=image_latents)
        return predict_v(transformer, noisy, image_latents, prompt_embeds, timesteps)

    monkeypatch.setattr("semrepa.training.combined.predict_v", spy)
    prediction = pairs.predict(portions([batch], pairs.count, seed=0, step=1)[0])
    assert prediction.v_pred.shape == prediction.noise.shape == (3, 4, 16, 4, 6)
    repeated = torch.cat([batch.latents[:, :1], batch.latents], dim=1)
    table = pairs.frozen.alphas_cumprod
    assert torch.equal(seen["noisy"], add_noise(repeated, prediction.noise, prediction.timesteps, table))
    assert not torch.equal(prediction.noise[:, 0], prediction.noise[:, 1])
    assert seen["image"][:, 0].abs().min(dim=-1).values.max() > 0 == seen["image"][:, 1:].abs().max()
    v_true = velocity(repeated, prediction.noise, prediction.timesteps, table)
    expected = (prediction.v_pred - v_true).square().mean(dim=(1, 2, 3, 4))
    torch.testing.assert_close(pairs.losses(prediction, batch)["diff"], expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("structure", ["clean", "noisy"])
def test_aligners_see_the_video_alone(pairs, batch, cfg, structure, aligners, monkeypatch):
    seen = []
    forward = type(aligners.structure).forward

    def spy(self, latents, timesteps=None):
        seen.append(latents)
        return forward(self, latents, timesteps)

    monkeypatch.setattr(type(aligners.structure), "forward", spy)
    pairs.cfg = override(cfg, {"structure.input": structure})
    prediction = pairs.predict(portions([batch], pairs.count, seed=0, step=1)[0])
    losses = pairs.losses(prediction, batch)
    if structure == "clean":
        assert torch.equal(seen[0], prediction.clean()[:, 1:])
    assert seen[0].shape == batch.latents.shape
    for name, loss in losses.items():
        (gradient,) = torch.autograd.grad(loss.sum(), prediction.v_pred, retain_graph=True)
        assert gradient[0, 1:].abs().amax(dim=(1, 2, 3)).min() > 0, name
        assert bool(gradient[:, 0].any()) is (name == "diff"), name


def test_version_1_5_is_evaluated_like_the_others(pairs, batch):
    values = pairs.heldout([Heldout.of(batch)], seed=0)
    assert {"loss_diff", "loss_struct", "loss_id", "loss_diff@500"} <= values.keys()
