"""The bodies of one person: from a pose to primitives in camera space."""

import numpy as np

from semrepa.world import palette
from semrepa.world.geometry import Camera, frame_along
from semrepa.world.hair import hair_bodies, skull_radii
from semrepa.world.motion import HEAD_UNIT, Pose
from semrepa.world.person import Person
from semrepa.world.primitives import Keep, Primitive
from semrepa.world.spec import ClipSpec

Array = np.ndarray
Frame = tuple[Array, Array]
_SIDES = (-1.0, 1.0)
_FINGERS = (
    ("index", -0.027, 0.132),
    ("middle", -0.009, 0.150),
    ("ring", 0.009, 0.152),
    ("little", 0.027, 0.138),
)
"""Name, place across the palm and reach from the wrist, metres."""

# Whose normals melt into whose, and over how many metres; {k} is the own side, {o} the other.
_MELT = {
    "pelvis": {"belly": 0.02, "thigh0": 0.03, "thigh1": 0.03},
    "belly": {"chest": 0.05, "pelvis": 0.006},
    "chest": {"belly": 0.05, "neck": 0.03, "yoke0": 0.05, "yoke1": 0.05, "arm0": 0.025, "arm1": 0.025},
    "yoke{k}": {"chest": 0.05, "arm{k}": 0.03, "neck": 0.03, "yoke{o}": 0.03},
    "neck": {"yoke0": 0.03, "yoke1": 0.03, "chest": 0.03},
    "arm{k}": {"forearm{k}": 0.02, "yoke{k}": 0.03, "chest": 0.015},
    "forearm{k}": {"arm{k}": 0.02},
    "palm{k}": {"forearm{k}": 0.012},
    **{f"{finger}{{k}}": {"palm{k}": 0.008} for finger in ("index", "middle", "ring", "little", "thumb")},
    "thigh{k}": {"shank{k}": 0.03, "pelvis": 0.03},
    "shank{k}": {"thigh{k}": 0.03},
    "head": {"jaw": 0.035, "nose": 0.010},
    "jaw": {"head": 0.035, "nose": 0.010},
    "nose": {"head": 0.014, "jaw": 0.014},
    "ear{k}": {"head": 0.008},
}
_BLEND = {
    name.format(k=k): tuple((other.format(k=k, o=1 - k), reach) for other, reach in others.items())
    for name, others in _MELT.items()
    for k in (0, 1)
}
_HIDES_FACE = ("arm", "forearm", "palm", "index", "middle", "ring", "little", "thumb")


def _above_hem(points: Array) -> Array:
    return points[1] > 0


