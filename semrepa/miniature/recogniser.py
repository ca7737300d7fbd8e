"""The mini face recogniser: ArcFace's input, output and margin loss on a small convolutional network."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from semrepa.miniature.blocks import SETTLING, Residual, conv, settle_norms
from semrepa.miniature.export import save_onnx
from semrepa.miniature.faces import MINI_SHRINK, SMEAR, Pictures, degrade, load_pictures
from semrepa.miniature.fit import Recipe, fit
from semrepa.teachers.align import CROP, similarity

EMBED_DIM = 512
SCALE = 24.0
"""Factor on cosines before the softmax."""
MARGIN = 0.35
"""Angle in radians that is added to the true person's angle."""
MARGIN_STEPS = 500
"""Steps over which the margin grows from 0."""
JITTER = 0.04
"""Deviation of the key points in eye distances: the error of a detector."""
RECIPE = Recipe(steps=2100, lr=2e-3, warmup=100, cooldown=0.6, ema=0.995, save_every=100)
BATCH = 96


class Recogniser(nn.Module):
    """Aligned face to embedding; 0.58 M parameters. The last map is pooled with learned weights."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            conv(3, 24, 2),
            conv(24, 48, 2),
            Residual(48),
            conv(48, 72, 2),
            Residual(72),
            conv(72, 120, 2),
            Residual(120),
        )
        self.pool = nn.Sequential(nn.Conv2d(120, 120, 7, groups=120, bias=False), nn.BatchNorm2d(120))
        self.project = nn.Sequential(nn.Linear(120, EMBED_DIM, bias=False), nn.BatchNorm1d(EMBED_DIM))

    def forward(self, crop: Tensor) -> Tensor:
        """Embed faces.

        Args:
            crop: (b, 3, 112, 112), RGB scaled as (x - 127.5) / 127.5.

        Returns:
            (b, 512), not normalised.
        """
        return self.project(self.pool(self.body(crop)).flatten(1))


class ArcFace(nn.Module):
    """Softmax over the training people with an angular margin for the right one (Deng et al., 2019)."""

    def __init__(self, people: int) -> None:
        super().__init__()
        self.centres = nn.Parameter(torch.randn(people, EMBED_DIM) * 0.05)

    def forward(self, embeds: Tensor, person: Tensor, margin: float) -> Tensor:
        """Loss of a batch.

        Args:
            embeds: (b, 512).
            person: (b,) index of the right person.
            margin: radians.

        Returns:
            Scalar.
        """
        cosine = functional.linear(
            functional.normalize(embeds.float()), functional.normalize(self.centres.float())
        )
        right = cosine.gather(1, person[:, None]).clamp(-0.999, 0.999)
        pushed = torch.cos(torch.acos(right) + margin)
        return functional.cross_entropy(SCALE * cosine.scatter(1, person[:, None], pushed), person)


@dataclass(frozen=True)
class Patches:
    """k surroundings of usable faces, uncompressed."""

    images: list[np.ndarray]
    """k pictures (h, w, 3) uint8, BGR."""
    points: np.ndarray
    """(k, 5, 2) key points in pixels of the patch."""
    person: np.ndarray
    """(k,) identity number."""


def cut_patches(pictures: Pictures) -> Patches:
    """Keep only the surroundings of visible faces, so that a training step decompresses nothing.

    Args:
        pictures: rendered pictures.

    Returns:
        The patches, 0.8 box sides larger than the face on every side.
    """
    images, points, person = [], [], []
    for index in np.flatnonzero(pictures.visible):
        image, box = pictures.image(int(index)), pictures.boxes[index]
        reach = 0.8 * (box[2:] - box[:2])
        left, top = np.maximum(box[:2] - reach, 0).astype(int)
        right, bottom = np.ceil(box[2:] + reach).astype(int)
        images.append(image[top:bottom, left:right].copy())
        points.append(pictures.points[index] - (left, top))
        person.append(pictures.identity[index])
    return Patches(images, np.stack(points), np.stack(person))


def draw_crops(patches: Patches, rng: np.random.Generator, batch: int) -> tuple[Tensor, Tensor]:
    """Aligned crops as a detector and a small frame would give them.

    Args:
        patches: faces.
        rng: source of randomness.
        batch: how many.

    Returns:
        Crops (b, 3, 112, 112) scaled as the network takes them, and the identity number of each.
    """
    chosen = rng.integers(len(patches.images), size=batch)
    crops = np.stack([_crop(patches.images[i], patches.points[i], rng) for i in chosen])
    scaled = (torch.from_numpy(crops[..., ::-1].copy()).permute(0, 3, 1, 2).float() - 127.5) / 127.5
    return scaled.contiguous(memory_format=torch.channels_last), torch.from_numpy(patches.person[chosen])


def _crop(image: np.ndarray, points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    shrink = MINI_SHRINK if rng.random() < 0.5 else float(rng.uniform(MINI_SHRINK, 1))
    image = cv2.resize(image, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
    image = degrade(image, rng, blur=0.025 * min(image.shape[:2]), smear=SMEAR * shrink / MINI_SHRINK)
    shown = points * shrink
    eyes = np.linalg.norm(shown[1] - shown[0]) + 1e-6
    matrix = similarity((shown + rng.normal(0, JITTER * eyes, (5, 2))).astype(np.float32))
    return cv2.warpAffine(image, matrix, (CROP, CROP), flags=cv2.INTER_LINEAR)


def build_recogniser(
    out: Path, *, seed: int, work: Path, log: Path, people: int = 900, recipe: Recipe = RECIPE
) -> Path:
    """Train the recogniser and write `recogniser.onnx`.

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
    patches = cut_patches(load_pictures(work / "faces", first=0, people=people))
    torch.manual_seed(seed)
    network, head = Recogniser(), ArcFace(people)

    def draw(step: int) -> tuple[Tensor, Tensor]:
        return draw_crops(patches, np.random.default_rng([seed, step]), BATCH)

    def loss_of_step(step: int) -> Tensor:
        crops, person = draw(step)
        return head(network(crops), person, MARGIN * min(1.0, step / MARGIN_STEPS))

    fit(
        nn.ModuleList([network, head]),
        loss_of_step,
        recipe,
        checkpoint=work / "recogniser.pt",
        log=log / "face_recogniser.jsonl",
    )
    settle_norms(network, (draw(recipe.steps + k)[0] for k in range(SETTLING)))
    return save_onnx(network, torch.zeros(1, 3, CROP, CROP), out / "recogniser.onnx", {0: "batch"})
