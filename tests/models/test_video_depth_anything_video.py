"""Video Depth Anything on whole videos: preprocessing, windows, alignment, blending, checks."""

import logging
from collections.abc import Iterator

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from semrepa.data.sampling import ClipError
from semrepa.models.video_depth_anything import network_size, normalise
from semrepa.models.video_depth_anything.model import check_depth, check_video
from semrepa.models.video_depth_anything.windows import blend, fit_scale_shift, stitch, window_frames
from tests.models.vda_oracle import cubic_matrix, long_video, positions, randomised

NUMBERS = (1, 20, 22, 23, 44, 49, 71)


def video(frames: int, height: int = 30, width: int = 40) -> Tensor:
    """Moving stripes and noise."""
    generator = torch.Generator().manual_seed(frames)
    place = torch.arange(width) + 3 * torch.arange(frames)[:, None, None, None]
    stripes = 100 * (1 + torch.sin(place / 5)).expand(frames, 3, height, width)
    return (stripes + torch.randint(0, 56, stripes.shape, generator=generator)).to(torch.uint8)


@pytest.mark.parametrize(
    ("source", "at_518", "at_280", "at_140"),
    [
        ((480, 720), (518, 784), (280, 420), (140, 210)),
        ((480, 832), (518, 896), (280, 490), (140, 238)),
        ((720, 1280), (518, 924), (280, 504), (140, 252)),
        ((480, 864), (504, 910), (280, 504), (140, 252)),
        ((864, 480), (910, 504), (504, 280), (252, 140)),
        ((120, 180), (518, 784), (280, 420), (140, 210)),
    ],
)
def test_network_sizes_are_the_published_ones(source, at_518, at_280, at_140) -> None:
    assert [network_size(*source, wanted) for wanted in (518, 280, 140)] == [at_518, at_280, at_140]


def test_ties_of_the_size_go_to_even_and_never_below_the_wanted_side() -> None:
    assert network_size(56, 77, 56) == (56, 84)  # 5.5 patches: to 6
    assert network_size(56, 91, 56) == (56, 84)  # 6.5 patches: to 6
    assert network_size(100, 100, 98) == (98, 98)
    assert network_size(1000, 1760, 1400) == (1400, 2464)  # not wide enough for a smaller side
    assert network_size(20, 100, 14) == (14, 70)
    assert network_size(480, 1200, 518) == (364, 910)  # int(518 x 1.777 / 2.5) = 368, 26 patches


@pytest.mark.parametrize("size", [0, 13, 500, -14])
def test_sizes_that_are_no_multiples_of_14_are_refused(size: int) -> None:
    with pytest.raises(ValueError, match=f"input_size: got {size}; expected a multiple of 14; use"):
        network_size(480, 720, size)


@pytest.mark.parametrize(
    ("source", "size"), [((20, 30), (28, 14)), ((60, 720), (42, 784)), ((28, 42), (28, 42))]
)
def test_frames_are_resized_by_cubic_convolution_and_keep_the_overshoot(source, size) -> None:
    """Exactly, also at full width, where torch's own bicubic resizing is off by 2e-4."""
    frames = torch.randint(0, 256, (2, 3, *source), dtype=torch.uint8)
    frames[:, :, 8:, 10:20], frames[:, :, :8, :10] = 255, 0
    matrices = (cubic_matrix(old, new, new / old) for old, new in zip(source, size, strict=True))
    down, across = matrices
    colours = np.einsum("ri,kcij,sj->kcrs", down, frames.double().numpy() / 255, across, optimize=True)
    assert source == size or (colours.min() < -0.01 and colours.max() > 1.01)
    mean, std = np.array([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]])[:, :, None, None]
    wanted = torch.from_numpy((colours - mean) / std).float()
    torch.testing.assert_close(normalise(frames, size), wanted, atol=4e-6, rtol=0)


def test_frames_are_what_opencv_makes_of_them() -> None:
    """As the published preprocessing: float32 colours, INTER_CUBIC. Some of its versions round places."""
    frames = torch.randint(0, 256, (1, 3, 96, 720), dtype=torch.uint8)
    colours = frames[0].permute(1, 2, 0).numpy().astype(np.float32) / 255
    for height, width in ((112, 784), (42, 210)):
        resized = cv2.resize(colours, (width, height), interpolation=cv2.INTER_CUBIC)
        wanted = (resized - np.array([0.485, 0.456, 0.406])) / np.array([0.229, 0.224, 0.225])
        found = normalise(frames, (height, width))[0].permute(1, 2, 0).numpy()
        np.testing.assert_allclose(found, wanted, atol=1e-5 if cv2.__version__ >= "5" else 5e-4)


