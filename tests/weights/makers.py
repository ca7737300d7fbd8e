"""Weights in the official formats, a few bytes each, and the hub cache that they may lie in."""

import hashlib
import shutil
from pathlib import Path

import onnx
import torch
from huggingface_hub import constants
from onnx import TensorProto, helper

from semrepa.provenance import mini_asset

VITL = "video_depth_anything_vitl.pth"


def checkpoint(path: Path, value: float = 1.0) -> Path:
    """A torch checkpoint, as Video Depth Anything comes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"weight": torch.full((64,), value)}, path)
    return path


def onnx_model(path: Path, **metadata: str) -> Path:
    """An ONNX model of one node."""
    ports = [[helper.make_tensor_value_info(name, TensorProto.FLOAT, [1])] for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "relu", *ports)
    model = helper.make_model(graph)
    helper.set_model_props(model, {name.replace("_", "."): value for name, value in metadata.items()})
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, path)
    return path


def aligner(folder: Path, shipped: str = "structure_aligner") -> Path:
    """A trained aligner outside the package."""
    return Path(shutil.copytree(mini_asset(shipped), folder))


def into_hub_cache(repo: str, source: Path, *, without: tuple[str, ...] = ()) -> Path:
    """Lay files out as a download does: blobs by hash, a snapshot of links, the branch; returns the snapshot.

    Of files named in `without` the link leads nowhere, as after a download that was stopped.
    """
    home = Path(constants.HF_HUB_CACHE) / f"models--{repo.replace('/', '--')}"
    snapshot = home / "snapshots" / ("ab" * 20)
    files = [source] if source.is_file() else [file for file in source.rglob("*") if file.is_file()]
    for file in files:
        name = file.name if source.is_file() else file.relative_to(source).as_posix()
        blob = home / "blobs" / hashlib.sha256(file.read_bytes()).hexdigest()
        link = snapshot / name
        for folder in (blob.parent, link.parent, home / "refs"):
            folder.mkdir(parents=True, exist_ok=True)
        if name not in without:
            shutil.copy(file, blob)
        link.symlink_to(blob)
    (home / "refs" / "main").write_text(snapshot.name)
    return snapshot
