"""CPBD: the share of a picture's edges that no eye would call blurred.

Own implementation of Narvekar and Karam, "A no-reference image blur metric based on the cumulative
probability of blur detection (CPBD)", IEEE Transactions on Image Processing 20(9), 2011, with edge widths by
Marziliano et al. (2002); it gives the numbers of the published software. An edge of width w in a block whose
just noticeable width is w_jnb is seen as blurred with probability 1 - exp(-(w / w_jnb)**3.6), which is 63 %
at w = w_jnb. CPBD counts the edges up to 63 %; widths are whole pixels, so those are the edges with
w <= w_jnb.

Higher is not better: noise, over-sharpening and the border of padding raise it. Look at the distance from the
true video too, and leave padding out with `content`. It reads pictures on the CPU, wherever the frames are.
"""

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8

from semrepa.metrics.image import AnyFrames, Content, inside, to_bytes
from semrepa.shapes import PerFrame

BLOCK = 64
"""Side of the blocks in which contrast is judged, pixels; what does not fill one does not count."""
EDGE_SHARE = 0.002
"""Share of edge pixels above which a block is looked at."""
CONTRAST, NARROW, WIDE = 50, 3, 5
"""Up to this contrast, in grey levels, the just noticeable width is WIDE pixels, above it NARROW."""
LONGEST = 100
"""Steps after which the walk to an end of an edge stops, pixels."""
WEAK, STRONG = 0.1, 0.2
"""Gradients from which a ridge is an edge if it joins a strong one, and by itself, grey levels (Canny)."""

_STEEP = np.tan(np.deg2rad(22.5))
"""Slope up to which a gradient counts as horizontal."""

Luma = UInt8[np.ndarray, "H W"]
"""Grey picture, 0 to 255."""


def cpbd(frames: AnyFrames, *, content: Content | None = None) -> PerFrame:
    """Sharpness of each frame.

    Args:
        frames: (b, n, 3, H, W) RGB, uint8, or float in [0, 1] with the same answer.
        content: the picture inside its padding; None: all of it.

    Returns:
        Share of edges that look sharp, (b, n), 0 to 1; 0 where no edge is found, as on flat frames.

    Raises:
        ValueError: numbers outside [0, 1] or not finite, or a side shorter than one block.
    """
    pictures = inside(to_bytes(frames), content)
    if min(pictures.shape[-2:]) < BLOCK:
        raise ValueError(
            f"got frames of {tuple(pictures.shape[-2:])}; expected at least {BLOCK} pixels each way"
        )
    scores = [_cpbd(_luma(picture)) for picture in pictures.flatten(0, 1).cpu().numpy()]
    return torch.tensor(scores, device=frames.device).view(frames.shape[:2])


def _luma(picture: UInt8[np.ndarray, "3 H W"]) -> Luma:
    """Luma in whole grey levels, with the weights and rounding of most image readers (ITU-R 601)."""
    red, green, blue = picture.astype(np.uint32)
    return ((19595 * red + 38470 * green + 7471 * blue + 0x8000) >> 16).astype(np.uint8)


