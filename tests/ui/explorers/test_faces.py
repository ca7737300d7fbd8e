"""Likeness over frames: gaps where no face was found, and clear words for what cannot be drawn."""

import numpy as np
import pytest

from semrepa.ui.explorers import identity_over_frames
from tests.ui.explorers.test_shell import CLIP, likeness, words


def test_likeness_has_gaps_and_says_where_no_face_is():
    assert "no face" in words(likeness().render(frame=4))
    assert "cosine 0.50" in words(likeness().render(frame=8))
    line = likeness().static().axes[0].lines[0].get_ydata()
    assert np.isnan(line[3:5]).all()
    assert np.isfinite(line[[2, 5]]).all()


def test_a_clip_that_never_shows_a_face_is_drawn_and_says_so():
    explorer = identity_over_frames({"base": np.full(9, np.nan)}, CLIP[..., :16])
    assert "base: no face" in words(explorer.static())


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"crops": CLIP[:8]}, "cosine of base: 9, crops: 8; expected equally many"),
        ({"frames": CLIP[:5]}, "crops: 9, video: 5; expected equally many"),
        ({"similarity": {}, "crops": CLIP[:0]}, "the clip is empty"),
        ({"similarity": {"base": []}}, "cosine of base: 0, crops: 9; expected at least one each"),
    ],
)
def test_parts_of_different_clips_are_refused(parts, message):
    given = {"similarity": {"base": np.ones(9)}, "crops": CLIP, "frames": None} | parts
    with pytest.raises(ValueError, match=message):
        identity_over_frames(given["similarity"], given["crops"], frames=given["frames"])