@pytest.mark.parametrize("grid", [(1, 1), (2, 3), (7, 11), (20, 30), (37, 56), (36, 37)])
def test_positions_are_sampled_with_the_published_offset(grid: tuple[int, int]) -> None:
    encoder = randomised().pretrained
    found = encoder.positions(*grid)
    assert found.shape == (1, 1 + grid[0] * grid[1], 48)
    torch.testing.assert_close(found, positions(encoder.pos_embed, *grid), atol=5e-6, rtol=1e-5)
    assert encoder.positions(37, 37) is encoder.pos_embed


def test_windows_see_the_published_frames() -> None:
    first, second, third = window_frames(49)
    assert first == tuple(range(32))
    assert second == (0, 12, *range(24, 32), *range(32, 49), *[48] * 5)
    assert third == (0, 34, 46, 47, *[48] * 28)
    assert [len(window_frames(n)) for n in (1, 22, 23, 44, 45)] == [1, 1, 2, 2, 3]
    assert window_frames(1) == [(0,) * 32]
    with pytest.raises(ValueError, match="got 0 frames"):
        window_frames(0)


@pytest.mark.parametrize("metric", [False, True])
@pytest.mark.parametrize("count", NUMBERS)
def test_long_videos_equal_lists_of_frames(count: int, metric: bool) -> None:
    frames = video(count, 12, 10)

    def network(seen: Tensor) -> Tensor:
        """Depth that differs between windows by scale and shift, and by what no scale and shift mends."""
        brightness = seen.float().mean(dim=1)
        drift = 1 + (seen[10:].float().std() * 7 % 1)
        depth = (brightness * drift - 60 * drift).clamp(min=0) / 20 + 1 + (brightness * drift).sin()
        return torch.nn.functional.interpolate(depth[:, None], (9, 7), mode="area")[:, 0]

    def windows() -> Iterator[np.ndarray]:
        for slots in window_frames(count):
            depth = network(frames[list(slots)])[:, None]
            yield torch.nn.functional.interpolate(depth, (12, 10), mode="bilinear", align_corners=True)[
                :, 0
            ].numpy()

    wanted = long_video(frames, network, metric=metric)
    found = stitch(windows(), count, align=not metric)
    assert found.shape == (count, 12, 10)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, wanted, atol=2e-4 * wanted.max())


@pytest.mark.parametrize(("count", "metric"), [(1, False), (20, False), (49, False), (49, True)])
def test_inference_equals_lists_of_frames(count: int, metric: bool) -> None:
    model, frames = randomised("vits", metric=metric), video(count)
    size = network_size(30, 40, 28)

    def network(seen: Tensor) -> Tensor:
        return model(normalise(seen, size)[None])[0]

    found = model.infer_video_depth(frames, input_size=28)
    assert found.shape == (count, 30, 40)
    assert found.dtype is torch.float32
    assert (found > 0).float().mean() > 0.9
    np.testing.assert_allclose(found, long_video(frames, network, metric=metric), atol=1e-4)
    other = model.infer_video_depth(frames, input_size=28, frame_batch=7)
    torch.testing.assert_close(found, other, atol=1e-4, rtol=0)


def test_alignment_is_what_makes_relative_and_metric_differ() -> None:
    frames, model = video(49), randomised()
    relative = model.infer_video_depth(frames, input_size=28)
    model.metric = True
    metric = model.infer_video_depth(frames, input_size=28)
    assert torch.equal(relative[:24], metric[:24])
    assert (relative[32:] - metric[32:]).abs().mean() > 0.01


def test_every_frame_is_encoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model, seen = randomised(), []
    encode = model.encode
    monkeypatch.setattr(model, "encode", lambda new, *rest: seen.append(len(new)) or encode(new, *rest))
    model.infer_video_depth(video(49), input_size=14, frame_batch=5)
    assert sum(seen) == 49
    assert max(seen) == 5


def test_fit_recovers_scale_and_shift() -> None:
    depth = np.random.default_rng(0).random((2, 30, 40), np.float32) + 1
    assert fit_scale_shift(depth, 3 * depth - 2) == pytest.approx((3, -2), rel=1e-3)
    assert fit_scale_shift(np.zeros_like(depth), depth) == (1, 0)


