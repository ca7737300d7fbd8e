"""Room, light and camera of a clip."""

from dataclasses import dataclass
from math import pi, sin

import numpy as np

from semrepa.world import palette
from semrepa.world.geometry import Camera, rot_y, unit
from semrepa.world.spec import STREAM_CAMERA, STREAM_ROOM, ClipSpec

Array = np.ndarray
F = np.float32
# Distance in metres and height in metres of the field of view at the person, landscape and vertical.
_VIEW = {"portrait": (1.5, 0.59, 0.90), "half": (2.3, 1.20, 1.60), "full": (3.7, 2.20, 2.25)}
# Height of the point looked at, metres: above zero for whole bodies, else relative to the head's centre.
_AIM = {"portrait": (-0.045, -0.11), "half": (-0.30, -0.42), "full": (-0.71, -0.74)}


def camera_at(spec: ClipSpec, head_height: float, t: float) -> Camera:
    """The nearly static camera at second `t`; `head_height` is the standing person's, in metres."""
    rng = spec.stream(STREAM_CAMERA)
    side, lift, zoom, p0, p1, off = rng.uniform(
        (-0.18, -0.05, 0.95, 0, 0, -0.05), (0.18, 0.14, 1.05, 2 * pi, 2 * pi, 0.05)
    )
    distance, wide, tall = _VIEW[spec.shot]
    extent = (tall if spec.vertical else wide) * zoom
    aim = head_height + _AIM[spec.shot][int(spec.vertical)]
    sway = 0.012 * distance
    x = distance * float(side) + sway * sin(2 * pi * 0.09 * t + p0)
    y = aim + distance * float(lift) * 0.6 + 0.5 * sway * sin(2 * pi * 0.07 * t + p1)
    target = np.array((float(off) * extent * 0.6, aim, 0.0))
    return Camera.look(
        np.array((x, y, distance)), target, distance / float(extent), 0.006 * sin(2 * pi * 0.06 * t + p0)
    )


@dataclass(frozen=True)
class Light:
    """Directions to the lamps in world space and their strengths."""

    key: Array
    fill: Array
    key_color: Array
    fill_color: Array
    ambient: Array


