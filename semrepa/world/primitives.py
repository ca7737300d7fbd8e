"""Ellipsoids and rounded cones in camera space, hit analytically by rays from the origin.

A ray is t * (u, v, 1), so t is the depth. All surfaces are quadrics in a stretched space
|diag(1 / scale) R^T (p - a)|. Depth is measured from the primitive's own centre, which keeps float32 exact.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from math import sqrt

import numpy as np

Array = np.ndarray
FAR = np.float32(1e9)
Keep = Callable[[Array], Array]


@dataclass
class Primitive:
    """A convex body: an ellipsoid (`end` None, radius 1) or a rounded cone from `start` to `end`."""

    name: str
    material: str
    axes: Array
    """Columns of the local frame in camera space (3, 3)."""
    scale: Array
    """Stretch along the local axes (3,): radii of an ellipsoid, (1, 1, flatness) of a cone."""
    start: Array
    end: Array | None = None
    radius: float = 1.0
    end_radius: float = 1.0
    blend: tuple[tuple[str, float], ...] = ()
    """Neighbours whose normals melt into this one's, with the distance in metres."""
    frame: tuple[Array, Array] | None = None
    """Axes (3, 3) and origin (3,) of texture coordinates; default: own."""
    keep: Keep | None = None
    """Predicate on texture coordinates (3, n): where false the surface is cut away."""
    occludes_face: bool = False
    metric: Array = field(init=False)
    spread: Array = field(init=False)
    axis: Array = field(init=False)
    length: float = field(init=False, default=0.0)
    slope: float = field(init=False, default=0.0)

    def __post_init__(self) -> None:
        scaled = self.axes / self.scale
        self.metric = scaled @ scaled.T
        stretched = self.axes * self.scale
        self.spread = stretched @ stretched.T
        if self.end is None:
            return
        to_end = self.metric @ (self.end - self.start)
        self.length = sqrt(float((self.end - self.start) @ to_end))
        self.axis = to_end / self.length
        self.slope = (self.radius - self.end_radius) / self.length
        if abs(self.slope) > 0.98:
            raise ValueError(
                f"{self.name}: got radii {self.radius:.3f} and {self.end_radius:.3f} over "
                f"{self.length:.3f} m; expected one ball not to swallow the other. Lengthen it."
            )

    def local(self, points: Array) -> Array:
        """Camera points (3, n) in texture coordinates."""
        axes, origin = self.frame if self.frame is not None else (self.axes, self.start)
        return axes.T.astype(np.float32) @ (points - origin.astype(np.float32)[:, None])

    def along(self, points: Array) -> Array:
        """Position (n,) of camera points (3, n) along a cone: 0 at its start, 1 at its end."""
        return (self.axis @ points - float(self.axis @ self.start)).astype(np.float32) / np.float32(
            self.length
        )

    def bounds(self) -> tuple[float, float, float, float]:
        """Slopes (u low, u high, v low, v high) around the body; infinite if it reaches the camera plane."""
        low_high = [_ball_bounds(self.spread, self.start, self.radius)]
        if self.end is not None:
            low_high.append(_ball_bounds(self.spread, self.end, self.end_radius))
        b = np.array(low_high)
        return float(b[:, 0].min()), float(b[:, 1].max()), float(b[:, 2].min()), float(b[:, 3].max())

    def hit(self, u: Array, v: Array) -> Array:
        """Depth (len(v), len(u)) of the nearest visible surface, `FAR` where the ray misses."""
        zero = np.zeros(3)
        near, far = quadric_depth(self.metric, zero, -(self.radius**2), self.start, u, v)
        if self.end is None:
            return near if self.keep is None else self._cut(near, far, u, v)
        if self.end_radius > 1e-4:
            other, _ = quadric_depth(self.metric, zero, -(self.end_radius**2), self.end, u, v)
            near = np.minimum(near, other)
        return np.minimum(near, self._side(u, v))

    def _side(self, u: Array, v: Array) -> Array:
        """Depth of the cone's side between the two tangent circles."""
        s, r = self.slope, self.radius
        cone = (1 - s * s) * self.metric - np.outer(self.axis, self.axis)
        middle = 0.5 * (self.start + self.end)
        e = middle - self.start
        h = cone @ e + r * s * self.axis
        const = float(e @ cone @ e + 2 * r * s * (self.axis @ e) - r * r)
        t, _ = quadric_depth(cone, h, const, middle, u, v)
        row = (self.axis[1] * v + self.axis[2]).astype(np.float32)[:, None]
        y = t * (row + np.float32(self.axis[0]) * u)
        base = float(self.axis @ self.start)
        inside = (y >= base + r * s) & (y <= base + self.length + self.end_radius * s)
        return np.where(inside, t, FAR)

    def _cut(self, near: Array, far: Array, u: Array, v: Array) -> Array:
        """Apply `keep`: where the front is cut away the inside of the back shows."""
        rows, cols = np.nonzero(near < FAR)
        if rows.size == 0:
            return near
        d = np.stack((u[cols], v[rows], np.ones(rows.size, np.float32)))
        front, back = near[rows, cols], far[rows, cols]
        depth = np.where(self.keep(self.local(d * front)), front, FAR)
        lost = np.flatnonzero(depth >= FAR)
        behind = self.keep(self.local(d[:, lost] * back[lost]))
        depth[lost] = np.where(behind, back[lost], FAR)
        near[rows, cols] = depth
        return near

    def normal(self, points: Array) -> tuple[Array, Array]:
        """Outward direction (3, n), not normalised to 1, and rough distance (n,) in metres to the surface."""
        start = self.start.astype(np.float32)[:, None]
        offset = points - start
        radius: Array | float = self.radius
        if self.end is not None:
            y = self.axis.astype(np.float32) @ offset
            y = np.clip((y - self.radius * self.slope) / (1 - self.slope**2), 0, self.length).astype(
                np.float32
            )
            offset = offset - ((self.end - self.start) / self.length).astype(np.float32)[:, None] * y
            radius = self.radius - y * np.float32(self.slope)
        direction = self.metric.astype(np.float32) @ offset
        size = np.sqrt(np.maximum((offset * direction).sum(0), 1e-12))
        unit = float(self.scale.min()) if self.end is None else 1.0
        length = np.sqrt((direction * direction).sum(0) + 1e-20)
        return direction / length, (size - radius) * np.float32(unit)


