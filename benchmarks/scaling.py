"""How a fine-tuning step grows with the frames, the batch and the layers of the structure aligner.

    python -m benchmarks.scaling            # the mini model in float32 on one thread of a CPU: two minutes
    python -m benchmarks.scaling --device cuda

A step is the transformer's forward pass, the clean prediction, the frozen aligner, both losses, the backward
pass and AdamW. Each table varies one size. Seconds are medians (CPU: seconds of the processor);
memory is the peak of live tensors (CUDA: of the allocator). Beside both stands what
the formulas of `semrepa.estimate` say, and below how both grow: the slope through the logarithms of all rows
(2: a doubled size makes four times of it), or for layers the share that one adds to a step without any.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import torch

from semrepa.config import mini, override
from semrepa.config.inputs import VideoConfig
from semrepa.diffusion import clean_prediction
from semrepa.estimate.formulas import cast_bytes, step_bytes, step_flops
from semrepa.estimate.networks import latent_shape, parameters, stack_of, structure_aligner
from semrepa.estimate.tables import aligned, digits
from semrepa.losses import diffusion_loss, structure_loss
from semrepa.models.blueprints import OFFICIAL, blueprint, settings
from semrepa.models.freeze import freeze
from semrepa.models.transformer import call_transformer
from semrepa.models.video_depth_anything.memory import LiveTensors
from semrepa.provenance import mini_asset
from semrepa.runtime import autocast

MIB = 2**20
REPEATS = 5
STATE = 4 * 4
"""Bytes per trained weight: itself, its gradient and two numbers of AdamW, float32."""


@dataclass(frozen=True, kw_only=True)
class Point:
    """The sizes of one step."""

    num_frames: int = 17
    batch: int = 1
    layers: int = 4


SWEEPS: dict[str, list[Point]] = {
    "num_frames": [Point(num_frames=n) for n in (9, 17, 25, 33, 49)],
    "batch": [Point(batch=n) for n in (1, 2, 4, 8)],
    "layers": [Point(layers=n) for n in (0, 2, 4, 8)],
}


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step: how to run it, and what it should take."""

    run: Callable[[], None]
    flops: float
    memory: float


def step_of(point: Point, device: torch.device) -> Step:
    """Build the networks of a step: the mini model, or on a GPU four layers of the official one."""
    on_gpu = device.type == "cuda"
    size = {"height": 480, "width": 720} if on_gpu else {}
    heads = {"num_heads": 48, "head_dim": 64} if on_gpu else {}
    layers = max(point.layers, 1)
    sizes = {"video": {"num_frames": point.num_frames, **size}, "structure": {"num_layers": layers, **heads}}
    cfg = override(mini(), sizes)
    official = OFFICIAL["CogVideoX-5b-I2V"] | {"num_layers": 4, "use_learned_positional_embeddings": False}
    given = official if on_gpu else settings(mini_asset("cogvideox"))["transformer"]
    model = blueprint("transformer", given, device=device).train()
    aligner = freeze(structure_aligner(cfg, device)) if point.layers else None
    base = stack_of(given, cfg.video)
    precision = "autocast" if on_gpu else "float32"
    flops = step_flops(base, trained=True)
    memory = point.batch * step_bytes(base, trained=True, precision=precision) + STATE * parameters(model)
    if on_gpu:
        memory += cast_bytes(base, parameters(model), trained=True)
    if aligner:
        stack, weights = stack_of(aligner.transformer.config, cfg.video), parameters(aligner)
        flops += step_flops(stack, trained=False)
        memory += point.batch * step_bytes(stack, trained=False, precision=precision) + 4 * weights
        memory += cast_bytes(stack, weights, trained=False) if on_gpu else 0
    run = _run(model, aligner, _inputs(point, cfg.video, base, device))
    return Step(run=run, flops=point.batch * flops, memory=memory)


def _inputs(point: Point, video: VideoConfig, stack, device: torch.device) -> dict[str, torch.Tensor]:
    shape = (point.batch, *latent_shape(video))
    given = {name: torch.randn(shape, device=device) for name in ("latents", "noisy", "image", "depth")}
    given["text"] = torch.randn(point.batch, stack.text_tokens, stack.text_features, device=device)
    given["timesteps"] = torch.full((point.batch,), 500, device=device)
    given["table"] = torch.linspace(0.999, 0, 1000, device=device)
    return given


