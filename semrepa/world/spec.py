"""What a clip shows: the frozen description that, with a size and a frame rate, fixes every pixel."""

from dataclasses import dataclass

import numpy as np

from semrepa.world import palette

MOTIONS = ("walk", "wave", "turn", "dance", "squat", "talk")
SHOTS = ("full", "half", "portrait")
MAX_SEED = 2**32 - 1

# Streams of the seed: one independent generator per part of the scene.
STREAM_CHOICES, STREAM_CAMERA, STREAM_MOTION, STREAM_ROOM = 101, 102, 103, 104


@dataclass(frozen=True, kw_only=True)
class ClipSpec:
    """One clip of the sample world, without its size and frame rate."""

    seed: int
    """Fixes clothes, room, light, camera and the phase of the motion."""
    identity: int | None
    """Fixes face, hair, skin, glasses, beard and build. None: nobody is in the room."""
    motion: str
    """One of `MOTIONS`."""
    shot: str
    """One of `SHOTS`."""
    vertical: bool = False
    """Framed for frames that are taller than wide."""
    top: str = "t-shirt"
    """Kind of upper garment, a key of `palette.TOPS`."""
    top_color: str = "blue"
    """Name in `palette.CLOTH`."""
    striped: bool = False
    """Whether the upper garment has wide stripes."""
    bottom: str = "trousers"
    """Kind of lower garment, a key of `palette.BOTTOMS`."""
    bottom_color: str = "gray"
    """Name in `palette.CLOTH`."""
    wall: str = "green"
    """Name in `palette.WALLS`."""
    floor: str = "wood"
    """Name in `palette.FLOORS`."""
    caption: str = ""
    """One sentence built from the attributes; see `semrepa.world.captions`."""

    def stream(self, which: int) -> np.random.Generator:
        """An independent random generator for one part of the scene."""
        return np.random.default_rng([self.seed, which])


def _check_choice(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"{name}: got {value!r}; expected one of {', '.join(allowed)}. Pick one of these.")


def check_seed(name: str, value: object) -> None:
    """Check a seed or an identity number.

    Args:
        name: What the number is called.
        value: The number.

    Raises:
        ValueError: If it is not an integer from 0 to 2**32 - 1.
    """
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or not 0 <= value <= MAX_SEED:
        raise ValueError(f"{name}: got {value!r}; expected an integer from 0 to {MAX_SEED}. Pass e.g. 7.")


def check_spec(spec: ClipSpec) -> None:
    """Check every field that a user may have set by hand.

    Args:
        spec: The description to check.

    Raises:
        ValueError: If a field holds a value the world does not know.
    """
    check_seed("seed", spec.seed)
    if spec.identity is not None:
        check_seed("identity", spec.identity)
    for name, allowed in (
        ("motion", MOTIONS),
        ("shot", SHOTS),
        ("top", tuple(palette.TOPS)),
        ("bottom", tuple(palette.BOTTOMS)),
        ("top_color", tuple(palette.CLOTH)),
        ("bottom_color", tuple(palette.CLOTH)),
        ("wall", tuple(palette.WALLS)),
        ("floor", tuple(palette.FLOORS)),
    ):
        _check_choice(name, getattr(spec, name), allowed)
