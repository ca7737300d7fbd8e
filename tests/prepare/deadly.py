"""Stand-ins that kill the process they are in, and what a store holds afterwards."""

import os
import signal
from dataclasses import replace
from pathlib import Path

import torch

from semrepa.data.index import ClipRow
from semrepa.data.people import PersonFilter
from semrepa.data.store import FeatureStore
from semrepa.prepare import Teachers
from semrepa.prepare.teachers import people_by_face
from tests.prepare.room import TEACHERS, Bright, Slope

POISON = """
import os, sys
if "semrepa.data.decoding.child" in sys.orig_argv:
    import av
    open_as_ever = av.open
    def crash(file, *more, **settings):
        return os.abort() if "poison" in str(file) else open_as_ever(file, *more, **settings)
    av.open = crash
"""
"""A `sitecustomize.py` with which decoding in a child process crashes on files of that name."""


class Deadly(Slope):
    """A depth teacher that kills its process: at a clip called `once` the first time, at `always` always."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, row: ClipRow, frames: torch.Tensor) -> torch.Tensor:
        deaths = deaths_on(self.folder, row.id)
        if row.id == "always" or (row.id == "once" and not deaths):
            (self.folder / row.id).write_text("x" * (deaths + 1))
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__call__(row, frames)


class Faulty(Slope):
    """A depth teacher with a fault of the program in it."""

    def __call__(self, row: ClipRow, frames: torch.Tensor) -> torch.Tensor:
        raise KeyError("a fault of the program")


class Heads:
    """`people_by_face` as a stand-in that can be pickled."""

    def __call__(self, frame: torch.Tensor) -> torch.Tensor:
        return people_by_face(Bright())(frame)


TRAVELLING = replace(TEACHERS, people=PersonFilter(detector=Heads(), looks=3))
"""The stand-ins of the room, made to be pickled."""


def deaths_on(folder: Path, clip_id: str) -> int:
    """How often `Deadly` has killed at a clip."""
    file = folder / clip_id
    return file.stat().st_size if file.exists() else 0


def deadly_teachers(folder: Path) -> Teachers:
    """Stand-ins, the depth teacher of which is deadly; they can be pickled."""
    return replace(TRAVELLING, depth=Deadly(folder))


def contents(store: FeatureStore) -> tuple[dict[str, bytes], dict[str, str]]:
    """Bytes of all records, and why the other clips were left out."""
    records = {clip_id: store.read_bytes(clip_id) for clip_id in store.ids()}
    return records, {clip_id: reject.message for clip_id, reject in store.rejects().items()}
