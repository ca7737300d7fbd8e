"""Where the joints are at a given second: slow sinusoids, smooth in time, so any frame rate works."""

from dataclasses import dataclass, field
from math import cos, exp, pi, sin

import numpy as np

from semrepa.world.geometry import rot_x, rot_y, rot_z, two_bone
from semrepa.world.person import Person
from semrepa.world.spec import STREAM_MOTION, ClipSpec

Array = np.ndarray
HEAD_UNIT = 0.108
"""Half the width of a standard (enlarged) head, metres: the unit of all face coordinates."""
_REACH = {"full": 1.0, "half": 0.75, "portrait": 0.5}


@dataclass
class Controls:
    """What a motion decides; the skeleton follows. Angles in radians, lengths in metres."""

    yaw: float = 0.0
    shift: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])
    twist: float = 0.0
    lean: float = 0.0
    bow: float = 0.0
    head_yaw: float = 0.0
    nod: float = 0.0
    tilt: float = 0.0
    hands: list[list[float]] = field(default_factory=lambda: [[0.07, -0.50, 0.05], [0.07, -0.50, 0.05]])
    """Per side (image left, image right), from the shoulder: outward, up, forward."""
    feet: list[list[float]] = field(default_factory=lambda: [[0.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    """Per side from the standing place: outward, up, forward."""
    mouth: float = 0.0
    smile: float = 0.0
    blink: float = 0.0


@dataclass
class Pose:
    """Joint positions (3,) and rotations (3, 3) in world space; lists hold image left, then image right."""

    root: Array
    spine: Array
    head_axes: Array
    pelvis: Array
    neck: Array
    head: Array
    shoulders: list[Array]
    elbows: list[Array]
    wrists: list[Array]
    hips: list[Array]
    knees: list[Array]
    ankles: list[Array]
    controls: Controls


def _wave(t: float, hertz: float, phase: float = 0.0) -> float:
    return sin(2 * pi * (hertz * t) + phase)


def _walk(c: Controls, t: float, side: int, tempo: float, reach: float) -> None:
    f, heading = 0.5 * tempo, (0.45 if side else -0.45)
    c.yaw += heading
    c.head_yaw -= 0.75 * heading
    travel = 0.32 * reach * _wave(t, 0.07 * tempo, -pi / 2)
    c.shift[0] += travel * sin(heading) * 0.6
    c.shift[2] += travel * cos(heading)
    c.shift[1] += 0.012 * cos(4 * pi * f * t)
    for k in (0, 1):
        swing = _wave(t, f, k * pi)
        c.feet[k] = [0.0, 0.09 * (0.5 + 0.5 * cos(2 * pi * f * t + k * pi)) ** 2, 0.20 * swing]
        c.hands[k] = [0.07, -0.47 + 0.03 * abs(swing) ** 2, 0.05 - 0.17 * swing]
    c.twist += 0.08 * _wave(t, f)


def _wave_hand(c: Controls, t: float, side: int, tempo: float, reach: float) -> None:
    swing = _wave(t, 0.65 * tempo)
    c.hands[side] = [0.165 + 0.065 * swing, 0.19 - 0.02 * swing, 0.13]
    c.hands[1 - side] = [0.10, -0.46, 0.08]
    c.tilt += (0.07 if side else -0.07) + 0.03 * _wave(t, 0.3 * tempo)
    c.lean += 0.03 * swing * (1 if side else -1)
    c.smile += 0.05


def _turn(c: Controls, t: float, side: int, tempo: float, reach: float) -> None:
    c.yaw += (1 if side else -1) * 1.3 * (1 - cos(2 * pi * t / (8.5 / tempo)))
    for k in (0, 1):
        c.hands[k] = [0.12, -0.46, 0.06 + 0.03 * _wave(t, 0.25, k)]


def _dance(c: Controls, t: float, side: int, tempo: float, reach: float) -> None:
    f = 0.42 * tempo
    beat = _wave(t, f)
    c.shift[0] += 0.06 * reach * beat
    c.shift[1] -= 0.02 * (1 - cos(4 * pi * f * t)) * reach
    c.twist += 0.22 * _wave(t, f, 0.6)
    c.lean += 0.07 * beat
    c.tilt += 0.08 * _wave(t, f, 0.8)
    for k in (0, 1):
        sway = _wave(t, f, k * pi)
        c.hands[k] = [0.24 + 0.05 * sway, -0.12 + 0.22 * sway, 0.20]
        c.feet[k] = [0.03, 0.03 * (1 + sway) ** 2 * reach, 0.05 * sway]
    c.smile += 0.05


def _squat(c: Controls, t: float, side: int, tempo: float, reach: float) -> None:
    down = 0.5 - 0.5 * cos(2 * pi * 0.27 * tempo * t)
    depth = down * {1.0: 1.0, 0.75: 0.55}.get(reach, 0.25)
    c.shift[1] -= 0.36 * depth
    c.shift[2] -= 0.10 * depth
    c.bow += 0.45 * depth
    c.nod -= 0.40 * depth
    for k in (0, 1):
        c.hands[k] = [0.05 - 0.02 * down, -0.44 + 0.34 * down, 0.10 + 0.30 * down]


def _talk(c: Controls, t: float, side: int, tempo: float, reach: float) -> None:
    c.mouth = 0.42 + 0.28 * _wave(t, 0.95 * tempo) + 0.25 * _wave(t, 0.57 * tempo, 1.0)
    c.nod += 0.05 * _wave(t, 0.4 * tempo)
    c.head_yaw += 0.16 * _wave(t, 0.22 * tempo, 0.5)
    c.tilt += 0.05 * _wave(t, 0.3 * tempo)
    for k in (0, 1):
        lively = 1.0 if k == side else 0.35
        c.hands[k] = [
            0.02 + 0.04 * _wave(t, 0.35 * tempo, k),
            -0.34 + 0.07 * lively * _wave(t, 0.45 * tempo, 2 * k),
            0.24,
        ]


_MOTIONS = {"walk": _walk, "wave": _wave_hand, "turn": _turn, "dance": _dance, "squat": _squat, "talk": _talk}


def controls_at(spec: ClipSpec, t: float) -> Controls:
    """What the clip's motion asks for at second `t`."""
    rng = spec.stream(STREAM_MOTION)
    yaw, gaze, sway, blink_at, tempo = rng.uniform((-0.32, 0.3, 0, 0, 0.88), (0.32, 1.0, 2 * pi, 3.5, 1.12))
    phase, side = float(rng.uniform(0.0, 2.5)), int(rng.integers(2))
    c = Controls(yaw=float(yaw) + 0.05 * _wave(t, 0.13, sway))
    if spec.motion == "turn":
        phase = 0.25 * phase - 0.3
    _MOTIONS[spec.motion](c, t + phase, side, float(tempo), _REACH[spec.shot])
    c.head_yaw += -0.6 * float(yaw * gaze) + 0.07 * _wave(t, 0.17, sway + 1)
    c.nod += 0.03 * _wave(t, 0.21, sway)
    c.shift[1] += 0.004 * _wave(t, 0.25)
    c.blink = exp(-(((((t + blink_at) % 3.6) - 1.8) / 0.13) ** 2))
    return c


def pelvis_height(person: Person) -> float:
    """Height of the standing pelvis above the floor, metres."""
    return 0.107 + 0.817 * person.stature


def head_lift(person: Person) -> float:
    """From the top of the neck's base to the head's centre, metres."""
    return (0.44 + 0.61 * person.head_height + 0.42 * person.chin) * HEAD_UNIT


def standing_head_height(person: Person) -> float:
    """Height of the head's centre of the standing person, metres."""
    return pelvis_height(person) + 0.475 * person.stature + 0.055 + head_lift(person)


def pose_at(spec: ClipSpec, person: Person, t: float) -> Pose:
    """Place all joints.

    Args:
        spec: The clip; its motion, seed and shot matter.
        person: Who moves (stature, shoulders, girth).
        t: Time in seconds.

    Returns:
        The pose in world space; the standing person is about at the origin and faces +z.
    """
    c = controls_at(spec, t)
    size = person.stature
    root = rot_y(c.yaw)
    pelvis = np.array(c.shift) + np.array((0.0, pelvis_height(person), 0.0))
    spine = root @ rot_y(c.twist) @ rot_z(c.lean) @ rot_x(c.bow)
    neck = pelvis + spine @ np.array((0.0, 0.475 * size, -0.005))
    head_axes = root @ rot_y(0.4 * c.twist) @ rot_z(0.4 * c.lean) @ rot_x(0.5 * c.bow)
    head_axes = head_axes @ rot_y(c.head_yaw) @ rot_x(c.nod) @ rot_z(c.tilt)
    head = (
        neck + spine @ np.array((0.0, 0.055, 0.012)) + head_axes @ np.array((0.0, head_lift(person), 0.018))
    )
    pose = Pose(root, spine, head_axes, pelvis, neck, head, [], [], [], [], [], [], c)
    for k, sign in ((0, -1.0), (1, 1.0)):
        _place_arm(pose, person, k, sign, size)
        _place_leg(pose, person, k, sign, size)
    return pose


def _place_arm(pose: Pose, person: Person, k: int, sign: float, size: float) -> None:
    out, up, front = pose.controls.hands[k]
    width = (0.168 if person.kind == "man" else 0.148) * person.shoulders * size
    shoulder = pose.neck + pose.spine @ np.array((sign * width, -0.045 * size, 0.0))
    target = shoulder + pose.spine @ np.array((sign * out, up * size, front))
    pole = pose.spine @ np.array((sign * 0.75, -0.55, -0.45))
    elbow, wrist = two_bone(shoulder, target, 0.275 * size, 0.235 * size, pole)
    pose.shoulders.append(shoulder)
    pose.elbows.append(elbow)
    pose.wrists.append(wrist)


def _place_leg(pose: Pose, person: Person, k: int, sign: float, size: float) -> None:
    out, up, front = pose.controls.feet[k]
    hip = pose.pelvis + pose.root @ np.array((sign * 0.088 * person.girth, -0.03, 0.0))
    stand = np.array((pose.pelvis[0], 0.075, pose.pelvis[2]))
    if pose.controls.bow > 0.01:
        stand[2] += 0.2 * pose.controls.bow
    target = stand + pose.root @ np.array((sign * (0.11 + out), up, front))
    pole = pose.root @ np.array((sign * 0.12, 0.0, 1.0))
    knee, ankle = two_bone(hip, target, 0.415 * size, 0.41 * size, pole)
    pose.hips.append(hip)
    pose.knees.append(knee)
    pose.ankles.append(ankle)
