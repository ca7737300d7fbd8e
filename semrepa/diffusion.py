"""The diffusion maths of CogVideoX: noising, the clean prediction, one sampler step, noise levels and gates.

CogVideoX predicts v, so the clean latent is `sqrt(a) noisy_latents - sqrt(1 - a) v` with
`a = alphas_cumprod[timestep]`. The table is float32 (or float64 where asked for) and every product with it
takes its precision, whatever comes in and also under autocast: in bfloat16 sqrt(1 - a) is wrong by up to
100 % at small timesteps. A timestep below 0 means "no noise": a = 1.
"""

from typing import Any, Literal, Protocol, runtime_checkable

import torch
from torch import Tensor

from semrepa.shapes import AlphaTable, Latents, PerSample, Timesteps

Gate = Literal["none", "snr"]


@runtime_checkable
class NoiseScheduler(Protocol):
    """What is read of a diffusers scheduler: its noise table and what its model predicts."""

    alphas_cumprod: Tensor
    config: Any


def alphas_cumprod(
    noise_scheduler: NoiseScheduler,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> AlphaTable:
    """Take the noise table out of a loaded scheduler.

    Args:
        noise_scheduler: scheduler of a v-prediction model, such as CogVideoXDDIMScheduler.
        device: where the table is needed.
        dtype: float32, or float64 for exact comparisons.

    Returns:
        Share of signal variance at each training timestep, from near 1 down to 0.

    Raises:
        ValueError: when the model of this scheduler does not predict v, or the precision is too low.
    """
    prediction_type = noise_scheduler.config.prediction_type
    if prediction_type != "v_prediction":
        raise ValueError(
            f"got a scheduler with prediction_type={prediction_type!r}; expected 'v_prediction'; "
            "load the scheduler folder of a CogVideoX checkpoint"
        )
    if dtype not in (torch.float32, torch.float64):
        raise ValueError(f"got dtype={dtype}; expected torch.float32 or torch.float64 for the noise table")
    return noise_scheduler.alphas_cumprod.to(device=device, dtype=dtype)


def add_noise(latents: Latents, noise: Latents, timesteps: Timesteps, alphas_cumprod: AlphaTable) -> Latents:
    """Noise clean latents to a timestep.

    Args:
        latents: clean latents.
        noise: standard normal noise of the same shape.
        timesteps: noise level of each clip; below 0 leaves the clip clean.
        alphas_cumprod: noise table.

    Returns:
        `sqrt(a) latents + sqrt(1 - a) noise`.
    """
    signal, spread = _coefficients(timesteps, alphas_cumprod)
    return signal * latents + spread * noise


def velocity(latents: Latents, noise: Latents, timesteps: Timesteps, alphas_cumprod: AlphaTable) -> Latents:
    """Compute the v that a perfect model would predict.

    Args:
        latents: clean latents.
        noise: the noise that was added.
        timesteps: noise level of each clip.
        alphas_cumprod: noise table.

    Returns:
        `sqrt(a) noise - sqrt(1 - a) latents`.
    """
    signal, spread = _coefficients(timesteps, alphas_cumprod)
    return signal * noise - spread * latents


def clean_prediction(
    noisy_latents: Latents, v_pred: Latents, timesteps: Timesteps, alphas_cumprod: AlphaTable
) -> Latents:
    """Recover the clean latents that a v-prediction stands for.

    Args:
        noisy_latents: what the model saw.
        v_pred: what the model answered.
        timesteps: noise level of each clip.
        alphas_cumprod: noise table.

    Returns:
        `sqrt(a) noisy_latents - sqrt(1 - a) v_pred`: finite at every timestep, also where no signal is left.
    """
    signal, spread = _coefficients(timesteps, alphas_cumprod)
    return signal * noisy_latents - spread * v_pred


def ddim_step(
    noisy_latents: Latents, pred_latents: Latents, timesteps: Timesteps, step: int, alphas_cumprod: AlphaTable
) -> Latents:
    """Take one DDIM step (eta 0) with its own timestep for each clip.

    Args:
        noisy_latents: latents at `timesteps`.
        pred_latents: clean prediction made from them.
        timesteps: noise level of each clip, 0 or more.
        step: timesteps to go down, 1000 / N on a sampler grid of N steps.
        alphas_cumprod: noise table.

    Returns:
        Latents at `timesteps - step`; the clean prediction itself where that is below 0.

    Raises:
        ValueError: when `step` is not positive.
    """
    if step < 1:
        raise ValueError(f"got step={step}; expected at least 1 timestep (20 is a grid of 50 sampler steps)")
    signal, spread = _coefficients(timesteps, alphas_cumprod)
    next_signal, next_spread = _coefficients(timesteps - step, alphas_cumprod)
    keep = next_spread / spread
    return keep * noisy_latents + (next_signal - signal * keep) * pred_latents


def snr(timesteps: Timesteps, alphas_cumprod: AlphaTable) -> PerSample:
    """Compute the signal-to-noise ratio of each timestep.

    Args:
        timesteps: noise levels.
        alphas_cumprod: noise table.

    Returns:
        `a / (1 - a)`: 0 at pure noise, infinite for a timestep below 0.
    """
    share = _signal_share(timesteps, alphas_cumprod)
    return share / (1 - share)


def gate(
    kind: Gate,
    timesteps: Timesteps,
    alphas_cumprod: AlphaTable,
    *,
    struct_snr: float = 0.0,
    id_snr: float = 1.0,
) -> tuple[PerSample, PerSample]:
    """Decide how much each clip's alignment losses count at its noise level.

    Args:
        kind: "none" counts all alike, as in the paper. "snr" (ours) weights structure by the signal share `a`
            and counts identity fully, each only where the noise is low enough.
        timesteps: noise level of each clip.
        alphas_cumprod: noise table.
        struct_snr: signal-to-noise ratio from which structure counts under "snr".
        id_snr: the same for identity; 1 is as much signal as noise.

    Returns:
        Factors for the structure loss and for the identity loss, from 0 to 1.

    Raises:
        ValueError: for another kind.
    """
    share = _signal_share(timesteps, alphas_cumprod)
    if kind == "none":
        return torch.ones_like(share), torch.ones_like(share)
    if kind == "snr":
        ratio = snr(timesteps, alphas_cumprod)
        return share * (ratio >= struct_snr), (ratio >= id_snr).to(share.dtype)
    raise ValueError(f"got gate={kind!r}; expected 'none' or 'snr'")


def _signal_share(timesteps: Timesteps, alphas_cumprod: AlphaTable) -> PerSample:
    share = alphas_cumprod[timesteps.clamp(min=0)]
    return torch.where(timesteps < 0, torch.ones_like(share), share)


def _coefficients(timesteps: Timesteps, alphas_cumprod: AlphaTable) -> tuple[Tensor, Tensor]:
    """Give sqrt(a) and sqrt(1 - a) as (b, 1, 1, 1, 1), ready to multiply latents."""
    share = _signal_share(timesteps, alphas_cumprod).view(-1, 1, 1, 1, 1)
    return share.sqrt(), (1 - share).sqrt()
