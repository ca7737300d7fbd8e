"""Store, aligners and base model of the tests of training, and models to compare."""

import pytest
import torch
from training.clips import HELDOUT, TRAIN
from training.conftest import aligners, cfg, float32, parts, store

from semrepa.data.dataset import StoreDataset
from semrepa.diffusion import alphas_cumprod, velocity
from semrepa.models.freeze import freeze
from semrepa.training.alignment import Prediction
from semrepa.training.combined import CombinedObjective, Frozen

__all__ = ["aligners", "cfg", "float32", "parts", "store"]


class Knowing(CombinedObjective):
    """A model that knows the noise."""

    def predict_at(self, latents, noise, timesteps, image_latents, prompt_embeds):
        seen = super().predict_at(latents, noise, timesteps, image_latents, prompt_embeds)
        true_v = velocity(latents, noise, timesteps, seen.alphas_cumprod)
        return Prediction(**{**vars(seen), "v_pred": true_v})


@pytest.fixture
def frozen(parts, aligners) -> Frozen:
    return Frozen(
        vae=parts.vae,
        aligners=aligners,
        alphas_cumprod=alphas_cumprod(parts.noise_scheduler, torch.device("cpu")),
        empty_prompt=torch.zeros(1, 8, 16),
    )


@pytest.fixture
def models(cfg, parts, frozen) -> dict[str, CombinedObjective]:
    """One that has learned nothing, and one that knows the answer."""
    transformer = freeze(parts.transformer)
    return {
        "base": CombinedObjective(transformer, frozen, cfg),
        "knowing": Knowing(transformer, frozen, cfg),
    }


@pytest.fixture
def batches(store):
    """Five clips, one of them without a face, two at a time."""
    dataset = StoreDataset(store, (*TRAIN[:3], *HELDOUT))
    return [dataset.batch([0, 1]), dataset.batch([2, 3]), dataset.batch([4])]
