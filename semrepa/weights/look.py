"""A cheap look at weights before a run: is everything there, whole, and of the format that its name says?

Only names, sizes and the first and last bytes are read. What is inside is for the loaders to judge.
"""

import re
import zipfile
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path

from semrepa.models.baselines import BASELINES, check_baseline
from semrepa.models.judges.clip import FILES
from semrepa.models.shards import read_shapes, weight_files
from semrepa.models.variants import check_checkpoint
from semrepa.teachers.pack import Pack, find_pack
from semrepa.weights.onnx_header import read_metadata
from semrepa.weights.roles import Network, Role

STEMS = {
    "vae": "diffusion_pytorch_model",
    "transformer": "diffusion_pytorch_model",
    "text_encoder": "model",
}
"""Names of the weight files of the parts of a CogVideoX folder."""

_SETTINGS = {
    "vae": "config.json",
    "transformer": "config.json",
    "text_encoder": "config.json",
    "tokenizer": "tokenizer_config.json",
    "scheduler": "scheduler_config.json",
}
FOLDERS: Mapping[Role, tuple[str, ...]] = {
    "model": tuple(_SETTINGS),
    **{name: (*known.networks, *known.others) for name, known in BASELINES.items()},
}
"""Folders of each pipeline that the kit reads."""

_OFFICIAL_DEPTH = re.compile(r"(metric_)?video_depth_anything_vit[sbl]\.pth")


def problem(network: Network, path: Path) -> str:
    """What is plainly wrong with weights.

    Args:
        network: what they should be.
        path: where they should lie.

    Returns:
        One line; empty when nothing is.
    """
    try:
        if not is_there(path):
            return "not there"
        return _LOOKS[network.role](network, path)
    except PermissionError as error:
        return f"cannot be read ({error.strerror})"


def is_there(path: Path) -> bool:
    """Whether anything is at a path, even if it cannot be read.

    Args:
        path: file or folder.

    Returns:
        True also where permissions hide the answer: then a closer look will say so.
    """
    try:
        return path.exists()
    except PermissionError:
        return True


def _look_at_model(_: Network, folder: Path) -> str:
    """Every part of a diffusers folder: its settings, and its weights with all shards."""
    if not folder.is_dir():
        return "a file; expected a diffusers folder"
    names = (f"{part}/{name}" for part, name in _SETTINGS.items())
    gone = [name for name in names if not (folder / name).is_file()]
    tokenizer = ("tokenizer/spiece.model", "tokenizer/tokenizer.json")
    if not any((folder / name).is_file() for name in tokenizer):
        gone.append(" or ".join(tokenizer))
    problems = [f"incomplete, without {', '.join(gone)}"] if gone else []
    problems += [wrong for part, stem in STEMS.items() if (wrong := _shards(folder / part, stem))]
    try:
        check_checkpoint(folder)
    except ValueError as error:
        problems.append(str(error))
    return "; ".join(problems)


def _shards(folder: Path, stem: str) -> str:
    try:
        for file in weight_files(folder, stem):
            read_shapes(file)
    except (OSError, ValueError) as error:
        return str(error)
    return ""


def _look_at_baseline(network: Network, folder: Path) -> str:
    try:
        check_baseline(network.role, folder)
    except (OSError, ValueError) as error:
        return str(error)
    return ""


def _look_at_aligner(_: Network, folder: Path) -> str:
    if not (folder / "config.json").is_file():
        return "without config.json; expected a folder written by the training of an aligner"
    return _shards(folder, STEMS["transformer"])


def pack_at(folder: Path) -> Pack:
    """The checked face pack at a folder; looked into again only when a file has changed.

    Args:
        folder: the pack.

    Returns:
        Its two models.

    Raises:
        FileNotFoundError: a model is missing.
        ValueError: a file is not what it should be.
    """
    files = sorted([*folder.glob("*.onnx"), *folder.glob("*/*.onnx")])
    return _pack(folder, tuple((file, file.stat().st_size, file.stat().st_mtime_ns) for file in files))


@lru_cache(maxsize=8)
def _pack(folder: Path, _state: tuple[tuple[Path, int, int], ...]) -> Pack:
    return find_pack(folder)


def _look_at_pack(_: Network, folder: Path) -> str:
    try:
        pack_at(folder)
    except (OSError, ValueError) as error:
        return str(error)
    return ""


def _look_at_depth(network: Network, file: Path) -> str:
    """Nothing inside tells a metric checkpoint from a relative one, so the official names must fit."""
    if _OFFICIAL_DEPTH.fullmatch(file.name) and file.name != network.names[0]:
        return f"{file.name}, but depth.variant and depth.metric ask for {network.names[0]}; make them fit"
    return _look_at_file(network, file)


def _look_at_file(_: Network, file: Path) -> str:
    if file.is_dir():
        return "a folder; expected a file"
    with file.open("rb") as stream:
        start = stream.read(256)
    if not start:
        return "empty (0 bytes); fetch it again"
    if start.startswith(b"version https://git-lfs"):
        return "a git-lfs pointer, not the file itself; fetch it with `git lfs pull` or the command below"
    if start.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        return "a web page, not the file; fetch it again"
    return _FORMATS.get(file.suffix, lambda _: "")(file)


def _look_at_clip(_: Network, folder: Path) -> str:
    if not folder.is_dir():
        return "a file; expected a folder of transformers"
    words = any((folder / name).is_file() for name in ("tokenizer.json", "merges.txt"))
    gone = [] if words else ["tokenizer.json or vocab.json with merges.txt"]
    gone += [] if (folder / "config.json").is_file() else ["config.json"]
    found = next((folder / name for name in FILES if (folder / name).is_file()), None)
    if found is None:
        gone.append(" or ".join(FILES))
    return f"incomplete, without {', '.join(gone)}" if gone else _look_at_file(_, found)


def _torch_file(file: Path) -> str:
    with file.open("rb") as stream:
        start = stream.read(2)
    if start == b"PK" and not zipfile.is_zipfile(file):
        return f"cut short at {file.stat().st_size} bytes; fetch it again"
    return "" if start[:1] == b"\x80" or start == b"PK" else "no torch checkpoint; fetch it again"


def _safetensors_file(file: Path) -> str:
    try:
        read_shapes(file)
    except ValueError as error:
        return str(error)
    return ""


def _onnx_file(file: Path) -> str:
    try:
        read_metadata(file)
    except ValueError as error:
        return f"no ONNX model, or not all of it ({error}); fetch it again"
    return ""


_FORMATS: Mapping[str, Callable[[Path], str]] = {
    ".pth": _torch_file,
    ".pt": _torch_file,
    ".bin": _torch_file,
    ".safetensors": _safetensors_file,
    ".onnx": _onnx_file,
}
_LOOKS: Mapping[Role, Callable[[Network, Path], str]] = {
    "model": _look_at_model,
    "depth": _look_at_depth,
    "face": _look_at_pack,
    "people": _look_at_file,
    "structure": _look_at_aligner,
    "identity": _look_at_aligner,
    "svd": _look_at_baseline,
    "i2vgen-xl": _look_at_baseline,
    "lpips_backbone": _look_at_file,
    "lpips_heads": _look_at_file,
    "inception": _look_at_file,
    "raft": _look_at_file,
    "clip": _look_at_clip,
    "second_face": _look_at_pack,
}
