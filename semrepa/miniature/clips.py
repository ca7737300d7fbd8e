"""Rendered training clips of the sample world, cached as plain arrays for fast random access."""

import json
import logging
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from semrepa.files import whole_file
from semrepa.world import render_clip, sample_spec

_log = logging.getLogger(__name__)

SIZE = (128, 192)
NUM_FRAMES = 17
SHARD = 20
TRAIN_SEED = 10_000
HELDOUT_SEED = 1_000_000


def _shard_path(folder: Path, first_seed: int) -> Path:
    return folder / f"clips_{first_seed:08d}.npz"


def _render_shard(
    folder: Path, first_seed: int, count: int, person_shift: int = 0, num_frames: int | None = None
) -> Path:
    """Renders `count` clips from consecutive seeds into one uncompressed npz, written atomically."""
    path = _shard_path(folder, first_seed)
    if path.exists():
        return path
    length = num_frames or NUM_FRAMES
    frames = np.zeros((count, length, 3, *SIZE), np.uint8)
    depth = np.zeros((count, length, *SIZE), np.float16)
    boxes = np.zeros((count, length, 4), np.float32)
    visible = np.zeros((count, length), bool)
    captions = []
    for i in range(count):
        spec = sample_spec(first_seed + i, identity=first_seed + i + person_shift)
        clip = render_clip(spec, size=SIZE, num_frames=length, start=(first_seed + i) % 5 * 0.8)
        frames[i], depth[i], boxes[i], visible[i] = (
            clip.frames,
            clip.depth,
            clip.face_boxes,
            clip.face_visible,
        )
        captions.append(spec.caption)
    names = np.array(json.dumps(captions))
    with whole_file(path, durable=False) as growing, growing.open("wb") as file:
        np.savez(file, frames=frames, depth=depth, boxes=boxes, visible=visible, captions=names)
    return path


def render_clips(
    folder: Path,
    *,
    first_seed: int,
    count: int,
    workers: int = 2,
    person_shift: int = 0,
    num_frames: int | None = None,
) -> None:
    """Renders clips of the seeds [first_seed, first_seed + count) that are not in `folder` yet.

    Args:
        folder: cache folder; one npz per 20 clips.
        first_seed: first clip seed.
        count: number of clips, a multiple of 20.
        workers: processes.
        person_shift: what is added to a clip's seed to tell who is in it; files are named by the seed alone.
        num_frames: frames of each clip; None: 17. Give other lengths a folder of their own.
    """
    folder.mkdir(parents=True, exist_ok=True)
    starts = range(first_seed, first_seed + count, SHARD)
    missing = [s for s in starts if not _shard_path(folder, s).exists()]
    with ProcessPoolExecutor(max_workers=workers) as pool:
        jobs = [pool.submit(_render_shard, folder, s, SHARD, person_shift, num_frames) for s in missing]
        for done, job in enumerate(jobs, start=1):
            job.result()
            _log.info("rendered %d of %d shards from seed %d", done, len(jobs), first_seed)


@dataclass(frozen=True)
class ClipSet:
    """All rendered clips of a seed range, in memory.

    Attributes:
        frames: RGB uint8, (clips, 17, 3, 128, 192).
        depth: metric depth in metres, float16, (clips, 17, 128, 192).
        boxes: face boxes xyxy in pixels, NaN without a face, (clips, 17, 4).
        visible: whether the face can be seen, (clips, 17).
        captions: one text per clip.
    """

    frames: np.ndarray
    depth: np.ndarray
    boxes: np.ndarray
    visible: np.ndarray
    captions: list[str]


def load_clips(
    folder: Path,
    *,
    first_seed: int,
    count: int,
    workers: int = 2,
    person_shift: int = 0,
    num_frames: int | None = None,
) -> ClipSet:
    """Loads rendered clips of the seeds [first_seed, first_seed + count); renders what is missing.

    Args:
        folder: cache folder of `render_clips`.
        first_seed: first clip seed.
        count: number of clips, a multiple of 20.
        workers: see `render_clips`.
        person_shift: see `render_clips`.
        num_frames: see `render_clips`.

    Returns:
        The clips in the order of their seeds.
    """
    settings = {"workers": workers, "person_shift": person_shift, "num_frames": num_frames}
    render_clips(folder, first_seed=first_seed, count=count, **settings)
    shards = [np.load(_shard_path(folder, s)) for s in range(first_seed, first_seed + count, SHARD)]
    stacked = {
        key: np.concatenate([s[key] for s in shards]) for key in ("frames", "depth", "boxes", "visible")
    }
    captions = [text for s in shards for text in json.loads(str(s["captions"]))]
    return ClipSet(captions=captions, **stacked)
