"""Device memory of Video Depth Anything, counted without running it.

The network runs on tensors that have a shape and no content; every tensor that its operations make is
counted while it lives. What kernels need for themselves and what the allocator rounds up is not counted.
"""

import weakref
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from semrepa.models.freeze import freeze
from semrepa.models.video_depth_anything.model import FRAME_BATCH, VideoDepthAnything
from semrepa.models.video_depth_anything.sizes import Variant

WINDOWS = 2
"""Windows after which the peak does not change any more."""


class LiveTensors(TorchDispatchMode):
    """Within this context, counts the bytes of all tensors that operations make, while they live.

    Attributes:
        live: bytes now.
        peak: most bytes so far.
    """

    def __init__(self) -> None:
        super().__init__()
        self.live = self.peak = 0
        self._seen = weakref.WeakSet()

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Run an operation and count what it makes."""
        result = func(*args, **(kwargs or {}))
        self.add(x for x in tree_leaves(result) if isinstance(x, Tensor))
        return result

    def add(self, tensors: Iterable[Tensor]) -> None:
        """Count tensors.

        Args:
            tensors: those that are alive; what shares memory with one that is known adds nothing.
        """
        for storage in (tensor.untyped_storage() for tensor in tensors):
            if storage not in self._seen:
                self._seen.add(storage)
                self.live += storage.nbytes()
                weakref.finalize(storage, self._free, storage.nbytes())
        self.peak = max(self.peak, self.live)

    def _free(self, size: int) -> None:
        self.live -= size


class ResultsOnly(TorchFunctionMode):
    """Within this context, attention and resizing make their result only, as kernels do, and compute nothing.

    On tensors without content torch would take them apart into smaller operations.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Answer attention and resizing, pass on everything else."""
        if func is functional.scaled_dot_product_attention:
            return torch.empty_like(args[0])
        if func is functional.interpolate:
            return _resized(*args, **kwargs)
        return func(*args, **(kwargs or {}))


def _resized(maps: Tensor, size: Sequence[int] | None = None, **settings: Any) -> Tensor:
    """Give a tensor of the size that resizing would give."""
    if size is None:
        scales = settings["scale_factor"]
        size = [int(side * scale) for side, scale in zip(maps.shape[2:], scales, strict=True)]
    return maps.new_empty(*maps.shape[:2], *size)


@torch.no_grad()
def estimate_memory(
    variant: Variant,
    frames: int,
    height: int,
    width: int,
    frame_batch: int = FRAME_BATCH,
    dtype: torch.dtype = torch.float32,
    *,
    input_size: int = 518,
) -> int:
    """Peak device memory of `infer_video_depth`, weights included.

    Args:
        variant: "vits", "vitb", "vitl" or "mini".
        frames: frames of the video.
        height: of its frames, pixels.
        width: of its frames, pixels.
        frame_batch: frames at a time in the parts that do not mix frames.
        dtype: number type of linear layers and convolutions.
        input_size: shorter side of the frames that the network sees, pixels.

    Returns:
        Bytes of tensors at the peak.
    """
    with torch.device("meta"):
        model = freeze(VideoDepthAnything(variant).set_precision(dtype))
        video = torch.empty(min(frames, 22 * WINDOWS), 3, height, width, dtype=torch.uint8)
    with LiveTensors() as count, ResultsOnly():
        count.add(model.state_dict(keep_vars=True).values())
        for _ in model.window_depths(video, input_size, frame_batch):
            pass
    return count.peak
