"""How wrong the aligners are at each noise level: on true, noised and predicted clean latents.

An aligner has learned true latents; in fine-tuning it judges what the transformer predicts. Its error on the
former is the best that can be hoped for on the latter, its error on noised latents what it makes of noise.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
import torch
from diffusers import AutoencoderKLCogVideoX

from semrepa.config import StructureConfig
from semrepa.data.dataset import Batch
from semrepa.depth import Colormap, DepthKind, decolorize, denormalize
from semrepa.diffusion import add_noise, ddim_step
from semrepa.losses import identity_loss, structure_loss
from semrepa.metrics.depth import FAR, abs_rel, delta
from semrepa.models.latents import decode
from semrepa.runtime import autocast
from semrepa.shapes import Depth, DepthRange, Embeddings, Latents, PerSample
from semrepa.training.alignment import Aligners, Prediction
from semrepa.training.combined import CombinedObjective
from semrepa.training.evaluate import in_order

Source = Literal["true", "noised", "predicted", "encoded"]
TRUE, NOISED = "true latents", "noised latents"
"""What was looked at, where no transformer is behind it."""


@dataclass(frozen=True, kw_only=True)
class Seen:
    """Some latents and what the aligners make of them."""

    latents: Latents
    """The latents: clean, or noised."""
    depth_latents: Latents | None
    """The structure aligner's answer; in the noisy formulation the known noise is taken out of it."""
    embeds: Embeddings | None
    """The identity aligner's answer."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """Numbers of one clip at one noise level."""

    clip: str
    """Name of the clip."""
    timestep: int | None
    """Noise level; None for true latents, which have none."""
    seen: str
    """What was looked at: `TRUE`, `NOISED`, or the name of the model that predicted it."""
    values: Mapping[str, float]
    """Number by name; NaN where there is none, as for identity in a clip without a face."""


Judge = Callable[[Seen, Batch], Mapping[str, PerSample]]
"""Gives further numbers for each clip of what was seen."""


@torch.no_grad()
def error_by_timestep(
    models: Mapping[str, CombinedObjective],
    batches: Iterable[Batch],
    levels: Sequence[int],
    *,
    seed: int,
    judges: Sequence[Judge] = (),
    video_judges: Sequence[Judge] = (),
) -> list[Reading]:
    """Measure both aligners at chosen noise levels, for all models with the same noise.

    Args:
        models: transformers by name, with the same frozen rest.
        batches: held-out clips, on the device of the models.
        levels: timesteps at which some signal is left.
        seed: seed of the noise.
        judges: give further numbers of everything that is seen, such as `depth_judge`.
        video_judges: give further numbers of true and predicted latents, which stand for a video.

    Returns:
        For each clip one reading of true latents, and for each level one of noised latents and one of the
        prediction of each model. Values are those of `aligner_errors` and of the judges.
    """
    batches, first = list(batches), next(iter(models.values()))
    shown = partial(see, first.frozen.aligners, first.cfg.structure)
    everything = (*judges, *video_judges)
    readings: list[Reading] = []
    for views in zip(*(model.views(in_order(batches), seed) for model in models.values()), strict=True):
        batch = views[0][0].batch
        true = shown(batch, "true")
        readings += _read(true, true, batch, everything, (TRUE, None))
        for level in levels:
            predictions = [predict(level).last(batch.latents.shape[1]) for _, predict in views]
            noised = shown(batch, "noised", predictions[0])
            readings += _read(noised, true, batch, judges, (NOISED, level))
            for name, prediction in zip(models, predictions, strict=True):
                seen = shown(batch, "predicted", prediction)
                readings += _read(seen, true, batch, everything, (name, level))
    return readings


def see(
    aligners: Aligners,
    structure: StructureConfig,
    batch: Batch,
    source: Source,
    given: Prediction | Latents | None = None,
) -> Seen:
    """Show latents to the aligners as fine-tuning does.

    The identity aligner gets the true depth latents with true latents (Eq. 6), else the structure aligner's
    answer, and in the noisy formulation always the true ones (Eq. 10).

    Args:
        aligners: frozen aligners.
        structure: clean or noisy formulation.
        batch: clips.
        source: "true", the batch's own latents; "noised" and "predicted", those of a prediction; "encoded",
            clean latents from elsewhere.
        given: the prediction, or these latents.

    Returns:
        The latents and the answers.
    """
    if isinstance(given, Prediction):
        latents = given.noisy_latents if source == "noised" else given.clean()
    else:
        latents = batch.latents if given is None else given
    with autocast(latents.device):
        depth = _depth(aligners, structure, latents, source, given)
        known = batch.depth_latents if source == "true" or structure.input == "noisy" else depth
        identity, embeds = aligners.identity, None
        if identity is not None and not (identity.config.use_depth and known is None):
            embeds = identity(latents, known if identity.config.use_depth else None)
    return Seen(latents=latents, depth_latents=depth, embeds=embeds)


def aligner_errors(seen: Seen, true: Seen, batch: Batch) -> dict[str, PerSample]:
    """Compare the aligners' answers with the teachers', and with their own on true latents.

    Args:
        seen: answers.
        true: answers on true latents.
        batch: the same clips with the teachers' answers.

    Returns:
        `struct_mse`: against the teacher's depth latents (Eq. 8). `id_l1`, `id_cosine`: against the face
        teacher (Eq. 7), `id_loss`: against the aligner on true latents (Eq. 10), over the frames with a face;
        NaN for clips without any. Those of an aligner that is not there are left out.
    """
    found = {}
    if seen.depth_latents is not None:
        found["struct_mse"] = structure_loss(seen.depth_latents, batch.depth_latents)
    if seen.embeds is not None:
        mask = batch.face_mask
        cosines = torch.cosine_similarity(seen.embeds, batch.id_embeds, dim=-1)
        by_clip = {
            "id_l1": identity_loss(seen.embeds, batch.id_embeds, mask),
            "id_loss": identity_loss(seen.embeds, true.embeds, mask),
            "id_cosine": (cosines * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1),
        }
        faceless = ~mask.any(dim=1)
        found |= {name: value.masked_fill(faceless, torch.nan) for name, value in by_clip.items()}
    return found


def depth_judge(
    vae: AutoencoderKLCogVideoX,
    colormap: Colormap,
    ranges: Mapping[str, DepthRange],
    kind: DepthKind,
) -> Judge:
    """Make a judge of the structure aligner's answers as depth.

    Both the answer and the teacher's depth latents are decoded and read back from their colours, so that what
    the VAE loses is lost on both sides.

    Args:
        vae: frozen VAE.
        colormap: colours of the depth latents.
        ranges: smallest and largest disparity (1, 2) of each clip, from its record.
        kind: what the depth teacher answers; "metric" compares metres, "disparity" what is not `FAR`.

    Returns:
        The judge; it gives `abs_rel` and `delta_1.25`.
    """
    truths: dict[tuple[str, ...], tuple[Depth, Depth]] = {}

    def read(latents: Latents, batch: Batch) -> tuple[Depth, Depth]:
        values, _ = decolorize(decode(vae, latents), colormap)
        spans = torch.cat([ranges[name] for name in batch.ids]).to(values.device)
        return values, denormalize(values, spans, kind=kind)

    def judge(seen: Seen, batch: Batch) -> dict[str, PerSample]:
        if seen.depth_latents is None:
            return {}
        if batch.ids not in truths:
            truths[batch.ids] = read(batch.depth_latents, batch)
        values, truth = truths[batch.ids]
        answer = read(seen.depth_latents, batch)[1]
        counted = truth if kind == "metric" else truth.masked_fill(values <= FAR, torch.nan)
        return {"abs_rel": abs_rel(answer, counted), "delta_1.25": delta(answer, counted)}

    return judge


def values_by_timestep(readings: Iterable[Reading], name: str) -> dict[str, dict[int | None, np.ndarray]]:
    """Sort one number by what was looked at and by noise level.

    Args:
        readings: from `error_by_timestep`.
        name: name of the number.

    Returns:
        The finite values, one per clip; without what has none.
    """
    found: dict[str, dict[int | None, list[float]]] = {}
    for reading in readings:
        if np.isfinite(value := reading.values.get(name, np.nan)):
            found.setdefault(reading.seen, {}).setdefault(reading.timestep, []).append(value)
    return {seen: {t: np.array(values) for t, values in levels.items()} for seen, levels in found.items()}


def median_by_timestep(readings: Iterable[Reading], name: str) -> dict[str, dict[int | None, float]]:
    """Median of one number over clips, see `values_by_timestep`."""
    found = values_by_timestep(readings, name)
    return {seen: {t: float(np.median(v)) for t, v in levels.items()} for seen, levels in found.items()}


def above_floor(readings: Iterable[Reading], name: str, floor: float) -> dict[str, float]:
    """Find clips on which an aligner fails: what it says of a prediction there means nothing.

    Args:
        readings: from `error_by_timestep`.
        name: name of the aligner's error, `struct_mse` or `id_l1`.
        floor: error of the best answer that needs no learning.

    Returns:
        Error on the true latents of each clip where it is not below the floor.
    """
    true = {r.clip: r.values.get(name, np.nan) for r in readings if r.seen == TRUE}
    return {clip: value for clip, value in true.items() if value >= floor}


def _depth(
    aligners: Aligners,
    structure: StructureConfig,
    latents: Latents,
    source: Source,
    prediction: Prediction | Latents | None,
) -> Latents | None:
    """The structure aligner's answer, clean in both formulations (Eq. 2 and 8, or Eq. 4 and 9)."""
    aligner = aligners.structure
    if aligner is None:
        return None
    if structure.input == "clean" or not isinstance(prediction, Prediction):
        return aligner(latents)
    timesteps, table = prediction.timesteps, prediction.alphas_cumprod
    seen = latents
    if source == "predicted":
        seen = ddim_step(prediction.noisy_latents, latents, timesteps, structure.step, table)
        timesteps = timesteps - structure.step
    answer = aligner(seen, timesteps.clamp(min=0))
    noise = add_noise(torch.zeros_like(answer), prediction.noise, timesteps, table)
    signal = add_noise(torch.ones_like(answer), torch.zeros_like(answer), timesteps, table)
    return (answer - noise) / signal


def _read(
    seen: Seen, true: Seen, batch: Batch, judges: Sequence[Judge], where: tuple[str, int | None]
) -> list[Reading]:
    """Readings of all clips of a batch; `where` is what was looked at, and the noise level."""
    found = aligner_errors(seen, true, batch)
    for judge in judges:
        found |= judge(seen, batch)
    columns = {name: value.tolist() for name, value in found.items()}
    return [
        Reading(clip=clip, timestep=where[1], seen=where[0], values={n: v[place] for n, v in columns.items()})
        for place, clip in enumerate(batch.ids)
    ]