def _run(model, aligner, given: dict[str, torch.Tensor]) -> Callable[[], None]:
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6)
    device, noise = given["latents"].device, (given["timesteps"], given["table"])

    def run() -> None:
        with autocast(device) if device.type == "cuda" else nullcontext():
            joined = torch.cat([given["noisy"], given["image"]], dim=2)
            v_pred = call_transformer(model, joined, given["text"], given["timesteps"])
            pred_latents = clean_prediction(given["noisy"], v_pred, *noise)
            loss = diffusion_loss(pred_latents, given["latents"], *noise).mean()
            if aligner:
                loss = loss + 0.01 * structure_loss(aligner(pred_latents), given["depth"]).mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return run


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a step took, and what it should take."""

    seconds: float
    flops: float
    bytes: float
    expected_bytes: float


def measure(point: Point, device: torch.device) -> Found:
    """Median seconds and peak memory of a step."""
    torch.manual_seed(0)
    on_gpu = device.type == "cuda"
    with nullcontext() if on_gpu else LiveTensors() as live:
        step = step_of(point, device)
        step.run()
        if live:
            live.peak = live.live
            step.run()
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    seconds = statistics.median(_seconds(step.run, on_gpu=on_gpu) for _ in range(REPEATS))
    peak = live.peak if live else torch.cuda.max_memory_allocated()
    return Found(seconds=seconds, flops=step.flops, bytes=peak, expected_bytes=step.memory)


def _seconds(run: Callable[[], None], *, on_gpu: bool) -> float:
    clock = time.perf_counter if on_gpu else time.process_time
    if on_gpu:
        torch.cuda.synchronize()
    began = clock()
    run()
    if on_gpu:
        torch.cuda.synchronize()
    return clock() - began


def table(name: str, points: Sequence[Point], found: Sequence[Found]) -> str:
    """One size that varies, with what its growth comes to."""
    rows = [
        {
            name: getattr(point, name),
            "s": digits(one.seconds),
            "GFLOP by formula": digits(one.flops / 1e9),
            "GFLOP/s": digits(one.flops / one.seconds / 1e9),
            "MiB": digits(one.bytes / MIB),
            "MiB by formula": digits(one.expected_bytes / MIB),
        }
        for point, one in zip(points, found, strict=True)
    ]
    sizes, growth = [getattr(point, name) for point in points], share if name == "layers" else exponent
    said = {
        column: growth(sizes, [getattr(one, column) for one in found])
        for column in ("seconds", "flops", "bytes", "expected_bytes")
    }
    kind = "each layer adds, of a step without" if name == "layers" else "exponent"
    form = "{:.1%}" if name == "layers" else "{:.2f}"
    told = {column: form.format(value) for column, value in said.items()}
    times = f"time {told['seconds']}, by formula {told['flops']}"
    memory = f"memory {told['bytes']}, by formula {told['expected_bytes']}"
    return aligned(f"Varied: {name}", rows) + f"\n{kind}: {times}; {memory}"


def exponent(sizes: Sequence[float], values: Sequence[float]) -> float:
    """Slope of a line through the logarithms of values."""
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])


def share(sizes: Sequence[float], values: Sequence[float]) -> float:
    """Slope of a line through values, as a share of the first one."""
    return float(np.polyfit(sizes, values, 1)[0]) / values[0]


def main(arguments: list[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--only", choices=SWEEPS, help="this size alone")
    device = torch.device((options := parser.parse_args(arguments)).device)
    torch.set_num_threads(1)
    where = torch.cuda.get_device_name() if device.type == "cuda" else "cpu, one thread"
    print(f"{where}, torch {torch.__version__}; where not varied: 17 frames, one clip, 4 layers")
    for name in [options.only] if options.only else SWEEPS:
        print()
        print(table(name, SWEEPS[name], [measure(point, device) for point in SWEEPS[name]]))


if __name__ == "__main__":
    main()