class BodyBuilder:
    """Collects the primitives of one frame of one person."""

    def __init__(self, spec: ClipSpec, person: Person, pose: Pose, camera: Camera) -> None:
        """Keep what every part needs: who, wearing what, in which pose, seen from where."""
        self.spec, self.person, self.pose, self.camera = spec, person, pose, camera
        self.man = person.kind == "man"
        self.bodies: list[Primitive] = []
        self.spine: Frame = (camera.axes @ pose.spine, camera.points(pose.neck))
        self.head: Frame = (camera.axes @ pose.head_axes, camera.points(pose.head))

    def build(self) -> list[Primitive]:
        """All primitives, in camera space."""
        self._torso()
        for k in (0, 1):
            self._arm(k)
            self._hand(k)
            self._leg(k)
        self._skirt()
        self._head()
        return self.bodies

    def _ball(
        self, name: str, look: str, base: Frame, at: Array, radii: Array, keep: Keep | None = None
    ) -> None:
        """An ellipsoid at `at` in a base frame, which also gives the texture coordinates."""
        axes, origin = base
        blend = _BLEND.get(name, ())
        self.bodies.append(
            Primitive(name, look, axes, radii, origin + axes @ at, blend=blend, frame=base, keep=keep)
        )

    def _limb(
        self,
        name: str,
        look: str,
        ends: tuple[Array, Array],
        radii: tuple[float, float],
        flat: float = 1.0,
        front: Array | None = None,
        frame: Frame | None = None,
    ) -> None:
        """A rounded cone between two world points, flattened along `front`."""
        axes = np.eye(3) if front is None else self.camera.axes @ frame_along(ends[1] - ends[0], front)
        start, end = (self.camera.points(p) for p in ends)
        hides = name.startswith(_HIDES_FACE)
        scale = np.array((1.0, 1.0, flat))
        self.bodies.append(
            Primitive(name, look, axes, scale, start, end, *radii, _BLEND.get(name, ()), frame, None, hides)
        )

    def _torso(self) -> None:
        p, pose, size, man = self.person, self.pose, self.person.stature, self.man
        front, spine = pose.spine[:, 2], self.spine

        def at(x: float, y: float, z: float) -> Array:
            return pose.neck + pose.spine @ np.array((x, y * size, z))

        hips = (0.150 if man else 0.160) * p.girth
        waist = (0.138 if man else 0.118) * p.girth
        chest = (0.172 if man else 0.148) * p.shoulders
        loose = 0.012 if self.spec.top == "sweater" else 0.0
        low = "bottom" if self.spec.bottom != "skirt" else "skirt"
        self._limb("pelvis", low, (at(0, -0.52, 0), at(0, -0.43, 0)), (hips, hips * 0.97), 0.72, front, spine)
        radii = (hips * 1.03 + loose, waist + loose + 0.014)
        self._limb("belly", "top", (at(0, -0.415, 0), at(0, -0.20, 0.004)), radii, 0.725, front, spine)
        radii = (waist + loose + 0.008, chest + loose)
        self._limb("chest", "top", (at(0, -0.24, 0.004), at(0, -0.135, 0.0)), radii, 0.66, front, spine)
        for k, sign in enumerate(_SIDES):
            inner = pose.neck + pose.spine @ np.array((sign * 0.028, -0.012 * size, -0.012))
            outer = pose.shoulders[k] + pose.spine @ np.array((0.0, -0.002, -0.004))
            self._limb(f"yoke{k}", "top", (inner, outer), (0.056, 0.056 + loose), frame=spine)
        top = pose.head + pose.head_axes @ (HEAD_UNIT * np.array((0.0, -0.25, -0.25)))
        radii = (0.058, 0.056) if man else (0.050, 0.049)
        self._limb("neck", "skin", (at(0, -0.02, -0.012), top), radii, frame=spine)

    def _arm(self, k: int) -> None:
        pose, girth = self.pose, 0.5 + 0.5 * self.person.girth
        loose = {"t-shirt": 0.004, "shirt": 0.003, "sweater": 0.009}[self.spec.top]
        long = palette.TOPS[self.spec.top] > 1.5
        shoulder = (0.054 if self.man else 0.047) * girth + loose
        elbow, wrist = 0.042 * girth, (0.037 if long else 0.031) * girth
        self._limb(f"arm{k}", "upper_arm", (pose.shoulders[k], pose.elbows[k]), (shoulder, elbow + loose))
        radii = (elbow + loose * long, wrist + loose * long)
        self._limb(f"forearm{k}", "forearm", (pose.elbows[k], pose.wrists[k]), radii)

    def _hand(self, k: int) -> None:
        """A palm, four fingers and a thumb, in line with the forearm."""
        pose, sign = self.pose, _SIDES[k]
        wrist, along = pose.wrists[k], pose.wrists[k] - pose.elbows[k]
        raised = bool(along[1] > 0)
        axes = frame_along(along, pose.spine[:, 2] if raised else pose.spine[:, 0] * sign)

        def at(x: float, y: float, z: float) -> Array:
            return wrist + axes @ np.array((x, y, z))

        thumb = -sign if raised else sign
        self._limb(f"palm{k}", "skin", (at(0, 0.015, 0), at(0, 0.062, 0)), (0.032, 0.038), 0.5, axes[:, 2])
        for finger, x, tip in _FINGERS:
            ends = (at(x, 0.075, 0), at(1.35 * x, tip, 0.012 if raised else 0.02))
            self._limb(f"{finger}{k}", "skin", ends, (0.0125, 0.0105))
        ends = (at(thumb * 0.026, 0.03, 0.004), at(thumb * 0.058, 0.092, 0.014))
        self._limb(f"thumb{k}", "skin", ends, (0.016, 0.0115))

    def _leg(self, k: int) -> None:
        pose, girth = self.pose, 0.4 + 0.6 * self.person.girth
        cloth = 0.006 if self.spec.bottom == "trousers" else 0.0
        radii = (0.086 * girth, 0.058 * girth + cloth)
        self._limb(f"thigh{k}", "thigh", (pose.hips[k], pose.knees[k]), radii)
        radii = (0.057 * girth + cloth, 0.041 + cloth)
        self._limb(f"shank{k}", "shank", (pose.knees[k], pose.ankles[k]), radii)
        heel = pose.ankles[k] + np.array((0.0, -0.035, 0.0)) - 0.03 * pose.root[:, 2]
        ahead = pose.root @ np.array((_SIDES[k] * 0.03, 0.0, 0.135))
        toe = pose.ankles[k] + np.array((0.0, -0.042, 0.0)) + ahead
        self._limb(f"foot{k}", "shoe", (heel, toe), (0.046, 0.036))

    def _skirt(self) -> None:
        """A bell that is open at the hem."""
        if self.spec.bottom != "skirt":
            return
        pose = self.pose
        drop = 0.8 * float((0.5 * (pose.knees[0] + pose.knees[1]) - pose.pelvis)[1])
        base = (self.camera.axes @ pose.root, self.camera.points(pose.pelvis + np.array((0.0, drop, 0.0))))
        radii = np.array((0.235, 0.13 - drop, 0.205)) * (0.6 + 0.4 * self.person.girth)
        self._ball("skirt", "skirt", base, np.zeros(3), radii, _above_hem)

    def _head(self) -> None:
        p, head, u = self.person, self.head, HEAD_UNIT
        below = float((self.pose.head - self.pose.shoulders[0])[1])
        self._ball("head", "face", head, np.zeros(3), skull_radii(p))
        jaw = u * np.array((0.90 * p.jaw_width * p.head_width, 0.82 * p.chin, 0.92))
        self._ball("jaw", "face", head, u * np.array((0, -0.52 * p.chin, 0.12)), jaw)
        nose = u * np.array((0.15 * p.nose_width, 0.27 * p.nose_length, 0.24))
        self._ball("nose", "face", head, u * np.array((0, -0.24 * p.nose_length, 1.04)), nose)
        for k, sign in enumerate(_SIDES):
            at = u * np.array((sign * 0.99 * p.head_width, -0.12, -0.08))
            self._ball(f"ear{k}", "ear", head, at, u * p.ear * np.array((0.11, 0.26, 0.17)))
        self.bodies += hair_bodies(p, head, below)
