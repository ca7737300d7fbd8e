"""Teachers, VAE and text encoder, once over every clip, into a feature store."""

import hashlib
import json
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKLCogVideoX
from jaxtyping import Float, UInt8
from torch import Tensor

from semrepa.config import Config
from semrepa.data.index import ClipRow
from semrepa.data.people import PersonFilter
from semrepa.data.store import FeatureStore, Record, Reject, fingerprint_hash
from semrepa.data.video import ClipError, VideoClip, read_clip, reader_versions
from semrepa.depth import colorize, depth_range, normalize
from semrepa.models.cogvideox import encode_prompts
from semrepa.models.latents import encode
from semrepa.prepare.clips import world_hash
from semrepa.provenance import Provenance, sha256_of
from semrepa.runtime import compute_dtype, pick_device, write_json
from semrepa.shapes import Depth, Frames
from semrepa.teachers import DepthTeacher, FaceTeacher
from semrepa.weights import check_weights, load_base

log = logging.getLogger(__name__)

Progress = Callable[[int, int, str], None]
"""Called after each clip with clips done, clips in all, and the clip's id."""

SCHEMA = 1
"""Raised when records change their meaning, so that older stores are not mistaken for new ones."""
TEXT_BATCH = 32
FACE_LOOKS = 5
"""Frames on which a person may show the face, where faces stand for people."""


@dataclass(frozen=True, kw_only=True)
class Teachers:
    """Who answers the questions about a clip."""

    depth: DepthTeacher
    """How far every pixel is."""
    face: FaceTeacher
    """Whose face is in each frame."""
    people: PersonFilter
    """Whether there is a person at all."""


def load_teachers(cfg: Config) -> Teachers:
    """Load the frozen teachers that a config names.

    Until a person detector is at hand, a face on one of a few frames stands for a person.

    Args:
        cfg: resolved config.

    Returns:
        The teachers.

    Raises:
        FileNotFoundError: when weights are missing; lists all of them.
        ValueError: for a depth teacher that cannot be run.
    """
    from semrepa.teachers.exact import ExactDepth
    from semrepa.teachers.face import InsightFaceTeacher

    *_, face_pack = check_weights(cfg, ("depth", "face"))
    if cfg.depth.teacher != "exact":
        raise ValueError(
            f"depth.teacher: got {cfg.depth.teacher!r}; expected 'exact'; others cannot be run yet"
        )
    face = InsightFaceTeacher(
        Path(face_pack.source),
        detector_size=cfg.face.detector_size,
        min_score=cfg.face.min_score,
        min_size=cfg.face.min_size,
        providers=cfg.face.providers,
    )
    people = PersonFilter(
        detector=people_by_face(face),
        min_score=cfg.data.min_person_score,
        min_area=cfg.data.min_person_area,
        looks=FACE_LOOKS,
    )
    return Teachers(depth=ExactDepth(fps=cfg.video.fps), face=face, people=people)


def people_by_face(face: FaceTeacher) -> Callable[[UInt8[Tensor, "3 H W"]], Float[Tensor, "k 5"]]:
    """Turn a face teacher into a detector of people: head, shoulders and chest around the face.

    It overlooks people who turn their back, which a real person detector does not.

    Args:
        face: the teacher.

    Returns:
        A detector for `PersonFilter`.
    """

    def detect(frame: UInt8[Tensor, "3 H W"]) -> Float[Tensor, "k 5"]:
        track = face(frame[None])
        if not track.mask[0]:
            return torch.zeros(0, 5)
        left, top, right, bottom = track.boxes[0].tolist()
        width, height = right - left, bottom - top
        return torch.tensor(
            [[left - width, top - 0.5 * height, right + width, bottom + 2 * height, track.scores[0]]]
        )

    return detect


def fingerprint(cfg: Config, weights: Sequence[Provenance]) -> dict[str, object]:
    """Collect everything that changes the numbers of a record.

    Args:
        cfg: resolved config.
        weights: of model, depth and face teacher, in this order.

    Returns:
        JSON values by name.
    """
    model, depth, face = weights
    folder = Path(model.source)
    transformer = json.loads((folder / "transformer" / "config.json").read_text())
    return {
        "schema": SCHEMA,
        "readers": reader_versions(),
        "video": asdict(cfg.video),
        "vae": sha256_of(folder / "vae"),
        "text_encoder": sha256_of(folder / "text_encoder"),
        "tokenizer": sha256_of(folder / "tokenizer"),
        "text_length": transformer["max_text_seq_length"],
        "dtype": str(compute_dtype(pick_device(), cfg.model.dtype)),
        "depth": [cfg.depth.teacher, world_hash() if cfg.depth.teacher == "exact" else depth.sha256],
        "colormap": cfg.depth.colormap,
        "face": [face.sha256, *cfg.face.detector_size, cfg.face.min_score, cfg.face.min_size],
        "people": [cfg.data.min_person_score, cfg.data.min_person_area],
    }


