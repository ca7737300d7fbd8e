"""Clips of the sample world that are hard on a face teacher: nobody, two people, one who leaves, a cut.

They are larger than the frames that are asked for, so that faces must be looked for in the source's pictures.
"""

from pathlib import Path

import numpy as np

from semrepa.data.video import write_video
from semrepa.world import ClipSpec, render_clip, sample_spec
from tests.data.torture import FPS

HEIGHT, WIDTH = 96, 144
"""Of the pictures; frames of the torture set have two thirds of that."""
LEAVES, CUT = 20, 25
"""Frames at which a person begins to leave, and at which the scene changes."""
THERE, BACK = list(range(16)), list(range(16, 0, -1))
ORDER = [*THERE, *BACK, *THERE, 16]
"""Which of 17 rendered frames to show: to the end, back, and to the end again."""


def shown(spec: ClipSpec) -> np.ndarray:
    """Frames (n, 3, H, W) of a clip."""
    clip = render_clip(spec, size=(HEIGHT, WIDTH), num_frames=17, fps=FPS, supersample=1)
    return clip.frames[ORDER]


def person(identity: int) -> np.ndarray:
    """Frames of one person who talks."""
    return shown(sample_spec(identity, identity=identity, motion="talk", shot="half"))


def leaving(frames: np.ndarray) -> np.ndarray:
    """Frames that move to the left, so that the person goes out of the picture."""
    moved = frames.copy()
    for k in range(LEAVES, len(frames)):
        step = min(4 * (k - LEAVES), WIDTH - 1)
        moved[k] = np.pad(frames[k, :, :, step:], ((0, 0), (0, 0), (0, step)), mode="edge")
    return moved


def write_people(folder: Path) -> list[str]:
    """Write the clips into a folder.

    Args:
        folder: an existing one.

    Returns:
        Their names there.
    """
    one, other = person(6), person(14)
    middle = slice(WIDTH // 4, WIDTH - WIDTH // 4)
    clips = {
        "one_person": one,
        "nobody": shown(sample_spec(212, empty=True)),
        "two_people": np.concatenate([one[..., middle], other[..., middle]], axis=3),
        "leaving": leaving(one),
        "cut_between_people": np.concatenate([one[:CUT], other[CUT:]]),
    }
    for name, frames in clips.items():
        write_video(folder / f"{name}.mp4", frames, fps=FPS)
    return [f"{name}.mp4" for name in clips]
