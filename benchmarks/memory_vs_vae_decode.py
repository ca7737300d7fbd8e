"""What supervision costs in memory: decoding to pixels against aligners that stay in latents.

    python -m benchmarks.memory_vs_vae_decode            # both tables, on a CPU in about two minutes
    python -m benchmarks.memory_vs_vae_decode --counted  # the full size only, in seconds

The first table is counted at full size on tensors that have shapes and no numbers: bytes kept for the
backward pass of one clip through frozen networks, each storage once. The second is measured at the size of
the mini preset with the shipped sizes: resident memory at the peak of a forward and a backward pass, beyond
that of a forward pass without gradients, in a process of its own for each case; and CPU seconds, medians,
one thread.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from semrepa.config import Config, full, mini, override
from semrepa.config.inputs import VideoConfig
from semrepa.estimate.counting import kept_bytes, pretend
from semrepa.estimate.formulas import block_bytes
from semrepa.estimate.gpus import GIB
from semrepa.estimate.networks import identity_aligner, latent_shape, stack_of, structure_aligner
from semrepa.estimate.tables import aligned, digits
from semrepa.models.blueprints import VAE, blueprint, settings
from semrepa.models.freeze import freeze
from semrepa.models.video_depth_anything.memory import LiveTensors
from semrepa.provenance import mini_asset
from semrepa.training.throughput import peak_memory

MIB = 2**20
REPEATS = 3
CLEAR = Path("/proc/self/clear_refs")
"""Where Linux begins to look for the peak anew."""
EXACT = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
"""Freed tensors go back to the system at once, so that resident memory is what is alive."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """A frozen network that a loss is taken through."""

    make: Callable[[torch.dtype], Any]
    answer: Callable[[Any, torch.Tensor], torch.Tensor]
    frames: int | None = None
    """Latent frames, where not those of the preset."""
    formula: float | None = None
    """Bytes kept in bfloat16 as `semrepa.estimate` has them."""


def vae_case(given: Mapping[str, Any], frames: int | None = None) -> Case:
    """The decoder, whose weights are held in half precision where there is any."""

    def answer(vae: Any, latents: torch.Tensor) -> torch.Tensor:
        return vae.decode(latents.to(vae.dtype).transpose(1, 2), return_dict=False)[0]

    return Case(
        make=lambda dtype: blueprint("vae", given, device="cpu", dtype=dtype),
        answer=answer,
        frames=frames,
    )


def structure_case(cfg: Config) -> Case:
    """The structure aligner of a config."""
    stack = stack_of(structure_aligner(cfg).transformer.config, cfg.video)
    return Case(
        make=lambda dtype: _typed(dtype, lambda: structure_aligner(cfg, "cpu")),
        answer=lambda aligner, latents: aligner(latents),
        formula=stack.layers * block_bytes(stack, trained=False, precision="bfloat16"),
    )


def identity_case(cfg: Config) -> Case:
    """The identity aligner of a config, with gradients through both of its inputs."""
    return Case(
        make=lambda dtype: _typed(dtype, lambda: identity_aligner(cfg.identity, "cpu")),
        answer=lambda aligner, latents: aligner(latents, latents),
    )


def _typed(dtype: torch.dtype, make: Callable[[], Any]) -> Any:
    usual = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        return make()
    finally:
        torch.set_default_dtype(usual)


def full_cases() -> dict[str, Case]:
    """What is counted: the decoder on three lengths, two structure aligners, the identity aligner."""
    small = override(full(), {"structure": {"num_layers": 6, "num_heads": 30}})
    return {
        "VAE decoder, 49 frames": vae_case(VAE),
        "VAE decoder, 9 frames": vae_case(VAE, 3),
        "VAE decoder, 1 frame": vae_case(VAE, 1),
        "structure aligner, 3072 x 4": structure_case(full()),
        "structure aligner, 1920 x 6": structure_case(small),
        "identity aligner": identity_case(full()),
    }


def kept(case: Case, video: VideoConfig, dtype: torch.dtype) -> int:
    """Bytes that autograd saves for the backward pass."""
    with pretend(autocast=False):
        network, latents = freeze(case.make(dtype)), _latents(case, video, dtype)
        return kept_bytes(lambda: case.answer(network, latents), [network])


def checkpointed(case: Case, video: VideoConfig, dtype: torch.dtype) -> tuple[int, int]:
    """With blocks run again in the backward pass: bytes alive between both passes, and at the peak."""
    with FakeTensorMode():
        network = freeze(case.make(dtype))
        network.enable_gradient_checkpointing()
        latents = _latents(case, video, dtype)
        with LiveTensors() as live:
            live.add([*network.parameters(), *network.buffers(), latents])
            before = live.peak = live.live
            loss = case.answer(network, latents).float().sum()
            between = live.live - before
            loss.backward()
            return between, live.peak - before


def _latents(case: Case, video: VideoConfig, dtype: torch.dtype) -> torch.Tensor:
    frames, *rest = latent_shape(video)
    return torch.randn(1, case.frames or frames, *rest, dtype=dtype).requires_grad_()


def counted_rows() -> list[dict[str, object]]:
    """The full size in bfloat16."""
    video, dtype, rows, base = full().video, torch.bfloat16, [], 0
    for name, case in full_cases().items():
        size = kept(case, video, dtype)
        base = base or size
        again = None if "identity" in name else checkpointed(case, video, dtype)
        rows.append(
            {
                "one clip of 480x720": name,
                "GiB kept": digits(size / GIB),
                "VAE 49 frames / this": digits(base / size),
                "by formula": digits(case.formula / GIB) if case.formula else "-",
                "checkpointed": digits(again[0] / GIB) if again else "-",
                "its peak": digits(again[1] / GIB) if again else "-",
            }
        )
    return rows


def mini_cases() -> dict[str, tuple[Case, bool]]:
    """What is measured, and whether with checkpointing."""
    structure = structure_case(mini())
    return {
        "VAE decoder": (vae_case(settings(mini_asset("cogvideox"))["vae"]), False),
        "structure aligner": (structure, False),
        "structure aligner, checkpointed": (structure, True),
        "identity aligner": (identity_case(mini()), False),
    }


def measure(name: str, look: Callable[[Callable[[], None]], float]) -> list[float]:
    """One case in this process: a forward pass without gradients, then both passes."""
    torch.set_num_threads(1)
    case, again = mini_cases()[name]
    network, latents = freeze(case.make(torch.float32)), _latents(case, mini().video, torch.float32)
    if again:
        network.enable_gradient_checkpointing()

    def forward() -> None:
        with torch.no_grad():
            case.answer(network, latents)

    def both() -> None:
        latents.grad = None
        case.answer(network, latents).square().mean().backward()

    return [look(forward), look(both)]


def bytes_at_peak(run: Callable[[], None]) -> int:
    """Resident memory at the peak, beyond what there was before, in a second run."""
    run()
    CLEAR.write_text("5")
    before = peak_memory(torch.device("cpu"))
    run()
    return peak_memory(torch.device("cpu")) - before


def cpu_seconds(run: Callable[[], None]) -> float:
    """Median, after a first run."""
    run()
    found = []
    for _ in range(REPEATS):
        began = time.process_time()
        run()
        found.append(time.process_time() - began)
    return statistics.median(found)


LOOKS = {"memory": (bytes_at_peak, EXACT), "time": (cpu_seconds, {})}


def measure_apart(name: str, look: str) -> list[float]:
    """One case in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.memory_vs_vae_decode", "--here", name, look]
    return json.loads(subprocess.check_output(command, env=os.environ | LOOKS[look][1]))


