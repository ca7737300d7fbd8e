"""Which kind weights are, as far as they themselves or the run that made them say: real, mini or random."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from semrepa import provenance
from semrepa.config import Config
from semrepa.models.baselines import BASELINES
from semrepa.models.variants import read_settings
from semrepa.provenance import KINDS, Kind
from semrepa.teachers.pack import KIND_KEY
from semrepa.weights.look import pack_at
from semrepa.weights.onnx_header import read_metadata
from semrepa.weights.roles import FACES, Role

_LEVELS = 4
"""Folders, from that of the weights upwards, in which the record of the run that made them may lie."""
_OF_PRESET: dict[str, Kind] = {"mini": "mini", "full": "real"}
_LEAST = {"num_layers": 30, "num_attention_heads": 30, "attention_head_dim": 64}
"""Size of the smallest official CogVideoX transformer."""
_LEAST_UNET = 320
"""Width of the first block of SVD and I2VGen-XL."""


def kind_of(cfg: Config, role: Role, path: Path) -> Kind:
    """Judge weights that are there.

    Args:
        cfg: config of the run that uses them.
        role: what they do in it.
        path: file or folder.

    Returns:
        mini inside the package. Elsewhere what the files say (entry `semrepa.kind` of their metadata); for
        networks that runs of this kit train, what the run was that made them; a base model is real from the
        size of the official ones on, and so are the models compared with, which are random below it. Teachers
        that say nothing are real.
    """
    if path.resolve().is_relative_to(provenance.MINI_ASSETS.resolve()):
        return "mini"
    said = pack_at(path).kind if role in FACES else declared_kind(path)
    if said is not None:
        return said
    if role in ("structure", "identity"):
        return recorded_kind(path) or ("mini" if cfg.preset == "mini" else "real")
    if role == "model":
        settings = read_settings(path / "transformer" / "config.json")
        is_official = all(settings.get(name, 0) >= least for name, least in _LEAST.items())
        return recorded_kind(path) or ("real" if is_official else "mini")
    if role in BASELINES:
        widths = read_settings(path / "unet" / "config.json").get("block_out_channels", [0])
        return "real" if widths[0] >= _LEAST_UNET else "random"
    return "real"


def declared_kind(path: Path) -> Kind | None:
    """What weight files say about themselves.

    Args:
        path: an ONNX or safetensors file, a folder with such files at any depth, or a file of another format.

    Returns:
        The weakest kind that any of them names; None when none says anything.
    """
    files = [path] if path.is_file() else [*path.rglob("*.safetensors"), *path.rglob("*.onnx")]
    return weakest(_metadata(file).get(KIND_KEY) for file in files)


def recorded_kind(path: Path) -> Kind | None:
    """What the run was that made weights, by the `run.json` beside or above them, else its `config.json`.

    Args:
        path: folder of the weights.

    Returns:
        The weakest kind of what that run rested on; None when no record is found.
    """
    homes = [path, *path.absolute().parents][:_LEVELS]
    for run in (_read(home / "run.json") for home in homes):
        if kind := weakest(record.get("kind") for record in run.get("provenance", ())):
            return kind
    presets = [_read(home / "config.json").get("preset") for home in homes]
    return next((_OF_PRESET[name] for name in presets if name in _OF_PRESET), None)


def weakest(said: Iterable[object]) -> Kind | None:
    """The weakest kind among some texts.

    Args:
        said: texts, of which those that name no kind are passed over.

    Returns:
        The kind; None when none is named.
    """
    named = set(said)
    return next((kind for kind in KINDS if kind in named), None)


def _metadata(file: Path) -> dict[str, Any]:
    try:
        if file.suffix == ".onnx":
            return read_metadata(file)
        if file.suffix == ".safetensors":
            with file.open("rb") as stream:
                length = int.from_bytes(stream.read(8), "little")
                header = stream.read(length) if length < file.stat().st_size else b"{}"
            return json.loads(header).get("__metadata__", {})
    except (OSError, ValueError):
        pass
    return {}


def _read(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
