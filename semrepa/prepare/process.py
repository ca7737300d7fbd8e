"""What becomes of one clip: a record of all that the frozen networks say about it, or the reason why not."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import AutoencoderKLCogVideoX
from jaxtyping import Float
from torch import Tensor

from semrepa.config import Config
from semrepa.data.index import ClipRow
from semrepa.data.motion import check_motion, measure_motion
from semrepa.data.store import Record, Reject
from semrepa.data.video import ClipError, VideoClip, read_clip
from semrepa.depth import colorize, depth_range, normalize
from semrepa.models.latents import encode
from semrepa.prepare.teachers import Teachers
from semrepa.shapes import Depth, Frames
from semrepa.teachers import DepthTeacher, FaceTrack


@dataclass(frozen=True, kw_only=True)
class Models:
    """All networks that look at a clip, so that its frames never leave the process."""

    vae: AutoencoderKLCogVideoX
    """Frozen VAE."""
    teachers: Teachers
    """Depth, faces, people."""
    read_caption: Callable[[str], Tensor]
    """Text features of a caption that has been encoded."""


@contextmanager
def timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    """Add the seconds that this block takes to a stage.

    Args:
        seconds: by stage, changed in place.
        stage: its name.

    Yields:
        Nothing.
    """
    began = time.perf_counter()
    try:
        yield
    finally:
        seconds[stage] = seconds.get(stage, 0.0) + time.perf_counter() - began


def process_clip(
    row: ClipRow,
    models: Models,
    cfg: Config,
    facts: dict[str, Any] | None = None,
    read: Callable[[], VideoClip] | None = None,
) -> Record | Reject:
    """Make the record of one clip. Faults of the data are no errors.

    Args:
        row: the clip.
        models: all networks.
        cfg: resolved config.
        facts: the clip's row of the manifest, which gets what is found on the way, with `seconds` by stage;
            None: nobody wants to know.
        read: gives the clip as `read_row` does, such as one that has been read ahead; None: reads it now.

    Returns:
        The record, or why the clip is left out.
    """
    facts = {"seconds": {}} if facts is None else facts
    try:
        return look(row, read() if read else read_row(row, cfg, facts), models, cfg, facts)
    except ClipError as error:
        return Reject(row.id, error.reason, str(error))


def read_row(row: ClipRow, cfg: Config, facts: dict[str, Any]) -> VideoClip:
    """Read a clip; a thread may do so while the networks look at another one.

    Args:
        row: the clip.
        cfg: resolved config.
        facts: the clip's row of the manifest, which gets what is found.

    Returns:
        The clip.

    Raises:
        ClipError: it cannot be used; says why.
    """
    with timed(facts["seconds"], "read"):
        limits = {"timeout": cfg.data.read_timeout, "picture_side": cfg.data.picture_side}
        clip = read_clip(row.path, start=row.start, **limits, **cfg.video.shape)
        motion = measure_motion(clip)
    facts |= {"backend": clip.backend, "valid_frames": clip.num_valid}
    if motion is not None:
        facts |= {"motion": motion.mean, "jump": motion.jump}
        data = cfg.data
        check_motion(motion, max_repeats=data.max_repeats, min_change=data.min_change, max_jump=data.max_jump)
    return clip


def look(row: ClipRow, clip: VideoClip, models: Models, cfg: Config, facts: dict[str, Any]) -> Record:
    """Ask all networks about a clip.

    Args:
        row: the clip.
        clip: what `read_row` gave.
        models: all networks.
        cfg: resolved config.
        facts: the clip's row of the manifest, which gets what is found.

    Returns:
        The record.

    Raises:
        ClipError: it cannot be used; says why.
    """
    seconds = facts["seconds"]
    with timed(seconds, "people"):
        sighting = models.teachers.people(clip.pictures, clip.content)
    facts |= {"person_score": sighting.score, "person_area": sighting.area}
    if not sighting.present or sighting.box is None:
        found = f"best score {sighting.score:.2f}, area {sighting.area:.3f}"
        remedy = "expected a person; lower data.min_person_score or leave it out"
        raise ClipError("no_person", f"got {row.path} with nobody in it ({found}); {remedy}")
    with timed(seconds, "face"):
        track = models.teachers.face(clip.pictures, clip.content)
    with timed(seconds, "depth"):
        depth_frames, value_range = _look_deep(row, clip, cfg, models.teachers.depth)
    with timed(seconds, "vae"):
        latents = _encode(models.vae, [clip.frames[None], depth_frames])
    if not torch.isfinite(latents).all():
        message = f"got latents of {row.path} that are no numbers; expected finite float16"
        raise ClipError("no_latents", f"{message}; set model.dtype to float32 or leave it out")
    return {
        "latents": latents[0],
        "depth_latents": latents[1],
        "depth_range": value_range,
        "first_frame": clip.frames[0],
        "prompt_embeds": models.read_caption(row.caption),
        **_face_features(track),
        "person_box": torch.tensor([*sighting.box, sighting.score]),
        "content": torch.tensor(clip.content, dtype=torch.int32),
        "timestamps": torch.tensor(clip.timestamps),
    }


def _encode(vae: AutoencoderKLCogVideoX, videos: Sequence[Tensor]) -> Tensor:
    """Latents of videos of one size, float16 on the CPU."""
    # In float32 a CPU is ten times slower with a batch of one; a GPU would need twice the memory for two.
    together = [torch.cat(videos)] if vae.device.type == "cpu" else videos
    return torch.cat([encode(vae, frames).half().cpu() for frames in together])


def _face_features(track: FaceTrack) -> Record:
    """What is kept of a face: who it is, where, and how well it is seen."""
    return {
        "id_embeds": track.embeds.half(),
        "face_mask": track.mask,
        "face_boxes": track.boxes,
        "face_scores": track.scores,
        "face_sizes": track.sizes,
        "face_cuts": track.cuts,
        "face_yaws": track.yaws,
    }


def _look_deep(
    row: ClipRow, clip: VideoClip, cfg: Config, teacher: DepthTeacher
) -> tuple[Frames, Float[Tensor, "2"]]:
    """Colorized depth and its range of disparity. The teacher sees no padding, which is as far as can be."""
    top, left, height, width = clip.content
    inside = slice(top, top + height), slice(left, left + width)
    depth: Depth = teacher(row, clip.frames[None, :, :, *inside])
    values = torch.zeros(1, *clip.frames[:, 0].shape)
    values[:, :, *inside] = normalize(depth, kind=teacher.kind).cpu()
    return colorize(values, cfg.depth.colormap), depth_range(depth, kind=teacher.kind)[0].float().cpu()
