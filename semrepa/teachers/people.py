"""The person detector of the human filter: YOLOv8, exported to ONNX, run by ONNX Runtime.

The paper filters its videos with YOLOv8 (Sec. 5.1.1). The `ultralytics` package is not used: it is AGPL-3.0,
which would bind whoever ships this kit with it, and heavy, while ONNX Runtime is here already for the faces.
The weights stay AGPL-3.0: whoever wants them exports them, best in an environment of its own, with

    pip install ultralytics onnx && yolo export model=yolov8n.pt format=onnx

Inputs and outputs are those of that export: a picture of 640 x 640 letterboxed on grey, and for each of 8400
places a box and one score per class.
"""

import ast
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnxruntime
import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torchvision.ops import nms

from semrepa.provenance import Provenance, sha256_of
from semrepa.teachers.letterbox import Letterbox
from semrepa.teachers.pack import KIND_KEY
from semrepa.teachers.providers import ORT_ERRORS, choose_providers, running_on, session_options

PERSON = "person"
SAME_BOX = 0.7
"""Overlap (IoU) above which the weaker of two boxes is dropped, the default of ultralytics' predictor."""
MOST = 300
"""Most people in one frame, likewise."""
COCO_ROWS = 84
"""Rows of an official output: four of the box and the 80 classes of COCO, of which the first is people."""
DEFAULT = ("CUDAExecutionProvider", "CPUExecutionProvider")
EXPORT = "yolo export model=yolov8n.pt format=onnx"


class YoloPersonDetector:
    """Draws boxes around the people in a frame. For `semrepa.data.people.PersonFilter`."""

    providers: tuple[str, ...]
    """Execution providers that the model really runs on."""
    provenance: Provenance
    """Which file answers."""

    def __init__(
        self, weights: Path | str, *, providers: Sequence[str] | None = None, min_score: float = 0.25
    ) -> None:
        """Load an exported detector. Nothing is ever downloaded.

        Args:
            weights: ONNX file as `EXPORT` writes it; free input sizes, half precision and suppression inside
                the model are fine too.
            providers: ONNX Runtime execution providers in order of preference; those that are not installed
                are left out with a warning; None takes CUDA where it is installed, else the CPU.
            min_score: least score of a box in (0, 1).

        Raises:
            FileNotFoundError: If the file is missing.
            ValueError: If it is no exported YOLOv8 detector of people, the score is out of range, or none of
                the providers is installed.
        """
        if not 0 < min_score < 1:
            raise ValueError(f"min_score: got {min_score}; expected a number between 0 and 1; use 0.25")
        path = Path(weights).expanduser().absolute()
        usable = choose_providers(providers)
        self.session = open_session(path, usable)
        self.providers = running_on(usable, self.session.get_providers())
        said = self.session.get_modelmeta().custom_metadata_map
        self.layout = read_layout(path, self.session, said)
        self.min_score = min_score
        self.provenance = Provenance(
            name=f"person detector {path.name}",
            source=str(path),
            kind=said.get(KIND_KEY, "real"),
            sha256=sha256_of(path),
        )

    def __call__(self, frame: UInt8[Tensor, "3 H W"]) -> Float[Tensor, "k 5"]:
        """Find the people in a frame.

        Args:
            frame: (3, H, W) uint8 RGB, 0 to 255.

        Returns:
            (k, 5) left, top, right, bottom in pixels of the frame, inside it, and score in [0, 1]; best
            first.

        Raises:
            TypeError: If the frame is not a uint8 tensor.
            ValueError: If its shape, or that of the model's answer, is wrong.
        """
        check_frame(frame)
        image = np.ascontiguousarray(frame.permute(1, 2, 0).numpy(force=True))
        box = Letterbox.fit(image.shape[:2], self.layout.size, self.layout.stride)
        blob = (box.apply(image).transpose(2, 0, 1)[None] / np.float32(255)).astype(self.layout.dtype)
        answer = self.session.run(None, {self.session.get_inputs()[0].name: blob})[0].astype(np.float32)
        found = people_in(answer, self.layout.person, self.layout.rows, self.min_score)
        return torch.from_numpy(box.undo(found))


class Layout(NamedTuple):
    """What an exported model expects and answers."""

    size: tuple[int, int]
    """Height and width of the input, pixels; the largest when it is free."""
    stride: int | None
    """Free sides are multiples of it; None when the size is fixed."""
    dtype: type[np.floating]
    """Of the input."""
    person: int
    """Number of the class."""
    rows: int
    """Rows of the answer: four of the box and one per class."""


def people_in(answer: np.ndarray, person: int, rows: int, min_score: float) -> np.ndarray:
    """Read the people out of a model's answer.

    Args:
        answer: (1, rows, places) centre x, centre y, width, height and class scores; or, when the model
            itself drops overlapping boxes, (1, k, 6) left, top, right, bottom, score, class.
        person: number of the class.
        rows: 4 + number of classes.
        min_score: a box must score more.

    Returns:
        (k, 5) left, top, right, bottom, score in pixels of the input, best first.

    Raises:
        ValueError: If the answer has neither shape.
    """
    if answer.shape[:2] == (1, rows):
        boxes, scores = answer[0, :4].T, answer[0, 4:].T
        mine = (scores.argmax(axis=1) == person) & (scores[:, person] > min_score)
        half = boxes[mine, 2:] / 2
        corners, sure = np.hstack([boxes[mine, :2] - half, boxes[mine, :2] + half]), scores[mine, person]
        kept = nms(torch.from_numpy(corners), torch.from_numpy(sure), SAME_BOX).numpy()[:MOST]
        return np.column_stack([corners, sure])[kept]
    if answer.ndim == 3 and answer.shape[0] == 1 and answer.shape[2] == 6:
        found = answer[0][(answer[0, :, 4] > min_score) & (answer[0, :, 5] == person)]
        return found[np.argsort(-found[:, 4], kind="stable"), :5]
    raise ValueError(_wrong_shape("the detector", answer.shape, rows))


