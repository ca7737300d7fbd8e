"""Hand-made ONNX files with the inputs, outputs and metadata of an ultralytics YOLOv8 export."""

from pathlib import Path

import numpy as np

from tests.teachers.packs import Graph

NAMES = {0: "person", 1: "bicycle", 2: "car"} | {k: f"thing {k}" for k in range(3, 80)}
METADATA = {
    "description": "Ultralytics YOLOv8n model trained on coco.yaml",
    "license": "AGPL-3.0 License (https://ultralytics.com/license)",
    "stride": "32",
    "task": "detect",
    "batch": "1",
    "imgsz": "[640, 640]",
    "names": str(NAMES),
    "semrepa.kind": "random",
}
RED, GREEN = (255, 0, 0), (0, 255, 0)


def edges(graph: Graph, mask: str, axis: int) -> tuple[str, str]:
    """First and last place (1, 1) along an axis of a mask (1, 1, H, W), of its only block of ones."""
    profile = graph.add("ReduceMax", mask, axes=[1, 5 - axis], keepdims=0)
    size = graph.add("Gather", graph.add("Shape", profile), graph.constant(1, np.int64))
    steps = [graph.constant(0, np.int64), size, graph.constant(1, np.int64)]
    place = graph.add("Cast", graph.add("Range", *steps), to=1)
    inside = graph.add("Greater", profile, graph.constant(0.5))
    after = graph.add("Add", place, graph.constant(1))
    first = graph.add("Where", inside, place, graph.constant(9e3))
    last = graph.add("Where", inside, after, graph.constant(0))
    return graph.add("ReduceMin", first, axes=[1]), graph.add("ReduceMax", last, axes=[1])


def block_of(graph: Graph, colour: tuple[int, int, int]) -> tuple[str, str]:
    """Score (1, 1, places) of one colour and centre, width and height (1, 4, 1) of its block in the input."""
    signs = np.where(np.array(colour) > 127, 1, -1)[None, :, None, None]
    mask = graph.add(
        "Clip", graph.add("Conv", "images", graph.constant(signs)), graph.constant(0), graph.constant(1)
    )
    flat = graph.constant([1, 1, -1], np.int64)
    pools = [graph.add("AveragePool", mask, kernel_shape=[s, s], strides=[s, s]) for s in (8, 16, 32)]
    places = graph.add("Concat", *(graph.add("Reshape", pool, flat) for pool in pools), axis=2)
    (left, right), (top, bottom) = edges(graph, mask, 3), edges(graph, mask, 2)
    middle = [
        graph.add("Mul", graph.add("Add", *pair), graph.constant(0.5))
        for pair in ((left, right), (top, bottom))
    ]
    length = [graph.add("Sub", *pair) for pair in ((right, left), (bottom, top))]
    box = graph.add("Unsqueeze", graph.add("Concat", *middle, *length, axis=1), graph.constant([2], np.int64))
    return graph.add("Mul", places, graph.constant(0.9)), box


def write_yolo(path: Path, *, size: tuple = (640, 640), batch: int | str = 1, **changes: str | None) -> Path:
    """A detector that takes a red block for a person and a green one for a car, over 8400 places."""
    graph = Graph()
    (person, where), (car, elsewhere) = block_of(graph, RED), block_of(graph, GREEN)
    box = graph.add("Where", graph.add("Greater", person, car), where, elsewhere)
    nothing = graph.add("Mul", person, graph.constant(0))
    graph.add("Concat", box, person, nothing, car, *[nothing] * 77, axis=1, out="output0")
    metadata = {key: value for key, value in (METADATA | changes).items() if value is not None}
    places = 8400 if size == (640, 640) else "anchors"
    return graph.save(path, [("images", [batch, 3, *size])], [("output0", [batch, 84, places])], metadata)


def write_constant(path: Path, answer: np.ndarray, batch: int = 1, **changes: str | None) -> Path:
    """A model that always answers the same."""
    graph = Graph()
    still = graph.add("Mul", graph.add("ReduceMax", "images", keepdims=0), graph.constant(0))
    graph.add("Add", still, graph.constant(answer), out="output0")
    metadata = {key: value for key, value in (METADATA | changes).items() if value is not None}
    return graph.save(path, [("images", [batch, 3, 640, 640])], [("output0", list(answer.shape))], metadata)
