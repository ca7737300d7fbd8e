"""What Video Depth Anything takes: CPU time and memory here, estimates for a GPU.

`python -m benchmarks.video_depth_anything` runs vits with random weights on one window of a few frames at
small sizes, each in a process of its own, and prints CPU seconds per frame and the peak of its memory. Then,
without running anything, GPU memory and FLOPs of a clip of 49 frames of 480 x 720 for the three variants.
"""

import argparse
import resource
import subprocess
import sys
import time

import torch
from torch.utils.flop_counter import FlopCounterMode

from semrepa.models.video_depth_anything import Variant, VideoDepthAnything, estimate_memory, network_size
from semrepa.models.video_depth_anything.windows import MAX_FRAMES, window_frames

CLIP = (49, 480, 720)
VARIANTS: tuple[Variant, ...] = ("vits", "vitb", "vitl")


def seconds_per_frame(input_size: int, frames: int) -> float:
    """CPU seconds of one window, without the first call, which warms up."""
    torch.manual_seed(0)
    model = VideoDepthAnything("vits").requires_grad_(False).eval()
    clip = torch.randn(1, frames, 3, *network_size(*CLIP[1:], input_size))
    model(clip[:, :1])
    began = time.process_time()
    model(clip)
    return (time.process_time() - began) / frames


def measure(input_size: int, frames: int) -> tuple[float, float]:
    """CPU seconds per frame, and peak of resident memory in GB, of a fresh process."""
    command = [
        sys.executable,
        "-m",
        "benchmarks.video_depth_anything",
        "--child",
        str(input_size),
        str(frames),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    seconds, kilobytes = map(float, done.stdout.split())
    return seconds, kilobytes * 1024 / 1e9


@torch.no_grad()
def teraflops(variant: Variant) -> float:
    """FLOPs of a clip in 1e12, as `infer_video_depth` works: each frame encoded once, each window fused."""
    height, width = network_size(*CLIP[1:])
    with torch.device("meta"):
        model = VideoDepthAnything(variant).requires_grad_(False)
        frame = torch.empty(1, 3, height, width)
    with FlopCounterMode(display=False) as encoding:
        levels = model.encode(frame)
    many = [level.expand(MAX_FRAMES, -1, -1, -1) for level in levels]
    with FlopCounterMode(display=False) as fusing:
        model.head(many, MAX_FRAMES, MAX_FRAMES)
    windows = len(window_frames(CLIP[0]))
    return (CLIP[0] * encoding.get_total_flops() + windows * fusing.get_total_flops()) / 1e12


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[98, 140])
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--child", type=int, nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        seconds = seconds_per_frame(*arguments.child)
        print(seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
        return
    print(f"vits, random weights, one window of {arguments.frames} frames, float32, CPU")
    print(f"{'input size':<10} {'network':>10} {'CPU s/frame':>12} {'peak GB':>8}")
    for size in arguments.sizes:
        height, width = network_size(*CLIP[1:], size)
        seconds, peak = measure(size, arguments.frames)
        print(f"{size:<10} {f'{height} x {width}':>10} {seconds:12.3f} {peak:8.2f}")
    frames, height, width = CLIP
    print(f"\nestimates, {frames} frames of {height} x {width}, 4 frames at a time")
    print(f"{'variant':<10} {'TFLOP':>8} {'GB float32':>11} {'GB float16':>11}")
    for variant in VARIANTS:
        sizes = (
            estimate_memory(variant, *CLIP, dtype=dtype) / 1e9 for dtype in (torch.float32, torch.float16)
        )
        full, half = sizes
        print(f"{variant:<10} {teraflops(variant):8.1f} {full:11.2f} {half:11.2f}")


if __name__ == "__main__":
    main()
