"""One clip at noise levels: the losses of training, their gradients at the answer, and pictures of both."""

import pytest
import torch
from training.clips import TRAIN

from semrepa.analysis.noise import noise_levels
from semrepa.config import override
from semrepa.data.dataset import StoreDataset
from semrepa.training.combined import CombinedObjective
from semrepa.training.evaluate import in_order

LEVELS = [100, 900]


@pytest.fixture
def clip(store):
    return StoreDataset(store, TRAIN[:1]).batch([0])


def test_losses_are_those_of_training_with_the_same_noise(models, clip, float32):
    found = noise_levels(models["base"], clip, LEVELS, seed=1)
    ((_, predict),) = models["base"].views(in_order([clip]), 1)
    for level in found:
        expected = models["base"].losses(predict(level.timestep), clip)
        assert level.losses == pytest.approx({name: loss.item() for name, loss in expected.items()})
    assert [level.timestep for level in found] == LEVELS
    assert found[0].signal > found[1].signal > 0


def test_the_gradient_of_the_diffusion_loss_is_that_of_a_mean_square(models, clip, float32):
    numbers = clip.latents.numel()
    for level in noise_levels(models["base"], clip, LEVELS, seed=1):
        assert level.gradients["diff"] == pytest.approx(2 * (level.losses["diff"] / numbers) ** 0.5, rel=1e-4)
    for level in noise_levels(models["knowing"], clip, LEVELS, seed=1):
        assert level.losses["diff"] < 1e-8
        assert level.gradients["diff"] < 1e-6


def test_gradients_carry_weight_and_gate(models, clip, cfg, frozen, float32):
    def gradients(changes):
        model = CombinedObjective(models["base"].transformer, frozen, override(cfg, {"loss": changes}))
        return [level.gradients for level in noise_levels(model, clip, LEVELS, seed=1)]

    ones, more = gradients({"weight_id": 1.0}), gradients({"weight_id": 10.0, "weight_struct": 0.0})
    for once, often in zip(ones, more, strict=True):
        assert once["id"] > 0
        assert often["id"] == pytest.approx(10 * once["id"], rel=1e-4)
        assert once["struct"] > 0 == often["struct"]
    early, late = gradients({"gate": "snr"})
    assert early["id"] > 0 == late["id"]


def test_pictures_show_noise_prediction_and_depth(models, clip):
    (level,) = noise_levels(models["knowing"], clip, [100], seed=1)
    assert (
        list(level.latents)
        == list(level.frames)
        == ["noisy latents", "clean prediction", "depth by the aligner"]
    )
    shown = min(3, clip.latents.shape[1]) - 1
    torch.testing.assert_close(level.latents["clean prediction"], clip.latents[0, shown], atol=1e-4, rtol=0)
    assert {frame.dtype for frame in level.frames.values()} == {torch.uint8}
    assert {tuple(frame.shape) for frame in level.frames.values()} == {(3, 32, 48)}


def test_levels_outside_the_table_and_several_clips_are_refused(models, clip, batches):
    with pytest.raises(ValueError, match=r"levels: got \[1000\]; expected timesteps from 0 to 999"):
        noise_levels(models["base"], clip, [1000])
    with pytest.raises(ValueError, match=r"levels: got \[\]"):
        noise_levels(models["base"], clip, [])
    with pytest.raises(ValueError, match="got 2 clips; expected one"):
        noise_levels(models["base"], batches[0], [100])