def measured_rows() -> list[dict[str, object]]:
    """The mini size in float32, each case in a process of its own."""
    rows, first = [], None
    for name, (case, again) in mini_cases().items():
        alone, whole = measure_apart(name, "memory")
        forward, both = measure_apart(name, "time")
        first = first or (whole - alone, both)
        counted = "-" if again else digits(kept(case, mini().video, torch.float32) / MIB)
        rows.append(
            {
                "one clip of 17x128x192": name,
                "MiB forward": digits(alone / MIB),
                "MiB both": digits(whole / MIB),
                "beyond": digits((whole - alone) / MIB),
                "counted": counted,
                "VAE / this": digits(first[0] / (whole - alone)),
                "CPU s forward": digits(forward),
                "CPU s both": digits(both),
                "VAE / this ": digits(first[1] / both),
            }
        )
    return rows


def main(arguments: list[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--counted", action="store_true", help="only what is counted at full size")
    parser.add_argument("--here", nargs=2, metavar=("CASE", "WHAT"), help="in this process, as JSON")
    options = parser.parse_args(arguments)
    if not options.counted and not CLEAR.exists():
        parser.error("peaks of resident memory need Linux; use --counted for the rest")
    if options.here:
        name, look = options.here
        print(json.dumps(measure(name, LOOKS[look][0])))
        return
    versions = f"torch {torch.__version__}, diffusers {diffusers.__version__}"
    print(aligned(f"Kept for the backward pass, counted ({versions})", counted_rows()))
    if not options.counted:
        print()
        print(aligned("Measured in float32: resident memory at the peak, CPU seconds", measured_rows()))


if __name__ == "__main__":
    main()
