"""Teachers, VAE and text encoder, once over every clip, into a feature store."""

import hashlib
import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKLCogVideoX
from jaxtyping import Float
from torch import Tensor

from semrepa.config import Config
from semrepa.data.index import ClipRow
from semrepa.data.store import FeatureStore, Record, Reject, fingerprint_hash
from semrepa.data.video import ClipError, VideoClip, read_clip, reader_versions
from semrepa.depth import colorize, depth_range, normalize
from semrepa.models.latents import encode
from semrepa.prepare.clips import world_hash
from semrepa.prepare.teachers import Teachers, load_teachers
from semrepa.prepare.text import embed_captions, read_caption
from semrepa.provenance import Provenance, sha256_of
from semrepa.runtime import compute_dtype, pick_device, write_json
from semrepa.shapes import Depth, Frames
from semrepa.teachers import DepthTeacher, FaceTrack
from semrepa.weights import check_weights, load_base

log = logging.getLogger(__name__)

Progress = Callable[[int, int, str], None]
"""Called after each clip with clips done, clips in all, and the clip's id."""

SCHEMA = 2
"""Raised when records change their meaning, so that older stores are not mistaken for new ones."""


def fingerprint(cfg: Config, weights: Sequence[Provenance]) -> dict[str, Any]:
    """Collect everything that changes the numbers of a record.

    Args:
        cfg: resolved config.
        weights: of the model and the teachers, each named by its role.

    Returns:
        JSON values by name.
    """
    by_role = {record.name: record for record in weights}
    hashes = {role: record.sha256 for role, record in by_role.items()}
    folder = Path(by_role["model"].source)
    transformer = json.loads((folder / "transformer" / "config.json").read_text())
    return {
        "schema": SCHEMA,
        "readers": reader_versions(),
        "video": asdict(cfg.video),
        "vae": sha256_of(folder / "vae"),
        "text_encoder": sha256_of(folder / "text_encoder"),
        "tokenizer": sha256_of(folder / "tokenizer"),
        "text_length": transformer["max_text_seq_length"],
        "trim_text": cfg.data.trim_text,
        "dtype": str(compute_dtype(pick_device(), cfg.model.dtype)),
        "vae_tiling": cfg.model.vae_tiling,
        "depth": _depth_settings(cfg, hashes["depth"]),
        "colormap": cfg.depth.colormap,
        "face": [hashes["face"], *_without(cfg.face, "pack", "sha256", "providers")],
        "people": [
            cfg.people.detector,
            hashes.get("people"),
            cfg.data.min_person_score,
            cfg.data.min_person_area,
        ],
    }


def _depth_settings(cfg: Config, sha256: str | None) -> list[object]:
    """What changes the depth teacher's answer."""
    if cfg.depth.teacher == "exact":
        return ["exact", world_hash()]
    return [sha256, *_without(cfg.depth, "weights", "sha256", "colormap", "frame_batch")]


def _without(section: Any, *names: str) -> list[object]:
    """Values of a config section but for some that do not change numbers."""
    return [value for name, value in asdict(section).items() if name not in names]


def open_store(cfg: Config, cache_dir: str | Path) -> FeatureStore:
    """The feature store of a config, begun where there is none.

    Args:
        cfg: resolved config.
        cache_dir: folder for stores; `data.store` overrides it. Other settings get another folder there.

    Returns:
        The store, with everything that changes its numbers as its fingerprint.

    Raises:
        FileNotFoundError: when weights are missing; lists all of them.
        ValueError: when `data.store` was made with other settings.
    """
    made_from = fingerprint(cfg, check_weights(cfg, ("model", "depth", "face", "people")))
    folder = Path(cfg.data.store or Path(cache_dir) / f"store-{fingerprint_hash(made_from)}")
    return FeatureStore(folder, made_from)


