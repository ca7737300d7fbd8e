"""Rendered pictures of faces with exact answers: what the mini detector and recogniser are trained on."""

import logging
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from semrepa.files import whole_file
from semrepa.world import render_clip, sample_spec

_log = logging.getLogger(__name__)

SIZE = (256, 384)
"""Height and width of the rendered pictures (swapped for vertical clips); training shrinks them at random."""
CLIPS = 4
"""Clips per person, each with its own clothes, room, light, shot and motion."""
MOMENTS = 3
"""Pictures per clip, `STEP` seconds apart."""
STEP = 1.7
MINI_SHRINK = 0.5
"""Factor from the rendered pictures to the frames of the mini preset."""
SMEAR = 1.6
"""Detail that the mini VAE loses, in pixels of a mini frame."""
SHARD = 10
"""People per file."""
VERTICAL_SHARE = 0.15
EMPTY_SEEDS = 9_000_000
"""Seeds of rooms without a person start here."""


@dataclass(frozen=True)
class Pictures:
    """m pictures, compressed, with what is known about their faces."""

    jpegs: Sequence[np.ndarray]
    """m JPEG files as uint8 arrays."""
    identity: np.ndarray
    """(m,) int64, -1 for an empty room."""
    boxes: np.ndarray
    """(m, 4) float32 left, top, right, bottom in pixels, NaN where the face is turned away or nobody is."""
    points: np.ndarray
    """(m, 5, 2) float32 x, y in pixels, NaN likewise."""
    visible: np.ndarray
    """(m,) bool: a detector should find it."""

    def image(self, index: int) -> np.ndarray:
        """Decompress one picture.

        Args:
            index: which.

        Returns:
            (H, W, 3) uint8, BGR.
        """
        return decompressed(self.jpegs[index])


def decompressed(jpeg: np.ndarray) -> np.ndarray:
    """Read a JPEG file.

    Args:
        jpeg: its bytes, uint8.

    Returns:
        (H, W, 3) uint8, BGR.
    """
    return np.asarray(cv2.imdecode(jpeg, cv2.IMREAD_COLOR))


def _render(rng: np.random.Generator, identity: int | None, seed: int, moments: int) -> dict[str, list[Any]]:
    """A few moments of one clip."""
    vertical = bool(rng.random() < VERTICAL_SHARE)
    spec = sample_spec(seed, identity=identity, vertical=vertical, empty=identity is None)
    height, width = sorted(SIZE, reverse=vertical)
    clip = render_clip(
        spec,
        size=(height, width),
        num_frames=moments,
        fps=1 / STEP,
        start=float(rng.uniform(0, 4)),
        supersample=1,
    )
    quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(85, 98))]
    images = clip.frames.transpose(0, 2, 3, 1)[..., ::-1]
    return {
        "jpegs": [cv2.imencode(".jpg", np.ascontiguousarray(image), quality)[1] for image in images],
        "identity": [-1 if identity is None else identity] * moments,
        "boxes": list(clip.face_boxes),
        "points": list(clip.face_points),
        "visible": list(clip.face_visible),
    }


def _render_shard(path: Path, first: int) -> None:
    """Render `SHARD` people and one empty room into one file, written atomically."""
    rows: dict[str, list[Any]] = {}
    for identity in (*range(first, first + SHARD), None):
        for clip in range(1 if identity is None else CLIPS):
            seed = EMPTY_SEEDS + first if identity is None else identity * CLIPS + clip
            found = _render(np.random.default_rng([seed, 7]), identity, seed, MOMENTS)
            rows = {key: rows.get(key, []) + found[key] for key in found}
    jpegs = rows.pop("jpegs")
    arrays: dict[str, Any] = {key: np.stack(values) for key, values in rows.items()}
    arrays |= {"bytes": np.concatenate(jpegs), "ends": np.cumsum([len(jpeg) for jpeg in jpegs])}
    with whole_file(path, durable=False) as growing, growing.open("wb") as file:
        np.savez(file, **arrays)


def load_pictures(folder: Path, *, first: int, people: int, workers: int = 1) -> Pictures:
    """Load the pictures of the identities [first, first + people); render those that are missing.

    Args:
        folder: cache, one file per `SHARD` people.
        first: first identity number.
        people: how many, a multiple of `SHARD`.
        workers: processes that render.

    Returns:
        12 pictures per person, and 3 of an empty room for every 10 people.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = {start: folder / f"faces_{start:08d}.npz" for start in range(first, first + people, SHARD)}
    missing = {start: path for start, path in paths.items() if not path.exists()}
    with ProcessPoolExecutor(workers) as pool:
        for done, _ in enumerate(pool.map(_render_shard, missing.values(), missing), start=1):
            _log.info("rendered faces: %d of %d files", done, len(missing))
    shards = [dict(np.load(path)) for path in paths.values()]
    jpegs = [jpeg for s in shards for jpeg in np.split(s["bytes"], s["ends"][:-1])]
    known = {
        key: np.concatenate([s[key] for s in shards]) for key in ("identity", "boxes", "points", "visible")
    }
    return Pictures(jpegs=jpegs, **known)


def degrade(image: np.ndarray, rng: np.random.Generator, blur: float, smear: float) -> np.ndarray:
    """Change light and colour, blur, compress: what cameras, codecs and video models do to a face.

    Args:
        image: (h, w, 3) uint8.
        rng: source of randomness.
        blur: largest deviation of a slight blur in pixels.
        smear: size in pixels up to which detail is lost in a third of the pictures, as a video autoencoder
            loses it.

    Returns:
        (h, w, 3) uint8.
    """
    if rng.random() < 0.35:
        image = _smeared(image, rng, smear)
    elif rng.random() < 0.45:
        image = cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.3, max(0.4, blur))))
    gain, offset = rng.uniform(0.8, 1.2) * rng.uniform(0.95, 1.05, 3), rng.uniform(-15, 15)
    table = np.arange(256)[:, None] * gain + offset
    image = cv2.LUT(image, np.clip(table, 0, 255).astype(np.uint8)[None])
    if rng.random() < 0.2:
        noise = rng.standard_normal(image.shape, dtype=np.float32) * np.float32(rng.uniform(1, 6))
        image = np.clip(image + noise, 0, 255).astype(np.uint8)
    if rng.random() < 0.3:
        image = _compressed(image, int(rng.integers(40, 95)))
    return image


def _smeared(image: np.ndarray, rng: np.random.Generator, smear: float) -> np.ndarray:
    """Blur strongly, or shrink and enlarge again; often leave blocks and false colours as well."""
    size = float(rng.uniform(0.3, 1)) * smear
    if rng.random() < 0.5:
        image = cv2.GaussianBlur(image, (0, 0), max(0.3, size))
    else:
        height, width = image.shape[:2]
        small = [max(6, round(side / (1 + 1.5 * size))) for side in (width, height)]
        small = cv2.resize(image, small, interpolation=cv2.INTER_AREA)
        image = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
    return _compressed(image, int(rng.integers(12, 40))) if rng.random() < 0.5 else image


def _compressed(image: np.ndarray, quality: int) -> np.ndarray:
    return decompressed(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1])
