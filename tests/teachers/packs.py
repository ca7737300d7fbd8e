"""Hand-made face packs: a detector that sees red squares and a recogniser that remembers colours."""

import warnings
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn
from torch.nn import functional

from semrepa.teachers.align import TEMPLATE

SIDE = 28
"""Side of a toy face in pixels of a 64 x 96 frame."""
MARK = 4
"""Side of the red square in its middle; one detector cell once the frame is enlarged twice."""


class RedSquares(nn.Module):
    """SCRFD's nine outputs; a face wherever a whole 8 x 8 cell of the canvas is red."""

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        red = image[:, :1] - torch.maximum(image[:, 1:2], image[:, 2:])
        cell = functional.avg_pool2d(red, 8).clamp(0, 2) / 2
        scores = [torch.cat([cell, 0 * cell], dim=1)]
        scores += [0 * functional.avg_pool2d(scores[0], 2**k) for k in (1, 2)]
        reach = SIDE / MARK / 2
        # The template's face, moved from the 112-crop to the toy face, in cells from the cell's corner.
        points = torch.tensor((TEMPLATE / 112 - 0.5) * SIDE / MARK + 0.5).flatten()
        boxes = torch.tensor([reach - 0.5, reach - 0.5, reach + 0.5, reach + 0.5])
        flat = [score.permute(0, 2, 3, 1).reshape(-1, 1) for score in scores]
        return (*flat, *(0 * s + boxes for s in flat), *(0 * s + points for s in flat))


class ColourMemory(nn.Module):
    """A fixed random projection of the coarse colours of the crop."""

    def __init__(self, width: int = 512) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.project = nn.Linear(3 * 7 * 7, width, bias=False)

    def forward(self, crop: Tensor) -> Tensor:
        return self.project(functional.avg_pool2d(crop, 16).flatten(1))


def export(module: nn.Module, example: Tensor, path: Path, axes: dict[int, str]) -> None:
    """Write a module as ONNX with the named axes of its input left free."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module.eval(),
            (example,),
            path,
            dynamo=False,
            opset_version=17,
            input_names=["image"],
            dynamic_axes={"image": axes},
        )
    model = onnx.load(path)
    entry = model.metadata_props.add()
    entry.key, entry.value = "semrepa.kind", "random"
    onnx.save(model, path)


def write_pack(folder: Path, *, width: int = 512, free_batch: bool = True) -> Path:
    """Write a toy pack."""
    folder.mkdir(parents=True, exist_ok=True)
    export(RedSquares(), torch.zeros(1, 3, 64, 96), folder / "detector.onnx", {2: "height", 3: "width"})
    export(
        ColourMemory(width),
        torch.zeros(1, 3, 112, 112),
        folder / "recogniser.onnx",
        {0: "batch"} if free_batch else {},
    )
    return folder


def toy_frame(*faces: tuple[int, int, tuple[int, int, int]]) -> Tensor:
    """A grey (3, 64, 96) frame with toy faces: row and column of the middle (multiples of 4), colour."""
    frame = torch.full((3, 64, 96), 128, dtype=torch.uint8)
    for row, column, colour in faces:
        half = SIDE // 2
        frame[:, max(row - half, 0) : row + half, max(column - half, 0) : column + half] = torch.tensor(
            colour, dtype=torch.uint8
        )[:, None, None]
        frame[:, row : row + MARK, column : column + MARK] = torch.tensor([255, 0, 0], dtype=torch.uint8)[
            :, None, None
        ]
    return frame