def _ball_bounds(spread: Array, centre: Array, radius: float) -> tuple[float, float, float, float]:
    """Tangent slopes of a stretched ball seen from the origin."""
    s = spread * radius * radius
    a = s[2, 2] - centre[2] ** 2
    if centre[2] <= 0 or a >= -1e-6:
        return (-np.inf, np.inf, -np.inf, np.inf) if centre[2] > -1 else (np.inf, -np.inf, np.inf, -np.inf)
    result = []
    for k in (0, 1):
        b = s[k, 2] - centre[k] * centre[2]
        root = sqrt(max(0.0, b * b - a * (s[k, k] - centre[k] ** 2)))
        result += [(b + root) / a, (b - root) / a]
    return min(result[:2]), max(result[:2]), min(result[2:]), max(result[2:])


def quadric_depth(q: Array, h: Array, const: float, centre: Array, u: Array, v: Array) -> tuple[Array, Array]:
    """First and second root of x^T q x + 2 h x + const = 0, x = t (u, v, 1) - centre.

    Args:
        q: Symmetric matrix (3, 3).
        h: Vector (3,).
        const: Constant term.
        centre: Reference point in camera space (3,), at positive depth.
        u: Slopes to the right (w,).
        v: Slopes up (h,).

    Returns:
        Depths (h, w) of the near and the far root, `FAR` where there is none in front of the camera.
    """
    f = np.float32
    t0 = float(centre[2])
    du, dv = t0 * u - f(centre[0]), t0 * v - f(centre[1])
    du, dv = du.astype(f), dv.astype(f)
    (q00, q01, q02), (_, q11, q12), (_, _, q22) = [[f(x) for x in row] for row in q]
    h0, h1, h2 = (f(x) for x in h)
    vc, dvc = v[:, None], dv[:, None]
    a = (q11 * v * v + 2 * q12 * v + q22)[:, None] + ((q00 * u + 2 * q02) * u + (2 * q01) * vc * u)
    b = (dv * (q11 * v + q12) + h1 * v + h2)[:, None] + (du * (q00 * u + q02) + h0 * u)
    b += (q01 * vc) * du
    b += (q01 * dvc) * u
    c = (dv * (q11 * dv + 2 * h1) + f(const))[:, None] + (du * (q00 * du + 2 * h0) + (2 * q01 * dvc) * du)
    disc = b * b - a * c
    ok = disc > 0
    root = np.sqrt(np.where(ok, disc, 0))
    with np.errstate(divide="ignore", invalid="ignore"):
        near = f(t0) + (-b - root) / a
        far = f(t0) + (-b + root) / a
    near = np.where(ok & (near > f(0.05)), near, FAR)
    return near, np.where(ok, far, FAR)
