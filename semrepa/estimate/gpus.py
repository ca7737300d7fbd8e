"""How much memory GPUs have and how fast they really are, with the source of every number."""

import os
from dataclasses import dataclass
from typing import Literal

Kind = Literal["transformer", "vae", "depth", "float32"]
"""Kind of work: CogVideoX transformers, its VAE, the depth teacher in half precision, anything in float32."""

GIB = 2**30


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """One GPU, or the CPU of this machine."""

    name: str
    """As `--gpu` takes it."""
    memory: float
    """Bytes that torch reports as total memory."""
    transformer: float
    """FLOP per second that CogVideoX's transformer reaches in bfloat16."""
    float32: float
    """FLOP per second in float32: the peak of its data sheet without tensor cores."""
    peak: float
    """FLOP per second in bfloat16 by its data sheet, dense: what 100 % of MFU stands for; nan: not known."""
    source: str
    """Where the speed of transformers comes from."""

    @property
    def is_cpu(self) -> bool:
        """Whether this is no GPU."""
        return self.name == "cpu"

    def speed(self, kind: Kind) -> float:
        """FLOP per second of a kind of work.

        The VAE and the depth teacher are given their share of a transformer's speed on an A100: the VAE 73 to
        102 TFLOP/s there (5 to 7 s for 8 clips of 49x288x512), Video Depth Anything large in half precision
        100 (its authors: 14 ms per frame of 518x518, 1.41 TFLOP). In float32 its authors' 67 ms make 21
        TFLOP/s, about the A100's peak without tensor cores.

        Args:
            kind: kind of work.

        Returns:
            FLOP per second.
        """
        if kind == "float32":
            return self.float32
        return self.transformer * {"transformer": 1.0, "vae": 88 / 185, "depth": 100 / 185}[kind]


_PUBLISHED = "50 steps of CogVideoX-5B as its authors time them: 33.2 PFLOP in {} s"
_ASSUMED = "assumed: {:.0%} of the data sheet's dense bfloat16 peak, {} TFLOP/s"


def _gpu(name: str, gib: float, transformer: float, float32: float, peak: float, source: str) -> Gpu:
    return Gpu(
        name=name,
        memory=gib * GIB,
        transformer=transformer * 1e12,
        float32=float32 * 1e12,
        peak=peak * 1e12,
        source=source,
    )


GPUS: dict[str, Gpu] = {
    gpu.name: gpu
    for gpu in (
        _gpu("A100-40GB", 39.4, 185, 19.5, 312, _PUBLISHED.format(180)),
        _gpu("A100-80GB", 79.3, 185, 19.5, 312, _PUBLISHED.format(180)),
        _gpu("H100", 79.2, 369, 67, 989, _PUBLISHED.format(90)),
        _gpu("H200", 139.8, 369, 67, 989, "as the H100, which has the same cores"),
        _gpu("L40S", 44.4, 0.45 * 362, 91.6, 362, _ASSUMED.format(0.45, 362)),
        _gpu("RTX A6000", 47.5, 0.5 * 155, 38.7, 155, _ASSUMED.format(0.5, 155)),
        _gpu("RTX 4090", 23.6, 0.5 * 165, 82.6, 165, _ASSUMED.format(0.5, 165)),
        _gpu("RTX 3090", 23.6, 0.5 * 71, 35.6, 71, _ASSUMED.format(0.5, 71)),
    )
}
"""GPUs by name. Peaks are those of the data sheets, without sparsity, accumulating in float32."""
_OTHER_PEAKS = {"h100pcie": 756e12, "h100nvl": 835e12, "h200nvl": 835e12}
"""Peaks of cards that bear the name of a faster one."""

CPU_CORE = 0.14e12
"""FLOP per second of one core with bfloat16 units: a step of the mini transformer (8 clips, 68 GFLOP) takes
0.49 s there, see `docs/RESULTS.md`, attention on a CPU."""


def find_gpu(name: str) -> Gpu:
    """GPU by name, whatever its case and gaps; "A100" means the 80 GB card, "cpu" this machine.

    Args:
        name: such as "H100", "A100-80GB", "rtx4090".

    Returns:
        The GPU.

    Raises:
        ValueError: none of the known ones.
    """
    plain = _plain(name)
    if plain == "cpu":
        return cpu()
    exact = {_plain(known): gpu for known, gpu in GPUS.items()} | {"a100": GPUS["A100-80GB"]}
    if plain in exact:
        return exact[plain]
    raise ValueError(f"gpu: got {name!r}; expected one of {', '.join(GPUS)}, cpu")


def cpu() -> Gpu:
    """The CPU of this machine with all of its memory."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    speed = CPU_CORE * (os.cpu_count() or 1)
    return Gpu(
        name="cpu",
        memory=memory,
        transformer=speed,
        float32=speed,
        peak=float("nan"),
        source="mini transformer, measured",
    )


def visible_gpu() -> Gpu | None:
    """The GPU that torch sees here, with its own memory.

    Returns:
        None without a GPU. One that is not among the known ones has no speed (nan): times are then not known.
    """
    import torch

    if not torch.cuda.is_available():
        return None
    seen = torch.cuda.get_device_properties(0)
    plain = _plain(seen.name)
    close = [gpu for known, gpu in GPUS.items() if _plain(known.split("-")[0]) in plain]
    close.sort(key=lambda gpu: abs(gpu.memory - seen.total_memory))
    known = close[0] if close else None
    others = [peak for name, peak in _OTHER_PEAKS.items() if name in plain]
    return Gpu(
        name=known.name if known else seen.name,
        memory=seen.total_memory,
        transformer=known.transformer if known else float("nan"),
        float32=known.float32 if known else float("nan"),
        peak=(*others, known.peak)[0] if known else float("nan"),
        source=known.source if known else "not known",
    )


def _plain(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum()).removeprefix("nvidia")
