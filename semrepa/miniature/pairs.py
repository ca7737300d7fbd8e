"""Pairs of identity aligners, with depth and without, trained alike from several seeds: the cells of Table 3.

Both aligners of a pair see the same people, frames and disturbances in the same order; one of them sees the
depth latents too. Held-out people are shown in two clips each, in other clothes, rooms and motions, so that
knowing somebody can be told from knowing a clip.
"""

import json
import logging
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from semrepa.config import Config, override
from semrepa.data.dataset import Batch, StoreDataset
from semrepa.data.store import FeatureStore
from semrepa.files import whole_file
from semrepa.miniature.clips import HELDOUT_SEED, NUM_FRAMES, TRAIN_SEED, load_clips
from semrepa.miniature.networks import build_config, follow
from semrepa.miniature.portraits import RECIPE, portrait_features, render_portraits, train_on_portraits
from semrepa.miniature.records import write_records
from semrepa.models.cogvideox import load_cogvideox
from semrepa.runtime import write_json
from semrepa.teachers import FaceTeacher
from semrepa.teachers.face import InsightFaceTeacher
from semrepa.training.pretrain import pretrain_identity

log = logging.getLogger(__name__)

ASSETS = Path(__file__).parents[1] / "assets" / "mini"
VARIANTS = {"with_depth": True, "without_depth": False}
"""Name of each aligner of a pair, and whether it reads depth."""
AGAIN_SEED = 1_500_000
"""First seed of the second clips of held-out people."""


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """How much each aligner sees; the shipped pair saw 6,000 people, 1,600 clips, 3,000 and 800 steps."""

    people: int = 2400
    """People of whom one frame is seen first, a multiple of 100."""
    portrait_steps: int = 1000
    """Steps of 64 such frames."""
    clips: int = 800
    """Training clips, each of another person, a multiple of 20."""
    clip_frames: int = 5
    """Frames of each of them: short ones are cheap, and people count for more than frames."""
    clip_steps: int = 80
    """Steps of `clip_batch` clips."""
    clip_batch: int = 32
    """Clips of a step."""
    heldout: int = 40
    """Held-out people, a multiple of 20."""


@dataclass(frozen=True, kw_only=True)
class Clips:
    """Features of clips that all cells share."""

    store: FeatureStore
    """Where they lie."""
    train_ids: tuple[str, ...]
    """Clips to train on."""
    heldout_ids: tuple[str, ...]
    """First and then second clips of the held-out people."""

    @property
    def people(self) -> list[str]:
        """Who is in each held-out clip."""
        return [name[-5:] for name in self.heldout_ids]

    def heldout_boxes(self) -> Tensor:
        """Face boxes of the held-out clips (v, n, 4): xyxy in pixels, NaN without a face."""
        return torch.stack([self.store.read(name)["face_boxes"] for name in self.heldout_ids])

    def heldout(self) -> Batch:
        """All held-out clips, in order."""
        return StoreDataset(self.store, self.heldout_ids).batch(range(len(self.heldout_ids)))


def prepare_portraits(protocol: Protocol, work: Path, *, assets: Path = ASSETS, workers: int = 1) -> Batch:
    """Renders one frame of each of many people and computes its features, where that is not done.

    Args:
        protocol: how many.
        work: folder of frames and features.
        assets: the mini weights.
        workers: processes that render.

    Returns:
        Features of those with a face.
    """
    file = work / f"portraits_{protocol.people}.pt"
    if not file.is_file():
        cfg, parts = build_config(assets / "cogvideox"), load_cogvideox(assets / "cogvideox")
        frames, depth = render_portraits(work / "portraits", protocol.people, workers=workers)
        features = portrait_features(frames, depth, parts, _face_teacher(cfg, assets), cfg.depth.colormap)
        with whole_file(file, durable=False) as growing, growing.open("wb") as stream:
            torch.save({**vars(features), "ids": list(features.ids)}, stream)
    kept = torch.load(file, weights_only=True)
    return Batch(**{**kept, "ids": tuple(kept["ids"])})


