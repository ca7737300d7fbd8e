"""The head: four levels of features to one map of depth, with the published names of its parameters."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from semrepa.models.video_depth_anything.layers import apply
from semrepa.models.video_depth_anything.sizes import PATCH, Size
from semrepa.models.video_depth_anything.temporal import TemporalModule


class ResidualUnit(nn.Module):
    """Two convolutions, each after a ReLU, added to the input.

    Args:
        channels: channels of the maps.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, maps: Tensor) -> Tensor:
        """Refine maps.

        Args:
            maps: (k, channels, h, w).

        Returns:
            Maps of the same shape.
        """
        hidden = self.conv1(functional.relu(maps))
        return maps + self.conv2(functional.relu(hidden))


class Fusion(nn.Module):
    """Adds a finer level to the coarser ones, and enlarges the sum.

    Args:
        channels: channels of the maps.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.out_conv = nn.Conv2d(channels, channels, 1)
        self.resConfUnit1 = ResidualUnit(channels)
        self.resConfUnit2 = ResidualUnit(channels)

    def forward(self, path: Tensor, skip: Tensor | None, size: tuple[int, int]) -> Tensor:
        """Fuse.

        Args:
            path: (k, channels, h, w), what the coarser levels gave.
            skip: the finer level, of the same shape; None: there is none, and the first unit is not used.
            size: height and width of the result.

        Returns:
            Maps (k, channels, *size).
        """
        if skip is not None:
            path = path + self.resConfUnit1(skip)
        path = functional.interpolate(self.resConfUnit2(path), size, mode="bilinear", align_corners=True)
        return self.out_conv(path)


class Scratch(nn.Module):
    """The parts of the head behind its levels: a name in the published weights, nothing more.

    Args:
        size: widths.
    """

    def __init__(self, size: Size) -> None:
        super().__init__()
        width = size.features
        first, second, third, fourth = (
            nn.Conv2d(channels, width, 3, padding=1, bias=False) for channels in size.channels
        )
        self.layer1_rn, self.layer2_rn, self.layer3_rn, self.layer4_rn = first, second, third, fourth
        self.refinenet1, self.refinenet2 = Fusion(width), Fusion(width)
        self.refinenet3, self.refinenet4 = Fusion(width), Fusion(width)
        self.output_conv1 = nn.Conv2d(width, width // 2, 3, padding=1)
        self.output_conv2 = nn.Sequential(
            nn.Conv2d(width // 2, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 1, 1), nn.ReLU()
        )


class Head(nn.Module):
    """Turns the encoder's maps into depth. Frames are mixed in `fuse` only.

    Args:
        size: widths.
    """

    def __init__(self, size: Size) -> None:
        super().__init__()
        first, second, third, fourth = size.channels
        self.projects = nn.ModuleList(nn.Conv2d(size.dim, channels, 1) for channels in size.channels)
        self.resize_layers = nn.ModuleList(
            [
                nn.ConvTranspose2d(first, first, 4, 4),
                nn.ConvTranspose2d(second, second, 2, 2),
                nn.Identity(),
                nn.Conv2d(fourth, fourth, 3, 2, padding=1),
            ]
        )
        self.scratch = Scratch(size)
        self.motion_modules = nn.ModuleList(
            TemporalModule(channels) for channels in (third, fourth, size.features, size.features)
        )

    def project(self, maps: list[Tensor]) -> list[Tensor]:
        """Bring the encoder's maps to the widths of the levels: all that is kept of a frame until `fuse`.

        Args:
            maps: four of (k, dim, h, w).

        Returns:
            Levels: four of (k, channels of the level, h, w).
        """
        return [apply(project, each) for project, each in zip(self.projects, maps, strict=True)]

    def fuse(self, levels: list[Tensor], frames: int) -> Tensor:
        """Fuse the two coarse levels, and let frames see each other.

        Args:
            levels: four levels as `project` gives them, k = clips x frames.
            frames: frames of each clip.

        Returns:
            Maps (k, features, 2 h, 2 w).
        """
        scratch, mix = self.scratch, self.motion_modules
        height, width = levels[2].shape[-2:]
        coarse = scratch.layer4_rn(mix[1](self.resize_layers[3](levels[3]), frames))
        path = mix[2](scratch.refinenet4(coarse, None, (height, width)), frames)
        skip = scratch.layer3_rn(mix[0](levels[2], frames))
        path = scratch.refinenet3(path, skip, (2 * height, 2 * width))
        return mix[3](path, frames)

    def finish(self, path: Tensor, levels: list[Tensor]) -> Tensor:
        """Fuse the two fine levels and read off the depth, each frame for itself.

        Args:
            path: (k, features, 2 h, 2 w), some frames of what `fuse` gave.
            levels: the levels of these frames.

        Returns:
            (k, 14 h, 14 w), not negative, float32 if the last convolutions are (see `set_precision`).
        """
        scratch = self.scratch
        height, width = levels[0].shape[-2:]
        skips = [resize(level) for resize, level in zip(self.resize_layers, levels[:2], strict=False)]
        path = scratch.refinenet2(path, scratch.layer2_rn(skips[1]), (4 * height, 4 * width))
        path = scratch.refinenet1(path, scratch.layer1_rn(skips[0]), (8 * height, 8 * width))
        size = (PATCH * height, PATCH * width)
        path = functional.interpolate(scratch.output_conv1(path), size, mode="bilinear", align_corners=True)
        first, *others = scratch.output_conv2
        return nn.Sequential(*others)(apply(first, path))[:, 0]

    def forward(self, levels: list[Tensor], frames: int, frame_batch: int) -> Tensor:
        """Turn levels into depth.

        Args:
            levels: four levels as `project` gives them, k = clips x frames.
            frames: frames of each clip.
            frame_batch: frames at a time in `finish`: it takes the most memory, and does not mix frames.

        Returns:
            (k, 14 h, 14 w), not negative.
        """
        path = self.fuse(levels, frames)
        batches = zip(path.split(frame_batch), *(level.split(frame_batch) for level in levels), strict=True)
        return torch.cat([self.finish(some, list(of_level)) for some, *of_level in batches])
