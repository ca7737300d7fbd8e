"""Rendering of training clips into cached arrays, in small."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from semrepa.miniature import clips
from semrepa.world import render_clip, sample_spec

FIRST = 1_000_003


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    """Shards of two clips of 2 frames of 32x48, rendered in this process."""
    monkeypatch.setattr(clips, "SIZE", (32, 48))
    monkeypatch.setattr(clips, "NUM_FRAMES", 2)
    monkeypatch.setattr(clips, "SHARD", 2)
    monkeypatch.setattr(clips, "ProcessPoolExecutor", ThreadPoolExecutor)


@pytest.fixture
def rendered(monkeypatch):
    """Seeds of the specs that were rendered."""
    seeds = []

    def note(seed, **choices):
        seeds.append(seed)
        return sample_spec(seed, **choices)

    monkeypatch.setattr(clips, "sample_spec", note)
    return seeds


def test_loaded_clips_are_the_rendered_ones_in_order_of_their_seeds(tmp_path):
    loaded = clips.load_clips(tmp_path, first_seed=FIRST, count=4)
    assert loaded.frames.shape == (4, 2, 3, 32, 48)
    assert loaded.captions == [sample_spec(FIRST + i).caption for i in range(4)]
    starts = []
    for i in range(4):
        starts.append((FIRST + i) % 5 * 0.8)
        clip = render_clip(sample_spec(FIRST + i), size=(32, 48), num_frames=2, start=starts[-1])
        assert np.array_equal(loaded.frames[i], clip.frames)
        np.testing.assert_allclose(loaded.depth[i], clip.depth, rtol=1e-3)
        np.testing.assert_allclose(loaded.boxes[i], clip.face_boxes)
        assert np.array_equal(loaded.visible[i], clip.face_visible)
    assert len(set(starts)) > 1, "all clips start at the same moment of their motion"


def test_only_missing_shards_are_rendered(tmp_path, rendered):
    clips.render_clips(tmp_path, first_seed=FIRST, count=2, workers=1)
    assert rendered == [FIRST, FIRST + 1]
    clips.render_clips(tmp_path, first_seed=FIRST, count=4, workers=1)
    assert rendered == [FIRST, FIRST + 1, FIRST + 2, FIRST + 3]
    clips.load_clips(tmp_path, first_seed=FIRST, count=4)
    assert len(rendered) == 4


def test_clips_of_another_length_are_the_beginning_of_the_long_ones(tmp_path):
    whole = clips.load_clips(tmp_path / "2", first_seed=FIRST, count=2, workers=1)
    short = clips.load_clips(tmp_path / "1", first_seed=FIRST, count=2, workers=1, num_frames=1)
    assert np.array_equal(short.frames, whole.frames[:, :1])
    assert short.visible.shape == (2, 1)


def test_a_person_can_be_shown_again_in_another_clip(tmp_path, monkeypatch):
    people = []

    def note(seed, **choices):
        people.append(sample_spec(seed, **choices).identity)
        return sample_spec(seed, **choices)

    monkeypatch.setattr(clips, "sample_spec", note)
    first = clips.load_clips(tmp_path, first_seed=FIRST, count=4, workers=1)
    again = clips.load_clips(tmp_path, first_seed=FIRST + 50, count=4, workers=1, person_shift=-50)
    assert sorted(people[:4]) == sorted(people[4:]) == [FIRST, FIRST + 1, FIRST + 2, FIRST + 3]
    assert not np.array_equal(first.frames, again.frames)


class _Stop(Exception):
    pass


def test_a_stopped_rendering_leaves_no_half_shard(tmp_path, monkeypatch):
    def stop(spec, **_):
        if spec.seed == FIRST + 1:
            raise _Stop
        return render_clip(spec, **_)

    with monkeypatch.context() as patch:
        patch.setattr(clips, "render_clip", stop)
        with pytest.raises(_Stop):
            clips.render_clips(tmp_path, first_seed=FIRST, count=2, workers=1)
    assert list(tmp_path.iterdir()) == []
    assert clips.load_clips(tmp_path, first_seed=FIRST, count=2).frames[1].any()
