"""Deferred shading: every visible pixel of a body is coloured once."""

from dataclasses import dataclass

import numpy as np

from semrepa.world import palette
from semrepa.world.face import FacePainter
from semrepa.world.geometry import Camera
from semrepa.world.motion import HEAD_UNIT, Controls
from semrepa.world.person import Person
from semrepa.world.primitives import Primitive
from semrepa.world.scene import Light
from semrepa.world.spec import ClipSpec

Array = np.ndarray
F = np.float32


@dataclass(frozen=True)
class Shader:
    """Everything that colours depend on besides the surface itself."""

    spec: ClipSpec
    person: Person
    controls: Controls
    camera: Camera
    light: Light
    bodies: dict[str, Primitive]

    def color(self, body: Primitive, points: Array, footprint: float) -> Array:
        """Colours (n, 3) of camera-space points (3, n) on a body.

        Args:
            body: The body that the points lie on.
            points: Camera space, metres.
            footprint: Size of one ray's pixel at unit depth.

        Returns:
            RGB in linear light, (n, 3).
        """
        normal = self._normal(body, points)
        toward = -points / np.sqrt((points * points).sum(0))
        facing = (normal * toward).sum(0)
        normal = np.where(facing < 0, -normal, normal)
        facing = np.abs(facing)
        soft = 1.6 * footprint * float(points[2].mean()) / HEAD_UNIT
        albedo = _ALBEDO[body.material](self, body, points, soft)
        skin = body.material in ("skin", "face", "ear")
        return self._lit(albedo, normal, toward, facing, skin, body.material == "hair").T

    def _normal(self, body: Primitive, points: Array) -> Array:
        """Unit normals (3, n), melted into the neighbours named by `blend`."""
        normal, _ = body.normal(points)
        total = normal
        for name, reach in body.blend:
            other = self.bodies.get(name)
            if other is None:
                continue
            direction, distance = other.normal(points)
            total = total + direction * np.exp(-np.maximum(distance, 0) / F(reach))
        return total / np.sqrt((total * total).sum(0) + F(1e-12))

    def _lit(
        self, albedo: Array, normal: Array, toward: Array, facing: Array, skin: bool, hair: bool
    ) -> Array:
        axes, light = self.camera.axes, self.light
        key, fill = ((axes @ d).astype(F) for d in (light.key, light.fill))
        wrap = F(0.5) if skin else F(0.3)
        lambert = np.clip((key @ normal + wrap) / (1 + wrap), 0, 1)
        shade = light.key_color.astype(F)[:, None] * lambert
        shade += light.fill_color.astype(F)[:, None] * np.clip(fill @ normal * F(0.6) + F(0.4), 0, 1)
        up = axes[:, 1].astype(F) @ normal
        shade += light.ambient.astype(F)[:, None] * (F(0.88) + F(0.12) * up)
        if skin:  # light scatters under the skin: shadows turn warm instead of gray
            shade += (1 - lambert) * np.array((0.09, 0.02, 0.0), F)[:, None]
        shade *= F(0.80) + F(0.20) * np.sqrt(facing)
        half = key[:, None] + toward
        half = half / np.sqrt((half * half).sum(0))
        gloss = np.clip((half * normal).sum(0), 0, 1)
        if hair:
            return albedo * shade + F(0.13) * gloss**14 * (albedo + F(0.25))
        return albedo * shade + F(0.07 if skin else 0.02) * gloss**20


def _flat(color: object, n: int) -> Array:
    return np.repeat(np.asarray(color, F).reshape(3, 1), n, axis=1)


def _mixed(a: object, b: object, share: Array) -> Array:
    a, b = (np.asarray(c, F).reshape(3, -1) for c in (a, b))
    return a + share * (b - a)


def _skin(s: Shader, body: Primitive, points: Array, soft: float) -> Array:
    if body.name == "neck":
        return _shadowed_skin(s, points)
    return _flat(s.person.skin, points.shape[1])


def _shadowed_skin(s: Shader, points: Array) -> Array:
    """Skin of neck and chest: the head keeps some light away."""
    _, near = s.bodies["jaw"].normal(points)
    return np.asarray(s.person.skin, F)[:, None] * (F(1) - F(0.30) * np.exp(-np.maximum(near, 0) / F(0.05)))


def _ear(s: Shader, body: Primitive, points: Array, soft: float) -> Array:
    return _flat(np.array(s.person.skin) * (1.0, 0.93, 0.91), points.shape[1])


