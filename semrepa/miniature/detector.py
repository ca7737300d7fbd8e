"""The mini face detector: SCRFD's inputs, outputs and anchors on a small convolutional network."""

from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from semrepa.miniature.blocks import SETTLING, Residual, conv, settle_norms
from semrepa.miniature.export import save_onnx
from semrepa.miniature.faces import load_pictures
from semrepa.miniature.fit import Recipe, fit
from semrepa.miniature.windows import WINDOW, Windows, draw_windows

STRIDES = (8, 16, 32)
ANCHORS = ((16, 32), (64, 128), (256, 512))
"""Nominal face sizes in pixels, two for each stride. A face belongs to the nearest."""
POINT_WEIGHT = 12.0
RECIPE = Recipe(steps=3000, lr=3e-3, warmup=100, cooldown=0.5, ema=0.995, save_every=100)
BATCH = 24


class Detector(nn.Module):
    """Scores, boxes and key points of faces on three grids; 0.23 M parameters.

    In training it gives raw maps. `Flat` turns them into SCRFD's nine outputs.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(conv(3, 12, 2), conv(12, 24, 2))
        self.stages = nn.ModuleList(
            [
                nn.Sequential(conv(24, 32, 2), Residual(32), Residual(32)),
                nn.Sequential(conv(32, 48, 2), Residual(48), Residual(48)),
                nn.Sequential(conv(48, 48, 2), Residual(48)),
            ]
        )
        self.sides = nn.ModuleList([nn.Conv2d(width, 32, 1) for width in (32, 48, 48)])
        heads = [nn.Sequential(conv(32, 32), nn.Conv2d(32, 2 * 15, 1)) for _ in STRIDES]
        for head in heads:
            _doubt(cast("nn.Conv2d", head[-1]))
        self.heads = nn.ModuleList(heads)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Predict on all grids.

        Args:
            image: (b, 3, H, W), RGB scaled as (x - 127.5) / 128, H and W multiples of 32.

        Returns:
            For each stride (b, H / stride * W / stride * 2, 15): score logit, then left, top, right, bottom
            distances and ten key point offsets from the cell's corner, all in anchor sizes.
        """
        features, x = [], self.stem(image)
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        joined = [side(feature) for side, feature in zip(self.sides, features, strict=True)]
        for fine, coarse in ((1, 2), (0, 1)):
            joined[fine] = joined[fine] + functional.interpolate(joined[coarse], scale_factor=2.0)
        maps = [head(feature) for head, feature in zip(self.heads, joined, strict=True)]
        return [m.permute(0, 2, 3, 1).reshape(m.shape[0], -1, 15) for m in maps]


def _doubt(last: nn.Conv2d) -> None:
    """Let the last layer begin with the answer that hardly any cell shows a face."""
    nn.init.normal_(last.weight, std=0.01)
    with torch.no_grad():
        cast("Tensor", last.bias).view(2, 15)[:, 0] = -4.0


