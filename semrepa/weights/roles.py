"""What networks do in a run, and what the kit knows of each without having seen it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from semrepa.models.baselines import BaselineName

Worker = Literal["model", "depth", "face", "people", "structure", "identity"]
Judge = Literal["lpips_backbone", "lpips_heads", "inception", "raft", "clip", "second_face"]
Role = Worker | Judge | BaselineName
ROLES: tuple[Role, ...] = get_args(Worker)
"""What training and generating can need."""
JUDGES: tuple[Role, ...] = get_args(Judge)
"""What only scores of videos need."""
FACES: tuple[Role, ...] = ("face", "second_face")
"""Packs of a detector and a recogniser."""


@dataclass(frozen=True, kw_only=True)
class Network:
    """One network: what the kit knows about it without having seen it."""

    role: Role
    """What it does in a run."""
    title: str
    """Its name."""
    licence: str
    """Terms of use, with a note where they forbid commercial use."""
    size: str
    """Size on disk."""
    commands: tuple[str, ...]
    """How to get it, line by line."""
    field: str
    """Config field that names it."""
    argument: str | None
    """Value of that field."""
    pinned: str | None = None
    """SHA-256 that the user expects."""
    variable: str | None = None
    """Environment variable that names it, where the config does not."""
    names: tuple[str, ...] = ()
    """Official names of the file or folder, the first of which counts."""
    repo: str | None = None
    """Hub repository that has it."""
    places: tuple[tuple[str, Path], ...] = ()
    """Folders in which other programs keep it, each with its name."""
    wanted: tuple[str, ...] = ()
    """Files of that repository that are fetched, as patterns; never pickles where there is a choice."""

    @property
    def is_file(self) -> bool:
        """Whether it is one file, and not a folder."""
        return self.role in ("depth", "people", "lpips_backbone", "lpips_heads", "inception", "raft")
