"""Sizes of the published networks, and a small one of the same make for tests."""

from dataclasses import dataclass
from typing import Literal, get_args

Variant = Literal["mini", "vits", "vitb", "vitl"]

PATCH = 14
"""Side of a patch in pixels: sides of the frames are multiples of it."""
GRID = 37
"""Patches along each side of the picture that the positions were trained on, 518 / 14."""
MAX_FRAMES = 32
"""Most frames that the temporal modules have positions for: one window."""


@dataclass(frozen=True, kw_only=True)
class Size:
    """Widths and depths of one variant."""

    dim: int
    """Width of the encoder."""
    depth: int
    """Blocks of the encoder."""
    heads: int
    """Attention heads of the encoder."""
    taps: tuple[int, int, int, int]
    """Blocks, counted from 0, whose output the head reads."""
    channels: tuple[int, int, int, int]
    """Width of the head at each of its four levels; the last two are multiples of 32."""
    features: int
    """Width of the head where levels are fused, a multiple of 32."""


SIZES: dict[str, Size] = {
    "mini": Size(dim=48, depth=4, heads=3, taps=(0, 1, 2, 3), channels=(16, 16, 32, 64), features=32),
    "vits": Size(dim=384, depth=12, heads=6, taps=(2, 5, 8, 11), channels=(48, 96, 192, 384), features=64),
    "vitb": Size(dim=768, depth=12, heads=12, taps=(2, 5, 8, 11), channels=(96, 192, 384, 768), features=128),
    "vitl": Size(
        dim=1024, depth=24, heads=16, taps=(4, 11, 17, 23), channels=(256, 512, 1024, 1024), features=256
    ),
}


def size_of(variant: str) -> Size:
    """Look up a variant.

    Args:
        variant: "vits", "vitb", "vitl", or "mini" for tests.

    Returns:
        Its size.

    Raises:
        ValueError: for another name.
    """
    if variant not in get_args(Variant):
        raise ValueError(f"variant: got {variant!r}; expected one of {', '.join(get_args(Variant))}")
    return SIZES[variant]
