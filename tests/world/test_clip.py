"""Clips: determinism, shapes, time, faces, empty rooms, framing and messages."""

import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest

from semrepa.world import MOTIONS, SHOTS, Person, render_clip, sample_spec
from semrepa.world.captions import attributes

SMALL = (48, 72)
STORED_RGB = (148.71, 165.52, 193.60)
STORED_DEPTH = 3.1054
STORED_NOSE = (36.445, 12.433)


def _clip(seed=3, *, size=SMALL, num_frames=2, fps=2.0, start=0.0, **choices):
    return render_clip(sample_spec(seed, **choices), size=size, num_frames=num_frames, fps=fps, start=start)


def test_same_seed_gives_the_same_clip():
    one, two = _clip(), _clip()
    assert np.array_equal(one.frames, two.frames)
    assert np.array_equal(one.depth, two.depth)
    assert np.array_equal(one.face_points, two.face_points, equal_nan=True)
    assert one.spec == two.spec
    assert not np.array_equal(one.frames, _clip(4).frames)


def test_stored_means_hold_on_every_machine():
    clip = _clip(7, shot="half", motion="wave")
    np.testing.assert_allclose(clip.frames.mean(axis=(0, 2, 3)), STORED_RGB, atol=0.5)
    np.testing.assert_allclose(clip.depth.mean(), STORED_DEPTH, atol=2e-3)
    np.testing.assert_allclose(clip.face_points[0, 2], STORED_NOSE, atol=0.02)


def test_shapes_and_types():
    clip = _clip(5, num_frames=3)
    assert (clip.frames.shape, clip.frames.dtype) == ((3, 3, *SMALL), np.uint8)
    assert (clip.depth.shape, clip.depth.dtype) == ((3, *SMALL), np.float32)
    assert (clip.face_boxes.shape, clip.face_boxes.dtype) == ((3, 4), np.float32)
    assert (clip.face_points.shape, clip.face_points.dtype) == ((3, 5, 2), np.float32)
    assert (clip.face_visible.shape, clip.face_visible.dtype) == ((3,), bool)


@pytest.mark.parametrize("motion", MOTIONS)
def test_frames_are_samples_of_one_movement(motion):
    slow = _clip(11, motion=motion, shot="half", num_frames=5, fps=4.0)
    fast = _clip(11, motion=motion, shot="half", num_frames=2, fps=1.0)
    late = _clip(11, motion=motion, shot="half", num_frames=1, start=1.0)
    assert np.array_equal(slow.frames[4], fast.frames[1])
    assert np.array_equal(slow.frames[4], late.frames[0])
    step = np.abs(np.diff(slow.face_points[np.isfinite(slow.face_points).all((1, 2))], axis=0))
    assert 0 < step.max() < 0.1 * SMALL[0], "a quarter of a second moves the face a little, but not far"


def test_sizes_agree_up_to_resampling():
    spec = sample_spec(9, shot="portrait", motion="talk")
    small = render_clip(spec, size=(32, 48), num_frames=1, supersample=4)
    large = render_clip(spec, size=(128, 192), num_frames=1, supersample=1)
    shrunk = large.frames[0].reshape(3, 32, 4, 48, 4).mean(axis=(2, 4))
    apart = np.abs(shrunk - small.frames[0])
    assert np.quantile(apart, 0.98) <= 1.0, "equal but for highlights, which saturate per ray or per pixel"
    np.testing.assert_allclose(large.face_points, 4 * small.face_points, rtol=1e-4)


def test_points_lie_in_the_box_and_in_arcface_order():
    for seed in range(20, 32):
        clip = _clip(seed, num_frames=1, shot="portrait", motion="talk")
        x0, y0, x1, y1 = clip.face_boxes[0]
        eye, other_eye, nose, corner, other_corner = clip.face_points[0]
        assert clip.face_visible[0]
        assert (clip.face_points[0] > (x0, y0)).all() and (clip.face_points[0] < (x1, y1)).all()
        assert eye[0] < other_eye[0] and corner[0] < other_corner[0]
        assert max(eye[1], other_eye[1]) < nose[1] < min(corner[1], other_corner[1])
        assert 0.25 * SMALL[0] < y1 - y0 < 0.75 * SMALL[0]


