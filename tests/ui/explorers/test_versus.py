"""A against B: every clip and model is in the page, in step; the difference is what the page shows."""

import re

import numpy as np
import pytest

from semrepa.ui.explorers import versus

RANDOM = np.random.default_rng(0)
VIDEOS = {
    clip: {
        arm: RANDOM.integers(0, 256, (3, 3, 16, 24), dtype=np.uint8) for arm in ("base", "plain", "aligned")
    }
    for clip in ("walk <1>", "wave")
}


def test_the_page_holds_every_video_once_and_needs_nothing_else():
    page = versus(VIDEOS, fps=4, title="Seed 0").html
    store = page[page.index('class="store"') :]
    assert store.count("data:image/webp;base64,") == 2 * 3 * 3
    assert page.count("data:image/webp;base64,") == 2 * 3 * 3 + 4
    assert "walk &lt;1&gt;" in page
    assert re.findall(r"<option selected>([^<]+)", page) == ["walk &lt;1&gt;", "base", "aligned"]
    assert not re.search(r"https?://|<script|src=\"(?!data:)|@import|url\(", page)
    assert "$" not in page


def test_the_pair_can_be_chosen_and_the_picture_follows():
    shown = versus(VIDEOS, pair=("plain", "base"))
    assert re.findall(r"<option selected>([^<]+)", shown.html)[1:] == ["plain", "base"]
    first, later = (shown.render("wave", "plain", "base", frame) for frame in (0, 2))
    a, b = (VIDEOS["wave"][arm][2].transpose(1, 2, 0).astype(int) for arm in ("plain", "base"))
    np.testing.assert_array_equal(later[:, :24], a)
    np.testing.assert_array_equal(later[:, -24:], np.minimum(4 * abs(a - b), 255))
    assert (first != later).any()
    assert (shown.render("wave", "base", "base", 0)[:, -24:] == 0).all()


def test_static_is_a_sheet_of_the_first_clip():
    bundle = versus(VIDEOS)._repr_mimebundle_()
    assert set(bundle) == {"text/html", "image/png", "text/plain"}
    assert bundle["image/png"].startswith("iVBOR")
    sheet = versus(VIDEOS, title="Seed 0").static()
    assert sheet.get_suptitle() == "Seed 0: walk <1>"
    assert [label.get_text() for label in sheet.axes[0].get_yticklabels()] == [
        "A: base",
        "B: aligned",
        "|A - B| x 4",
    ]


@pytest.mark.parametrize(
    ("videos", "pair", "message"),
    [
        ({}, (), "got clips of videos: 0"),
        (
            {"wave": {"base": VIDEOS["wave"]["base"]}},
            (),
            "got models wave: base; expected the same two or more",
        ),
        (
            {**VIDEOS, "wave": {"base": VIDEOS["wave"]["base"]}},
            (),
            "expected the same two or more for each clip",
        ),
        (VIDEOS, ("base", "best"), "pair: got best; expected two of base, plain, aligned"),
        (
            {"wave": {"a": VIDEOS["wave"]["base"], "b": VIDEOS["wave"]["base"][:2]}},
            (),
            "wave, a: 3, wave, b: 2",
        ),
        ({"wave": {"a": VIDEOS["wave"]["base"], "b": VIDEOS["wave"]["base"][:0]}}, (), "the clip is empty"),
    ],
)
def test_videos_that_cannot_be_compared_are_refused(videos, pair, message):
    with pytest.raises(ValueError, match=message):
        versus(videos, pair=pair)
