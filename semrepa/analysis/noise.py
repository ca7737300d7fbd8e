"""One clip at each noise level: what the transformer sees and predicts, each loss, and how hard each pulls.

Fine-tuning draws a noise level at random in each step. Here they stand side by side, with the same noise.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from diffusers import AutoencoderKLCogVideoX
from torch import Tensor

from semrepa.analysis.errors import see
from semrepa.data.dataset import Batch
from semrepa.models.latents import decode, to_frames
from semrepa.shapes import Latents
from semrepa.training.alignment import Prediction
from semrepa.training.combined import CombinedObjective
from semrepa.training.evaluate import in_order

DECODED = 3
"""Latent frames that are decoded for a picture; the last video frame of them is shown."""


@dataclass(frozen=True, kw_only=True)
class NoiseLevel:
    """What fine-tuning sees of one clip at one noise level."""

    timestep: int
    """Noise level."""
    signal: float
    """Share of signal variance, from near 1 down to 0."""
    latents: Mapping[str, Tensor]
    """Latents of one moment by name, (c, h, w): `noisy latents`, `clean prediction` and, where there is a
    structure aligner, `depth by the aligner`."""
    frames: Mapping[str, Tensor]
    """The same moment decoded, by the same names: RGB, 0 to 255, (3, H, W)."""
    losses: Mapping[str, float]
    """Raw loss by name: `diff`, and `struct` and `id` where there are aligners for them."""
    gradients: Mapping[str, float]
    """Norm of the gradient of each loss, gated and weighted, at the transformer's answer `v_pred`."""


def noise_levels(
    model: CombinedObjective, batch: Batch, levels: Sequence[int], *, seed: int = 0
) -> list[NoiseLevel]:
    """Look at a clip at some noise levels, with fixed noise and the undisturbed first frame.

    Args:
        model: transformer, aligners, VAE and weights, such as `semrepa.analysis.runs.load_models` gives.
        batch: one clip, on the device of the model.
        levels: timesteps.
        seed: seed of the noise.

    Returns:
        One entry for each level. A loss whose weight is 0 is computed, but does not pull.

    Raises:
        ValueError: no level, one outside of the noise table, or several clips.

    Source: Eq. (8) to (12), Sec. 4.3.
    """
    last = len(model.frozen.alphas_cumprod) - 1
    if not levels or min(levels) < 0 or max(levels) > last:
        raise ValueError(f"levels: got {list(levels)}; expected timesteps from 0 to {last}")
    if len(batch.ids) != 1:
        raise ValueError(f"got {len(batch.ids)} clips; expected one; take one of them")
    with torch.no_grad():
        ((_, predict),) = model.views(in_order([batch]), seed)
        answers = {level: predict(level) for level in levels}
    return [_look(model, batch, level, answer) for level, answer in answers.items()]


def _look(model: CombinedObjective, batch: Batch, level: int, prediction: Prediction) -> NoiseLevel:
    frames = batch.latents.shape[1]
    with torch.no_grad():
        of_video = prediction.last(frames)
        seen = see(model.frozen.aligners, model.cfg.structure, batch, "predicted", of_video)
        latents = {"noisy latents": of_video.noisy_latents, "clean prediction": seen.latents}
        if seen.depth_latents is not None:
            latents["depth by the aligner"] = seen.depth_latents
        pictures = {name: _picture(model.frozen.vae, values) for name, values in latents.items()}
    losses, gradients = _pulls(model, batch, level, prediction)
    shown = min(DECODED, frames) - 1
    return NoiseLevel(
        timestep=level,
        signal=model.frozen.alphas_cumprod[level].item(),
        latents={name: values[0, shown].float().cpu() for name, values in latents.items()},
        frames=pictures,
        losses=losses,
        gradients=gradients,
    )


def _picture(vae: AutoencoderKLCogVideoX, latents: Latents) -> Tensor:
    return to_frames(decode(vae, latents[:, :DECODED]))[0, -1].cpu()


def _pulls(
    model: CombinedObjective, batch: Batch, level: int, prediction: Prediction
) -> tuple[dict[str, float], dict[str, float]]:
    """Raw losses, and the norm of each weighted one's gradient at the answer."""
    v_pred = prediction.v_pred.detach().requires_grad_(True)
    names = model.computable()
    found = model.losses(replace(prediction, v_pred=v_pred), batch, names)
    losses = {name: found[name] for name in ("diff", *names)}
    gates = model.gates(1, torch.tensor([level]))
    weights = {"diff": 1.0, **model.weights.weights}
    gradients = {}
    for name, loss in losses.items():
        factor = weights.get(name, 0.0) * (gates[name].item() if name in gates else 1.0)
        (gradient,) = torch.autograd.grad(loss.sum(), v_pred, retain_graph=True)
        gradients[name] = factor * torch.linalg.vector_norm(gradient.float()).item()
    return {name: loss.item() for name, loss in losses.items()}, gradients
