"""From a clip description to frames, exact depth and exact face answers."""

from dataclasses import dataclass

import numpy as np

from semrepa.world.body import BodyBuilder
from semrepa.world.geometry import Camera
from semrepa.world.landmarks import face_answers
from semrepa.world.motion import Pose, pose_at, standing_head_height
from semrepa.world.person import Person
from semrepa.world.primitives import FAR, Primitive
from semrepa.world.scene import Room, camera_at
from semrepa.world.shading import Shader
from semrepa.world.spec import ClipSpec, check_spec

Array = np.ndarray
_NOBODY_HEIGHT = 1.6


@dataclass(frozen=True)
class RenderedClip:
    """A clip and everything that is known about it."""

    frames: Array
    """uint8 (n, 3, H, W), RGB."""
    depth: Array
    """float32 (n, H, W): z-depth in metres along each pixel's centre ray, exact, not anti-aliased."""
    face_boxes: Array
    """float32 (n, 4): x0, y0, x1, y1 in pixels; NaN without a face turned to the camera's side."""
    face_points: Array
    """float32 (n, 5, 2): eye and eye, nose tip, mouth corners (image left first); NaN likewise."""
    face_visible: Array
    """bool (n,): turned less than 60 degrees, 70 % in the frame, not behind an arm."""
    spec: ClipSpec


@dataclass(frozen=True)
class _Moment:
    """The world at one instant."""

    camera: Camera
    room: Room
    spec: ClipSpec
    person: Person | None
    pose: Pose | None
    bodies: list[Primitive]


def render_clip(
    spec: ClipSpec,
    *,
    size: tuple[int, int],
    num_frames: int = 49,
    fps: float = 8.0,
    start: float = 0.0,
    supersample: int = 2,
    depth_only: bool = False,
) -> RenderedClip:
    """Render a clip.

    Args:
        spec: What to show.
        size: Height and width in pixels; taller than wide exactly for vertical specs (square fits both).
        num_frames: Number of frames, at least 1.
        fps: Frames per second; frame k shows second start + k / fps.
        start: Second of the first frame.
        supersample: Rays per pixel along each side, for anti-aliased frames.
        depth_only: Leave `frames` black and skip all shading.

    Returns:
        Frames, exact depth and exact face answers.

    Raises:
        ValueError: If the description, the size or a number is not usable.
    """
    check_spec(spec)
    height, width = _check_size(size, spec.vertical)
    _check_numbers(num_frames, fps, start, supersample)
    room = Room.from_spec(spec)
    person = None if spec.identity is None else Person.from_identity(spec.identity)
    clip = _blank(spec, num_frames, height, width)
    for k in range(num_frames):
        moment = _moment(spec, room, person, start + k / fps)
        clip.depth[k], owner = _trace(moment, *moment.camera.rays(height, width))
        if moment.pose is not None:
            hidden = _covered(owner, moment.bodies)
            answers = face_answers(person, moment.pose, moment.camera, (height, width), hidden)
            clip.face_boxes[k], clip.face_points[k], clip.face_visible[k] = answers
        if not depth_only:
            clip.frames[k] = _picture(moment, height, width, supersample)
    return clip


def _blank(spec: ClipSpec, num_frames: int, height: int, width: int) -> RenderedClip:
    """A black clip without faces, to be filled in."""
    return RenderedClip(
        frames=np.zeros((num_frames, 3, height, width), np.uint8),
        depth=np.empty((num_frames, height, width), np.float32),
        face_boxes=np.full((num_frames, 4), np.nan, np.float32),
        face_points=np.full((num_frames, 5, 2), np.nan, np.float32),
        face_visible=np.zeros(num_frames, bool),
        spec=spec,
    )


def _check_size(size: tuple[int, int], vertical: bool) -> tuple[int, int]:
    try:
        height, width = (int(s) for s in size)
    except (TypeError, ValueError):
        raise ValueError(
            f"size: got {size!r}; expected (height, width). Pass e.g. size=(480, 720)."
        ) from None
    if min(height, width) < 16 or max(height, width) > 4096:
        raise ValueError(
            f"size: got {height}x{width}; expected sides from 16 to 4096 pixels. Pass e.g. (480, 720)."
        )
    if (height > width and not vertical) or (height < width and vertical):
        kind, shape = ("vertical", "taller than wide") if vertical else ("landscape", "wider than tall")
        raise ValueError(
            f"size: got {height}x{width} for a {kind} clip; expected {shape}. "
            f"Swap height and width, or draw the clip with vertical={not vertical}."
        )
    return height, width


