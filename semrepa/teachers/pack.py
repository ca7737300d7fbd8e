"""Face model packs: folders with an SCRFD-format detector and an ArcFace-format recogniser as ONNX files.

Everything is checked here before insightface sees the folder, so that it never starts a download and never
fails with an empty message.
"""

from pathlib import Path

import onnx
from google.protobuf.message import DecodeError

EMBED_DIM = 512
EXPECTED = (
    "a folder that holds one SCRFD-format detector with key points (9 or 15 outputs, such as "
    "detector.onnx or scrfd_10g_bnkps.onnx) and one ArcFace-format recogniser (112 x 112 input, one "
    "512-d output, such as recogniser.onnx, arcface.onnx or glintr100.onnx)"
)
REMEDY = (
    "use the shipped semrepa/assets/mini/face, or put the files of antelopev2 and Arc2Face's arcface.onnx "
    "there (both for non-commercial research only)"
)
KIND_KEY = "semrepa.kind"
"""Metadata entry of an ONNX file that says "mini" or "random"; files without it count as "real"."""


def find_pack(path: Path) -> Path:
    """Find the folder that really holds the models, looking through a doubled folder as left by some zips.

    Args:
        path: the pack, or a folder whose only content of interest is a folder of the same name.

    Returns:
        The absolute folder with a detector and a recogniser.

    Raises:
        FileNotFoundError: If the folder or one of the two models is missing; names what was found.
        ValueError: If a file is not ONNX, or the recogniser does not give 512 numbers.
    """
    folder = Path(path).expanduser().resolve()
    if not folder.is_dir():
        raise FileNotFoundError(f"face pack: got {folder}, which is no folder; expected {EXPECTED}; {REMEDY}")
    nested = folder / folder.name
    if not any(folder.glob("*.onnx")) and nested.is_dir():
        folder = nested
    files = sorted(folder.glob("*.onnx"))
    tasks = {task: file for file in reversed(files) if (task := _task(file))}
    missing = sorted({"detector", "recogniser"} - set(tasks))
    if missing:
        found = ", ".join(file.name for file in files) or "no .onnx file"
        lacking = f"got {folder} with {found}; missing: {', '.join(missing)}"
        raise FileNotFoundError(f"face pack: {lacking}; expected {EXPECTED}; {REMEDY}")
    return folder


def _task(file: Path) -> str | None:
    """What insightface will take the file for, read from its inputs and outputs."""
    try:
        graph = onnx.load(file, load_external_data=False).graph
    except DecodeError as error:
        raise ValueError(
            f"face pack: got {file} ({file.stat().st_size} bytes), which is not an ONNX model; "
            f"expected the model itself, not a download page or a git-lfs pointer; fetch the file again"
        ) from error
    if len(graph.output) in (9, 15):
        return "detector"
    weights = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in weights]
    if len(graph.output) != 1 or len(inputs) != 1 or _sides(inputs[0])[-2:] != [112, 112]:
        return None
    width = _sides(graph.output[0])[-1:]
    if width not in ([EMBED_DIM], [0]):
        raise ValueError(
            f"face pack: got recogniser {file} with {width[0] if width else 'no'} output features; expected "
            f"{EMBED_DIM}; use a recogniser with {EMBED_DIM}-d embeddings, or remove the file from the pack"
        )
    return "recogniser"


def _sides(value: onnx.ValueInfoProto) -> list[int]:
    """Sizes of a graph input or output, 0 where free."""
    return [dim.dim_value for dim in value.type.tensor_type.shape.dim]
