"""Hand-made face packs in insightface's official layout, and pictures of faces that they know.

A made-up face is a patch of colours, its identity, with a dot of one more colour on each of the key points.
The detector looks for the dots, the recogniser remembers the patch. Only `onnx.helper` is used, so the files
have exactly the inputs, outputs and orders of SCRFD and ArcFace, and insightface runs them like its own.
"""

import zlib
from pathlib import Path

import cv2
import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

from semrepa.teachers.align import TEMPLATE

ANTELOPE = ("1k3d68.onnx", "2d106det.onnx", "genderage.onnx", "glintr100.onnx", "scrfd_10g_bnkps.onnx")
"""What the official zip holds."""
NAMES = (*ANTELOPE, "arcface.onnx")
"""What Arc2Face asks for; it lets `arcface.onnx` take the place of `glintr100.onnx`."""

DOTS = np.array([(255, 0, 0), (255, 255, 0), (0, 255, 0), (255, 0, 255), (255, 255, 255)], np.float32)
"""RGB of the five dots. With red and blue swapped only three of the five are left."""
WINDOW = 15
"""Cells of 8 canvas pixels over which the detector looks for the dots of one face."""
DOT = 5
"""Radius of a dot in the 112 x 112 crop."""


class Graph:
    """An ONNX graph under construction; every method adds a node and returns the name of its output."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def constant(self, values: object, dtype: type = np.float32) -> str:
        name = f"const{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.array(values, dtype), name))
        return name

    def add(self, kind: str, *inputs: str, out: str | None = None, **attributes: object) -> str:
        out = out or f"value{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [out], name=f"node{len(self.nodes)}", **attributes))
        return out

    def save(self, path: Path, inputs: list, outputs: list, metadata: dict[str, str] | None = None) -> Path:
        """Write the graph; inputs and outputs are (name, shape) with strings for free sizes."""
        ports = [
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in side]
            for side in (inputs, outputs)
        ]
        graph = helper.make_graph(self.nodes, path.stem, *ports, self.weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        helper.set_model_props(model, {"semrepa.kind": "random"} if metadata is None else metadata)
        onnx.checker.check_model(model, full_check=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        onnx.save(model, path)
        return path


def grid(graph: Graph, values: str, width: int) -> str:
    """(1, c, h, w) to (h * w * 2, width): two anchors per cell in the order of SCRFD."""
    return graph.add(
        "Reshape", graph.add("Transpose", values, perm=[0, 2, 3, 1]), graph.constant([-1, width], np.int64)
    )


def moments(graph: Graph, image: str) -> tuple[str, str]:
    """Mass (1, 5, h, w) of the dots around each cell, and their pixels (1, 10, h, w) from its middle."""
    signs = np.where(DOTS > 127, 1, -1)
    likeness = graph.add("Conv", image, graph.constant(signs[:, :, None, None]))
    faint = graph.add("Sub", likeness, graph.constant(2.3))
    masks = graph.add(
        "Clip", graph.add("Mul", faint, graph.constant(1.6)), graph.constant(0), graph.constant(1)
    )
    inner = np.arange(8) - 3.5
    local = np.stack([np.ones((8, 8)), np.tile(inner, (8, 1)), np.tile(inner[:, None], (1, 8))])
    kernel = graph.constant(np.tile(local, (5, 1, 1))[:, None])
    cells = graph.add("Conv", masks, kernel, group=5, strides=[8, 8])  # per dot: mass, x, y within the cell
    offset = 8 * (np.arange(WINDOW) - WINDOW // 2)
    wide = np.zeros((3, 3, WINDOW, WINDOW))
    wide[0, 0] = wide[1, 1] = wide[2, 2] = 1
    wide[1, 0], wide[2, 0] = np.tile(offset, (WINDOW, 1)), np.tile(offset[:, None], (1, WINDOW))
    kernel = graph.constant(np.tile(wide, (5, 1, 1, 1)))
    sums = graph.add("Conv", cells, kernel, group=5, pads=4 * [WINDOW // 2])
    mass = graph.add("Gather", sums, graph.constant(range(0, 15, 3), np.int64), axis=1)
    steps = graph.add("Gather", sums, graph.constant([i for i in range(15) if i % 3], np.int64), axis=1)
    doubled = graph.add("Gather", mass, graph.constant(np.repeat(range(5), 2), np.int64), axis=1)
    return mass, graph.add("Div", steps, graph.add("Max", doubled, graph.constant(1e-3)))


def write_detector(path: Path, *, points: bool = True, size: tuple[int, int] | None = None) -> Path:
    """A detector with SCRFD's nine outputs (six without key points), for faces of up to 110 canvas pixels."""
    graph = Graph()
    mass, places = moments(graph, "input.1")
    present = graph.add("ReduceMin", mass, axes=[1])
    present = graph.add(
        "Clip", graph.add("Mul", present, graph.constant(0.25)), graph.constant(0), graph.constant(1)
    )
    nose = graph.add("Gather", places, graph.constant([4, 5], np.int64), axis=1)
    far = graph.add("ReduceSum", graph.add("Mul", nose, nose), graph.constant([1], np.int64))
    near = graph.add("Exp", graph.add("Div", far, graph.constant(-400)))
    score = graph.add("Mul", near, present)
    both = graph.add("Concat", score, graph.add("Mul", score, graph.constant(0)), axis=1)
    # From the corner of the cell, where SCRFD measures from, in strides.
    kps = graph.add("Div", graph.add("Add", places, graph.constant(3.5)), graph.constant(8))
    xs = graph.add("Gather", kps, graph.constant([0, 2, 6, 8], np.int64), axis=1)
    ys = graph.add("Gather", kps, graph.constant([1, 3, 7, 9], np.int64), axis=1)
    span = graph.add("Sub", graph.add("ReduceMax", xs, axes=[1]), graph.add("ReduceMin", xs, axes=[1]))
    drop = graph.add("Sub", graph.add("ReduceMax", ys, axes=[1]), graph.add("ReduceMin", ys, axes=[1]))
    half = graph.add("Mul", graph.add("Max", span, drop), graph.constant(1.25))
    middles = [graph.add("ReduceMean", side, axes=[1]) for side in (xs, ys)]
    sides = [graph.add("Sub", half, middle) for middle in middles]
    sides += [graph.add("Add", half, middle) for middle in middles]
    box = graph.add("Concat", *sides, axis=1)
    fine = [
        (both, 1),
        (graph.add("Concat", box, box, axis=1), 4),
        (graph.add("Concat", kps, kps, axis=1), 10),
    ]
    outputs = []
    for values, width in fine if points else fine[:2]:
        for stride in (8, 16, 32):
            coarse = values
            if stride > 8:  # nothing is found on the coarser grids
                pooled = graph.add(
                    "AveragePool", values, kernel_shape=2 * [stride // 8], strides=2 * [stride // 8]
                )
                coarse = graph.add("Mul", pooled, graph.constant(0))
            outputs.append((grid(graph, coarse, width), [f"places{stride}", width]))
    return graph.save(path, [("input.1", [1, 3, *(size or ("height", "width"))])], outputs)


def write_recogniser(
    path: Path,
    *,
    width: int = 512,
    batch: int | str = "batch",
    breaks: bool = False,
    says: int | str | None = None,
    metadata: dict[str, str] | None = None,
) -> Path:
    """The mean colours of 7 x 7 fields of the crop, turned into `width` numbers by a fixed isometry.

    `breaks`: a batch looks free, but the model fails on more than one crop. `says`: the width declared.
    """
    rng = np.random.default_rng(zlib.crc32(path.name.encode()))
    turn = np.linalg.qr(rng.normal(size=(max(width, 147), 147)))[0].T[:, :width]
    graph = Graph()
    fields = graph.add("AveragePool", "data", kernel_shape=[16, 16], strides=[16, 16])
    flat = graph.add("Reshape", fields, graph.constant([1 if breaks else -1, 147], np.int64))
    out = graph.add("MatMul", flat, graph.constant(turn))
    return graph.save(path, [("data", [batch, 3, 112, 112])], [(out, [batch, says or width])], metadata)


def write_other(path: Path, side: int, width: int) -> Path:
    """One of the models that a pack brings along and nobody here asks."""
    graph = Graph()
    mean = graph.add("Flatten", graph.add("GlobalAveragePool", "data"))
    out = graph.add("MatMul", mean, graph.constant(np.zeros((3, width))))
    return graph.save(path, [("data", ["batch", 3, side, side])], [(out, ["batch", width])])


OTHERS = {"1k3d68.onnx": (192, 3309), "2d106det.onnx": (192, 212), "genderage.onnx": (96, 3)}


def build_pack(folder: Path, names: tuple[str, ...] = NAMES, **recogniser: object) -> Path:
    """Write a pack with these files of the official layout; other names are recognisers too.

    Keyword arguments are those of `write_recogniser`.
    """
    for name in names:
        path = folder / name
        if name in OTHERS:
            write_other(path, *OTHERS[name])
        elif name.startswith(("scrfd", "det")):
            write_detector(path)
        else:
            write_recogniser(path, **recogniser)
    return folder


def face_crop(person: int) -> np.ndarray:
    """The aligned crop (112, 112, 3) uint8 RGB of a made-up person."""
    colours = np.random.default_rng(person).integers(40, 216, (7, 7, 3), dtype=np.uint8)
    crop = cv2.resize(colours, (112, 112), interpolation=cv2.INTER_CUBIC)
    return np.clip(crop, 30, 225)


def key_points(x: float, y: float, scale: float = 0.6, angle: float = 0.0, yaw: float = 0.0) -> np.ndarray:
    """Where the key points (5, 2) of a face are; x, y is the middle of its crop, yaw moves the nose."""
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points = TEMPLATE - 55.5
    middle = points[:2].mean(axis=0)
    points[2, 0] = middle[0] + yaw * (points[1, 0] - points[0, 0])
    return points @ turn.T + (x, y)


def draw_face(
    frame: Tensor,
    person: int,
    x: float,
    y: float,
    *,
    scale: float = 0.6,
    angle: float = 0.0,
    yaw: float = 0.0,
) -> Tensor:
    """Paint a face on a (3, H, W) frame, in place; parts outside the frame are lost."""
    crop = face_crop(person)
    flat = (key_points(0, 0, 1, 0, yaw) + 55.5).astype(np.float32)
    for colour, point in zip(DOTS, flat, strict=True):
        middle = tuple(int(v) for v in np.round(point * 16))  # four bits below the pixel
        cv2.circle(crop, middle, DOT * 16, [int(c) for c in colour], -1, cv2.LINE_AA, 4)
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = np.column_stack([turn, np.array([x, y]) - turn @ (55.5, 55.5)])
    size = frame.shape[2], frame.shape[1]
    image = frame.permute(1, 2, 0).numpy().copy()
    flags = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    drawn = cv2.warpAffine(crop, matrix, size, flags=flags)
    where = cv2.warpAffine(np.ones((112, 112), np.uint8), matrix, size, flags=cv2.INTER_NEAREST) > 0
    image[where] = drawn[where]
    frame[:] = torch.from_numpy(image).permute(2, 0, 1)
    return frame


def blank(height: int = 480, width: int = 720) -> Tensor:
    """A dull grey (3, H, W) frame."""
    return torch.full((3, height, width), 110, dtype=torch.uint8)