def prepare_clips(protocol: Protocol, work: Path, *, assets: Path = ASSETS, workers: int = 1) -> Clips:
    """Renders clips and computes their features, where that is not done.

    Args:
        protocol: how many.
        work: folder of clips and features.
        assets: the mini weights.
        workers: processes that render.

    Returns:
        The clips.

    Raises:
        ValueError: features in `work` were made differently.
    """
    cfg, parts = build_config(assets / "cogvideox"), load_cogvideox(assets / "cogvideox")
    store, ids = FeatureStore(work / "store", {"made by": "semrepa.miniature.pairs"}), {}
    again = {"first_seed": AGAIN_SEED, "person_shift": HELDOUT_SEED - AGAIN_SEED}
    sources = {
        "heldout": {"first_seed": HELDOUT_SEED, "count": protocol.heldout},
        "again": {**again, "count": protocol.heldout},
        "train": {"first_seed": TRAIN_SEED, "count": protocol.clips, "num_frames": protocol.clip_frames},
    }
    for name, source in sources.items():
        folder = work / f"clips_{source.get('num_frames', NUM_FRAMES)}"
        clips = load_clips(folder, **source, workers=workers)
        ids[name] = write_records(store, clips, name, parts, _face_teacher(cfg, assets), cfg.depth.colormap)
        log.info("%s: %d clips", name, len(ids[name]))
    return Clips(store=store, train_ids=tuple(ids["train"]), heldout_ids=(*ids["heldout"], *ids["again"]))


def _face_teacher(cfg: Config, assets: Path) -> FaceTeacher:
    face = cfg.face
    limits = {"min_score": face.min_score, "min_size": face.min_size}
    return InsightFaceTeacher(assets / "face", detector_size=face.detector_size, **limits)


def cell_config(protocol: Protocol, seed: int, variant: str, *, assets: Path = ASSETS) -> Config:
    """Settings of one training: those of the shipped aligners with other steps.

    Args:
        protocol: steps.
        seed: of the weights, the order of the data and the disturbances.
        variant: of `VARIANTS`.
        assets: the mini weights.

    Returns:
        The config.

    Raises:
        ValueError: no such variant.
    """
    if variant not in VARIANTS:
        raise ValueError(f"got variant {variant!r}; expected {' or '.join(VARIANTS)}; name one of them")
    every = dict.fromkeys(("steps", "eval_every", "checkpoint_every"), protocol.clip_steps)
    changes = {
        "seed": seed,
        "identity.use_depth": VARIANTS[variant],
        "pretrain_identity": {**every, "batch_size": protocol.clip_batch},
        "video.num_frames": protocol.clip_frames,
    }
    return override(build_config(assets / "cogvideox"), changes)


def training_seconds(folder: Path) -> float:
    """How long a training took.

    Args:
        folder: of the cell.

    Returns:
        Seconds on the clock, or of its last stretch when it was stopped.

    Raises:
        FileNotFoundError: the cell is not finished.
    """
    file = folder / "cell.json"
    kept = json.loads(file.read_text()) if file.is_file() else {}
    if "seconds" not in kept:
        raise FileNotFoundError(
            f"got {folder}, which holds no finished training; expected one; train this seed first"
        )
    return kept["seconds"]


def train_cell(cfg: Config, protocol: Protocol, portraits: Batch, clips: Clips, folder: Path) -> Path:
    """Trains one aligner, on portraits and then on clips; a finished one is left as it is.

    Args:
        cfg: from `cell_config`.
        protocol: what `cfg` was made for.
        portraits: what it sees first.
        clips: what it sees then.
        folder: of this cell; a training that was stopped goes on from there.

    Returns:
        Folder of the weights.

    Raises:
        ValueError: the folder holds a training with other settings.
    """
    settings = {"seed": cfg.seed, "use_depth": cfg.identity.use_depth, **asdict(protocol)}
    file, trained = folder / "cell.json", folder / "identity_aligner"
    kept = json.loads(file.read_text()) if file.is_file() else {"settings": settings}
    if changed := [name for name in settings if kept["settings"].get(name) != settings[name]]:
        said = ", ".join(f"{n}: {kept['settings'].get(n)} there, now {settings[n]}" for n in changed)
        raise ValueError(
            f"got {folder}, trained with other settings ({said}); expected the same; use another run folder"
        )
    if "seconds" in kept:
        return trained
    write_json(file, kept)
    began, used = time.perf_counter(), time.process_time()
    recipe = replace(RECIPE, steps=protocol.portrait_steps)
    start = train_on_portraits(cfg, portraits, work=folder, log=folder, recipe=recipe)
    run = pretrain_identity(cfg, clips.store, folder, train_ids=clips.train_ids, aligner=start)
    follow(folder.name, run)
    seconds = {"seconds": time.perf_counter() - began, "cpu_seconds": time.process_time() - used}
    write_json(file, {**kept, **seconds})
    return trained


def cell_folder(run_dir: Path, seed: int, variant: str) -> Path:
    """Where one training lies.

    Args:
        run_dir: folder of all.
        seed: its seed.
        variant: of `VARIANTS`.

    Returns:
        Its folder.
    """
    return run_dir / f"seed_{seed}" / variant
