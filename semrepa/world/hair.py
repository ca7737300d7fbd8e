"""Hair: shells around the skull cut along a hairline, and locks, buns and tails."""

from functools import partial

import numpy as np

from semrepa.world.motion import HEAD_UNIT
from semrepa.world.person import Person
from semrepa.world.primitives import Primitive

Array = np.ndarray
Frame = tuple[Array, Array]
Point = tuple[float, float, float]
_CURLS = (
    (-0.95, 0.55, 0.1),
    (0.95, 0.55, 0.1),
    (-0.55, 1.12, 0.35),
    (0.55, 1.12, 0.35),
    (0.0, 1.32, 0.15),
    (-1.05, 0.0, -0.2),
    (1.05, 0.0, -0.2),
)

# Hairline heights in head units against the cosine of the angle from the face: back, ear, temple, front.
_ANGLES = np.array((-1.0, -0.25, 0.05, 0.45, 0.80, 1.0))
_LINES = {
    "short": (-0.70, -0.55, -0.10, 0.12, 0.72, 0.80),
    "parted": (-0.75, -0.58, -0.15, 0.10, 0.70, 0.78),
    "long": (-1.30, -1.30, -1.10, 0.05, 0.72, 0.86),
    "wavy": (-1.30, -1.30, -1.10, 0.05, 0.70, 0.80),
    "bob": (-1.15, -1.15, -1.05, -0.60, 0.66, 0.74),
    "bun": (-0.85, -0.60, 0.05, 0.30, 0.80, 0.86),
    "curly": (-0.80, -0.70, -0.35, 0.15, 0.66, 0.72),
    "ponytail": (-0.85, -0.60, 0.0, 0.28, 0.78, 0.84),
    "balding": (-0.85, -0.75, -0.05, 0.10, 2.0, 2.0),
    "fringe": (-1.10, -1.05, -0.90, -0.30, 0.40, 0.42),
    "mohawk": (-0.85, -0.45, 0.18, 0.35, 0.80, 0.86),
}
_VOLUME = {
    "curly": (1.30, 1.26, 1.28),
    "bob": (1.15, 1.10, 1.12),
    "fringe": (1.14, 1.10, 1.12),
    "long": (1.12, 1.10, 1.10),
    "wavy": (1.16, 1.12, 1.12),
    "parted": (1.09, 1.13, 1.09),
    "mohawk": (1.02, 1.03, 1.03),
    "balding": (1.045, 1.0, 1.06),
}


def skull_radii(person: Person) -> Array:
    """Radii (3,) of the skull ellipsoid in metres."""
    return HEAD_UNIT * np.array((person.head_width, 1.22 * person.head_height, 1.13))


def _keep_scalp(points: Array, line: Array, part: float, top_only: float) -> Array:
    """Where hair grows (n,) on a shell; points (3, n) are in head coordinates, metres."""
    x, y, z = points / np.float32(HEAD_UNIT)
    cosine = z / np.sqrt(x * x + z * z + 1e-6)
    height = np.interp(cosine, _ANGLES, line)
    if part:
        height = height + 0.16 * np.maximum(cosine, 0) * np.tanh((x * part - 0.25) * 5)
    keep = y > height + 0.018 * np.sin(x * 13 + 2 * z) * np.maximum(cosine, 0)
    if top_only > 0:
        keep &= y < top_only + 0.05 * z
    return keep


def hair_bodies(person: Person, frame: Frame, shoulders_below: float) -> list[Primitive]:
    """Bodies of a hair style.

    Args:
        person: Whose hair.
        frame: Axes (3, 3) and centre (3,) of the head in camera space.
        shoulders_below: Distance from head centre to the shoulders, metres.

    Returns:
        Primitives of material "hair"; none for bald people.
    """
    style = person.hair_style
    if style == "bald":
        return []
    axes, centre = frame
    radii = skull_radii(person)
    grow = np.array(_VOLUME.get(style, (1.08, 1.10, 1.08)))
    grow = 1 + (grow - 1) * (person.hair_volume if style != "mohawk" else 1.0)
    shift = (
        np.array((0.0, 0.03 if style != "curly" else 0.12, -0.06 if style != "mohawk" else -0.02)) * HEAD_UNIT
    )
    line = np.array(_LINES[style], dtype=float)
    line[3:] += person.hairline * np.array((0.3, 1.0, 1.0))
    part = person.part_side if style in ("parted", "short", "wavy") else 0.0
    keep = partial(_keep_scalp, line=line, part=part, top_only=0.42 if style == "balding" else 0.0)
    shell = Primitive("hair", "hair", axes, radii * grow, centre + axes @ shift, frame=frame, keep=keep)
    return [shell, *_falling(person, frame, shoulders_below), *_gathered(person, frame, shoulders_below)]


