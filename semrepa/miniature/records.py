"""Feature store of the rendered training clips, made without the detour over video files."""

import logging

import numpy as np
import torch

from semrepa import depth as depth_maps
from semrepa.data.store import FeatureStore
from semrepa.miniature.clips import ClipSet
from semrepa.models.cogvideox import CogVideoX, encode_prompts
from semrepa.models.latents import encode
from semrepa.teachers import FaceTeacher

_log = logging.getLogger(__name__)


def write_records(
    store: FeatureStore,
    clips: ClipSet,
    prefix: str,
    parts: CogVideoX,
    face_teacher: FaceTeacher,
    colormap: str,
) -> list[str]:
    """Fills a store with the features of rendered clips; skips what is there.

    Args:
        store: feature store to fill.
        clips: rendered clips.
        prefix: first part of the clips' names; their number follows.
        parts: VAE, text encoder and tokenizer.
        face_teacher: embeds the faces of a clip.
        colormap: colours of the depth frames.

    Returns:
        Names of all clips, in their order.
    """
    ids = [f"{prefix}{index:05d}" for index in range(len(clips.frames))]
    missing = [index for index, name in enumerate(ids) if not store.has(name)]
    length = parts.transformer.config.max_text_seq_length
    for start in range(0, len(missing), 4):
        group = missing[start : start + 4]
        frames = torch.from_numpy(clips.frames[group])
        depth = torch.from_numpy(clips.depth[group].astype(np.float32))
        values = depth_maps.normalize(depth, kind="metric")
        ranges = depth_maps.depth_range(depth, kind="metric")
        latents = encode(parts.vae, frames)
        depth_latents = encode(parts.vae, depth_maps.colorize(values, colormap))
        prompts = encode_prompts(
            [clips.captions[i] for i in group], parts.tokenizer, parts.text_encoder, length
        )
        for k, index in enumerate(group):
            faces = face_teacher(frames[k])
            record = {
                "latents": latents[k].half(),
                "depth_latents": depth_latents[k].half(),
                "depth_range": ranges[k].clone(),
                "first_frame": frames[k, 0].clone(),
                "prompt_embeds": prompts[k].half(),
                "id_embeds": faces.embeds.half(),
                "face_mask": faces.mask,
                "face_boxes": faces.boxes.float(),
            }
            store.write(ids[index], record)
        if start % 100 == 0:
            _log.info("records: %d of %d", start + len(group), len(missing))
    return ids
