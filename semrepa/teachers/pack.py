"""Face model packs: folders with an SCRFD-format detector and an ArcFace-format recogniser as ONNX files.

The official layout is insightface's antelopev2 (`scrfd_10g_bnkps.onnx`, `glintr100.onnx` and three models
that are not used here) with `arcface.onnx` of Arc2Face beside them, which then takes the place of
`glintr100.onnx`: their embeddings are not interchangeable. A folder with insightface's `manifest.json`
(version 2) works too.

Everything is checked here before insightface sees the folder, so that it never starts a download and never
fails with an empty message.
"""

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, NamedTuple

import onnx
from google.protobuf.message import DecodeError

from semrepa.provenance import Kind, Provenance, sha256_of

EMBED_DIM = 512
PREFERRED = "arcface.onnx"
"""Recogniser that is taken when a pack has several: the one Arc2Face was trained with."""
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

Task = Literal["detector", "recogniser"]
OFFICIAL: dict[str, Task] = {
    "scrfd_10g_bnkps.onnx": "detector",
    "det_10g.onnx": "detector",
    PREFERRED: "recogniser",
    "glintr100.onnx": "recogniser",
    "w600k_r50.onnx": "recogniser",
}
"""What official files must contain."""


@dataclass(frozen=True, kw_only=True)
class Pack:
    """A pack that insightface can load, and the two of its files that count."""

    folder: Path
    """Absolute folder to give to insightface."""
    detector: Path
    """SCRFD-format detector with key points."""
    recogniser: Path
    """ArcFace-format recogniser with 512-d embeddings."""
    kind: Kind
    """What the recogniser's metadata says; real when they say nothing."""

    @cached_property
    def hashes(self) -> dict[str, str]:
        """SHA-256 of each of the two files by path, detector first."""
        return {str(file): sha256_of(file) for file in (self.detector, self.recogniser)}

    @property
    def provenance(self) -> Provenance:
        """Which two files answer, whether they are real, and their common hash."""
        return Provenance(
            name=f"insightface {self.detector.name} + {self.recogniser.name}",
            source=str(self.folder),
            kind=self.kind,
            sha256=hashlib.sha256("".join(self.hashes.values()).encode()).hexdigest(),
        )


class Model(NamedTuple):
    """One ONNX file of a folder."""

    file: Path
    """Where it is."""
    task: Task | None
    """What insightface will take it for; None for models that are not used here."""
    kind: Kind
    """Real, mini or random."""


def find_pack(path: Path) -> Pack:
    """Find the two models of a pack, looking through a doubled folder as left by some zips.

    Args:
        path: the pack, or a folder whose only content of interest is a folder with the pack.

    Returns:
        The checked pack.

    Raises:
        FileNotFoundError: If the folder or one of the two models is missing; names what was found.
        OSError: If the folder or a file cannot be read.
        ValueError: If a file is not ONNX or not what its name says, if the choice between models is open, or
            if the recogniser does not give 512 numbers.
    """
    folder = Path(path).expanduser().absolute()
    try:
        folder, files = _model_files(folder)
        models = [_read(file) for file in files]
    except OSError as error:
        where = error.filename or folder
        raise type(error)(
            f"face pack: got {folder}, but {where} cannot be read ({error.strerror or error}); "
            f"expected {EXPECTED}; {REMEDY}"
        ) from error
    detector, recogniser = (_only(folder, models, task) for task in ("detector", "recogniser"))
    if detector is None or recogniser is None:
        tasks: dict[Task, Model | None] = {"detector": detector, "recogniser": recogniser}
        missing = ", ".join(task for task, model in tasks.items() if model is None)
        raise FileNotFoundError(
            f"face pack: got {folder} with {_names(files)}; missing: {missing}; expected {EXPECTED}; {REMEDY}"
            f"{_elsewhere(folder)}"
        )
    return Pack(folder=folder, detector=detector.file, recogniser=recogniser.file, kind=recogniser.kind)


def _model_files(folder: Path) -> tuple[Path, list[Path]]:
    """The folder that really holds the models, and its ONNX files by name (of a manifest: those it lists)."""
    inside = sorted(entry.name for entry in folder.iterdir())
    names = [name for name in inside if name.endswith(".onnx")]
    if not names and "manifest.json" not in inside:
        full = [folder / name for name in inside if _has_models(folder / name)]
        if len(full) == 1:
            return _model_files(full[0])
    listed = _manifest(folder / "manifest.json") if "manifest.json" in inside else None
    return folder, [folder / name for name in (names if listed is None else listed)]


