"""The clips of a run: those of the index, and further ones of the sample world, rendered as ordinary mp4."""

import hashlib
import logging
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import semrepa.world
from semrepa.config import Config
from semrepa.data.index import ClipRow, read_index, write_index
from semrepa.data.video import write_video
from semrepa.teachers.exact import world_spec
from semrepa.world import render_clip, sample_spec

log = logging.getLogger(__name__)

TRAIN_SEED = 50_000
"""First seed, and identity, of extra training clips. All training identities stay below 100,000."""
HELDOUT_SEED = 2_000_000
"""First seed, and identity, of extra held-out clips. All held-out identities are 1,000,000 or more."""
CRF = 12
"""Quality of rendered clips: high, since they are small."""


def world_hash() -> str:
    """Digits that stand for the code of the sample world, and so for every pixel of it."""
    files = sorted(Path(semrepa.world.__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]


def render_row(row: ClipRow, *, size: tuple[int, int], num_frames: int, fps: float, crf: int = CRF) -> Path:
    """Render a clip of the sample world to the video file that its row names.

    Args:
        row: a row with `seed`, and in `world` the arguments of `sample_spec`.
        size: height and width, pixels.
        num_frames: frames to render, from second 0 of the clip.
        fps: frames per second.
        crf: quality, from 0 (lossless) to 51.

    Returns:
        The video file.

    Raises:
        ValueError: when the row has no seed, or `world` does not fit.
    """
    spec = world_spec(row, vertical=size[0] > size[1])
    clip = render_clip(spec, size=size, num_frames=num_frames, fps=fps)
    return write_video(row.path, clip.frames, fps=fps, crf=crf)


def ensure_rows(cfg: Config, cache_dir: str | Path, *, allow_missing: bool = False) -> list[ClipRow]:
    """List all clips of a run; renders the extra clips of the sample world that are not in the cache yet.

    Args:
        cfg: `data.index` names the index, `data.extra_train` and `data.extra_heldout` count the extra clips.
        cache_dir: folder for rendered clips; those of one size and frame rate share a folder.
        allow_missing: as in `read_index`.

    Returns:
        The rows of the index, then the extra training clips, then the extra held-out clips.

    Raises:
        FileNotFoundError: when the index or videos it names are missing.
        ValueError: when lines of the index are wrong, or an id is used by an extra clip.
    """
    listed = read_index(cfg.data.index, allow_missing=allow_missing)
    extra = _extra_rows(cfg, Path(cache_dir))
    clash = sorted({row.id for row in listed} & {row.id for row in extra})
    if clash:
        raise ValueError(
            f"got ids {', '.join(clash)} in {cfg.data.index}, which extra clips bear; rename them"
        )
    missing = [row for row in extra if not row.path.is_file()]
    if missing:
        log.info("rendering %d clips of the sample world into %s", len(missing), missing[0].path.parent)
        _render_all(missing, cfg)
    if extra:
        write_index(extra[0].path.parent / "index.jsonl", extra)
    return listed + extra


def _extra_rows(cfg: Config, cache_dir: Path) -> list[ClipRow]:
    made_from = repr((cfg.video, CRF, world_hash()))
    folder = cache_dir / f"world-{hashlib.sha256(made_from.encode()).hexdigest()[:12]}"
    wanted = [(TRAIN_SEED + k, "train") for k in range(cfg.data.extra_train)]
    wanted += [(HELDOUT_SEED + k, "heldout") for k in range(cfg.data.extra_heldout)]
    return [
        ClipRow(
            id=f"world-{seed}",
            path=folder / f"{seed}.mp4",
            caption=sample_spec(seed).caption,
            identity=seed,
            seed=seed,
            split=split,
            licence="CC0-1.0",
            world={},
        )
        for seed, split in wanted
    ]


def _render_all(rows: Sequence[ClipRow], cfg: Config) -> None:
    """Render in one process for each core."""
    render = partial(render_row, **cfg.video.shape)
    workers = min(os.cpu_count() or 1, len(rows))
    if workers == 1:
        for row in rows:
            render(row)
        return
    with ProcessPoolExecutor(workers) as pool:
        for done, path in enumerate(pool.map(render, rows), 1):
            log.info("rendered %s (%d of %d)", path.name, done, len(rows))
