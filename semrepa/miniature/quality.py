"""What the mini weights are worth, measured on held-out people: `quality.json` beside the weights."""

import json
from pathlib import Path

import numpy as np
import torch

from semrepa import depth as depth_maps
from semrepa.data.dataset import Batch, StoreDataset
from semrepa.data.store import FeatureStore
from semrepa.generate import sample_frames
from semrepa.metrics.depth import abs_rel, delta
from semrepa.metrics.identity import id_scores
from semrepa.metrics.image import clip_mean, psnr
from semrepa.miniature.clips import ClipSet
from semrepa.models.cogvideox import CogVideoX, load_cogvideox
from semrepa.models.identity import IdentityAligner
from semrepa.models.latents import decode, encode, to_frames
from semrepa.models.structure import StructureAligner
from semrepa.runtime import autocast
from semrepa.shapes import Depth, Frames, Latents
from semrepa.teachers import FaceTeacher


def to_depth(latents: Latents, parts: CogVideoX, depth: Depth, colormap: str) -> Depth:
    """Decodes depth latents into metres, with the range of the true depth.

    Args:
        latents: depth latents.
        parts: VAE.
        depth: true metric depth, for its range.
        colormap: colours of the depth frames.

    Returns:
        Depth in metres.
    """
    values, _ = depth_maps.decolorize(decode(parts.vae, latents), colormap)
    return depth_maps.denormalize(values, depth_maps.depth_range(depth, kind="metric"), kind="metric")


@torch.no_grad()
def vae_quality(parts: CogVideoX, frames: Frames, depth: Depth, colormap: str) -> dict[str, float]:
    """Reconstruction of RGB and colorized depth, and of metric depth through colours and VAE.

    Args:
        parts: VAE.
        frames: true videos.
        depth: their metric depth.
        colormap: colours of the depth frames.

    Returns:
        PSNR in dB, AbsRel.
    """
    colors = depth_maps.colorize(depth_maps.normalize(depth, kind="metric"), colormap)
    scores = {}
    for name, video in (("rgb", frames), ("depth", colors)):
        decoded = torch.cat(
            [to_frames(decode(parts.vae, encode(parts.vae, part))) for part in video.split(4)]
        )
        scores[f"psnr_{name}_db"] = clip_mean(psnr(decoded, video), skip_first=False).mean().item()
    kept = torch.cat(
        [
            to_depth(encode(parts.vae, c), parts, d, colormap)
            for c, d in zip(colors.split(4), depth.split(4), strict=True)
        ]
    )
    return scores | {"depth_round_trip_abs_rel": abs_rel(kept, depth).mean().item()}


@torch.no_grad()
def structure_quality(
    aligner: StructureAligner, parts: CogVideoX, batch: Batch, depth: Depth, colormap: str
) -> dict[str, float]:
    """Depth that the structure aligner reads from clean latents, decoded and inverted.

    Args:
        aligner: clean structure aligner.
        parts: VAE.
        batch: held-out clips.
        depth: their metric depth.
        colormap: colours of the depth frames.

    Returns:
        Latent MSE, AbsRel and share of pixels within 25 %.
    """
    with autocast(batch.latents.device):
        answer = aligner(batch.latents).float()
    metres = torch.cat(
        [to_depth(a, parts, d, colormap) for a, d in zip(answer.split(4), depth.split(4), strict=True)]
    )
    return {
        "latent_mse": (answer - batch.depth_latents).square().mean().item(),
        "latent_variance": batch.depth_latents.var().item(),
        "abs_rel": abs_rel(metres, depth).mean().item(),
        "delta_1.25": delta(metres, depth).mean().item(),
    }


@torch.no_grad()
def identity_quality(aligner: IdentityAligner, batch: Batch) -> dict[str, float]:
    """Agreement of the identity aligner with the face teacher on held-out people.

    Args:
        aligner: identity aligner.
        batch: held-out clips.

    Returns:
        L1 loss (a zero output has 0.035) and cosine to the teacher.
    """
    with autocast(batch.latents.device):
        answer = aligner(batch.latents, batch.depth_latents if aligner.config.use_depth else None).float()
    seen = batch.face_mask
    cosine = torch.cosine_similarity(answer, batch.id_embeds, dim=-1)
    return {
        "l1": (answer - batch.id_embeds).abs().mean(dim=-1)[seen].mean().item(),
        "cosine_to_teacher": cosine[seen].mean().item(),
    }


@torch.no_grad()
def base_quality(
    parts: CogVideoX, face_teacher: FaceTeacher, clips: ClipSet, batch: Batch, *, steps: int = 20
) -> dict[str, float]:
    """Samples of the stock pipeline against the true clips.

    Args:
        parts: the complete base model.
        face_teacher: finds and embeds faces.
        clips: held-out clips.
        batch: their features, in the same order.
        steps: sampling steps.

    Returns:
        Share of the true faces' frames on which a face is found, ID scores, PSNR in dB.
    """
    count, length = len(batch.latents), clips.frames.shape[1]
    groups = [list(range(first, min(first + 4, count))) for first in range(0, count, 4)]
    settings = {"num_frames": length, "num_inference_steps": steps}
    videos = [
        sample_frames(parts, batch.first_frames[group], [clips.captions[i] for i in group], group, **settings)
        for group in groups
    ]
    frames = torch.cat(videos)
    tracks = [face_teacher(video) for video in frames]
    embeds, mask = torch.stack([t.embeds for t in tracks]), torch.stack([t.mask for t in tracks])
    scores = id_scores(embeds, mask, batch.id_embeds, batch.face_mask)
    scores["psnr_db"] = clip_mean(psnr(frames, torch.from_numpy(clips.frames[:count])))
    return {name: value.nanmean().item() for name, value in scores.items()}


def write_quality(
    assets: Path, clips: ClipSet, store: FeatureStore, ids: list[str], face_teacher: FaceTeacher
) -> None:
    """Measures everything that is shipped and writes `quality.json` beside it.

    Args:
        assets: the shipped weights.
        clips: held-out clips.
        store: their features.
        ids: names of the first clips, in their order.
        face_teacher: the shipped face teacher.
    """
    parts = load_cogvideox(assets / "cogvideox")
    batch = StoreDataset(store, ids).batch(range(len(ids)))
    frames = torch.from_numpy(clips.frames[: len(ids)])
    depth = torch.from_numpy(clips.depth[: len(ids)].astype(np.float32))
    structure = StructureAligner.from_pretrained(assets / "structure_aligner", torch_dtype=torch.float32)
    colormap = structure.config.colormap
    result = {
        "heldout_clips": len(ids),
        "vae": vae_quality(parts, frames, depth, colormap),
        "structure_aligner": structure_quality(structure, parts, batch, depth, colormap),
        "base": base_quality(parts, face_teacher, clips, batch),
    }
    for name in ("identity_aligner", "identity_aligner_no_depth"):
        aligner = IdentityAligner.from_pretrained(assets / name, torch_dtype=torch.float32)
        result[name] = identity_quality(aligner, batch)
    rounded = json.loads(json.dumps(result), parse_float=lambda text: round(float(text), 4))
    (assets / "quality.json").write_text(json.dumps(rounded, indent=2) + "\n")
