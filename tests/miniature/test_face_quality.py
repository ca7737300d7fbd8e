"""The shipped face pack, through insightface, on people and rooms it was not trained on."""

import json

import numpy as np
import pytest
import torch

from semrepa.miniature.face_quality import Trial, area_under_curve, film, measure
from semrepa.provenance import mini_asset
from semrepa.teachers.face import InsightFaceTeacher
from semrepa.world import render_clip, sample_spec


@pytest.fixture(scope="module")
def teacher() -> InsightFaceTeacher:
    return InsightFaceTeacher(mini_asset("face"), detector_size=(384, 256), min_size=8.0)


def test_area_under_curve() -> None:
    assert area_under_curve(np.array([2.0, 3.0]), np.array([0.0, 1.0])) == 1
    assert area_under_curve(np.array([1.0, 0.0]), np.array([1.0, 0.0])) == 0.5


def test_faces_of_strangers_are_found_and_told_apart(teacher: InsightFaceTeacher) -> None:
    found = measure(teacher, Trial(size=(128, 192), people=8, moments=2, empty=4))
    assert found["detection_rate"] >= 0.9, found
    assert found["false_rate"] <= 0.1, found
    assert found["point_error"] <= 0.12, found
    assert found["auc"] >= 0.97, found
    assert found["intra"] - found["inter"] >= 0.6, found


def test_large_frames_work_too() -> None:
    teacher = InsightFaceTeacher(mini_asset("face"))
    clips = film(Trial(size=(480, 720), people=1, moments=1, empty=0))
    for clip in clips:
        track = teacher(torch.from_numpy(clip.frames))
        assert track.mask.tolist() == clip.face_visible.tolist()


def test_two_people_in_one_frame(teacher: InsightFaceTeacher) -> None:
    pair = [
        render_clip(
            sample_spec(s, shot="portrait", motion="talk", vertical=True), size=(192, 144), num_frames=1
        )
        for s in (1_000_007, 1_000_008)
    ]
    frames = torch.from_numpy(np.concatenate([clip.frames for clip in pair], axis=-1))
    faces = teacher.find(frames)[0]
    assert len(faces.scores) == 2
    assert faces.embeds[0] @ faces.embeds[1] < 0.4


def test_nobody_is_found_in_an_empty_room(teacher: InsightFaceTeacher) -> None:
    clip = render_clip(sample_spec(1_000_001, empty=True), size=(128, 192), num_frames=2)
    assert not teacher(torch.from_numpy(clip.frames)).mask.any()


def test_quality_beside_the_pack_is_that_of_its_files(teacher: InsightFaceTeacher) -> None:
    record = json.loads(mini_asset("face", "quality.json").read_text())
    assert record["sha256"] == teacher.provenance.sha256
    assert record["quality"]["128x192"]["auc"] >= 0.99