def test_key_points_lie_on_the_face():
    clip = _clip(8, num_frames=1, shot="portrait", motion="talk", size=(96, 144))
    columns, rows = np.floor(clip.face_points[0]).astype(int).T
    depth = clip.depth[0, rows, columns]
    assert np.ptp(depth) < 0.15
    assert depth[2] < depth[[0, 1, 3, 4]].min(), "the tip of the nose is nearest"


def test_a_turned_face_is_marked_invisible():
    clip = _clip(6, motion="turn", shot="portrait", num_frames=9, fps=1.4)
    assert clip.face_visible[0]
    away = np.isnan(clip.face_boxes[:, 0])
    assert away.any() and not clip.face_visible[away].any()
    assert np.isnan(clip.face_points[away]).all()


def test_an_empty_room_has_nobody():
    clip, room = _clip(5, empty=True), _clip(5, shot="half")
    assert clip.spec.identity is None
    assert np.isnan(clip.face_boxes).all() and np.isnan(clip.face_points).all()
    assert not clip.face_visible.any()
    assert clip.depth.min() > 1.2 and clip.depth.mean() > room.depth.mean()
    assert clip.spec.caption.startswith("an empty room")


@pytest.mark.parametrize("shot", SHOTS)
def test_vertical_framing(shot):
    clip = _clip(12, vertical=True, shot=shot, size=(72, 48), motion="talk")
    assert clip.frames.shape[-2:] == (72, 48)
    assert clip.face_visible.all()
    assert 0.3 * 48 < clip.face_boxes[:, [0, 2]].mean() < 0.7 * 48


def test_identity_is_independent_of_clothes_and_room():
    assert Person.from_identity(4) == Person.from_identity(4) != Person.from_identity(5)
    one, two = sample_spec(1, identity=4), sample_spec(2, identity=4)
    assert attributes(one)["hair"] == attributes(two)["hair"]
    assert (one.top_color, one.wall) != (two.top_color, two.wall)


def test_captions_use_a_small_vocabulary():
    specs = [sample_spec(seed, empty=seed % 9 == 0) for seed in range(600)]
    words = {word for spec in specs for word in spec.caption.replace(",", "").split()}
    assert len(words) < 120
    assert all("{" not in spec.caption for spec in specs)
    person = attributes(specs[1])
    assert person["person"] in {"woman", "man"} and specs[1].wall in person["room"]


def test_specs_survive_json():
    spec = sample_spec(42)
    assert type(spec)(**json.loads(json.dumps(dataclasses.asdict(spec)))) == spec


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: sample_spec(1, motion="fly"), "got 'fly'; expected one of walk"),
        (lambda: sample_spec(1, shot="wide"), "got 'wide'; expected one of full"),
        (lambda: sample_spec(-1), "seed: got -1; expected"),
        (lambda: sample_spec(1, identity=-4), "identity: got -4; expected"),
        (lambda: Person.from_identity(-2), "identity: got -2; expected"),
        (lambda: _clip(size=(72, 48)), "expected wider than tall"),
        (lambda: _clip(size=(48, 72), vertical=True), "expected taller than wide"),
        (lambda: _clip(size=(8, 12)), "expected sides from 16"),
        (lambda: _clip(num_frames=0), "num_frames: got 0; expected"),
        (lambda: _clip(fps=0.0), "fps: got 0.0; expected"),
        (lambda: _clip(start=float("nan")), "start: got nan; expected"),
    ],
)
def test_messages(call, message):
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        call()


def test_rendering_needs_only_numpy():
    unwanted = "('torch', 'av', 'scipy', 'PIL')"
    code = f"import sys, semrepa.world; print([m for m in {unwanted} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
