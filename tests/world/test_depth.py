"""Depth is exact: against closed forms for planes, balls and rounded cones."""

import numpy as np
import pytest

from semrepa.world import render_clip, sample_spec
from semrepa.world.geometry import Camera, two_bone
from semrepa.world.motion import controls_at
from semrepa.world.person import Person
from semrepa.world.primitives import FAR, Primitive
from semrepa.world.scene import Room, camera_at
from semrepa.world.spec import MOTIONS

SLOPES = np.linspace(-0.4, 0.4, 81).astype(np.float32)


def test_depth_only_equals_the_full_depth():
    spec = sample_spec(14, shot="half")
    full = render_clip(spec, size=(48, 72), num_frames=2)
    bare = render_clip(spec, size=(48, 72), num_frames=2, depth_only=True)
    assert np.array_equal(full.depth, bare.depth)
    assert np.array_equal(full.face_visible, bare.face_visible)
    assert not bare.frames.any() and full.frames.any()


def test_depth_of_the_room_is_that_of_its_planes():
    spec = sample_spec(17, empty=True, shot="full")
    depth = render_clip(spec, size=(48, 72), num_frames=1, depth_only=True).depth[0]
    camera, room = camera_at(spec, 1.6, 0.0), Room.from_spec(spec)
    u, v = (axis.astype(float) for axis in camera.rays(48, 72))
    rays = np.stack(np.broadcast_arrays(u[None], v[:, None], 1.0), axis=-1)
    x, y, z = np.moveaxis((camera.position + depth[..., None] * (rays @ camera.axes)) @ room.axes, -1, 0)
    gaps = np.stack((z - room.back, x - room.left, room.right - x, y, 2.8 - y))
    assert np.abs(gaps.min(0)).max() < 1e-4, "every pixel lies on a surface and none behind one"


def test_depth_of_a_ball():
    centre, radius = np.array((0.1, -0.05, 2.0)), 0.3
    ball = Primitive("ball", "skin", np.eye(3), np.full(3, radius), centre)
    depth = ball.hit(SLOPES, SLOPES[::-1])
    middle = Primitive("ball", "skin", np.eye(3), np.full(3, radius), np.array((0.0, 0.0, 2.0)))
    assert middle.hit(np.zeros(1, np.float32), np.zeros(1, np.float32))[0, 0] == pytest.approx(1.7, abs=1e-6)
    rows, columns = np.nonzero(depth < FAR)
    t = depth[rows, columns]
    points = np.stack((SLOPES[columns] * t, SLOPES[::-1][rows] * t, t))
    assert np.abs(np.linalg.norm(points - centre[:, None], axis=0) - radius).max() < 1e-5
    left, right, low, high = ball.bounds()
    assert left <= SLOPES[columns].min() and SLOPES[columns].max() <= right
    assert low <= SLOPES[::-1][rows].min() and SLOPES[::-1][rows].max() <= high


def _marched(body: Primitive, u: float, v: float) -> float:
    """Depth by sphere tracing the exact distance to an unstretched rounded cone."""
    d = np.array((u, v, 1.0))
    t = 0.0
    for _ in range(400):
        _, gap = body.normal((t * d)[:, None].astype(np.float32))
        t += 0.7 * float(gap[0]) / float(np.linalg.norm(d))
        if t > 10:
            return float(FAR)
    return t


def test_depth_of_a_rounded_cone_equals_sphere_tracing():
    start, end = np.array((-0.2, -0.15, 1.6)), np.array((0.25, 0.2, 2.1))
    cone = Primitive("cone", "skin", np.eye(3), np.ones(3), start, end, 0.16, 0.07)
    depth = cone.hit(SLOPES, SLOPES)
    for i, j in ((24, 24), (30, 34), (40, 40), (45, 48), (52, 54), (33, 27)):
        assert depth[i, j] < FAR
        assert depth[i, j] == pytest.approx(_marched(cone, float(SLOPES[j]), float(SLOPES[i])), abs=2e-4)
    assert depth[0, 80] == FAR and depth[80, 0] == FAR


def test_a_body_behind_the_camera_is_never_hit():
    ball = Primitive("ball", "skin", np.eye(3), np.full(3, 0.3), np.array((0.0, 0.0, -2.0)))
    left, right, _, _ = ball.bounds()
    assert left > right
    assert (ball.hit(SLOPES, SLOPES) == FAR).all()


def test_swallowed_cones_are_refused():
    start, end = np.array((0, 0, 2.0)), np.array((0, 0.1, 2.0))
    with pytest.raises(ValueError, match="expected one ball not to swallow the other"):
        Primitive("cone", "skin", np.eye(3), np.ones(3), start, end, 0.3, 0.1)


def test_camera_projects_along_its_own_rays():
    camera = Camera.look(np.array((0.3, 1.5, 2.0)), np.array((0.0, 1.4, 0.0)), 1.8, roll=0.05)
    u, v = camera.rays(40, 60)
    point = camera.position + 1.7 * (camera.axes.T @ np.array((u[13], v[29], 1.0)))
    np.testing.assert_allclose(camera.project(point, 40, 60), (13.5, 29.5), atol=1e-4)


def test_limbs_keep_their_length():
    rng = np.random.default_rng(0)
    for _ in range(50):
        start, target, pole = rng.normal(size=(3, 3))
        middle, end = two_bone(start, target, 0.3, 0.25, pole)
        assert np.linalg.norm(middle - start) == pytest.approx(0.3, abs=1e-6)
        assert np.linalg.norm(end - middle) == pytest.approx(0.25, abs=1e-6)


@pytest.mark.parametrize("motion", MOTIONS)
def test_motion_is_slow_and_smooth(motion):
    spec = sample_spec(21, motion=motion, shot="full")
    times = np.arange(0, 6, 1 / 64)
    hands = np.array([controls_at(spec, float(t)).hands for t in times])
    speed = np.abs(np.diff(hands, axis=0)).max() * 64
    assert speed < 1.2, "hands stay slower than 1.2 m/s"
    assert np.abs(np.diff(hands, n=2, axis=0)).max() * 64 * 64 < 12, "and do not jerk"


def test_people_differ():
    people = [Person.from_identity(k) for k in range(200)]
    looks = {(p.kind, p.skin_name, p.hair_style, p.hair_name, p.glasses, p.beard, p.eye_name) for p in people}
    assert len(looks) > 180