def test_blend_runs_from_old_to_new_in_sevenths() -> None:
    old, new = np.zeros((8, 1, 1), np.float32), np.ones((8, 1, 1), np.float32)
    np.testing.assert_allclose(blend(old, new).ravel(), np.arange(8) / 7, rtol=1e-6)
    np.testing.assert_allclose(blend(new, old).ravel(), 1 - np.arange(8) / 7, atol=1e-6)


def test_a_window_of_another_scale_is_brought_back_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    truth = np.random.default_rng(0).random((66, 6, 5), np.float32) + 1
    padded = np.concatenate([truth, truth[-1:].repeat(12, axis=0)])
    windows = [padded[list(slots)] for slots in window_frames(66)]
    windows[1], windows[2] = 2 * windows[1] + 3, 0.5 * windows[2]
    with caplog.at_level(logging.INFO, logger="semrepa"):
        found = stitch(windows, 66, align=True)
    np.testing.assert_allclose(found, truth, atol=1e-4)
    assert "window from frame 22: scale 0.5, shift -1.5" in caplog.text
    assert "window from frame 44: scale 2, shift" in caplog.text
    assert np.abs(stitch(windows, 66, align=False) - truth).max() > 1


def test_negative_depth_is_cut_and_a_black_window_refused(caplog: pytest.LogCaptureFixture) -> None:
    depth = np.linspace(0, 1, 32 * 4, dtype=np.float32).reshape(32, 2, 2)
    later = depth.copy()
    later[:2] = 1 - depth[[0, 12]]
    turned = stitch([depth, 2 * later], 40, align=True)
    np.testing.assert_allclose(turned[32:], np.maximum(1 - later[10:18], 0), atol=1e-5)
    assert "WARNING" in caplog.text and "scale -0.5" in caplog.text
    later[:2] = depth[[0, 12]] + 0.5
    lower = stitch([depth, later], 40, align=True)
    np.testing.assert_allclose(lower[32:], np.maximum(later[10:18] - 0.5, 0), atol=1e-5)
    assert lower.min() == 0 < lower[32:].max()
    black = np.ones_like(depth)
    black[:2] = 10 + depth[[0, 12]]
    with pytest.raises(ClipError, match="the window from frame 22 is flat after alignment .scale 1"):
        stitch([depth, black], 40, align=True)


def test_overflow_in_half_precision_is_refused() -> None:
    model, frames = randomised(), video(30)
    model.head.scratch.layer3_rn.weight.mul_(1e6)
    assert model.infer_video_depth(frames, input_size=28).isfinite().all()
    model.set_precision(torch.float16)
    message = r"the window of frames 10 to 29 has depth that is not finite on frames \[0, 1, 2"
    with pytest.raises(ClipError, match=message) as caught:
        model.infer_video_depth(frames[:30], input_size=28)
    assert "use float32 instead of torch.float16" in str(caught.value)


def test_black_and_flat_depth(caplog: pytest.LogCaptureFixture) -> None:
    model = randomised(bias=-100.0)
    with pytest.raises(ClipError, match="is black: depth is 0 everywhere; expected depth that varies; check"):
        model.infer_video_depth(video(3), input_size=28)
    depth, frames = np.random.default_rng(0).random((32, 2, 2), np.float32), tuple(range(32))
    depth[7] = 0
    assert check_depth(depth, frames, torch.float32) is depth
    assert "depth of frames [7] is the same everywhere" in caplog.text
    depth[12, 0, 1] = np.nan
    with pytest.raises(ClipError, match=r"not finite on frames \[12\]; expected numbers; check the weights"):
        check_depth(depth, frames, torch.float32)


@pytest.mark.parametrize(
    ("frames", "error", "message"),
    [
        (torch.zeros(2, 3, 8, 8), TypeError, "expected torch.uint8"),
        (torch.zeros(1, 2, 3, 8, 8, dtype=torch.uint8), ValueError, r"expected \(n, 3, H, W\)"),
        (torch.zeros(2, 8, 8, 3, dtype=torch.uint8), ValueError, r"expected \(n, 3, H, W\)"),
        (torch.zeros(0, 3, 8, 8, dtype=torch.uint8), ValueError, r"expected \(n, 3, H, W\)"),
    ],
)
def test_videos_that_do_not_fit_are_refused(frames: Tensor, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        check_video(frames)