class Flat(nn.Module):
    """SCRFD's nine outputs for one picture: scores, boxes, key points of strides 8, 16, 32."""

    def __init__(self, detector: nn.Module) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Detect.

        Args:
            image: (1, 3, H, W), RGB scaled as (x - 127.5) / 128.

        Returns:
            Scores (k, 1) in [0, 1], then boxes (k, 4), then key points (k, 10), three of each.
        """
        scores, boxes, points = [], [], []
        for raw, stride, sizes in zip(self.detector(image), STRIDES, ANCHORS, strict=True):
            pairs = raw.reshape(-1, 2, 15)
            scaled = pairs[..., 1:] * (torch.tensor(sizes) / stride)[:, None]
            scores.append(pairs[..., :1].sigmoid().reshape(-1, 1))
            boxes.append(scaled[..., :4].reshape(-1, 4))
            points.append(scaled[..., 4:].reshape(-1, 10))
        return (*scores, *boxes, *points)


def targets(windows: Windows, stride: int, sizes: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
    """What one grid shall answer.

    A cell near the middle of a face answers for it with the anchor nearest in size. Cells around it, and
    the next anchor, are left free, as are all cells of a face that may be found or not.

    Args:
        windows: the batch, b.
        stride: pixels between cells.
        sizes: the two anchor sizes.

    Returns:
        Label (b, k) of 1, 0 or -1 for free; and the goals, box (b, k, 4) and points (b, k, 10), in anchor
        sizes.
    """
    steps = torch.arange(0, WINDOW, stride, dtype=torch.float32)
    cell = torch.stack([g.flatten() for g in torch.meshgrid(steps, steps, indexing="xy")], dim=-1)
    cell = cell[:, None].expand(-1, 2, -1).reshape(1, -1, 2)
    anchor = torch.tensor(sizes, dtype=torch.float32).repeat(len(steps) ** 2)[None]
    low, high = windows.boxes[:, None, :2], windows.boxes[:, None, 2:]
    size = (high - low).clamp(min=1).prod(dim=-1).sqrt()
    off = (cell - (low + high) / 2).abs().amax(dim=-1)
    fits = (size / anchor).log2().abs()
    wanted = windows.wanted[:, None]
    label = torch.zeros(wanted.shape[0], cell.shape[1])
    label[(wanted == 1) & (off <= 0.45 * size.clamp(min=1.5 * stride)) & (fits <= 1.0)] = -1
    label[(wanted == -1) & (off <= 0.5 * size)] = -1
    label[
        (wanted == 1) & (off <= torch.maximum(0.2 * size, torch.tensor(0.75 * stride))) & (fits <= 0.55)
    ] = 1
    unit = anchor[..., None]
    box = torch.cat([cell - low, high - cell], dim=-1) / unit
    points = (windows.points[:, None] - cell[:, :, None]).flatten(2) / unit
    return label, box.nan_to_num(), points.nan_to_num()


def focal_loss(logits: Tensor, label: Tensor) -> Tensor:
    """Cross-entropy that counts less the surer the right answer is (exponent 2).

    Args:
        logits: any shape.
        label: 0 or 1, likewise.

    Returns:
        Loss of each element.
    """
    plain = functional.binary_cross_entropy_with_logits(logits, label, reduction="none")
    return plain * (logits.sigmoid() - label).square()


def generalized_iou(first: Tensor, second: Tensor) -> Tensor:
    """Overlap of boxes that share a point, given as left, top, right, bottom distances from it.

    Args:
        first: (k, 4).
        second: (k, 4).

    Returns:
        (k,) from -1 to 1: intersection over union, less the share of the hull that neither covers.
    """

    def area(sides: Tensor) -> Tensor:
        return (sides[:, :2] + sides[:, 2:]).clamp(min=0).prod(dim=1)

    shared, hull = area(torch.minimum(first, second)), area(torch.maximum(first, second)).clamp(min=1e-6)
    union = (area(first) + area(second) - shared).clamp(min=1e-6)
    return shared / union - (hull - union) / hull


def detection_loss(maps: list[Tensor], windows: Windows) -> Tensor:
    """Focal loss of scores, generalised IoU of boxes, L1 of key points in face sizes.

    Args:
        maps: output of the detector.
        windows: what was shown.

    Returns:
        Scalar.
    """
    wanted = [targets(windows, *grid) for grid in zip(STRIDES, ANCHORS, strict=True)]
    raw, label = torch.cat(maps, dim=1).float(), torch.cat([w[0] for w in wanted], dim=1)
    box, points = (torch.cat([w[i] for w in wanted], dim=1) for i in (1, 2))
    judged, found = label >= 0, label > 0
    count = found.sum().clamp(min=1)
    score = focal_loss(raw[..., 0][judged], label[judged]).sum() / count
    overlap = 1 - generalized_iou(raw[found][:, 1:5], box[found]).sum() / count
    size = (box[found][:, :2] + box[found][:, 2:]).prod(dim=1, keepdim=True).sqrt()
    miss = ((raw[found][:, 5:] - points[found]).abs() / size).mean(dim=1).sum() / count
    return 2 * score + overlap + POINT_WEIGHT * miss


def build_detector(
    out: Path, *, seed: int, work: Path, log: Path, people: int = 900, recipe: Recipe = RECIPE
) -> Path:
    """Train the detector and write `detector.onnx`.

    Args:
        out: folder of the face pack.
        seed: fixes weights and batches.
        work: cache for rendered pictures and the checkpoint.
        log: folder of the logs.
        people: identities to train on, from 0 on.
        recipe: settings.

    Returns:
        The ONNX file.
    """
    pictures = load_pictures(work / "faces", first=0, people=people)
    torch.manual_seed(seed)
    network = Detector()

    def draw(step: int) -> Windows:
        return draw_windows(pictures, np.random.default_rng([seed, step]), BATCH)

    def loss_of_step(step: int) -> Tensor:
        windows = draw(step)
        return detection_loss(network(windows.images), windows)

    fit(network, loss_of_step, recipe, checkpoint=work / "detector.pt", log=log / "face_detector.jsonl")
    settle_norms(network, (draw(recipe.steps + k).images for k in range(SETTLING)))
    return save_onnx(
        Flat(network), torch.zeros(1, 3, 64, 96), out / "detector.onnx", {2: "height", 3: "width"}
    )
