"""Single frames of many people: what the identity aligners see before they see clips.

Reading a face from latents must hold for people who were never seen, so the number of people counts for more
than the number of frames of each; a single frame costs a twentieth of a clip.
"""

from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from semrepa import depth as depth_maps
from semrepa.config import Config
from semrepa.data.dataset import Batch
from semrepa.files import whole_file
from semrepa.miniature.clips import SIZE
from semrepa.miniature.fit import Recipe, fit
from semrepa.models.cogvideox import CogVideoX
from semrepa.models.identity import IdentityAligner
from semrepa.models.latents import encode
from semrepa.runtime import seed_everything
from semrepa.teachers import FaceTeacher
from semrepa.training.evaluate import Heldout
from semrepa.training.objectives import IdentityObjective
from semrepa.training.portion import portions
from semrepa.training.pretrain import new_identity_aligner
from semrepa.world import render_clip, sample_spec

FIRST_SEED = 20_000
SHARD = 100
BATCH = 64
LOGGED = 200
"""People who are held out, for the log."""
RECIPE = Recipe(steps=3000, lr=2e-3, cooldown=0.4, save_every=250)


def _render(folder: Path, first: int) -> Path:
    path = folder / f"portraits_{first:06d}.npz"
    if path.exists():
        return path
    frames = np.zeros((SHARD, 3, *SIZE), np.uint8)
    depth = np.zeros((SHARD, *SIZE), np.float32)
    for index in range(SHARD):
        seed = first + index
        spec = sample_spec(seed, shot="half" if seed % 3 == 0 else "portrait")
        clip = render_clip(spec, size=SIZE, num_frames=1, start=seed % 8 * 0.5)
        frames[index], depth[index] = clip.frames[0], clip.depth[0]
    with whole_file(path, durable=False) as growing, growing.open("wb") as file:
        np.savez(file, frames=frames, depth=depth)
    return path


def render_portraits(folder: Path, people: int, workers: int = 2) -> tuple[Tensor, Tensor]:
    """Renders one frame of each of many people; what is there is kept.

    Args:
        folder: cache folder.
        people: number of people, a multiple of 100; none of them is in a held-out clip.
        workers: processes.

    Returns:
        RGB frames (people, 1, 3, 128, 192) uint8, and metric depth (people, 1, 128, 192).
    """
    folder.mkdir(parents=True, exist_ok=True)
    firsts = range(FIRST_SEED, FIRST_SEED + people, SHARD)
    with ProcessPoolExecutor(workers) as pool:
        shards = [np.load(path) for path in pool.map(partial(_render, folder), firsts)]
    frames, depth = (np.concatenate([shard[key] for shard in shards]) for key in ("frames", "depth"))
    return torch.from_numpy(frames)[:, None], torch.from_numpy(depth)[:, None]


@torch.no_grad()
def portrait_features(
    frames: Tensor, depth: Tensor, parts: CogVideoX, face_teacher: FaceTeacher, colormap: str
) -> Batch:
    """Latents and teacher embeddings of portraits on which a face was found.

    Args:
        frames: RGB frames, one of each person.
        depth: their metric depth.
        parts: VAE.
        face_teacher: embeds faces.
        colormap: colours of the depth frames.

    Returns:
        All of them as one batch of clips of a single frame, without captions.
    """
    tracks = [face_teacher(frame) for frame in frames]
    seen = [index for index, track in enumerate(tracks) if track.mask.any()]
    frames, depth = frames[seen], depth[seen]
    colors = depth_maps.colorize(depth_maps.normalize(depth, kind="metric"), colormap)
    return Batch(
        latents=torch.cat([encode(parts.vae, group) for group in frames.split(32)]),
        depth_latents=torch.cat([encode(parts.vae, group) for group in colors.split(32)]),
        first_frames=frames[:, 0],
        prompt_embeds=torch.zeros(len(seen), 0, 0),
        id_embeds=torch.stack([tracks[index].embeds for index in seen]),
        face_mask=torch.ones(len(seen), 1, dtype=torch.bool),
        ids=tuple(str(FIRST_SEED + index) for index in seen),
    )


def take(features: Batch, chosen: np.ndarray) -> Batch:
    """Some clips of a batch.

    Args:
        features: clips.
        chosen: their numbers.

    Returns:
        A smaller batch.
    """
    tensors = {name: value[chosen] for name, value in vars(features).items() if isinstance(value, Tensor)}
    return Batch(**tensors, ids=tuple(features.ids[index] for index in chosen))


def train_on_portraits(
    cfg: Config, features: Batch, *, work: Path, log: Path, recipe: Recipe | None = None
) -> IdentityAligner:
    """Trains an identity aligner on portraits; the last `LOGGED` people are held out for the log.

    Args:
        cfg: size of the aligner, its disturbances and the seed.
        features: from `portrait_features`.
        work: folder of the checkpoint.
        log: folder of the log.
        recipe: settings of the training; None: those of the shipped aligners.

    Returns:
        The aligner, ready for clips.
    """
    identity, train = cfg.identity, len(features.ids) - LOGGED
    seed_everything(cfg.seed)
    aligner = new_identity_aligner(cfg, features)
    objective = IdentityObjective(
        aligner, weight_cosine=identity.weight_cosine, noise=identity.noise, shift=identity.shift
    )
    heldout = Heldout.of(take(features, np.arange(train, len(features.ids))))

    def loss_of_step(step: int) -> Tensor:
        rng = np.random.default_rng([cfg.seed, step])
        batch = take(features, rng.integers(train, size=BATCH))
        (portion,) = portions([batch], objective.count, seed=cfg.seed, step=step)
        return objective(portion)[0]

    @torch.no_grad()
    def evaluate() -> dict[str, float]:
        return {key: float(value) for key, value in objective.heldout([heldout]).items()}

    name = "portraits" if identity.use_depth else "portraits_no_depth"
    files = {"checkpoint": work / f"{name}.pt", "log": log / f"{name}.jsonl"}
    fit(aligner, loss_of_step, recipe or RECIPE, evaluate=evaluate, **files)
    return aligner
