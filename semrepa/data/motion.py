"""How much happens in a clip: whether it stands still, repeats its frames, or is cut in the middle.

Ours; the paper says nothing about it.
"""

from dataclasses import dataclass

import numpy as np
import torch

from semrepa.data.sampling import TOLERANCE, ClipError
from semrepa.data.video import VideoClip

STILL = 2.0
"""Change, 0 to 255, that counts as that of an ordinary frame where frames change less; for `Motion.jump`."""


@dataclass(frozen=True, kw_only=True)
class Motion:
    """How the picture changes from frame to frame; changes are mean absolute differences, 0 to 255."""

    repeats: float
    """Share of frames that show the same source frame as the one before, 0 to 1."""
    mean: float
    """Mean change."""
    largest: float
    """Largest change."""
    jump: float
    """The largest change as a multiple of the usual one, the median over frames that are not repeated. A cut
    to another scene gives 10 and more, a camera that begins to move 5, a person who moves fast 2 or 3."""


def measure_motion(clip: VideoClip) -> Motion | None:
    """Compare each frame with the one before.

    Args:
        clip: the clip; padding and frames after the end do not count.

    Returns:
        What was found; None for a single frame.
    """
    same = np.diff(clip.timestamps[: clip.num_valid]) < TOLERANCE
    if not len(same):
        return None
    top, left, height, width = clip.content
    small = clip.frames[: clip.num_valid, :, top : top + height : 2, left : left + width : 2].to(torch.int16)
    pairs = zip(small[1:], small[:-1], strict=True)
    changes = np.array([(after - before).abs().float().mean().item() for after, before in pairs])
    usual = float(np.median(changes[~same])) if not same.all() else 0.0
    largest = float(changes.max())
    return Motion(
        repeats=float(same.mean()),
        mean=float(changes.mean()),
        largest=largest,
        jump=largest / max(usual, STILL),
    )


def check_motion(
    motion: Motion, *, max_repeats: float = 0.5, min_change: float = 0.1, max_jump: float | None = None
) -> None:
    """Refuse a clip in which too little happens to learn motion from, or which is cut.

    Args:
        motion: what was measured.
        max_repeats: largest share of frames that may repeat the one before; 1 allows all.
        min_change: change, 0 to 255, that some frame must make; 0 allows all.
        max_jump: largest `Motion.jump`; None allows all.

    Raises:
        ClipError: when frames repeat too often ("too_many_duplicate_frames"), nothing moves ("static"), or
            the scene changes ("cut").
    """
    if motion.repeats > max_repeats:
        message = (
            f"got a clip in which {motion.repeats:.0%} of the frames repeat the one before; expected at "
        )
        raise ClipError(
            "too_many_duplicate_frames", f"{message}most {max_repeats:.0%}; use a video of a higher rate"
        )
    if motion.largest < min_change:
        message = f"got a clip whose frames differ by {motion.largest:.2f} of 255 at most; expected "
        raise ClipError("static", f"{message}{min_change:g} or more; leave still pictures out")
    if max_jump is not None and motion.jump > max_jump:
        message = f"got a clip with a change of {motion.jump:.1f} times the usual one; expected at most "
        raise ClipError("cut", f"{message}{max_jump:g}; split the video where its scene changes")
