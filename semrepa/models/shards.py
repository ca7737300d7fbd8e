"""The weight files of a diffusers folder, looked at before they are loaded: all there, whole, and no pickles.

A loader that meets a missing tensor may go on with random numbers and one that meets an unknown tensor may
ignore it, so names and shapes are compared with the network's own first. Only the headers are read.
"""

import json
from collections.abc import Mapping
from pathlib import Path

from sentencepiece import SentencePieceProcessor
from torch import nn

Shapes = Mapping[str, tuple[int, ...]]
"""Shape of each tensor by its name."""

_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")
_TIED = "encoder.embed_tokens.weight"
"""A second name of T5's `shared.weight`, which files may leave out."""


def check_files(folder: Path, stem: str, network: nn.Module) -> None:
    """Refuse weight files that are not all of a network.

    Args:
        folder: holds `<stem>.safetensors`, or its shards and `<stem>.safetensors.index.json`.
        stem: name of the file as the library that loads it expects it.
        network: a network of the wanted kind and size; it may be on the meta device.

    Raises:
        FileNotFoundError: a file is not there, or all that is there are pickles.
        ValueError: a file is cut short or damaged, or holds other tensors than the network.
    """
    found: dict[str, tuple[int, ...]] = {}
    for file in weight_files(folder, stem):
        found |= read_shapes(file)
    wanted = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    if problems := _differences(found, wanted):
        listed = "".join(f"\n  {problem}" for problem in problems[:5])
        more = f"\n  and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise ValueError(
            f"got {folder} with other weights than its config.json describes; expected those of "
            f"{type(network).__name__}; download this part of the checkpoint again:{listed}{more}"
        )


def check_vocabulary(folder: Path) -> None:
    """Refuse the words of a tokenizer when they are damaged.

    Args:
        folder: holds `tokenizer.json`, which is taken where it exists, or `spiece.model`.

    Raises:
        ValueError: the file cannot be read.
    """
    words, pieces = folder / "tokenizer.json", folder / "spiece.model"
    file = words if words.is_file() else pieces
    try:
        if file == words:
            json.loads(file.read_text(encoding="utf-8"))
        else:
            SentencePieceProcessor(model_file=str(file))
    except (ValueError, RuntimeError) as error:
        raise ValueError(
            f"{file}: got {file.stat().st_size} bytes that are no vocabulary ({error}); expected one; "
            "download it again"
        ) from error


def weight_files(folder: Path, stem: str) -> list[Path]:
    """Find the weight files of one network.

    Args:
        folder: where they lie.
        stem: their common name, such as "model".

    Returns:
        One file, or all shards that the index lists.

    Raises:
        FileNotFoundError: no file, only pickles, or some shards are not there.
        ValueError: the index cannot be read.
    """
    single, index = folder / f"{stem}.safetensors", folder / f"{stem}.safetensors.index.json"
    if single.is_file() and not index.is_file():
        return [single]
    if not index.is_file():
        pickles = sorted(file.name for kind in _PICKLES for file in folder.glob(kind))
        found = (
            f"only {', '.join(pickles)}: pickles, which can hold code and are never loaded" if pickles else ""
        )
        raise FileNotFoundError(
            f"got {folder} with {found or 'no weights'}; expected {single.name}, or its shards with "
            f"{index.name}; download the safetensors files of the checkpoint"
        )
    try:
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise ValueError(
            f"{index}: got an index that cannot be read ({error!r}); expected JSON with a weight_map; "
            "download it again"
        ) from error
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise FileNotFoundError(
            f"got {folder} without {', '.join(missing)}; expected all {len(names)} shards of {index.name}; "
            "download the missing ones"
        )
    return [folder / name for name in names]


def read_shapes(file: Path) -> dict[str, tuple[int, ...]]:
    """Read names and shapes of a safetensors file from its header.

    Args:
        file: the file.

    Returns:
        Shape of each tensor by its name.

    Raises:
        ValueError: no safetensors file, or not all of it.
    """
    size = file.stat().st_size
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        header = stream.read(length) if length <= size else b""
    try:
        entries = {k: v for k, v in json.loads(header).items() if k != "__metadata__"}
        shapes = {name: tuple(entry["shape"]) for name, entry in entries.items()}
        end = 8 + length + max((entry["data_offsets"][1] for entry in entries.values()), default=0)
    except (ValueError, KeyError, AttributeError, TypeError, IndexError) as error:
        raise ValueError(
            f"{file}: got {size} bytes that do not begin as a safetensors file does; expected one; "
            "it is another kind of file, or its beginning is damaged: download it again"
        ) from error
    if size != end:
        raise ValueError(
            f"{file}: got {size} bytes; expected {end}, as its header says; the download was cut short or "
            "the file is damaged: download it again"
        )
    return shapes


def _differences(found: Shapes, wanted: Shapes) -> list[str]:
    names = sorted({*found, *wanted} - {_TIED})
    lines = {
        name: "not there"
        if name not in found
        else "not part of the network"
        if name not in wanted
        else f"shape {found[name]}, expected {wanted[name]}"
        for name in names
        if found.get(name) != wanted.get(name)
    }
    return [f"{name}: {line}" for name, line in lines.items()]
