"""Exact answers about the face: key points, box and visibility."""

import numpy as np

from semrepa.world.geometry import Camera
from semrepa.world.hair import skull_radii
from semrepa.world.motion import HEAD_UNIT, Pose
from semrepa.world.person import Person

Array = np.ndarray
_MAX_YAW_COSINE = 0.5
_MIN_INSIDE = 0.70
_MAX_COVERED = 0.12


def _on_surface(person: Person, x: float, y: float) -> Array:
    """Point of the face at x, y (head units), pushed out to the skin, in metres (3,)."""
    rx, ry, rz = skull_radii(person) / HEAD_UNIT
    skull = rz * np.sqrt(max(0.0, 1 - (x / rx) ** 2 - (y / ry) ** 2))
    jx, jy, jz = 0.90 * person.jaw_width * person.head_width, 0.82 * person.chin, 0.92
    inside = 1 - (x / jx) ** 2 - ((y + 0.52 * person.chin) / jy) ** 2
    jaw = 0.12 + jz * np.sqrt(max(0.0, inside)) if inside > 0 else 0.0
    return HEAD_UNIT * np.array((x, y, max(skull, jaw, 0.2)))


def _face_points(person: Person) -> Array:
    """Five points (5, 3) in head coordinates: eyes, nose tip, mouth corners; x negative first."""
    corner = person.mouth_height + person.smile
    nose = HEAD_UNIT * np.array((0.0, -0.30 * person.nose_length, 1.26))
    eyes = [_on_surface(person, s * person.eye_spacing, person.eye_height) for s in (-1, 1)]
    mouth = [_on_surface(person, s * 0.95 * person.mouth_width, corner) for s in (-1, 1)]
    return np.array([*eyes, nose, *mouth])


def _outline(person: Person) -> Array:
    """Points (k, 3) in head coordinates whose projection spans the face box: forehead, cheeks, jaw, chin."""
    w, j, c = person.head_width, person.jaw_width * person.head_width, person.chin
    rim = [(s * 0.93 * w, y, 0.25) for s in (-1, 1) for y in (0.25, -0.2)]
    rim += [(s * 0.80 * j, -0.85 * c, 0.45) for s in (-1, 1)]
    rim += [
        (0.0, -1.32 * c, 0.30),
        (0.0, -1.20 * c, 0.75),
        (0.0, 0.72 * person.head_height, 0.86),
        (0.0, -0.3, 1.2),
    ]
    return HEAD_UNIT * np.array(rim)


def face_answers(
    person: Person, pose: Pose, camera: Camera, size: tuple[int, int], occluded: Array | None
) -> tuple[Array, Array, bool]:
    """Box, points and visibility of the face in one frame.

    Args:
        person: Whose face.
        pose: The pose of the frame.
        camera: The camera of the frame.
        size: Frame height and width.
        occluded: Boolean (h, w), True where an arm or hand is the nearest surface.

    Returns:
        Box (4,) xyxy and points (5, 2) in pixels, NaN if the face is turned away by more than 90 degrees or
        behind the camera, and whether it is visible: turned less than 60 degrees, 70 % in the frame and
        uncovered.
    """
    height, width = size
    outward = pose.head_axes[:, 2]
    to_camera = camera.position - pose.head
    cosine = float(outward @ to_camera) / float(np.linalg.norm(to_camera))
    if cosine <= 0 or camera.points(pose.head)[2] < 0.3:
        return np.full(4, np.nan), np.full((5, 2), np.nan), False
    points, rim = (
        camera.project(pose.head + local @ pose.head_axes.T, height, width)
        for local in (_face_points(person), _outline(person))
    )
    low, high = rim.min(0), rim.max(0)
    box = np.concatenate((low, high))
    inside_low, inside_high = np.clip(low, 0, (width, height)), np.clip(high, 0, (width, height))
    inside = np.prod(inside_high - inside_low) / max(np.prod(high - low), 1e-9)
    visible = cosine > _MAX_YAW_COSINE and inside >= _MIN_INSIDE
    if visible and occluded is not None:
        x0, y0, x1, y1 = np.round((*inside_low, *inside_high)).astype(int)
        patch = occluded[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)]
        columns, rows = np.floor(points).astype(int).T
        ok = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
        visible = patch.mean() < _MAX_COVERED and not occluded[rows[ok], columns[ok]].any()
    return box, points, bool(visible)
