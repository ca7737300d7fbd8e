"""Clips divided among processes that need not talk to each other: by a hash of their names.

A process that dies loses the clip it is at; what is done is done, and the same command goes on.
"""

import hashlib
import os
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from semrepa.data.index import ClipRow

VARIABLES = (
    ("RANK", "WORLD_SIZE"),
    ("SLURM_PROCID", "SLURM_NTASKS"),
    ("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_COUNT"),
)
"""Where launchers say which process this is: torchrun and accelerate, srun, job arrays that count from 0."""


class Share(NamedTuple):
    """Which process of how many."""

    rank: int
    """Number of the process, from 0."""
    world: int
    """Processes in all."""

    @classmethod
    def read(cls, text: str) -> "Share":
        """Read a share from a command line.

        Args:
            text: "0/4" is the first of four.

        Returns:
            The share.

        Raises:
            ValueError: not two numbers, or the first is not below the second.
        """
        rank, slash, world = text.partition("/")
        if not (slash and rank.isdecimal() and world.isdecimal() and int(rank) < int(world)):
            raise ValueError(f"share: got {text!r}; expected rank/processes from 0/N to N-1/N, such as 0/4")
        return cls(int(rank), int(world))

    @classmethod
    def of_this_process(cls, environment: Mapping[str, str] = os.environ) -> "Share":
        """The share that a launcher has given to this process.

        Args:
            environment: environment variables.

        Returns:
            The share.

        Raises:
            ValueError: no launcher has said.
        """
        for rank, world in VARIABLES:
            if rank in environment and world in environment:
                return cls.read(f"{environment[rank]}/{environment[world]}")
        known = ", or ".join(" and ".join(pair) for pair in VARIABLES)
        raise ValueError(f"ranks: got no share from the environment; expected {known}; start with a launcher")

    def part(self, number: int, count: int) -> "Share":
        """Divide this share again.

        Args:
            number: of the part, from 0.
            count: parts in all.

        Returns:
            A share whose clips are all of this one; the parts together have each of them once.
        """
        return Share(self.rank + self.world * number, self.world * count)

    def of(self, rows: Sequence[ClipRow]) -> list[ClipRow]:
        """The clips of this process.

        Args:
            rows: all clips.

        Returns:
            Those whose name falls to it, in order; every clip falls to exactly one process.
        """
        return [row for row in rows if _number(row.id) % self.world == self.rank]


def own_gpu(rank: int, count: int, visible: str | None) -> dict[str, str]:
    """Give each process of a machine a GPU of its own, in turns.

    Args:
        rank: number of the process on this machine.
        count: GPUs that are visible.
        visible: CUDA_VISIBLE_DEVICES as it is; None: not set.

    Returns:
        CUDA_VISIBLE_DEVICES for the process; nothing where there is no choice.
    """
    if count < 2:
        return {}
    names = visible.split(",") if visible else [str(index) for index in range(count)]
    return {"CUDA_VISIBLE_DEVICES": names[rank % count]}


def _number(clip_id: str) -> int:
    return int.from_bytes(hashlib.sha256(clip_id.encode()).digest()[:8])