def open_session(path: Path, providers: list[str] | None) -> onnxruntime.InferenceSession:
    """Load an ONNX file.

    Args:
        path: the file.
        providers: execution providers; None takes CUDA where it is installed, else the CPU.

    Returns:
        The session.

    Raises:
        FileNotFoundError: If nothing is there.
        ValueError: If it is no ONNX model.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"person detector: got {path}, which is no file; expected YOLOv8 as ONNX; run `{EXPORT}`"
        )
    if path.suffix in (".pt", ".pth"):
        raise ValueError(
            f"person detector: got {path}, a PyTorch pickle, which is never loaded; expected its ONNX "
            f"export; run `{EXPORT.replace('yolov8n.pt', path.name)}`"
        )
    try:
        return onnxruntime.InferenceSession(
            str(path),
            session_options(),
            providers=providers
            or [name for name in DEFAULT if name in onnxruntime.get_available_providers()],
        )
    except ORT_ERRORS as error:
        raise ValueError(
            f"person detector: got {path} ({path.stat().st_size} bytes), which is no complete ONNX model "
            f"({str(error).splitlines()[0]}); expected YOLOv8 as ONNX; run `{EXPORT}`"
        ) from error


def read_layout(path: Path, session: onnxruntime.InferenceSession, said: Mapping[str, str]) -> Layout:
    """Read from an exported model what it expects and answers, and check it.

    Args:
        path: the file, for messages.
        session: the loaded model.
        said: the metadata that the export wrote.

    Returns:
        The layout.

    Raises:
        ValueError: If it is no detector of people for one picture at a time.
    """
    task = said.get("task", "detect")
    picture, answer = session.get_inputs()[0], session.get_outputs()[0].shape
    shape = picture.shape
    if task != "detect" or len(shape) != 4 or shape[1] != 3 or (isinstance(shape[0], int) and shape[0] != 1):
        raise ValueError(
            f"person detector: got {path}, a {task} model with input {shape}; expected a detect model with "
            f"input [1, 3, 640, 640]; run `{EXPORT}`"
        )
    names = class_names(path, said.get("names"), answer)
    rows = 4 + len(names)
    free = [size for size in answer[1:] if not isinstance(size, int)]
    if len(answer) != 3 or not (free or answer[1] == rows or answer[2] == 6):
        raise ValueError(_wrong_shape(str(path), answer, rows))
    height, width = ast.literal_eval(said.get("imgsz", "[640, 640]"))
    fixed = all(isinstance(side, int) for side in shape[2:])
    return Layout(
        size=(shape[2], shape[3]) if fixed else (height, width),
        stride=None if fixed else int(said.get("stride", 32)),
        dtype=np.float16 if "float16" in picture.type else np.float32,
        person=names.index(PERSON),
        rows=rows,
    )


def class_names(path: Path, said: str | None, answer: Sequence[int | str]) -> list[str]:
    """The classes of a model in order.

    Args:
        path: the file, for messages.
        said: the export's metadata, such as "{0: 'person', 1: 'bicycle'}"; None when there is none.
        answer: declared shape of the output.

    Returns:
        Names, with "person" among them.

    Raises:
        ValueError: If the classes are unknown, or none is the person.
    """
    if said is None and len(answer) == 3 and answer[1] == COCO_ROWS:
        return [PERSON, *(str(number) for number in range(1, COCO_ROWS - 4))]
    try:
        names = [str(name) for _, name in sorted(ast.literal_eval(said or "{}").items())]
    except (AttributeError, SyntaxError, TypeError, ValueError):
        names = []
    if PERSON not in names:
        known = f"the classes {names[:5]}..." if names else f"no list of classes (its metadata say {said!r})"
        raise ValueError(
            f"person detector: got {path} with {known}; expected {PERSON!r} among them; run `{EXPORT}`"
        )
    return names


def check_frame(frame: object) -> None:
    """Refuse a frame that the detector would misread.

    Args:
        frame: what the caller gave.

    Raises:
        TypeError: If it is not a uint8 tensor.
        ValueError: If it is not (3, H, W).
    """
    if not isinstance(frame, Tensor) or frame.dtype != torch.uint8:
        got = frame.dtype if isinstance(frame, Tensor) else type(frame).__name__
        raise TypeError(f"got a frame of type {got}; expected a torch.uint8 tensor, RGB 0 to 255")
    if frame.ndim != 3 or frame.shape[0] != 3 or not frame.numel():
        raise ValueError(f"got a frame of shape {tuple(frame.shape)}; expected (3, H, W); pass frames[0]")


def _wrong_shape(who: str, shape: Sequence[int | str], rows: int) -> str:
    return (
        f"person detector: got output {list(shape)} from {who}; expected [1, {rows}, places], "
        f"or [1, places, 6] of a model that drops overlapping boxes itself; run `{EXPORT}`"
    )
