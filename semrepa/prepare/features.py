"""Teachers, VAE and text encoder, once over every clip, into a feature store."""

import hashlib
import json
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKLCogVideoX
from jaxtyping import Float
from torch import Tensor

from semrepa.config import Config
from semrepa.data.index import ClipRow
from semrepa.data.manifest import ManifestWriter, describe
from semrepa.data.store import FeatureStore, Record, Reject
from semrepa.data.video import ClipError, VideoClip, probe, read_clip
from semrepa.depth import colorize, depth_range, normalize
from semrepa.models.latents import encode
from semrepa.prepare.stores import open_store, text_hash
from semrepa.prepare.teachers import Teachers, load_teachers
from semrepa.prepare.text import embed_captions, read_caption
from semrepa.runtime import write_json
from semrepa.shapes import Depth, Frames
from semrepa.teachers import DepthTeacher, FaceTrack
from semrepa.weights import load_base

log = logging.getLogger(__name__)

Progress = Callable[[int, int, str], None]
"""Called after each clip with clips done, clips in all, and the clip's id."""


@dataclass(frozen=True, kw_only=True)
class Models:
    """All networks that look at a clip, so that its frames never leave the process."""

    vae: AutoencoderKLCogVideoX
    """Frozen VAE."""
    teachers: Teachers
    """Depth, faces, people."""
    read_caption: Callable[[str], Tensor]
    """Text features of a caption that has been encoded."""


def prepare(
    cfg: Config,
    rows: Sequence[ClipRow],
    cache_dir: str | Path,
    *,
    teachers: Teachers | None = None,
    progress: Progress | None = None,
    worker: str = "",
) -> FeatureStore:
    """Fill a feature store with the records of all clips that are new, or have changed, since it was filled.

    A clip that cannot be used is no error: it is noted in the store's `rejects()` with its reason. Counts and
    seconds by stage are written to the store's folder. Several processes may fill one store, each with clips
    of its own.

    Args:
        cfg: resolved config.
        rows: the clips.
        cache_dir: see `open_store`.
        teachers: loaded teachers; None loads what the config names.
        progress: called after each clip.
        worker: name of this process among several, such as "rank3".

    Returns:
        The store.

    Raises:
        FileNotFoundError: when weights are missing; lists all of them.
        ValueError: when `data.store` was made with other settings.
    """
    store, seconds = open_store(cfg, cache_dir), dict[str, float]()
    left_out = {(reject.id, reject.source) for reject in store.rejects().values()}
    sources = {row.id: source_hash(row) for row in rows}
    todo = [row for row in rows if not store.has(row.id, sources[row.id])]
    todo = [row for row in todo if (row.id, sources[row.id]) not in left_out]
    if not todo:
        return store
    log.info("preparing %d of %d clips in %s", len(todo), len(rows), store.folder)
    with _timed(seconds, "text"):
        read = _read_captions(cfg, store, [row.caption for row in todo], Path(cache_dir))
    vae: Any = load_base(cfg, ("vae",)).vae
    models = Models(vae=vae, teachers=teachers or load_teachers(cfg), read_caption=read)
    written = _fill(store, todo, cfg, models, seconds, worker or "alone", progress)
    counts = {"written": written, "rejected": len(todo) - written, "seconds": seconds}
    write_json(store.folder / (f"report-{worker}.json" if worker else "report.json"), counts)
    return store


def _read_captions(
    cfg: Config, store: FeatureStore, captions: Sequence[str], cache_dir: Path
) -> Callable[[str], Tensor]:
    """Encode captions that are new to the cache; returns what gives the features of each."""
    folder, trim = cache_dir / f"text-{text_hash(store.fingerprint)}", cfg.data.trim_text
    embed_captions(cfg, [*captions, *([""] if trim else [])], store.fingerprint["text_length"], folder)
    if trim:
        store.set_padding(read_caption(folder, ""))
    return partial(read_caption, folder, trim=trim)


