"""The depth scrubber: the four panels of the method, the size of the error in numbers."""

import numpy as np
import pytest

from semrepa.ui.explorers import depth_scrubber

CLIP = np.random.default_rng(0).integers(0, 256, (5, 3, 16, 24), dtype=np.uint8)
TEACHER = np.linspace(0, 0.8, 5)[:, None, None] * np.ones((5, 16, 24))


def test_panels_are_video_teacher_prediction_and_error():
    shown = depth_scrubber(CLIP, TEACHER, TEACHER + 0.1)
    assert list(shown.clips) == [
        "video",
        "teacher's depth",
        "predicted depth",
        "|error|,\nwhite: 0.1 or more",
    ]
    assert shown.captions[2] == "0.25 s, mean |error| 0.100"
    np.testing.assert_array_equal(shown.clips["video"], CLIP.transpose(0, 2, 3, 1))
    assert shown.clips["|error|,\nwhite: 0.1 or more"].min() > 250  # all of it is as wrong as it gets
    assert shown.render(0).shape == (16, 4 * 24 + 3 * 4, 3)
    assert 'mean |error| 0.100"' in shown.html


def test_depth_is_painted_near_is_bright():
    painted = depth_scrubber(CLIP, TEACHER, TEACHER, colormap="gray").clips["teacher's depth"]
    assert painted[0].max() == 0
    assert painted[4].min() == 204


def test_several_predictions_stand_side_by_side_and_the_first_has_its_error_shown():
    shown = depth_scrubber(CLIP, TEACHER, {"trained": TEACHER + 0.2, "shipped": TEACHER})
    assert list(shown.clips)[2:4] == ["trained", "shipped"]
    assert shown.captions[0].endswith("0.200")


@pytest.mark.parametrize(
    ("teacher", "predicted", "message"),
    [
        (TEACHER, TEACHER[:4], "teacher's depth: 5, predicted depth: 4; expected equally many"),
        (TEACHER[:4], TEACHER[:4], "frames of video: 5, teacher's depth: 4"),
        (TEACHER[:, :8], TEACHER, "expected one size"),
        (TEACHER[:0], TEACHER, r"teacher's depth: got shape \(0, 16, 24\); expected \(n, H, W\)"),
        (TEACHER + 1, TEACHER, "expected 0 to 1; normalize them first"),
    ],
)
def test_depth_of_another_clip_is_refused(teacher, predicted, message):
    with pytest.raises(ValueError, match=message):
        depth_scrubber(CLIP, teacher, predicted)
