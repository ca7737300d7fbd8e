"""How fast a run is, and how well it uses its GPUs: samples per second, MFU, peak memory."""

import math
import resource
import sys
from dataclasses import dataclass
from pathlib import Path

import torch

from semrepa.config import Config

GIB = 2**30


def mfu(flops: float, seconds: float, peak: float | None) -> float | None:
    """Model FLOPs utilisation: useful work per second as a share of what the device could do at best.

    Args:
        flops: FLOP that one device had to do, without any that it did again to save memory.
        seconds: time it took, positive.
        peak: FLOP per second of its data sheet; None or nan where that is not known.

    Returns:
        Share, 0 to 1; None where the peak is not known.
    """
    return None if peak is None or math.isnan(peak) else flops / seconds / peak


def peak_memory(device: torch.device) -> int:
    """Most memory that this process has held so far.

    Args:
        device: of the run.

    Returns:
        Bytes: of the allocator on a GPU (since `torch.cuda.reset_peak_memory_stats`), resident on a CPU.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        status = Path("/proc/self/status").read_bytes()
    except FileNotFoundError:
        unit = 1 if sys.platform == "darwin" else 1024
        return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return 1024 * int(status.partition(b"VmHWM:")[2].split(maxsplit=1)[0])


@dataclass(frozen=True, kw_only=True)
class Throughput:
    """What a run says about its speed in each line of its log; a reading costs less than 0.1 ms."""

    flops: float
    """Useful FLOP of one clip in one step, see `semrepa.estimate.useful_flops`."""
    device: torch.device
    """Device of this process."""
    peak: float | None = None
    """FLOP per second of its data sheet, as `semrepa.estimate.visible_gpu` has it; None or nan: not known."""
    processes: int = 1
    """Processes that share the clips evenly, each with a device of its own."""

    def read(self, clips: int, seconds: float) -> dict[str, float]:
        """Measure the steps since the last reading.

        Args:
            clips: clips that all processes have seen in them.
            seconds: time they took, positive, after the device has finished them.

        Returns:
            `samples_per_second` over all processes, `peak_memory` of this one in GiB, and `mfu` where the
            device's peak is known.
        """
        found = {"samples_per_second": clips / seconds, "peak_memory": peak_memory(self.device) / GIB}
        share = mfu(self.flops * clips / self.processes, seconds, self.peak)
        return found if share is None else found | {"mfu": share}


def throughput(cfg: Config | None = None) -> Throughput:
    """Make what reads the speed of the run in this process.

    Args:
        cfg: config of a fine-tuning, whose FLOP are known; None: another training, without MFU.

    Returns:
        Its readings have an MFU where the GPU is one whose peak is known.
    """
    # Imported late: who only reads the speed has no need of them.
    from semrepa.estimate import sizes_of, useful_flops, visible_gpu
    from semrepa.training.processes import this_process

    gpu, state = visible_gpu(), this_process()
    known = cfg is not None and gpu is not None and math.isfinite(gpu.peak)
    return Throughput(
        flops=useful_flops(cfg, sizes_of(cfg), lora=cfg.finetune.mode == "lora") if known else math.nan,
        device=state.device,
        peak=gpu.peak if known else None,
        processes=state.num_processes,
    )
