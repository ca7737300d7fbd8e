"""The latent browser: one scale for all, differences, and one channel through time."""

import numpy as np
import pytest

from semrepa.ui.explorers import latent_browser

VALUES = np.random.default_rng(0).normal(size=(3, 4, 5, 6))


def pictures(figure):
    return [image for axes in figure.axes for image in axes.images]


def test_all_pictures_share_one_symmetric_scale():
    explorer = latent_browser({"video": VALUES[None], "depth": 2 * VALUES})
    shown = pictures(explorer.render(source="video", latent_frame=1, channel="all"))
    assert [image.get_array().tolist() for image in shown] == VALUES[1].tolist()
    limits = {image.get_clim() for image in shown}
    assert len(limits) == 1
    assert sum(limits.pop()) == 0


def test_the_difference_of_two_can_be_chosen():
    explorer = latent_browser({"video": VALUES, "depth": 3 * VALUES})
    assert explorer.controls["source"] == ["video", "depth", "depth - video"]
    (first, *_) = pictures(explorer.render(source="depth - video", latent_frame=0, channel="all"))
    np.testing.assert_allclose(first.get_array(), 2 * VALUES[0, 0])
    assert latent_browser({"video": VALUES}).controls["source"] == ["video"]


def test_one_channel_is_shown_for_all_sources_and_moments():
    explorer = latent_browser({"video": VALUES, "depth": VALUES + 1})
    shown = pictures(explorer.render(source="video", latent_frame=0, channel=2))
    np.testing.assert_array_equal([image.get_array() for image in shown[:3]], VALUES[:, 2])
    assert len(shown) == 3 * 3


@pytest.mark.parametrize(
    ("latents", "message"),
    [
        ({}, "got numbers of nothing; expected at least one"),
        ({"video": VALUES, "depth": VALUES[:2]}, r"depth: 240|expected equally many"),
        ({"video": VALUES, "depth": VALUES.reshape(3, 4, 6, 5)}, r"\(3, 4, 6, 5\); expected one shape"),
        ({"video": VALUES[0]}, r"expected one shape \(f, c, h, w\)"),
    ],
)
def test_latents_that_cannot_be_compared_are_refused(latents, message):
    with pytest.raises(ValueError, match=message):
        latent_browser(latents)
