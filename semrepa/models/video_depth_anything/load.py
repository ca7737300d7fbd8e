"""Reads the published weights, and says plainly what is wrong with a file that is something else."""

import pickle
import re
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from semrepa.models.freeze import freeze
from semrepa.models.video_depth_anything.model import VideoDepthAnything
from semrepa.models.video_depth_anything.sizes import SIZES, Variant

SHOWN = 4
"""Names listed of each kind of mismatch."""
_DAMAGE = (
    pickle.UnpicklingError,
    RuntimeError,
    OSError,
    EOFError,
    LookupError,
    ValueError,
    TypeError,
    AttributeError,
    AssertionError,
    ArithmeticError,
    struct.error,
)  # what torch's reader raises on files that are damaged
_PAGES = (b"<!doctype", b"<html", b"<?xml")


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
    tensors = read_tensors(file)
    check_tensors(tensors, model, file)
    model.load_state_dict({name: tensor.float() for name, tensor in tensors.items()}, assign=True)
    return freeze(model.set_precision(dtype).to(device))


def read_tensors(file: Path) -> Mapping[str, Tensor]:
    """Read a file of tensors without running what is in it.

    Args:
        file: written by `torch.save` or as safetensors; its content counts, not its name.

    Returns:
        Tensors by name, on the CPU.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: when it is damaged, or holds anything else.
    """
    if not file.is_file():
        found = "a folder" if file.is_dir() else "nothing"
        raise FileNotFoundError(f"{_what(file)}: got {found} there; expected the file of weights; fetch it")
    try:
        with file.open("rb") as stream:
            start = stream.read(64)
    except OSError as error:
        raise ValueError(
            f"{_what(file)}: cannot be read ({error.strerror}); check its permissions"
        ) from error
    _refuse_text(start, file)
    content = _read_safetensors(file) if start[8:9] == b"{" else _read_torch(file)
    if not isinstance(content, Mapping) or not all(isinstance(x, Tensor) for x in content.values()):
        raise ValueError(f"{_what(file)}: got {_outline(content)}; expected a dictionary of tensors only")
    return content


def _refuse_text(start: bytes, file: Path) -> None:
    """Say so when a download left a page or a pointer instead of the weights."""
    size = file.stat().st_size
    kind = "a git-lfs pointer" if start.startswith(b"version https://git-lfs") else ""
    kind = "a web page" if start.lstrip().lower().startswith(_PAGES) else kind
    kind = "an empty file" if not size else kind
    if kind:
        raise ValueError(f"{_what(file)}: got {kind} ({size} bytes); expected the weights; fetch it again")


def _read_safetensors(file: Path) -> dict[str, Tensor]:
    try:
        return load_file(file)
    except (SafetensorError, OSError) as error:
        raise ValueError(_damaged(file, _first_line(error))) from error


def _read_torch(file: Path) -> Any:
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except _DAMAGE as error:
        asked = re.search(r"GLOBAL (\w[\w.]*\.\w+)", str(error))
        if asked is not None:
            raise ValueError(
                f"{_what(file)}: got a file with code or objects in it ({asked[1]}); it was not run; "
                "expected tensors only; use the published file"
            ) from error
        reason = "not readable by torch" if isinstance(error, pickle.UnpicklingError) else _first_line(error)
        raise ValueError(_damaged(file, reason)) from error


def check_tensors(tensors: Mapping[str, Tensor], model: VideoDepthAnything, file: Path) -> None:
    """Check that names, shapes and numbers are those of the network.

    Args:
        tensors: what the file holds.
        model: the network it is for.
        file: named in messages.

    Raises:
        ValueError: when a tensor is missing, too many, of another shape, or not finite; says which.
    """
    wanted = {name: tensor.shape for name, tensor in model.state_dict().items()}
    wrong = [name for name in wanted if name in tensors and tensors[name].shape != wanted[name]]
    shapes = [f"{name} {tuple(tensors[name].shape)} instead of {tuple(wanted[name])}" for name in wrong]
    problems = {
        "missing": [name for name in wanted if name not in tensors],
        "unknown": [name for name in tensors if name not in wanted],
        "of another shape": shapes,
    }
    if any(problems.values()):
        listed = "; ".join(
            f"{len(names)} {kind}: {_some(names)}" for kind, names in problems.items() if names
        )
        raise ValueError(
            f"{_what(file)}: got {guess(tensors)}; expected Video Depth Anything {model.variant} with "
            f"{len(wanted)} tensors; {listed}; use the file of the right network, or set the variant"
        )
    odd = [name for name, x in tensors.items() if not x.is_floating_point() or not x.isfinite().all()]
    if odd:
        raise ValueError(
            f"{_what(file)}: got tensors that are not finite numbers: {_some(odd)}; expected numbers; "
            "fetch it again"
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


def _what(file: Path) -> str:
    return f"Video Depth Anything weights {file}"


def _damaged(file: Path, reason: str) -> str:
    return (
        f"{_what(file)}: damaged or cut short ({reason}); got {file.stat().st_size} bytes; expected the "
        "whole file of weights; fetch it again"
    )


def _some(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def _outline(content: object) -> str:
    if not isinstance(content, Mapping):
        return f"a {type(content).__name__}"
    return f"a dictionary with {_some([f'{name}: {type(x).__name__}' for name, x in content.items()])}"


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
