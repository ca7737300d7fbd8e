"""Videos that a run makes of a few clips while it trains, and how their look drifts from the base model's.

They lie in `samples/step-000500/<clip>.mp4` of the run folder, those of the base model in `step-000000`. A
clip has the same noise at each step, and the same as in `semrepa.generate`.
"""

import json
import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path

import torch
from accelerate.utils import gather_object

from semrepa.config import Config
from semrepa.data.dataset import StoreDataset
from semrepa.data.store import FeatureStore
from semrepa.data.video import write_video
from semrepa.generate import clip_seed, sample_encoded
from semrepa.metrics.drift import Look, Video, drift, look
from semrepa.models.cogvideox import CogVideoX
from semrepa.runtime import write_json
from semrepa.training.combined import CombinedObjective
from semrepa.training.processes import this_process
from semrepa.training.task import Monitor

logger = logging.getLogger(__name__)

FOLDER = "samples"
LOOKS = "looks.json"


def sampler(
    objective: CombinedObjective,
    store: FeatureStore,
    ids: Sequence[str],
    cfg: Config,
    run_dir: Path,
) -> Monitor:
    """Make a monitor that generates videos and compares their look with the base model's.

    The processes share the clips, and each takes part in as many videos as the others. Each writes its own.

    Args:
        objective: what is trained, with the frozen rest of the model.
        store: prepared features, for first frames and captions.
        ids: clips, the first of which are taken.
        cfg: interval, number of clips, sampler steps, guidance and first seed.
        run_dir: run folder.

    Returns:
        The monitor; it gives `drift_<name>`, means over the clips, see `semrepa.metrics.drift.drift`.
    """
    ids = ids[: cfg.finetune.samples]

    def measure(step: int) -> Mapping[str, float]:
        state, folder = this_process(), _folder(run_dir, step)
        looks = {}
        for turn in range(-(-len(ids) // state.num_processes)):
            place = turn * state.num_processes + state.process_index
            clip = ids[place % len(ids)]
            video = _video(objective, store, clip, cfg)
            if place < len(ids):
                write_video(folder / f"{clip}.mp4", video, fps=cfg.video.fps)
                looks[clip] = look(video)
        together = dict(gather_object(list(looks.items())))
        if not state.is_main_process:
            return {}
        write_json(folder / LOOKS, {clip: asdict(seen) for clip, seen in together.items()})
        return _drift(run_dir, together) if step else {}

    return Monitor(every=cfg.finetune.sample_every, measure=measure, averaged=True)


def _folder(run_dir: Path, step: int) -> Path:
    return run_dir / FOLDER / f"step-{step:06d}"


@torch.no_grad()
def _video(objective: CombinedObjective, store: FeatureStore, clip: str, cfg: Config) -> Video:
    """What the transformer makes of a clip now."""
    frozen, batch = objective.frozen, StoreDataset(store, [clip]).batch([0])
    parts = CogVideoX(
        source=cfg.model.weights or "mini",
        vae=frozen.vae,
        transformer=objective.transformer,
        noise_scheduler=frozen.noise_scheduler,
    )
    is_low = objective.transformer.dtype == torch.bfloat16  # beside a VAE in float32, on some CPUs
    with torch.autocast(objective.device.type, torch.bfloat16) if is_low else nullcontext():
        return sample_encoded(
            parts,
            batch.first_frames,
            batch.prompt_embeds,
            frozen.empty_prompt,
            [clip_seed(cfg.generate.seeds[0], clip)],
            num_frames=cfg.video.num_frames,
            num_inference_steps=cfg.generate.num_inference_steps,
            guidance_scale=cfg.generate.guidance_scale,
        )[0]


def _drift(run_dir: Path, looks: Mapping[str, Look]) -> dict[str, float]:
    """Means over the clips of what has changed since the base model."""
    path = _folder(run_dir, 0) / LOOKS
    if not path.is_file():
        logger.warning("%s is missing: without samples of the base model no drift is measured", path)
        return {}
    base = json.loads(path.read_text(encoding="utf-8"))
    changes: dict[str, list[float]] = defaultdict(list)
    for clip in sorted(looks.keys() & base.keys()):
        before = Look(**base[clip] | {"color": tuple(base[clip]["color"])})
        for name, change in drift(looks[clip], before).items():
            changes[f"drift_{name}"].append(change)
    return {name: sum(found) / len(found) for name, found in changes.items()}
