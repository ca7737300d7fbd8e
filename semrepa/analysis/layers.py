"""What each block of the transformer holds of depth and identity: linear probes and CKNNA, layer by layer.

Probes are fitted on training clips and scored on held-out ones, at one noise level, on what the blocks make
of noisy latents. Layer 0 is the input of the blocks, so that a score there is what noise, first frame and
patch embedding give away by themselves.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import normalize, pad

from semrepa.analysis.identity import verification, verification_pairs
from semrepa.analysis.probes import ClipRatio, cknna, explained, fit_ridge, likeness
from semrepa.data.dataset import Batch
from semrepa.models.features import Tokens, block_features, patches, to_grid
from semrepa.models.latents import repeat_first
from semrepa.shapes import TEMPORAL_RATIO, Embeddings, FaceMask
from semrepa.training.combined import CombinedObjective
from semrepa.training.evaluate import in_order

TOKENS = 256
"""Patches of each clip that a depth probe sees, drawn once for all. Ours."""
COMPARED = 1024
"""Patches of all clips together that CKNNA compares. Ours."""
NEIGHBOURS = 10
"""Neighbours of CKNNA, as in its publication."""

Frames = Float[Tensor, "b f dim"]
"""One row of features for each frame of patches."""
Faces = Float[Tensor, "b f d"]
"""One face embedding for each frame of patches."""
Seen = Bool[Tensor, "b f"]
"""Frames of patches that show a face."""


@dataclass(frozen=True, kw_only=True)
class LayerData:
    """Features of some clips at one noise level, and what the teachers say about them."""

    ids: tuple[str, ...]
    """Names of the clips."""
    tokens: list[Tokens]
    """For each layer, some patches of each clip."""
    frames: list[Frames]
    """For each layer, the mean over the patches of each frame."""
    depth: Float[Tensor, "b tokens c"]
    """Depth latents of these patches, averaged over each."""
    face: Faces
    """Mean embedding of the face in each frame, of length 1."""
    seen: Seen
    """Frames that show one."""


@dataclass(frozen=True, kw_only=True)
class LayerScore:
    """What one layer holds. 0 is the input of the blocks, k the output of block k."""

    layer: int
    """Its number."""
    depth: ClipRatio
    """R² of the depth probe on held-out clips."""
    identity: ClipRatio
    """Mean cosine between the identity probe's answer and the face teacher's, on held-out clips."""
    auc: float
    """Area under the verification curve of that probe's answers; pairs of one video are among its pairs."""
    cknna_depth: float
    """CKNNA of patches with their depth latents."""
    cknna_identity: float
    """CKNNA of clips with the face teacher's embeddings; NaN for fewer than four clips with a face."""

    def numbers(self) -> dict[str, float]:
        """Its scores by name."""
        names = {"depth_r2": self.depth.value, "identity_cosine": self.identity.value, "auc": self.auc}
        return {**names, "cknna_depth": self.cknna_depth, "cknna_identity": self.cknna_identity}


@torch.no_grad()
def collect(
    objective: CombinedObjective, batches: Iterable[Batch], level: int, *, seed: int, first: int = 0
) -> LayerData:
    """Run the transformer on noisy clips and keep what its layers hold.

    Args:
        objective: the transformer with the frozen rest.
        batches: clips.
        level: timestep.
        seed: seed of the noise, which is the same for every transformer.
        first: place of the first clip, which decides its noise as well.

    Returns:
        Features and targets, on the CPU.
    """
    parts = [
        _look(objective, clips.batch, predict, level)
        for clips, predict in objective.views(in_order(batches, first), seed)
    ]
    layers = range(len(parts[0].tokens))
    return LayerData(
        ids=tuple(name for part in parts for name in part.ids),
        tokens=[torch.cat([part.tokens[layer] for part in parts]) for layer in layers],
        frames=[torch.cat([part.frames[layer] for part in parts]) for layer in layers],
        **{name: torch.cat([getattr(part, name) for part in parts]) for name in ("depth", "face", "seen")},
    )


def score_layers(known: LayerData, heldout: LayerData, people: Mapping[str, object]) -> list[LayerScore]:
    """Fit probes on some clips and score them on others, for each layer.

    Args:
        known: clips to fit on.
        heldout: clips to score on, of other people.
        people: who each clip shows, by its name.

    Returns:
        One score per layer; CKNNA, which fits nothing, is over the clips of both.
    """
    return [_score(known, heldout, layer, people) for layer in range(len(known.tokens))]


