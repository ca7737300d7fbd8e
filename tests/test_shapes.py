import pytest

from semrepa.shapes import num_frames, num_latent_frames


@pytest.mark.parametrize(("frames", "latents"), [(1, 1), (5, 2), (17, 5), (49, 13), (81, 21)])
def test_counts_are_inverse(frames, latents):
    assert num_latent_frames(frames) == latents
    assert num_frames(latents) == frames


@pytest.mark.parametrize(
    ("frames", "nearest"),
    [(16, "13 or 17"), (48, "45 or 49"), (50, "49 or 53"), (2, "1 or 5"), (0, "1 or 5")],
)
def test_bad_frame_count_names_the_nearest_good_ones(frames, nearest):
    with pytest.raises(ValueError, match=f"got num_frames={frames}.*use {nearest}"):
        num_latent_frames(frames)


def test_no_latent_frame_is_an_error():
    with pytest.raises(ValueError, match="latent_frames=0"):
        num_frames(0)
