"""The structure aligner for noisy latents (Eq. 4 and 5), which two arms of Table 2 need and mini lacks."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from semrepa.config import Config, override
from semrepa.data.store import FeatureStore
from semrepa.diffusion import add_noise, alphas_cumprod
from semrepa.losses import structure_loss
from semrepa.models.structure import StructureAligner
from semrepa.training.evaluate import eval_timesteps
from semrepa.training.log import StepLog
from semrepa.training.portion import normal
from semrepa.training.pretrain import new_structure_aligner, pretrain_structure
from semrepa.training.sources import heldout_batches, load_aligners
from semrepa.weights import load_base

FOLDER = "noisy_aligner"
"""Run folder of its training, inside that of the ablations."""


def aligner_folder(run_dir: Path | str) -> Path:
    """Where the noisy aligner of some ablations lies.

    Args:
        run_dir: folder of the ablations.

    Returns:
        Folder of its weights.
    """
    return Path(run_dir) / FOLDER / "structure_aligner"


def train_noisy_aligner(
    cfg: Config,
    store: FeatureStore,
    run_dir: Path | str,
    *,
    train_ids: Sequence[str],
    heldout_ids: Sequence[str] = (),
) -> Iterator[StepLog]:
    """Train a structure aligner on noisy latents, beginning with the weights of the one on clean latents.

    Args:
        cfg: names the clean aligner; `cfg.pretrain_structure` and the seed decide the training.
        store: prepared features.
        run_dir: folder of the ablations; it ends up in `aligner_folder(run_dir)`.
        train_ids: training clips.
        heldout_ids: clips for evaluation.

    Returns:
        One log per step; nothing is trained before the first is asked for.

    Raises:
        ValueError: no clean aligner, or one of another size than `cfg.structure` says.

    Source: Eq. (4), (5), Sec. 4.2.1.
    """
    clean = load_aligners(override(cfg, {"structure.input": "clean"})).structure
    if clean is None:
        raise ValueError(
            "structure.weights: got no clean structure aligner; expected one to begin with; pretrain it "
            "(notebook 03) and name its folder"
        )
    noisy_cfg = override(cfg, {"structure.input": "noisy", "pretrain_structure.resume": True})
    clips = {"train_ids": train_ids, "heldout_ids": heldout_ids}
    start = as_noisy(clean, noisy_cfg)
    return pretrain_structure(noisy_cfg, store, Path(run_dir) / FOLDER, aligner=start, **clips)


def as_noisy(clean: StructureAligner, cfg: Config) -> StructureAligner:
    """A structure aligner for noisy latents with the weights of one for clean latents.

    Args:
        clean: trained on clean latents.
        cfg: size of the new one, which must be that of the old one.

    Returns:
        The aligner, to be trained.

    Raises:
        ValueError: they have other sizes.
    """
    made = new_structure_aligner(cfg, time_embed_dim=clean.config.time_embed_dim)
    names = ("num_layers", "num_heads", "head_dim", "sample_height", "sample_width")
    for name in names:
        if made.config[name] != clean.config[name]:
            raise ValueError(
                f"{name}: got {made.config[name]} with a clean aligner of {clean.config[name]}; expected the "
                "same, since the noisy one begins with its weights; set structure and video to its sizes"
            )
    made.load_state_dict(clean.state_dict())
    return made


@torch.no_grad()
def depth_errors(
    cfg: Config, store: FeatureStore, heldout_ids: Sequence[str], noisy: StructureAligner
) -> dict[int, dict[str, float]]:
    """Compare a noisy aligner with the clean one by the error of the depth latents behind the noise.

    Its answer is depth under noise; since the noise is known, an error of e there is one of e / alpha-bar in
    the depth itself. A network that knows no depth and only hands on its input has the error of "copy".

    Args:
        cfg: names the clean aligner and the base model; its seed is that of the noise.
        store: prepared features.
        heldout_ids: clips.
        noisy: the noisy aligner.

    Returns:
        By timestep: medians over the clips of the mean squared error of the `noisy` one, of a `copy` of the
        noisy video, and of the `clean` one on true latents, which no noise disturbs.
    """
    clean = load_aligners(override(cfg, {"structure.input": "clean"})).structure
    base = load_base(cfg, ("noise_scheduler",))
    found: dict[int, dict[str, list[torch.Tensor]]] = {}
    for clips in heldout_batches(store, heldout_ids, 4):
        batch = clips.batch
        device = batch.latents.device
        table, noise = (
            alphas_cumprod(base.noise_scheduler, device),
            normal(batch.latents, clips.generators(cfg.seed)),
        )
        answer = clean.to(device)(batch.latents) if clean is not None else batch.latents
        for level in eval_timesteps(len(table)):
            at, kept = torch.full((len(noise),), level, device=device), found.setdefault(level, {})
            seen, target = (add_noise(x, noise, at, table) for x in (batch.latents, batch.depth_latents))
            errors = {
                "noisy": structure_loss(noisy.to(device)(seen, at), target) / table[level],
                "copy": structure_loss(seen, target) / table[level],
                "clean": structure_loss(answer, batch.depth_latents),
            }
            for name, value in errors.items():
                kept.setdefault(name, []).append(value[clips.counts].cpu())
    return {
        level: {name: torch.cat(parts).median().item() for name, parts in kept.items()}
        for level, kept in found.items()
    }