def _has_models(path: Path) -> bool:
    return path.is_dir() and any(entry.suffix == ".onnx" for entry in path.iterdir())


def _elsewhere(folder: Path) -> str:
    """A hint for packs of which one half lies one folder deeper."""
    deeper = [entry for entry in sorted(folder.iterdir()) if _has_models(entry)]
    return f"; more models are in {deeper[0]}: move them to {folder}" if deeper else ""


def _manifest(path: Path) -> list[str] | None:
    """Files that insightface's manifest names for the two tasks; None for versions that it ignores."""
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        if manifest.get("manifest_version") != 2:
            return None
        tasks = manifest["tasks"]
        return [tasks[task]["file"] for task in ("detection", "recognition") if task in tasks]
    except (ValueError, AttributeError, KeyError, TypeError) as error:
        raise ValueError(
            f"face pack: got {path}, which cannot be read as a manifest ({type(error).__name__}: {error}); "
            f"expected insightface's version 2 with tasks detection and recognition, or no manifest"
        ) from error


def _only(folder: Path, models: list[Model], task: Task) -> Model | None:
    """The one model of a task; `PREFERRED` may have others behind it."""
    found = [model for model in models if model.task == task]
    if len(found) > 1 and found[0].file.name != PREFERRED:
        names = _names([model.file for model in found])
        raise ValueError(
            f"face pack: got {folder} with {len(found)} {task}s: {names}; expected one, or {PREFERRED} first "
            f"by name, because insightface takes the first; move the others away"
        )
    return found[0] if found else None


def _names(files: list[Path]) -> str:
    return ", ".join(file.name for file in files) or "no .onnx file"


def _read(file: Path) -> Model:
    """What insightface will take a file for, by its own rules, read from the file's inputs and outputs."""
    try:
        model = onnx.load(file, load_external_data=False)
    except DecodeError as error:
        raise _no_model(file) from error
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    if not inputs or not model.graph.output:
        raise _no_model(file)
    task = _task(inputs, len(model.graph.output))
    wanted = OFFICIAL.get(file.name)
    if wanted not in (None, task):
        raise ValueError(f"face pack: got {file}, which is no {wanted}; expected {EXPECTED}; fetch it again")
    if task == "detector" and len(model.graph.output) not in (9, 15):
        raise ValueError(
            f"face pack: got detector {file} with {len(model.graph.output)} outputs, so without key points; "
            f"expected 9 or 15; use a model with key points (its name ends in _bnkps)"
        )
    if task == "recogniser":
        _check_recogniser(file, inputs[0], list(model.graph.output))
    said = {entry.key: entry.value for entry in model.metadata_props}
    return Model(file, task, said.get(KIND_KEY, "real"))


def _no_model(file: Path) -> ValueError:
    return ValueError(
        f"face pack: got {file} ({file.stat().st_size} bytes), which is not an ONNX model; "
        f"expected the whole model, not a download page, a part or a git-lfs pointer; fetch the file again"
    )


def _task(inputs: list[onnx.ValueInfoProto], outputs: int) -> Task | None:
    """Task by the rules of insightface, in their order; 192 is landmarks, 96 age, two inputs swap faces."""
    sides = _sides(inputs[0])[2:]
    if outputs >= 5:
        return "detector"
    if len(inputs) != 1 or len(sides) != 2 or sides[0] != sides[1] or sides[0] == 192:
        return None
    return "recogniser" if sides[0] >= 112 and sides[0] % 16 == 0 else None


def _check_recogniser(file: Path, crop: onnx.ValueInfoProto, outputs: list[onnx.ValueInfoProto]) -> None:
    batch, *_, side = _sides(crop)
    width = _sides(outputs[0])[-1:]
    if side != 112 or len(outputs) != 1 or width not in ([EMBED_DIM], [0]):
        raise ValueError(
            f"face pack: got recogniser {file} with a {side} x {side} input and {len(outputs)} outputs, the "
            f"first with {width[0] if width else 'no'} features; expected 112 x 112 and one output with "
            f"{EMBED_DIM}; use a recogniser with {EMBED_DIM}-d embeddings, or remove the file from the pack"
        )
    if batch > 1:
        raise ValueError(
            f"face pack: got recogniser {file} with a fixed batch of {batch}; expected 1 or free; "
            f"export it again"
        )


def _sides(value: onnx.ValueInfoProto) -> list[int]:
    """Sizes of a graph input or output, 0 where free."""
    return [dim.dim_value for dim in value.type.tensor_type.shape.dim]