def _check_numbers(num_frames: int, fps: float, start: float, supersample: int) -> None:
    if isinstance(num_frames, bool) or not isinstance(num_frames, (int, np.integer)) or num_frames < 1:
        raise ValueError(f"num_frames: got {num_frames!r}; expected an integer of at least 1. Pass e.g. 49.")
    if not 0 < fps <= 1000:
        raise ValueError(f"fps: got {fps!r}; expected frames per second in (0, 1000]. Pass e.g. fps=8.")
    if not abs(start) < 1e5:
        raise ValueError(f"start: got {start!r}; expected a finite number of seconds. Pass e.g. start=0.")
    if not isinstance(supersample, (int, np.integer)) or not 1 <= supersample <= 8:
        raise ValueError(f"supersample: got {supersample!r}; expected an integer from 1 to 8. Pass e.g. 2.")


def _moment(spec: ClipSpec, room: Room, person: Person | None, t: float) -> _Moment:
    """Pose, camera and bodies at second `t`."""
    camera = camera_at(spec, _NOBODY_HEIGHT if person is None else standing_head_height(person), t)
    if person is None:
        return _Moment(camera, room, spec, None, None, [])
    pose = pose_at(spec, person, t)
    return _Moment(camera, room, spec, person, pose, BodyBuilder(spec, person, pose, camera).build())


def _window(body: Primitive, u: Array, v: Array) -> tuple[slice, slice] | None:
    """Rows and columns of the body's projected bounding box, None if outside the frame."""
    left, right, low, high = body.bounds()
    columns = slice(int(np.searchsorted(u, left)), int(np.searchsorted(u, right, side="right")))
    rows = slice(int(np.searchsorted(-v, -high)), int(np.searchsorted(-v, -low, side="right")))
    return None if columns.start >= columns.stop or rows.start >= rows.stop else (rows, columns)


def _trace(moment: _Moment, u: Array, v: Array, surface: Array | None = None) -> tuple[Array, Array]:
    """Nearest depth (h, w) and the number of the body that owns it (h, w), -1 for the room."""
    depth, which = moment.room.cast(moment.camera, u, v)
    if surface is not None:
        surface[...] = which
    owner = np.full(depth.shape, -1, np.int16)
    for number, body in enumerate(moment.bodies):
        window = _window(body, u, v)
        if window is None:
            continue
        rows, columns = window
        hit = body.hit(u[columns], v[rows])
        nearer = hit < depth[window]
        np.copyto(depth[window], hit, where=nearer)
        np.copyto(owner[window], np.int16(number), where=nearer)
    return depth, owner


def _covered(owner: Array, bodies: list[Primitive]) -> Array:
    """Where an arm or a hand is the nearest surface."""
    arms = np.array([body.occludes_face for body in bodies] + [False])
    return arms[owner]


def _picture(moment: _Moment, height: int, width: int, supersample: int) -> Array:
    """One anti-aliased frame, uint8 (3, H, W)."""
    u, v = moment.camera.rays(height * supersample, width * supersample)
    which = np.empty((v.size, u.size), np.int8)
    depth, owner = _trace(moment, u, v, which)
    room_depth = (
        np.where(owner < 0, depth, FAR) if not moment.bodies else moment.room.cast(moment.camera, u, v)[0]
    )
    feet = [] if moment.pose is None else moment.pose.ankles
    image = moment.room.paint(moment.camera, u, v, room_depth, which, feet)
    if moment.pose is not None:
        _shade_bodies(moment, u, v, depth, owner, image)
    blocks = image.reshape(height, supersample, width, supersample, 3).mean(axis=(1, 3))
    return np.rint(np.clip(blocks, 0, 1) * 255).astype(np.uint8).transpose(2, 0, 1)


def _shade_bodies(moment: _Moment, u: Array, v: Array, depth: Array, owner: Array, image: Array) -> None:
    """Colour all body pixels of `image` (h, w, 3) in place."""
    shader = Shader(
        moment.spec,
        moment.person,
        moment.pose.controls,
        moment.camera,
        moment.room.light,
        {body.name: body for body in moment.bodies},
    )
    footprint = float(u[1] - u[0])
    for number, body in enumerate(moment.bodies):
        window = _window(body, u, v)
        if window is None:
            continue
        rows, columns = np.nonzero(owner[window] == number)
        if rows.size == 0:
            continue
        rows, columns = rows + window[0].start, columns + window[1].start
        t = depth[rows, columns]
        points = np.stack((u[columns] * t, v[rows] * t, t))
        image[rows, columns] = shader.color(body, points, footprint)