def prepare(
    cfg: Config,
    rows: Sequence[ClipRow],
    cache_dir: str | Path,
    *,
    teachers: Teachers | None = None,
    progress: Progress | None = None,
    report: str = "report.json",
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
        report: name of the file of counts and seconds.

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
    written = _fill(store, todo, cfg, teachers or load_teachers(cfg), read, seconds, progress)
    counts = {"written": written, "rejected": len(todo) - written, "seconds": seconds}
    write_json(store.folder / report, counts)
    return store


def _read_captions(
    cfg: Config, store: FeatureStore, captions: Sequence[str], cache_dir: Path
) -> Callable[[str], Tensor]:
    """Encode captions that are new to the cache; returns what gives the features of each."""
    folder, trim = cache_dir / f"text-{_text_hash(store.fingerprint)}", cfg.data.trim_text
    embed_captions(cfg, [*captions, *([""] if trim else [])], store.fingerprint["text_length"], folder)
    if trim:
        store.set_padding(read_caption(folder, ""))
    return partial(read_caption, folder, trim=trim)


def _text_hash(made_from: Mapping[str, object]) -> str:
    """Digits that stand for what text features depend on, so that stores with other pictures share them."""
    names = ("text_encoder", "tokenizer", "text_length", "dtype")
    return fingerprint_hash({name: made_from[name] for name in names})


def source_hash(row: ClipRow) -> str:
    """Digits that change with the clip behind an id: its file's size, caption, start, or world arguments."""
    size = row.path.stat().st_size if row.path.is_file() else None
    parts = json.dumps([size, row.caption, row.start, row.seed, row.world], sort_keys=True)
    return hashlib.sha256(parts.encode()).hexdigest()[:16]


def _fill(
    store: FeatureStore,
    rows: Sequence[ClipRow],
    cfg: Config,
    teachers: Teachers,
    read: Callable[[str], Tensor],
    seconds: dict[str, float],
    progress: Progress | None,
) -> int:
    """Write the records of all rows and count them; `read` gives the text features of a caption."""
    vae: Any = load_base(cfg, ("vae",)).vae
    written = 0
    for done, row in enumerate(rows, 1):
        outcome = _process(row, cfg, vae, teachers, seconds)
        if isinstance(outcome, Reject):
            log.info("left out: %s", outcome.message)
            store.reject(replace(outcome, source=source_hash(row)))
        else:
            store.write(row.id, outcome | {"prompt_embeds": read(row.caption)}, source_hash(row))
            written += 1
        if progress:
            progress(done, len(rows), row.id)
    return written


@contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    """Add the seconds that this block takes to a stage."""
    began = time.perf_counter()
    try:
        yield
    finally:
        seconds[stage] = seconds.get(stage, 0.0) + time.perf_counter() - began


def _process(
    row: ClipRow, cfg: Config, vae: AutoencoderKLCogVideoX, teachers: Teachers, seconds: dict[str, float]
) -> Record | Reject:
    """The record of one clip without its text, or why it is left out."""
    try:
        with _timed(seconds, "read"):
            clip = read_clip(row.path, start=row.start, **cfg.video.shape)
        return _look(row, clip, cfg, vae, teachers, seconds)
    except ClipError as error:
        return Reject(row.id, error.reason, str(error))
    except FileNotFoundError as error:
        return Reject(row.id, "missing", str(error))


def _look(
    row: ClipRow,
    clip: VideoClip,
    cfg: Config,
    vae: AutoencoderKLCogVideoX,
    teachers: Teachers,
    seconds: dict[str, float],
) -> Record:
    """Ask all networks about a clip; a ClipError says why it cannot be used."""
    with _timed(seconds, "people"):
        sighting = teachers.people(clip.frames)
    if not sighting.present or sighting.box is None:
        found = f"best score {sighting.score:.2f}, area {sighting.area:.3f}"
        remedy = "expected a person; lower data.min_person_score or leave it out"
        raise ClipError("no_person", f"got {row.path} with nobody in it ({found}); {remedy}")
    with _timed(seconds, "face"):
        track = teachers.face(clip.frames)
    with _timed(seconds, "depth"):
        depth_frames, value_range = _look_deep(row, clip, cfg, teachers.depth)
    with _timed(seconds, "vae"):
        latents = _encode(vae, [clip.frames[None], depth_frames])
    return {
        "latents": latents[0],
        "depth_latents": latents[1],
        "depth_range": value_range,
        "first_frame": clip.frames[0],
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
