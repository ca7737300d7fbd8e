"""Batches of stored features, in an order that depends only on the seed and the step."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch

from semrepa.data.store import FeatureStore, Record
from semrepa.shapes import Embeddings, FaceMask, Images, Latents, PromptEmbeds


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Features of b clips; all floats are float32."""

    latents: Latents
    """Scaled clean latents of the videos."""
    depth_latents: Latents
    """Scaled clean latents of the colorized depth."""
    first_frames: Images
    """First frames, RGB, 0 to 255."""
    prompt_embeds: PromptEmbeds
    """Text features of the captions."""
    id_embeds: Embeddings
    """L2-normalised face embedding of each frame, zeros where masked."""
    face_mask: FaceMask
    """True on frames that show a usable face."""
    ids: tuple[str, ...]
    """Names of the clips."""

    def to(self, device: torch.device | str) -> "Batch":
        """The same batch on another device."""
        moved = {
            name: value.to(device) for name, value in vars(self).items() if isinstance(value, torch.Tensor)
        }
        return dataclasses.replace(self, **moved)


class StoreDataset(torch.utils.data.Dataset[Record]):
    """Some clips of a feature store.

    Attributes:
        store: where the records lie.
        ids: the clips, in order.
    """

    def __init__(self, store: FeatureStore, ids: Sequence[str]) -> None:
        """Choose clips.

        Args:
            store: where the records lie.
            ids: names of clips.

        Raises:
            ValueError: when there is no clip, or some have no record.
        """
        missing = [clip_id for clip_id in ids if not store.has(clip_id)]
        if missing:
            named = ", ".join(missing[:10])
            raise ValueError(
                f"got {len(missing)} clips without a record in {store.folder} ({named}); run prepare first"
            )
        if not ids:
            raise ValueError(
                f"got no clips of {store.folder}; expected at least one; check the splits of the index"
            )
        self.store, self.ids = store, tuple(ids)

    def __len__(self) -> int:
        """Number of clips."""
        return len(self.ids)

    def __getitem__(self, index: int) -> Record:
        """The record of one clip."""
        return self.store.read(self.ids[index])

    def batch(self, indices: Sequence[int]) -> Batch:
        """Put some clips together.

        Args:
            indices: positions in `ids`.

        Returns:
            Their batch, on the CPU.
        """
        records = [self[index] for index in indices]
        stacked = {name: torch.stack([record[name] for record in records]) for name in records[0]}
        return Batch(
            latents=stacked["latents"].float(),
            depth_latents=stacked["depth_latents"].float(),
            first_frames=stacked["first_frame"],
            prompt_embeds=stacked["prompt_embeds"].float(),
            id_embeds=stacked["id_embeds"].float(),
            face_mask=stacked["face_mask"],
            ids=tuple(self.ids[index] for index in indices),
        )


@lru_cache(maxsize=2)
def _order(size: int, seed: int, epoch: int) -> np.ndarray:
    return np.random.default_rng([seed, epoch]).permutation(size)


def batch_indices(size: int, batch_size: int, seed: int, step: int) -> list[int]:
    """Which clips step `step` sees: one shuffled pass after the other, cut into batches.

    Args:
        size: number of clips.
        batch_size: clips per step.
        seed: fixes the order.
        step: counts from 0.

    Returns:
        Positions from 0 to `size` - 1.
    """
    places = range(step * batch_size, (step + 1) * batch_size)
    return [int(_order(size, seed, place // size)[place % size]) for place in places]
