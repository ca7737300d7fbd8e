"""The noise explorer: numbers of the chosen level, and all levels in a report."""

import numpy as np
import pytest
import torch

from semrepa.analysis.noise import NoiseLevel
from semrepa.ui.explorers import noise_explorer, noise_level_explorer
from tests.ui.explorers.test_shell import CLIP, noise, words


def test_noise_levels_state_their_numbers():
    assert "identity loss: 4" in words(noise().render(timestep=999))
    assert "identity 0.4" in words(noise().render(timestep=999))
    explorer = noise_explorer([0, 999], {"noisy": CLIP[:2]}, {"loss": [1, 2]}, floors={"loss": 3})
    assert "floor 3" in words(explorer.render(timestep=0))


def test_a_report_shows_all_levels():
    text = words(noise().static())
    assert [f"timestep {time}" in text for time in (0, 500, 999)] == [True] * 3


def level(timestep: int) -> NoiseLevel:
    generator = torch.Generator().manual_seed(timestep)
    names = ("noisy latents", "clean prediction", "depth by the aligner")
    return NoiseLevel(
        timestep=timestep,
        signal=1 - timestep / 1000,
        latents={name: torch.randn(6, 4, 5, generator=generator) for name in names},
        frames={name: torch.randint(0, 256, (3, 32, 40), generator=generator).byte() for name in names},
        losses={"diff": 0.5, "struct": 0.25, "id": timestep / 1000},
        gradients={"diff": 0.1, "struct": 0.0, "id": timestep / 100},
    )


def test_measured_levels_are_shown_as_latents_and_decoded_with_losses_and_gradients():
    explorer = noise_level_explorer([level(100), level(900)])
    figure = explorer.render(timestep=900)
    text = words(figure)
    for word in (
        "noisy latents",
        "clean prediction",
        "depth by the aligner",
        "channels as colours",
        "decoded",
    ):
        assert word in text
    for word in ("diffusion loss: 0.5", "structure loss: 0.25", "identity loss: 0.9", "identity 9"):
        assert word in text
    assert "structure 0" not in text  # it has no weight: no place on a log axis
    shown = [image.get_array() for axes in figure.axes for image in axes.images]
    assert [array.shape for array in shown] == [(4, 5, 3), (32, 40, 3), (4, 5, 3), (32, 40, 3), (32, 40, 3)]
    np.testing.assert_array_equal(shown[1], level(900).frames["noisy latents"].permute(1, 2, 0))


def test_lists_of_different_length_are_refused():
    with pytest.raises(ValueError, match="timesteps: 3, noisy: 2, loss: 3; expected equally many"):
        noise_explorer([0, 1, 2], {"noisy": CLIP[:2]}, {"loss": [1, 2, 3]})
    with pytest.raises(ValueError, match="got timesteps of levels: 0"):
        noise_level_explorer([])
