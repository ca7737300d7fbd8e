"""A folder of little videos, good and bad, and stand-in teachers that answer at once."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from semrepa.config import Config
from semrepa.data.index import ClipRow
from semrepa.data.people import PersonFilter
from semrepa.data.video import write_video
from semrepa.prepare import Teachers
from semrepa.prepare.teachers import people_by_face
from semrepa.provenance import Provenance
from semrepa.teachers import FaceTrack

MADE_UP = Provenance(name="made up", source="test", kind="random")


class Slope:
    """A depth teacher: 1 m at the left edge of what it sees, 3 m at the right one."""

    kind = "metric"
    provenance = MADE_UP

    def __call__(self, row: ClipRow, frames: torch.Tensor) -> torch.Tensor:
        _, n, _, height, width = frames.shape
        return torch.linspace(1, 3, width).expand(1, n, height, width)


class Bright:
    """A face teacher that takes bright frames for a face."""

    provenance = MADE_UP

    def __call__(self, frames: torch.Tensor, content: object = None) -> FaceTrack:
        mask = frames.float().flatten(1).mean(1) > 50
        embeds = torch.nn.functional.normalize(torch.ones(len(frames), 512), dim=1) * mask[:, None]
        box = torch.tensor([20.0, 8.0, 28.0, 16.0])
        boxes = torch.where(mask[:, None], box, torch.nan)
        points = torch.full((len(frames), 5, 2), torch.nan)
        some = torch.where(mask, 8.0, torch.nan)
        return FaceTrack(
            embeds=embeds,
            mask=mask,
            boxes=boxes,
            points=points,
            scores=0.9 * mask,
            sizes=some,
            cuts=some / 80,
            yaws=some / 16,
        )


class Idle:
    """A teacher that must not be asked, since nothing is left to do."""

    kind = "metric"
    provenance = MADE_UP

    def __call__(self, *_: object) -> None:
        raise AssertionError("asked again")


TEACHERS = Teachers(
    depth=Slope(), face=Bright(), people=PersonFilter(detector=people_by_face(Bright()), looks=3)
)
IDLE = Teachers(depth=Idle(), face=Idle(), people=PersonFilter(detector=Idle()))


@dataclass
class Room:
    """A folder with three good clips and three bad ones."""

    cfg: Config
    rows: list[ClipRow]
    cache: Path


def video(path: Path, count: int, light: int, size: tuple[int, int] = (32, 48)) -> Path:
    """A noisy clip of about the given brightness."""
    noise = np.random.default_rng(light).integers(-20, 20, (count, 3, *size))
    return write_video(path, (light + noise).clip(0, 255).astype(np.uint8))


def furnish(folder: Path, cfg: Config) -> Room:
    """Write the videos; the config gets no weights but those it has."""
    video(folder / "a.mp4", 9, 150)
    video(folder / "b.mp4", 12, 180)
    video(folder / "tall.mp4", 9, 200, size=(64, 32))
    video(folder / "short.mp4", 5, 150)
    video(folder / "dark.mp4", 9, 30)
    names = ("a", "b", "tall", "short", "dark", "gone")
    captions = dict.fromkeys(names, "a person walks") | {"b": "a person in red"}
    rows = [ClipRow(id=name, path=folder / f"{name}.mp4", caption=captions[name], seed=1) for name in names]
    return Room(cfg, [replace(row, start=0.25) if row.id == "b" else row for row in rows], folder / "cache")