def faces_by_frame(embeds: Embeddings, face_mask: FaceMask, frames: int, together: int) -> tuple[Faces, Seen]:
    """Average face embeddings over the video frames that a frame of patches stands for.

    Args:
        embeds: embedding of each video frame.
        face_mask: frames that show a face.
        frames: latent frames that the transformer works on; those beyond the video's come first.
        together: latent frames of a patch.

    Returns:
        Mean embeddings of length 1, zeros where there is no face; and where there is one.
    """
    missing = TEMPORAL_RATIO * frames - embeds.shape[1]
    group = TEMPORAL_RATIO * together
    mask = pad(face_mask, (missing, 0)).unflatten(1, (-1, group))
    sums = (pad(embeds, (0, 0, missing, 0)).unflatten(1, (-1, group)) * mask[..., None]).sum(dim=2)
    return normalize(sums, dim=-1), mask.any(dim=2)


def _look(objective: CombinedObjective, batch: Batch, predict: partial, level: int) -> LayerData:
    transformer, patch = objective.transformer, patches(objective.transformer)
    frames = -(-batch.latents.shape[1] // patch[0]) * patch[0]
    depth = repeat_first(batch.depth_latents, frames)
    targets = torch.nn.functional.avg_pool3d(depth.transpose(1, 2), patch).flatten(2).transpose(1, 2)
    chosen = _chosen(targets.shape[1]).to(depth.device)

    def keep(tokens: Tokens) -> tuple[Tensor, Tensor]:
        pooled = to_grid(tokens, depth.shape, patch).float().mean(dim=(2, 3))
        return tokens[:, chosen].float().cpu(), pooled.cpu()

    with block_features(transformer, keep) as found:
        predict(level)
    face, seen = faces_by_frame(batch.id_embeds, batch.face_mask, frames, patch[0])
    return LayerData(
        ids=tuple(batch.ids),
        tokens=[tokens for tokens, _ in found],
        frames=[pooled for _, pooled in found],
        depth=targets[:, chosen].cpu(),
        face=face.cpu(),
        seen=seen.cpu(),
    )


def _chosen(count: int) -> Tensor:
    """Patches that are kept, the same for all clips and models."""
    return torch.randperm(count, generator=torch.Generator().manual_seed(0))[:TOKENS].sort().values


def _score(known: LayerData, heldout: LayerData, layer: int, people: Mapping[str, object]) -> LayerScore:
    depth = fit_ridge(*_patches(known, layer))
    identity = fit_ridge(*_faces(known, layer))
    frames = heldout.frames[layer]
    answers = identity(frames.flatten(0, 1)).float().unflatten(0, frames.shape[:2])
    return LayerScore(
        layer=layer,
        depth=explained(depth, *_patches(heldout, layer)),
        identity=likeness(identity, *_faces(heldout, layer)),
        auc=_auc(answers, heldout.seen, [people[name] for name in heldout.ids]),
        cknna_depth=_cknna_depth([known, heldout], layer),
        cknna_identity=_cknna_identity([known, heldout], layer),
    )


def _patches(data: LayerData, layer: int) -> tuple[Tensor, Tensor, np.ndarray]:
    tokens = data.tokens[layer]
    clips = np.repeat(np.arange(len(tokens)), tokens.shape[1])
    return tokens.flatten(0, 1), data.depth.flatten(0, 1), clips


def _faces(data: LayerData, layer: int) -> tuple[Tensor, Tensor, np.ndarray]:
    seen = data.seen
    return data.frames[layer][seen], data.face[seen], torch.nonzero(seen)[:, 0].numpy()


def _auc(answers: Embeddings, seen: FaceMask, people: Sequence[object]) -> float:
    scores, same = verification_pairs(answers, seen, people)
    return verification(scores, same).auc if same.any() and not same.all() else float("nan")


def _cknna_depth(parts: Sequence[LayerData], layer: int) -> float:
    tokens = torch.cat([part.tokens[layer].flatten(0, 1) for part in parts])
    depth = torch.cat([part.depth.flatten(0, 1) for part in parts])
    chosen = torch.randperm(len(tokens), generator=torch.Generator().manual_seed(0))[:COMPARED]
    return cknna(tokens[chosen], depth[chosen], neighbours=NEIGHBOURS)


def _cknna_identity(parts: Sequence[LayerData], layer: int) -> float:
    """One row for each clip: frames of one clip would be each other's neighbours whoever is in it."""
    frames = torch.cat([part.frames[layer].mean(dim=1) for part in parts])
    face, seen = (torch.cat([getattr(part, name) for part in parts]) for name in ("face", "seen"))
    shown = seen.any(dim=1)
    if shown.sum() < 4:
        return float("nan")
    neighbours = min(NEIGHBOURS, int(shown.sum()) - 1)
    return cknna(frames[shown], normalize(face.sum(dim=1), dim=1)[shown], neighbours=neighbours)