def _ball(name: str, frame: Frame, at: Point, radii: Point) -> Primitive:
    axes, centre = frame
    place = centre + axes @ (HEAD_UNIT * np.array(at))
    scale = HEAD_UNIT * np.array(radii)
    return Primitive(name, "hair", axes, scale, place, frame=frame, blend=(("hair", 0.02),))


def _lock(
    name: str, frame: Frame, ends: tuple[Point, Point], r: tuple[float, float], flat: float
) -> Primitive:
    axes, centre = frame
    start, end = (centre + axes @ (HEAD_UNIT * np.array(p)) for p in ends)
    scale, radii = np.array((1.0, 1.0, flat)), (HEAD_UNIT * r[0], HEAD_UNIT * r[1])
    return Primitive(name, "hair", axes, scale, start, end, *radii, frame=frame, blend=(("hair", 0.03),))


def _falling(person: Person, frame: Frame, below: float) -> list[Primitive]:
    """Open hair beyond the shell: two locks beside the face and a mane behind the neck."""
    style, w = person.hair_style, person.head_width * (1 + 0.10 * (person.hair_volume - 1))
    fall = -below / HEAD_UNIT
    bodies = []
    if style in ("long", "wavy"):
        spread = 0.10 if style == "wavy" else 0.0
        for k, s in ((0, -1), (1, 1)):
            ends = ((s * 0.90 * w, 0.15, -0.15), (s * (0.98 + spread) * w, fall + 0.15, -0.05))
            bodies.append(_lock(f"lock{k}", frame, ends, (0.27, 0.19 + spread), 1.25))
        ends = ((0.0, 0.0, -0.45), (0.0, fall - 0.3, -0.62))
        bodies.append(_lock("mane", frame, ends, (0.85 * w, (0.82 + spread) * w), 0.55))
    if style in ("bob", "fringe"):
        low = -0.92 if style == "bob" else -0.62
        for k, s in ((0, -1), (1, 1)):
            ends = ((s * 0.92 * w, 0.1, -0.12), (s * 0.93 * w, low, 0.02))
            bodies.append(_lock(f"lock{k}", frame, ends, (0.26, 0.30), 1.3))
        ends = ((0.0, 0.1, -0.40), (0.0, low + 0.1, -0.42))
        bodies.append(_lock("mane", frame, ends, (0.86 * w, 0.84 * w), 0.72))
    return bodies


def _gathered(person: Person, frame: Frame, below: float) -> list[Primitive]:
    """Buns, tails, curls and ridges beyond the shell."""
    style, s = person.hair_style, person.part_side
    if style == "bun":
        return [_ball("bun", frame, (0.0, 1.45 * person.head_height, -0.25), (0.50, 0.44, 0.50))]
    if style == "ponytail":
        ends = ((s * 0.5, 0.62, -1.2), (s * 1.22, -below / HEAD_UNIT + 0.5, -0.75))
        tie = _ball("tie", frame, (s * 0.25, 0.75, -1.15), (0.34, 0.34, 0.34))
        return [tie, _lock("tail", frame, ends, (0.34, 0.20), 1.0)]
    if style == "curly":
        return [_ball(f"curl{k}", frame, at, (0.46, 0.46, 0.46)) for k, at in enumerate(_CURLS)]
    if style == "mohawk":
        ridge = ((0.92, 0.62), (1.22, 0.2), (1.2, -0.3), (0.85, -0.8))
        return [_ball(f"ridge{k}", frame, (0.0, y, z), (0.22, 0.42, 0.42)) for k, (y, z) in enumerate(ridge)]
    return []
