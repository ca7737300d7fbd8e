"""Drift from the base model, against answers known in closed form."""

import math

import cv2
import numpy as np
import pytest
import torch

from semrepa.metrics.drift import FLOORS, Look, drift, flow, look

SIZE = (96, 144)


def texture(channels=3):
    """Smooth random colours (H, W, channels), 0 to 255, with room around them."""
    noise = np.random.default_rng(0).normal(size=(SIZE[0] + 80, SIZE[1] + 80, channels)).astype(np.float32)
    return cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 4), None, 20, 235, cv2.NORM_MINMAX)


def moving(dx, dy, frames=4):
    """A texture that moves by so many pixels a frame, without a border that comes in."""
    picture, (height, width) = texture(), SIZE
    shifts = [np.float32([[1, 0, -40 + k * dx], [0, 1, -40 + k * dy]]) for k in range(frames)]
    shown = [cv2.warpAffine(picture, shift, (width, height)) for shift in shifts]
    return torch.from_numpy(np.stack(shown)).permute(0, 3, 1, 2).round().to(torch.uint8)


def test_mean_color_is_that_of_each_channel():
    video = torch.zeros(3, 3, 16, 16, dtype=torch.uint8)
    video[:, 0], video[:, 1, :8], video[1, 2] = 200, 100, 30
    assert look(video).color == pytest.approx((200, 50, 10))


def test_contrast_is_the_deviation_of_luma_in_a_frame():
    video = torch.zeros(2, 3, 16, 16, dtype=torch.uint8)
    video[0, :, :8] = 200  # half black, half grey 200: deviation 100; the other frame is flat
    video[1] = 90
    assert look(video).contrast == pytest.approx(50, abs=1e-3)
    green = torch.zeros(2, 3, 16, 16, dtype=torch.uint8)
    green[:, 1, :8] = 200
    assert look(green).contrast == pytest.approx(100 * 0.587, abs=1e-3)


def test_saturation_scales_with_the_distance_to_grey():
    video = torch.zeros(2, 3, 16, 16, dtype=torch.uint8)
    video[:, 0], video[:, 1], video[:, 2] = 220, 100, 20
    half = (video.float().mean(dim=1, keepdim=True) + video.float()) / 2
    paler = half.round().to(torch.uint8)
    assert look(video).saturation == pytest.approx(200 / 255)
    assert drift(paler, video)["saturation"] == pytest.approx(0.5, abs=0.01)
    assert drift(video, paler)["saturation"] == pytest.approx(2, abs=0.04)


def test_dark_noise_is_not_colourful():
    dark = torch.randint(0, 4, (2, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    assert look(dark).saturation < 0.01


@pytest.mark.parametrize(("dx", "dy"), [(1, 0), (0, 2), (3, -4), (0.5, 0)])
def test_a_known_translation_gives_its_length(dx, dy):
    assert flow(moving(dx, dy)) == pytest.approx(math.hypot(dx, dy) / SIZE[1], rel=0.03)


def test_flow_is_a_share_of_the_width():
    video = moving(2, 0)
    twice = video.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    assert flow(twice) == pytest.approx(flow(video), rel=0.02)


def test_a_still_video_with_grain_hardly_moves():
    still = moving(0, 0).float()
    assert flow(still.to(torch.uint8)) < 1e-5
    grainy = still + 2 * torch.randn(still.shape, generator=torch.Generator().manual_seed(0))
    assert flow(grainy.clamp(0, 255).to(torch.uint8)) * SIZE[1] < 0.15


def test_brightness_and_speed_show_up_as_differences_and_ratios():
    slow, fast = moving(1, 0), moving(3, 0)
    brighter = (fast.float() / 2 + 60).round().to(torch.uint8)
    found = drift(brighter, slow)
    expected = [m / 2 + 60 - n for m, n in zip(look(fast).color, look(slow).color, strict=True)]
    assert [found[name] for name in ("red", "green", "blue")] == pytest.approx(expected, abs=0.1)
    assert found["contrast"] == pytest.approx(0.5, rel=0.05)
    assert found["saturation"] == pytest.approx(0.5, rel=0.05)
    assert found["flow"] == pytest.approx(3, rel=0.02)  # although the contrast is half


def test_the_same_video_has_not_drifted():
    video = moving(1, 1)
    same = {"red": 0, "green": 0, "blue": 0, "contrast": 1, "saturation": 1, "flow": 1}
    assert drift(video, video) == same
    assert drift(video, look(video)) == same


def test_black_and_still_videos_give_finite_numbers():
    black, video = torch.zeros(4, 3, *SIZE, dtype=torch.uint8), moving(1, 0)
    assert look(black) == Look(color=(0, 0, 0), contrast=0, saturation=0, flow=0)
    assert drift(black, black)["flow"] == drift(black, black)["contrast"] == 1
    for pair in ((black, video), (video, black)):
        assert all(map(math.isfinite, drift(*pair).values()))
    assert drift(video, black)["contrast"] == pytest.approx(look(video).contrast / FLOORS["contrast"])


def test_a_single_frame_is_refused():
    with pytest.raises(ValueError, match="got a video of 1 frame; expected at least 2"):
        drift(moving(0, 0)[:1], moving(0, 0))