def prepare(
    cfg: Config,
    rows: Sequence[ClipRow],
    cache_dir: str | Path,
    *,
    teachers: Teachers | None = None,
    progress: Progress | None = None,
) -> FeatureStore:
    """Fill a feature store with the records of all clips that are new, or have changed, since it was filled.

    A clip that cannot be used is no error: it is noted in the store's `rejects()` with its reason. Counts and
    seconds by stage are written to `report.json` in the store's folder.

    Args:
        cfg: resolved config.
        rows: the clips.
        cache_dir: folder for stores; `data.store` overrides it. Other settings get another folder there.
        teachers: loaded teachers; None loads what the config names.
        progress: called after each clip.

    Returns:
        The store.

    Raises:
        FileNotFoundError: when weights are missing; lists all of them.
        ValueError: when `data.store` was made with other settings.
    """
    weights = check_weights(cfg, ("model", "depth", "face"))
    made_from = fingerprint(cfg, weights)
    folder = Path(cfg.data.store or Path(cache_dir) / f"store-{fingerprint_hash(made_from)}")
    store = FeatureStore(folder, made_from)
    left_out = {(reject.id, reject.source) for reject in store.rejects().values()}
    sources = {row.id: source_hash(row) for row in rows}
    todo = [row for row in rows if not store.has(row.id, sources[row.id])]
    todo = [row for row in todo if (row.id, sources[row.id]) not in left_out]
    if todo:
        log.info("preparing %d of %d clips in %s", len(todo), len(rows), folder)
        _fill(store, todo, cfg, teachers or load_teachers(cfg), progress)
    return store


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
    progress: Progress | None,
) -> None:
    seconds: dict[str, float] = {}
    with _timed(seconds, "text"):
        captions = sorted({row.caption for row in rows})
        prompts = _embed_captions(cfg, captions, store.fingerprint["text_length"])
    vae: Any = load_base(cfg, ("vae",)).vae
    rejected = 0
    for done, row in enumerate(rows, 1):
        outcome = _process(row, cfg, vae, teachers, seconds)
        if isinstance(outcome, Reject):
            log.info("left out: %s", outcome.message)
            store.reject(replace(outcome, source=source_hash(row)))
            rejected += 1
        else:
            store.write(row.id, outcome | {"prompt_embeds": prompts[row.caption]}, source_hash(row))
        if progress:
            progress(done, len(rows), row.id)
    report = {"written": len(rows) - rejected, "rejected": rejected, "seconds": seconds}
    write_json(store.folder / "report.json", report)


@contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    """Add the seconds that this block takes to a stage."""
    began = time.perf_counter()
    try:
        yield
    finally:
        seconds[stage] = seconds.get(stage, 0.0) + time.perf_counter() - began


def _embed_captions(cfg: Config, captions: Sequence[str], length: int) -> dict[str, Float[Tensor, "l e"]]:
    """Text features of each caption, float16 on the CPU; the text encoder is freed again."""
    parts = load_base(cfg, ("tokenizer", "text_encoder"))
    embeds: list[Tensor] = []
    for first in range(0, len(captions), TEXT_BATCH):
        some = captions[first : first + TEXT_BATCH]
        embeds += encode_prompts(some, parts.tokenizer, parts.text_encoder, length).half().cpu().unbind()
    return dict(zip(captions, embeds, strict=True))


def _process(
    row: ClipRow, cfg: Config, vae: AutoencoderKLCogVideoX, teachers: Teachers, seconds: dict[str, float]
) -> Record | Reject:
    """The record of one clip without its text, or why it is left out."""
    try:
        with _timed(seconds, "read"):
            clip = read_clip(row.path, start=row.start, **cfg.video.shape)
    except ClipError as error:
        return Reject(row.id, error.reason, str(error))
    except FileNotFoundError as error:
        return Reject(row.id, "missing", str(error))
    with _timed(seconds, "people"):
        sighting = teachers.people(clip.frames)
    if not sighting.present:
        found = f"best score {sighting.score:.2f}, area {sighting.area:.3f}"
        remedy = "expected a person; lower data.min_person_score or leave it out"
        return Reject(row.id, "no_person", f"got {row.path} with nobody in it ({found}); {remedy}")
    with _timed(seconds, "face"):
        track = teachers.face(clip.frames)
    with _timed(seconds, "depth"):
        depth_frames, value_range = _look_deep(row, clip, cfg, teachers.depth)
    with _timed(seconds, "vae"):  # both at once: in float32 on a CPU a batch of one is ten times slower
        latents = encode(vae, torch.cat([clip.frames[None], depth_frames])).half().cpu()
    return {
        "latents": latents[0],
        "depth_latents": latents[1],
        "depth_range": value_range,
        "first_frame": clip.frames[0],
        "id_embeds": track.embeds.half(),
        "face_mask": track.mask,
        "face_boxes": track.boxes,
        "content": torch.tensor(clip.content, dtype=torch.int32),
        "timestamps": torch.tensor(clip.timestamps),
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
