import matplotlib
import numpy as np
import pytest
import torch

from semrepa.depth import colorize, decolorize, denormalize, depth_range, normalize

COLORMAPS = ["inferno", "magma", "gray"]


def ramp(colormap, steps=256):
    return colorize(torch.linspace(0, 1, steps).view(1, 1, 1, steps), colormap)


@pytest.mark.parametrize("colormap", COLORMAPS)
def test_colours_are_matplotlibs(colormap):
    theirs = matplotlib.colormaps[colormap](np.arange(256), bytes=True)[:, :3]
    assert np.abs(ramp(colormap)[0, 0, :, 0].T.numpy().astype(int) - theirs).max() <= 1


@pytest.mark.parametrize("colormap", COLORMAPS)
def test_near_is_brighter(colormap):
    luma = torch.tensor([0.299, 0.587, 0.114]) @ ramp(colormap, 64)[0, 0, :, 0].float()
    assert (luma.diff() > 0).all()


@pytest.mark.parametrize("colormap", COLORMAPS)
def test_round_trip_through_stored_frames(colormap):
    values = torch.rand(2, 3, 16, 24)
    back, distance = decolorize(colorize(values, colormap), colormap)
    assert (back - values).abs().max() < 0.0025
    assert distance.max() < 3**0.5 / 2 / 255 + 1e-4


@pytest.mark.parametrize("colormap", COLORMAPS)
def test_pixels_are_read_as_stored_frames_are(colormap):
    frames = colorize(torch.rand(1, 2, 8, 8), colormap)
    from_frames, from_pixels = (decolorize(f, colormap) for f in (frames, frames.float() / 255 * 2 - 1))
    torch.testing.assert_close(from_pixels, from_frames, rtol=0, atol=1e-4)


def test_inverse_finds_the_nearest_point_of_the_whole_curve():
    frames = torch.randint(0, 256, (1, 1, 3, 12, 12), dtype=torch.uint8)
    value, distance = decolorize(frames, "inferno")
    table = torch.tensor(matplotlib.colormaps["inferno"].colors, dtype=torch.float64)
    fractions = torch.linspace(0, 1, 101, dtype=torch.float64)[:, None, None]
    curve = torch.lerp(table[:-1], table[1:], fractions).flatten(0, 1)
    colors = frames[0, 0].flatten(1).T.double() / 255
    best = torch.cdist(colors, curve, compute_mode="donot_use_mm_for_euclid_dist").amin(dim=1)
    torch.testing.assert_close(distance.flatten().double(), best, rtol=0, atol=2e-5)
    position = value.flatten().double() * 255
    entry = position.long().clamp(max=254)
    reached = torch.lerp(table[entry], table[entry + 1], (position - entry)[:, None])
    torch.testing.assert_close((colors - reached).norm(dim=1), best, rtol=0, atol=2e-4)


def test_distance_tells_colours_that_are_no_depth():
    green = torch.zeros(1, 1, 3, 2, 2, dtype=torch.uint8)
    green[:, :, 1] = 255
    assert (decolorize(green, "inferno")[1] > 0.3).all()


def test_gray_is_read_as_the_mean_of_the_channels():
    frames = torch.randint(60, 200, (1, 1, 3, 8, 8), dtype=torch.uint8)
    mean = frames.float().mean(dim=2) / 255
    torch.testing.assert_close(decolorize(frames, "gray")[0], mean, rtol=0, atol=1e-5)


def test_range_is_that_of_the_clip():
    disparity = torch.zeros(2, 3, 2, 2)
    disparity[0, 0] = 4.0
    disparity[0, 1] = 2.0
    disparity[1, 2] = 8.0
    values = normalize(disparity, kind="disparity")
    assert values[:, :, 0, 0].tolist() == [[1.0, 0.5, 0.0], [0.0, 0.0, 1.0]]
    assert depth_range(disparity, kind="disparity").tolist() == [[0.0, 4.0], [0.0, 8.0]]


def test_metric_depth_is_inverted_and_comes_back():
    depth = 1 + 9 * torch.rand(2, 3, 4, 4)
    values = normalize(depth, kind="metric")
    assert values.flatten(1).argmax(dim=1).tolist() == depth.flatten(1).argmin(dim=1).tolist()
    back = denormalize(values, depth_range(depth, kind="metric"), kind="metric")
    torch.testing.assert_close(back, depth, rtol=1e-5, atol=0)
    assert (values.amin(), values.amax()) == (0, 1)


def test_sky_without_end_is_the_far_value():
    depth = torch.tensor([2.0, 4.0, torch.inf, 2.0]).view(1, 1, 2, 2)
    assert normalize(depth, kind="metric").flatten().tolist() == [1.0, 0.5, 0.0, 1.0]


def test_flat_clip_gives_zeros():
    assert normalize(torch.full((1, 2, 4, 4), 3.0), kind="metric").abs().max() == 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: normalize(torch.zeros(1, 1, 2, 2), kind="metric"), "down to 0; expected metres above 0"),
        (lambda: normalize(torch.full((1, 1, 2, 2), torch.nan), kind="disparity"), "not a number"),
        (lambda: colorize(torch.full((1, 1, 2, 2), 1.5), "inferno"), "from 1.5 to 1.5; expected 0 to 1"),
        (lambda: colorize(torch.full((1, 1, 2, 2), torch.nan), "inferno"), "expected 0 to 1"),
    ],
)
def test_bad_values_are_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()