def source_hash(row: ClipRow) -> str:
    """Digits that change with the clip behind an id: its file's size, caption, start, or world arguments."""
    size = row.path.stat().st_size if row.path.is_file() else None
    parts = json.dumps([size, row.caption, row.start, row.seed, row.world], sort_keys=True)
    return hashlib.sha256(parts.encode()).hexdigest()[:16]


def _fill(
    store: FeatureStore,
    rows: Sequence[ClipRow],
    cfg: Config,
    models: Models,
    seconds: dict[str, float],
    worker: str,
    progress: Progress | None,
) -> int:
    """Write the records of all rows, note every outcome in the manifest, and count the records."""
    written = 0
    with ManifestWriter(store.folder, worker) as manifest:
        for done, row in enumerate(rows, 1):
            facts = _source_facts(row)
            outcome = process_clip(row, models, cfg, facts)
            if isinstance(outcome, Reject):
                log.info("left out: %s", outcome.message)
                store.reject(replace(outcome, source=source_hash(row)))
                found = {"status": "rejected", "reject_reason": outcome.reason, "message": outcome.message}
            else:
                size = store.write(row.id, outcome, source_hash(row))
                found = {"status": "done", **asdict(size), **describe(outcome)}
                written += 1
            manifest.append(found | facts)
            for stage, taken in facts["seconds"].items():
                seconds[stage] = seconds.get(stage, 0.0) + taken
            if progress:
                progress(done, len(rows), row.id)
    return written


def _source_facts(row: ClipRow) -> dict[str, Any]:
    """What the manifest notes of a clip before it is read."""
    facts = {"clip_id": row.id, "path": str(row.path), "caption": row.caption, "seconds": {}}
    try:
        status, info = row.path.stat(), asdict(probe(row.path))
    except (ClipError, OSError):
        return facts
    info.pop("first_pts")
    return facts | info | {"size": status.st_size, "mtime": status.st_mtime}


@contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    """Add the seconds that this block takes to a stage."""
    began = time.perf_counter()
    try:
        yield
    finally:
        seconds[stage] = seconds.get(stage, 0.0) + time.perf_counter() - began


def process_clip(row: ClipRow, models: Models, cfg: Config, facts: dict[str, Any]) -> Record | Reject:
    """Make the record of one clip. Faults of the data are no errors.

    Args:
        row: the clip.
        models: all networks.
        cfg: resolved config.
        facts: the clip's row of the manifest, which gets what is found on the way; `seconds` by stage.

    Returns:
        The record, or why the clip is left out.
    """
    try:
        with _timed(facts["seconds"], "read"):
            limit = cfg.data.read_timeout
            clip = read_clip(row.path, start=row.start, timeout=limit, **cfg.video.shape)
        facts |= {"backend": clip.backend, "valid_frames": clip.num_valid}
        return _look(row, clip, models, cfg, facts["seconds"])
    except ClipError as error:
        return Reject(row.id, error.reason, str(error))


def _look(row: ClipRow, clip: VideoClip, models: Models, cfg: Config, seconds: dict[str, float]) -> Record:
    """Ask all networks about a clip; a ClipError says why it cannot be used."""
    with _timed(seconds, "people"):
        sighting = models.teachers.people(clip.frames)
    if not sighting.present or sighting.box is None:
        found = f"best score {sighting.score:.2f}, area {sighting.area:.3f}"
        remedy = "expected a person; lower data.min_person_score or leave it out"
        raise ClipError("no_person", f"got {row.path} with nobody in it ({found}); {remedy}")
    with _timed(seconds, "face"):
        track = models.teachers.face(clip.frames)
    with _timed(seconds, "depth"):
        depth_frames, value_range = _look_deep(row, clip, cfg, models.teachers.depth)
    with _timed(seconds, "vae"):
        latents = _encode(models.vae, [clip.frames[None], depth_frames])
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