def _cpbd(luma: Luma) -> float:
    rows, columns = (side // BLOCK for side in luma.shape)
    blocks = luma[: rows * BLOCK, : columns * BLOCK].reshape(rows, BLOCK, columns, BLOCK)
    contrast = blocks.max((1, 3)).astype(int) - blocks.min((1, 3))
    noticeable = np.where(contrast <= CONTRAST, WIDE, NARROW)
    counted = _edge_blocks(luma)
    places, widths = _edge_widths(luma)
    row, column = np.divmod(places, luma.shape[1])
    row, column = row // BLOCK, column // BLOCK
    in_block = (row < rows) & (column < columns)
    row, column, widths = row[in_block], column[in_block], widths[in_block]
    kept = counted[row, column]
    return float(np.mean((widths <= noticeable[row, column])[kept])) if kept.any() else 0.0


def _edge_widths(luma: Luma) -> tuple[Int[np.ndarray, " k"], Int[np.ndarray, " k"]]:
    """Flat places of upright edges, and for how many pixels brightness goes on rising or falling there."""
    grey = luma.astype(np.int16)
    along = np.zeros_like(grey)
    along[:, 1:-1] = grey[:, 2:] - grey[:, :-2]
    places = np.flatnonzero(_sobel_edges(luma))
    row, column = np.divmod(places, luma.shape[1])
    is_inner = (row > 0) & (row < luma.shape[0] - 1) & (column > 0) & (column < luma.shape[1] - 1)
    places, flat = places[is_inner], grey.ravel()
    across = np.abs(flat[places + luma.shape[1]] - flat[places - luma.shape[1]])
    slope = along.ravel()[places]
    # As in the published software, a gradient that is upright to the pixel counts as rising.
    is_level = (across <= _STEEP * np.abs(slope)) | (slope == 0)
    places, falls = places[is_level], slope[is_level] < 0
    step = np.zeros_like(grey)
    step[:, :-1] = grey[:, 1:] - grey[:, :-1]
    widths = np.empty(len(places), dtype=np.int64)
    widths[~falls] = _run_widths(step.ravel() > 0, places[~falls])
    widths[falls] = _run_widths(step.ravel() < 0, places[falls])
    return places, widths


def _run_widths(goes_on: Bool[np.ndarray, " p"], places: Int[np.ndarray, " k"]) -> Int[np.ndarray, " k"]:
    """Width of edges from where steps to the right go on in one direction; the last of a row never does."""
    ends = np.flatnonzero(~goes_on)
    left = places - 2 - ends[np.searchsorted(ends, places - 2, side="right") - 1]
    right = ends[np.searchsorted(ends, places + 1)] - places - 1
    return np.minimum(left, LONGEST) + np.minimum(right, LONGEST) + 2


def _sobel_edges(luma: Luma) -> Bool[np.ndarray, "H W"]:
    """Upright edges: strong horizontal Sobel gradients that are a maximum along the row or the column."""
    strength = np.abs(cv2.Sobel(luma, cv2.CV_16S, 1, 0, borderType=cv2.BORDER_REFLECT))
    mean = np.square(strength, dtype=np.float32).mean(dtype=np.float64)
    # The published rule compares squares of strength / 8 with twice the root of their mean.
    strength[np.square(strength, dtype=np.float32) <= 16 * np.sqrt(mean)] = 0
    padded = np.pad(strength, 1)
    here = padded[1:-1, 1:-1]
    in_row = (here > padded[1:-1, :-2]) & (here > padded[1:-1, 2:])
    in_column = (here > padded[:-2, 1:-1]) & (here > padded[2:, 1:-1])
    return in_row | in_column


def _edge_blocks(luma: Luma) -> Bool[np.ndarray, "rows columns"]:
    """Blocks with more than `EDGE_SHARE` of Canny's edge pixels."""
    ridges = _ridges(luma)
    least = EDGE_SHARE * BLOCK**2
    strong, weak = (_count(ridges >= level) > least for level in (STRONG, WEAK))
    if (strong == weak).all():
        return strong
    _, labels = cv2.connectedComponents((ridges >= WEAK).astype(np.uint8), connectivity=8)
    is_edge = np.zeros(labels.max() + 1, dtype=bool)
    is_edge[labels[ridges >= STRONG]] = True
    return _count(is_edge[labels]) > least


def _count(marked: Bool[np.ndarray, "H W"]) -> Int[np.ndarray, "rows columns"]:
    rows, columns = (side // BLOCK for side in marked.shape)
    blocks = marked[: rows * BLOCK, : columns * BLOCK].reshape(rows, BLOCK, columns, BLOCK)
    return np.count_nonzero(blocks, axis=(1, 3))


def _ridges(luma: Luma) -> Float[np.ndarray, "H W"]:
    """Canny's first steps: the gradient of the smoothed picture where it peaks across an edge, else 0."""
    smooth = _smoothed(luma)
    across = cv2.Sobel(smooth, -1, 1, 0, borderType=cv2.BORDER_REFLECT)
    down = cv2.Sobel(smooth, -1, 0, 1, borderType=cv2.BORDER_REFLECT)
    size = np.sqrt(across * across + down * down)
    considered = size >= WEAK
    considered[[0, -1]] = considered[:, [0, -1]] = False
    places, width, flat = np.flatnonzero(considered), size.shape[1], size.ravel()
    x, y, here = across.ravel()[places], down.ravel()[places], flat[places]
    is_flat, same_sign = np.abs(x) >= np.abs(y), (x > 0) == (y > 0)
    straight = np.where(is_flat, 1, width)
    diagonal = np.where(same_sign, width + 1, np.where(is_flat, 1 - width, width - 1))
    share = np.minimum(np.abs(x), np.abs(y)) / np.maximum(np.abs(x), np.abs(y))
    kept = np.ones(len(places), dtype=bool)
    for sign in (1, -1):
        beside = flat[places + sign * straight] * (1 - share) + flat[places + sign * diagonal] * share
        kept &= beside <= here
    ridges = np.zeros_like(size)
    ridges.ravel()[places[kept]] = here[kept]
    return ridges


def _smoothed(luma: Luma) -> Float[np.ndarray, "H W"]:
    """Gaussian of sigma 1, cut off at 4 pixels; beyond the border there is nothing."""
    window = np.exp(-np.square(np.arange(-4, 5)) / 2)
    window /= window.sum()
    nothing = {"borderType": cv2.BORDER_CONSTANT}
    covered = (np.convolve(np.ones(side), window, mode="same") for side in luma.shape)
    return cv2.sepFilter2D(luma.astype(np.float64), -1, window, window, **nothing) / np.outer(*covered)
