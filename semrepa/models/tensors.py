"""Reads files of tensors without running what is in them, and says plainly what is wrong with a file."""

import pickle
import re
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

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


def read_tensors(file: Path, what: str) -> Mapping[str, Tensor]:
    """Read a file of tensors without running what is in it.

    Args:
        file: written by `torch.save` or as safetensors; its content counts, not its name.
        what: what it should hold, for messages, such as "Video Depth Anything weights".

    Returns:
        Tensors by name, on the CPU.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: when it is damaged, or holds anything else.
    """
    if not file.is_file():
        found = "a folder" if file.is_dir() else "nothing"
        raise FileNotFoundError(f"{what} {file}: got {found} there; expected the file of weights; fetch it")
    try:
        with file.open("rb") as stream:
            start = stream.read(64)
    except OSError as error:
        raise ValueError(
            f"{what} {file}: cannot be read ({error.strerror}); check its permissions"
        ) from error
    _refuse_text(start, f"{what} {file}", file.stat().st_size)
    content = (_read_safetensors if start[8:9] == b"{" else _read_torch)(file, what)
    if not isinstance(content, Mapping) or not all(isinstance(x, Tensor) for x in content.values()):
        raise ValueError(f"{what} {file}: got {_outline(content)}; expected a dictionary of tensors only")
    return content


def _refuse_text(start: bytes, name: str, size: int) -> None:
    """Say so when a download left a page or a pointer instead of the weights."""
    kind = "a git-lfs pointer" if start.startswith(b"version https://git-lfs") else ""
    kind = "a web page" if start.lstrip().lower().startswith(_PAGES) else kind
    kind = "an empty file" if not size else kind
    if kind:
        raise ValueError(f"{name}: got {kind} ({size} bytes); expected the weights; fetch it again")


def _read_safetensors(file: Path, what: str) -> dict[str, Tensor]:
    try:
        return load_file(file)
    except (SafetensorError, OSError) as error:
        raise ValueError(_damaged(file, what, _first_line(error))) from error


def _read_torch(file: Path, what: str) -> Any:
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except _DAMAGE as error:
        asked = re.search(r"GLOBAL (\w[\w.]*\.\w+)", str(error))
        if asked is not None:
            raise ValueError(
                f"{what} {file}: got a file with code or objects in it ({asked[1]}); it was not run; "
                "expected tensors only; use the published file"
            ) from error
        reason = "not readable by torch" if isinstance(error, pickle.UnpicklingError) else _first_line(error)
        raise ValueError(_damaged(file, what, reason)) from error


def differences(tensors: Mapping[str, Tensor], network: nn.Module, optional: Iterable[str] = ()) -> str:
    """How tensors differ from those that a network has.

    Args:
        tensors: what a file holds.
        network: what it is for.
        optional: names, or ends of names, that may be missing.

    Returns:
        A list of names that are missing, unknown or of another shape; empty when all fit.
    """
    wanted = {name: tensor.shape for name, tensor in network.state_dict().items()}
    wrong = [name for name in wanted if name in tensors and tensors[name].shape != wanted[name]]
    problems = {
        "missing": [n for n in wanted if n not in tensors and not n.endswith(tuple(optional))],
        "unknown": [name for name in tensors if name not in wanted],
        "of another shape": [f"{n} {tuple(tensors[n].shape)} instead of {tuple(wanted[n])}" for n in wrong],
    }
    return "; ".join(f"{len(names)} {kind}: {_some(names)}" for kind, names in problems.items() if names)


def not_numbers(tensors: Mapping[str, Tensor]) -> str:
    """Which tensors of weights hold something else than finite floating-point numbers.

    Args:
        tensors: what a file holds.

    Returns:
        Their names; empty when none does.
    """
    return _some([name for name, x in tensors.items() if not x.is_floating_point() or not x.isfinite().all()])


def _damaged(file: Path, what: str, reason: str) -> str:
    return (
        f"{what} {file}: damaged or cut short ({reason}); got {file.stat().st_size} bytes; expected the "
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