def _face(s: Shader, body: Primitive, points: Array, soft: float) -> Array:
    return FacePainter(s.person, s.controls, body.local(points), soft).paint()


def _hair(s: Shader, body: Primitive, points: Array, soft: float) -> Array:
    x, y, z = body.local(points) / F(HEAD_UNIT)
    angle = np.arctan2(x, z + F(0.3))
    waves = 7.0 if s.person.hair_style in ("curly", "wavy") else 0.6
    strands = np.sin(angle * 15 + np.sin(y * F(waves))) + F(0.5) * np.sin(angle * 37 + y * 2)
    tone = F(0.97) + F(0.075) * strands - F(0.10) * np.clip(-y - F(0.2), 0, 1)
    return np.asarray(s.person.hair, F)[:, None] * tone + F(0.012) * strands


def _cloth(s: Shader, height: Array) -> Array:
    """Colour of the upper garment (3, n) at a height in metres above the neck's base."""
    color = np.asarray(palette.CLOTH[s.spec.top_color], F)
    if not s.spec.striped:
        return _flat(color, height.size)
    other = color * F(0.45) if color.mean() > 0.7 else np.minimum(color * F(0.5) + F(0.48), 1)
    return _mixed(color, other, np.clip(np.sin(height * F(2 * np.pi / 0.135)) * 4 + F(0.5), 0, 1))


def _top(s: Shader, body: Primitive, points: Array, soft: float) -> Array:
    x, y, z = body.local(points)
    color = _cloth(s, y)
    rim = {"t-shirt": 0.096, "shirt": 0.082, "sweater": 0.086}[s.spec.top]
    deep = {"t-shirt": 0.95, "shirt": 0.68, "sweater": 1.2}[s.spec.top] * (
        1.0 if s.person.kind == "woman" else 1.2
    )
    apart = np.sqrt(
        x * x + (np.minimum(y, 0) * F(deep)) ** 2 + (np.maximum(y, 0) * F(1.2)) ** 2 + F(0.2) * z * z
    )
    edge = np.maximum(F(0.0015), F(soft * HEAD_UNIT))
    collar = np.clip((F(rim + 0.016) - apart) / edge + F(0.5), 0, 1)
    color = _mixed(color, color * F(0.80), collar)
    bare = np.clip((F(rim) - apart) / edge + F(0.5), 0, 1)
    seen = np.flatnonzero(bare)
    color[:, seen] = _mixed(color[:, seen], _shadowed_skin(s, points[:, seen]), bare[seen])
    return color


def _until(s: Shader, cloth: Array, position: Array, end: float) -> Array:
    """Cloth up to `end`, skin beyond."""
    return _mixed(cloth, s.person.skin, np.clip((position - F(end)) * 40 + F(0.5), 0, 1))


def _upper_arm(s: Shader, body: Primitive, points: Array, soft: float) -> Array:
    along = body.along(points)
    return _until(s, _cloth(s, F(-0.045) - along * F(body.length)), along, palette.TOPS[s.spec.top])


def _forearm(s: Shader, body: Primitive, points: Array, soft: float) -> Array:
    along = body.along(points)
    return _until(s, _cloth(s, F(-0.32) - along * F(body.length)), along + 1, palette.TOPS[s.spec.top])


def _bottom(s: Shader, body: Primitive, points: Array, soft: float) -> Array:
    return _flat(palette.CLOTH[s.spec.bottom_color], points.shape[1])


def _thigh(s: Shader, body: Primitive, points: Array, soft: float) -> Array:
    return _until(s, _bottom(s, body, points, soft), body.along(points), palette.BOTTOMS[s.spec.bottom])


def _shank(s: Shader, body: Primitive, points: Array, soft: float) -> Array:
    return _until(s, _bottom(s, body, points, soft), body.along(points) + 1, palette.BOTTOMS[s.spec.bottom])


def _shoe(s: Shader, body: Primitive, points: Array, soft: float) -> Array:
    dark = np.asarray(palette.CLOTH[s.spec.bottom_color]).mean() < 0.3
    return _flat((0.82, 0.80, 0.78) if dark else (0.20, 0.17, 0.18), points.shape[1])


_ALBEDO = {
    "skin": _skin,
    "ear": _ear,
    "face": _face,
    "hair": _hair,
    "top": _top,
    "upper_arm": _upper_arm,
    "forearm": _forearm,
    "bottom": _bottom,
    "skirt": _bottom,
    "thigh": _thigh,
    "shank": _shank,
    "shoe": _shoe,
}
