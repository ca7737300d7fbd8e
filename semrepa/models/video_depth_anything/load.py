"""Reads the published weights, and says plainly what is wrong with a file that is something else."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from semrepa.models.freeze import freeze
from semrepa.models.tensors import differences, not_numbers, read_tensors
from semrepa.models.video_depth_anything.model import VideoDepthAnything
from semrepa.models.video_depth_anything.sizes import SIZES, Variant

WHAT = "Video Depth Anything weights"
"""How messages call a file."""


def load_video_depth_anything(
    path: str | Path,
    variant: Variant,
    *,
    metric: bool = False,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> VideoDepthAnything:
    """Load published weights: a bare dictionary of tensors, or the same as safetensors.

    Code in the file is never run, and every name and shape must fit.

    Args:
        path: `video_depth_anything_vits.pth` and the like, or `metric_video_depth_anything_vits.pth`.
        variant: "vits", "vitb", "vitl", or "mini" for tests.
        metric: whether it is a metric network; the file does not tell.
        device: where it runs.
        dtype: number type of linear layers and convolutions; float16 and bfloat16 can give black depth.

    Returns:
        The frozen network.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: when the file is damaged, holds anything but tensors, or is of another network.
    """
    file = Path(path).expanduser()
    with torch.device("meta"):
        model = VideoDepthAnything(variant, metric=metric)
    tensors = read_tensors(file, WHAT)
    check_tensors(tensors, model, file)
    model.load_state_dict({name: tensor.float() for name, tensor in tensors.items()}, assign=True)
    return freeze(model.set_precision(dtype).to(device))


def check_tensors(tensors: Mapping[str, Tensor], model: VideoDepthAnything, file: Path) -> None:
    """Check that names, shapes and numbers are those of the network.

    Args:
        tensors: what the file holds.
        model: the network it is for.
        file: named in messages.

    Raises:
        ValueError: when a tensor is missing, too many, of another shape, or not finite; says which.
    """
    if listed := differences(tensors, model):
        raise ValueError(
            f"{WHAT} {file}: got {guess(tensors)}; expected Video Depth Anything {model.variant} with "
            f"{len(model.state_dict())} tensors; {listed}; use the file of the right network, or set the "
            "variant"
        )
    if odd := not_numbers(tensors):
        raise ValueError(
            f"{WHAT} {file}: got tensors that are not finite numbers: {odd}; expected numbers; fetch it again"
        )


def guess(tensors: Mapping[str, Tensor]) -> str:
    """Say which network tensors belong to.

    Args:
        tensors: what a file holds.

    Returns:
        Its name, or a description.
    """
    token = tensors.get("pretrained.cls_token")
    has_time = any(name.startswith("head.motion_modules.") for name in tensors)
    if token is not None and not has_time and any(name.startswith("depth_head.") for name in tensors):
        return "Depth Anything for single pictures"
    fitting = [name for name, size in SIZES.items() if token is not None and token.shape[-1] == size.dim]
    if fitting and has_time:
        return f"what looks like Video Depth Anything {fitting[0]}"
    return f"{len(tensors)} tensors of an unknown network"
