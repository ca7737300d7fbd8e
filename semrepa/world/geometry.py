"""Rotations, two-bone inverse kinematics and the camera. World axes: x right, y up, z to the viewer."""

from dataclasses import dataclass
from math import cos, sin, sqrt

import numpy as np

Array = np.ndarray


def rot_x(angle: float) -> Array:
    """Rotation about x by `angle` radians (3, 3): positive tips the head forward."""
    c, s = cos(angle), sin(angle)
    return np.array(((1.0, 0.0, 0.0), (0.0, c, -s), (0.0, s, c)))


def rot_y(angle: float) -> Array:
    """Rotation about y by `angle` radians (3, 3): positive turns the front towards +x."""
    c, s = cos(angle), sin(angle)
    return np.array(((c, 0.0, s), (0.0, 1.0, 0.0), (-s, 0.0, c)))


def rot_z(angle: float) -> Array:
    """Rotation about z by `angle` radians (3, 3): positive is counter-clockwise for the viewer."""
    c, s = cos(angle), sin(angle)
    return np.array(((c, -s, 0.0), (s, c, 0.0), (0.0, 0.0, 1.0)))


def unit(vector: Array) -> Array:
    """The vector (3,) at length one."""
    return vector / sqrt(float(vector @ vector) + 1e-20)


def frame_along(axis: Array, front: Array) -> Array:
    """Orthonormal columns (3, 3): y along `axis`, z as near to `front` as possible."""
    y = unit(axis)
    z = unit(front - y * float(front @ y) + 1e-9)
    return np.stack((np.cross(y, z), y, z), axis=1)


def two_bone(start: Array, target: Array, upper: float, lower: float, pole: Array) -> tuple[Array, Array]:
    """Place elbow (or knee) and end of a two-bone limb.

    Args:
        start: Shoulder or hip (3,), metres.
        target: Where the end should be (3,); pulled in if out of reach.
        upper: Length of the first bone, metres.
        lower: Length of the second bone, metres.
        pole: Direction (3,) the middle joint bends towards.

    Returns:
        Positions (3,) of the middle joint and of the end.
    """
    reach = target - start
    wanted = sqrt(float(reach @ reach)) + 1e-9
    distance = min(max(wanted, abs(upper - lower) + 0.03), 0.995 * (upper + lower))
    along = reach / wanted
    cosine = (upper * upper + distance * distance - lower * lower) / (2 * upper * distance)
    bend = unit(pole - along * float(pole @ along))
    middle = start + upper * (along * cosine + bend * sqrt(max(0.0, 1 - cosine * cosine)))
    return middle, start + along * distance


@dataclass(frozen=True)
class Camera:
    """Pinhole camera; camera space is x right, y up, z forward, in metres."""

    position: Array
    axes: Array
    """Rows right, up, forward (3, 3)."""
    focal: float
    """In units of the frame's height."""

    @classmethod
    def look(cls, position: Array, target: Array, focal: float, roll: float = 0.0) -> "Camera":
        """A camera at `position` looking at `target`, rolled by `roll` radians."""
        forward = unit(target - position)
        right = unit(np.array((-forward[2], 0.0, forward[0])))
        up = np.cross(right, forward)
        c, s = cos(roll), sin(roll)
        return cls(position, np.stack((c * right + s * up, c * up - s * right, forward)), focal)

    def points(self, world: Array) -> Array:
        """Points (..., 3) from world to camera space."""
        return (world - self.position) @ self.axes.T

    def project(self, world: Array, height: int, width: int) -> Array:
        """World points (..., 3) to pixels (..., 2), x right and y down, pixel centres at .5."""
        p = self.points(world)
        z = np.maximum(p[..., 2], 1e-6)
        focal = self.focal * height
        return np.stack((width / 2 + focal * p[..., 0] / z, height / 2 - focal * p[..., 1] / z), axis=-1)

    def rays(self, height: int, width: int) -> tuple[Array, Array]:
        """Ray slopes of the pixel centres: u (width,) to the right and v (height,) up, at unit depth."""
        focal = self.focal * height
        u = (np.arange(width) + 0.5 - width / 2) / focal
        v = (height / 2 - np.arange(height) - 0.5) / focal
        return u.astype(np.float32), v.astype(np.float32)
