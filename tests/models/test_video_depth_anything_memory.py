"""The memory estimate of Video Depth Anything, against what torch's profiler sees."""

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from semrepa.models.video_depth_anything import VideoDepthAnything, estimate_memory
from tests.models.vda_oracle import randomised

SHAPE = (23, 64, 80)


def profiled_peak(model: VideoDepthAnything) -> int:
    """Most bytes that the allocator had given out at a time while a video was looked at."""
    video = torch.randint(0, 256, (SHAPE[0], 3, *SHAPE[1:]), dtype=torch.uint8)
    with torch.no_grad(), profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        for _ in model.window_depths(video, 98, 4):
            pass
    assert seen.profiler is not None
    events = [e for e in seen.profiler.kineto_results.events() if e.name() == "[memory]"]
    live = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        live += event.nbytes()
        peak = max(peak, live)
    return peak


@pytest.mark.parametrize(
    ("variant", "dtype"), [("mini", torch.float32), ("vits", torch.float32), ("vits", torch.bfloat16)]
)
def test_it_agrees_with_the_profiler(variant: str, dtype: torch.dtype) -> None:
    model = randomised(variant).set_precision(dtype)
    weights = sum(value.nbytes for value in model.state_dict().values())
    estimate = estimate_memory(variant, *SHAPE, input_size=98, dtype=dtype)
    assert estimate - weights == pytest.approx(profiled_peak(model), rel=0.05)


def test_a_whole_clip_fits_in_16_gb_with_vits() -> None:
    assert 1e9 < estimate_memory("vits", 49, 480, 720, 8) < 4e9


def test_longer_videos_take_no_more_and_more_frames_at_a_time_do() -> None:
    assert estimate_memory("mini", 200, 48, 64, input_size=56) == pytest.approx(
        estimate_memory("mini", 45, 48, 64, input_size=56), rel=0.02
    )
    assert estimate_memory("mini", 9, 48, 64, 16, input_size=56) > estimate_memory(
        "mini", 9, 48, 64, 2, input_size=56
    )