@dataclass(frozen=True)
class Room:
    """A box with painted walls. Room coordinates are world coordinates turned by `axes`."""

    axes: Array
    back: float
    left: float
    right: float
    wall: Array
    dado: Array
    dado_height: float
    floor: tuple[Array, Array]
    tiles: str
    stripes: float
    picture: tuple[float, float, float, float] | None
    picture_colors: tuple[Array, Array]
    glow: tuple[float, float]
    light: Light

    @classmethod
    def from_spec(cls, spec: ClipSpec) -> "Room":
        """Draw the room of a clip."""
        rng = spec.stream(STREAM_ROOM)
        yaw, back, left, right, tint, glow_x, glow_y = rng.uniform(
            (-0.38, -1.7, -2.5, 1.8, 0.86, -1.2, 1.2), (0.38, -0.85, -1.8, 2.5, 0.97, 1.2, 2.2)
        )
        wall = np.array(palette.WALLS[spec.wall]) * float(tint)
        names = list(palette.CLOTH)
        dado = 0.62 * wall + 0.38 * np.array(palette.CLOTH[names[int(rng.integers(len(names)))]]) * 0.8
        has_dado, has_stripes, has_picture = rng.random(3) < (0.45, 0.25, 0.5)
        px, py, pw, ph = rng.uniform((0.35, 1.45, 0.24, 0.20), (0.95, 1.75, 0.42, 0.36))
        px *= 1.0 if rng.random() < 0.5 else -1.0
        a, b = (
            np.array(palette.CLOTH[names[int(i)]]) * 0.8 + 0.15
            for i in rng.choice(len(names), 2, replace=False)
        )
        return cls(
            axes=rot_y(float(yaw)),
            back=float(back),
            left=float(left),
            right=float(right),
            wall=wall.astype(F),
            dado=dado.astype(F),
            dado_height=float(rng.uniform(0.7, 1.05)) if has_dado else -1.0,
            floor=tuple(np.array(c, F) for c in palette.FLOORS[spec.floor]),
            tiles=spec.floor,
            stripes=0.055 if has_stripes and not has_dado else 0.0,
            picture=(float(px), float(py), float(pw), float(ph)) if has_picture else None,
            picture_colors=(a.astype(F), b.astype(F)),
            glow=(float(glow_x), float(glow_y)),
            light=_light(rng),
        )

    def cast(self, camera: Camera, u: Array, v: Array) -> tuple[Array, Array]:
        """Nearest surface of the room.

        Args:
            camera: Where the rays start.
            u: Slopes to the right (w,).
            v: Slopes up (h,).

        Returns:
            Depth (h, w) in metres and which surface it is (h, w): 0 back, 1 side wall, 2 floor, 3 ceiling.
        """
        ray, origin = self._ray(camera)
        depth = np.full((v.size, u.size), 1e9, F)
        which = np.zeros((v.size, u.size), np.int8)
        planes = (
            (2, self.back, -1, 0),
            (0, self.left, -1, 1),
            (0, self.right, 1, 1),
            (1, 0.0, -1, 2),
            (1, 2.8, 1, 3),
        )
        for axis, bound, sign, label in planes:
            slope = (ray[axis, 1] * v + ray[axis, 2]).astype(F)[:, None] + F(ray[axis, 0]) * u
            slope *= F(sign)
            t = F(sign * (bound - origin[axis])) / np.maximum(slope, F(1e-6))
            nearer = t < depth
            np.copyto(depth, t, where=nearer)
            np.copyto(which, label, where=nearer)
        return depth, which

    def _ray(self, camera: Camera) -> tuple[Array, Array]:
        return self.axes.T @ camera.axes.T, self.axes.T @ camera.position

    def paint(
        self, camera: Camera, u: Array, v: Array, depth: Array, which: Array, feet: list[Array]
    ) -> Array:
        """Colours (h, w, 3) of the empty room, with a soft contact shadow under `feet` (world points)."""
        ray, origin = (m.astype(F) for m in self._ray(camera))
        uu, vv = u[None, :], v[:, None]
        x, y, z = (depth * (ray[k, 0] * uu + (ray[k, 1] * vv + ray[k, 2])) + origin[k] for k in range(3))
        out = np.empty((*depth.shape, 3), F)
        wall = which <= 1
        self._paint_walls(out, wall, which, x, y, z)
        if (which == 2).any():
            self._paint_floor(out, which == 2, x, z, feet)
        out[which == 3] = (0.93, 0.93, 0.92)
        return out

    def _paint_walls(self, out: Array, mask: Array, which: Array, x: Array, y: Array, z: Array) -> None:
        x, y, z, side = x[mask], y[mask], z[mask], which[mask] == 1
        across = np.where(side, z, x)
        light = F(1.04) - F(0.05) * (y - F(1.4)) ** 2
        glow = np.exp(-((across - F(self.glow[0])) ** 2 + (y - F(self.glow[1])) ** 2) / F(1.6))
        light += F(0.14) * glow - np.where(side, F(0.10), F(0))
        corner = np.minimum(np.minimum(x - F(self.left), F(self.right) - x) + np.where(side, F(9), F(0)), 9)
        corner = np.where(side, z - F(self.back), corner)
        light -= F(0.10) * np.exp(-np.maximum(corner, 0) / F(0.35)) + F(0.12) * np.exp(
            -np.maximum(y, 0) / F(0.25)
        )
        if self.stripes:
            light += F(self.stripes) * np.tanh(2 * np.sin(across * F(2 * pi / 0.55)))
        color = np.repeat(self.wall[None], x.size, axis=0)
        if self.dado_height > 0:
            low = np.clip((F(self.dado_height) - y) / F(0.02) + F(0.5), 0, 1)[:, None]
            color += low * (self.dado - color)
        if self.picture is not None:
            self._hang_picture(color, x, y, side)
        out[mask] = color * light[:, None]

    def _hang_picture(self, color: Array, x: Array, y: Array, side: Array) -> None:
        px, py, half_w, half_h = self.picture
        dx, dy = x - F(px), y - F(py)
        edge = np.maximum(np.abs(dx) - F(half_w), np.abs(dy) - F(half_h))
        frame = np.clip(-edge / F(0.012), 0, 1) * ~side
        inner = np.clip(-(edge + F(0.035)) / F(0.012), 0, 1) * ~side
        hill = np.clip(
            (dy - F(0.10 * half_h) - F(0.25 * half_h) * np.sin(dx * F(6))) / F(0.06) + F(0.5), 0, 1
        )[:, None]
        scene = self.picture_colors[0] * (1 - hill) + self.picture_colors[1] * hill
        color += frame[:, None] * (np.array((0.42, 0.30, 0.20), F) - color)
        color += inner[:, None] * (scene - color)

    def _paint_floor(self, out: Array, mask: Array, x: Array, z: Array, feet: list[Array]) -> None:
        x, z = x[mask], z[mask]
        if self.tiles == "stone":
            pattern = np.tanh(3 * np.sin(x * F(4.2)) * np.sin(z * F(4.2)))
        else:
            pattern = np.tanh(2 * np.sin(x * F(9.0)))
        share = (F(0.5) + F(0.5) * pattern)[:, None]
        color = self.floor[0] * share + self.floor[1] * (1 - share)
        near = np.minimum(np.minimum(x - F(self.left), F(self.right) - x), z - F(self.back))
        light = F(1.0) - F(0.16) * np.exp(-np.maximum(near, 0) / F(0.3))
        for foot in feet:
            at = self.axes.T @ foot
            apart = (x - F(at[0])) ** 2 + (z - F(at[2])) ** 2
            light *= F(1) - F(0.36) * np.exp(-apart / F(0.025)) - F(0.12) * np.exp(-apart / F(0.16))
        out[mask] = color * light[:, None]


def _light(rng: np.random.Generator) -> Light:
    side, height, front, warm, strength = rng.uniform((0.25, 0.45, 0.7, -1, 0.9), (0.75, 0.9, 1.1, 1, 1.05))
    side *= 1.0 if rng.random() < 0.5 else -1.0
    tone = np.array((1 + 0.05 * warm, 1.0, 1 - 0.06 * warm))
    return Light(
        key=unit(np.array((side, height, front))),
        fill=unit(np.array((-side, 0.15, 0.5))),
        key_color=0.58 * strength * tone,
        fill_color=0.14 * np.array((0.95, 1.0, 1.05)),
        ambient=0.42 * (2 - tone),
    )
