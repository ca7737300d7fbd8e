"""The clips of `data_samples/`: who does what, how it is framed, and in which split. Pure data."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from semrepa.world import ClipSpec, sample_spec

LANDSCAPE, PORTRAIT = (480, 720), (720, 480)
LONG_SECONDS, LONG_FPS = 10, 30.0


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One clip of the samples."""

    name: str
    """Name of the clip and, with ".mp4", of its file."""
    seed: int
    """Seed of the clip."""
    world: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of `sample_spec` besides the seed."""
    split: str = "train"
    """"train" or "heldout"; the two share no identity."""
    num_frames: int = 49
    """Frames of the file."""
    fps: float = 8.0
    """Frames per second of the file."""
    start: float = 0.0
    """Second at which a training clip begins in the file."""

    @property
    def spec(self) -> ClipSpec:
        """The clip's description."""
        return sample_spec(self.seed, **self.world)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the file, pixels."""
        return PORTRAIT if self.world.get("vertical") else LANDSCAPE


def _sample(
    number: int,
    identity: int,
    motion: str,
    shot: str,
    *,
    vertical: bool = False,
    split: str = "train",
    **file: Any,
) -> Sample:
    world: dict[str, Any] = {"identity": identity, "motion": motion, "shot": shot}
    if vertical:
        world["vertical"] = True
    name = (
        f"{number:02d}_{motion}_{shot}{'_vertical' if vertical else ''}{'_long' if 'start' in file else ''}"
    )
    seed = number + (1_500_200 if split == "heldout" else 200)
    return Sample(name=name, seed=seed, world=world, split=split, **file)


def samples() -> list[Sample]:
    """List the samples: twelve people in seventeen clips, four of them vertical, and an empty room.

    Returns:
        Training clips, then held-out clips. In number 8 the face turns away; number 18 lasts 10 s at 30 fps.
    """
    return [
        _sample(1, 6, "talk", "portrait"),
        _sample(2, 6, "walk", "full"),
        _sample(3, 14, "wave", "half"),
        _sample(4, 14, "squat", "full", vertical=True),
        _sample(5, 9, "dance", "half"),
        _sample(6, 16, "talk", "portrait"),
        _sample(7, 20, "wave", "half", vertical=True),
        _sample(8, 22, "turn", "half"),
        _sample(9, 22, "dance", "full", vertical=True),
        _sample(10, 4, "walk", "half"),
        _sample(11, 1, "talk", "half"),
        Sample(name="12_empty_room", seed=212, world={"empty": True}),
        _sample(13, 1_500_008, "talk", "portrait", split="heldout"),
        _sample(14, 1_500_008, "dance", "half", split="heldout"),
        _sample(15, 1_500_003, "wave", "portrait", split="heldout"),
        _sample(16, 1_500_011, "walk", "full", split="heldout"),
        _sample(17, 1_500_011, "talk", "half", vertical=True, split="heldout"),
        _sample(
            18,
            1_500_007,
            "wave",
            "half",
            split="heldout",
            start=2.0,
            num_frames=int(LONG_SECONDS * LONG_FPS),
            fps=LONG_FPS,
        ),
    ]
