"""Small clips, an index of them, and runs made by nobody in particular."""

import torch

from semrepa.data.index import ClipRow, write_index
from semrepa.data.video import write_video

FRAMES, SIZE = 9, (32, 48)


def moving(num_frames=FRAMES, size=SIZE, value=0):
    """Frames that brighten by 20 levels each from `value`, so that each can be told from the others."""
    levels = (value + 20 * torch.arange(num_frames)).clamp(max=255).to(torch.uint8)
    return levels.view(-1, 1, 1, 1).expand(-1, 3, *size).contiguous()


def write_clips(folder, ids=("a", "b", "c")):
    """The true clips, and an index.jsonl in which all are held out."""
    rows = []
    for place, name in enumerate(ids):
        path = write_video(folder / "videos" / f"{name}.mp4", moving(value=10 * place))
        rows.append(ClipRow(id=name, path=path, caption=f"person {name} waves", split="heldout"))
    write_index(folder / "index.jsonl", rows)
    return rows


def write_run(folder, ids=("a", "b", "c"), seeds=(0,), **settings):
    """A run as it should be; returns its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed in seeds:
        for place, name in enumerate(ids):
            write_video(folder / f"{name}-seed{seed}.mp4", moving(value=10 * place + seed, **settings))
    return folder
