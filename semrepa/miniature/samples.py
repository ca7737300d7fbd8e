"""Build `data_samples/`: render the sample clips, list them in an index, and draw a contact sheet.

python -m semrepa.miniature.samples data_samples
"""

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from semrepa.data.index import ClipRow, write_index
from semrepa.data.video import read_clip
from semrepa.prepare import render_row
from semrepa.world.samples import Sample, samples

log = logging.getLogger(__name__)

CRF = 19
"""Quality of the files: all samples together stay below 8 MB."""
LICENCE = "CC0-1.0"
TILE = (160, 240)
"""Height and width of a tile of the contact sheet, pixels."""
COLUMNS = 6
TILE_SECOND = 0.5


def sample_row(sample: Sample, folder: Path) -> ClipRow:
    """The line of the index for one sample.

    Args:
        sample: the clip.
        folder: folder of the video files.

    Returns:
        Its row.
    """
    return ClipRow(
        id=sample.name,
        path=folder / f"{sample.name}.mp4",
        caption=sample.spec.caption,
        identity=sample.spec.identity,
        seed=sample.seed,
        split=sample.split,
        start=sample.start,
        licence=LICENCE,
        world=dict(sample.world),
    )


def build(folder: Path, wanted: Sequence[Sample]) -> list[ClipRow]:
    """Render the samples that are not there yet, and write index, contact sheet and README.

    Args:
        folder: where to write.
        wanted: the samples.

    Returns:
        The rows of the index.
    """
    rows = [sample_row(sample, folder) for sample in wanted]
    for sample, row in zip(wanted, rows, strict=True):
        if not row.path.is_file():
            render_row(row, size=sample.size, num_frames=sample.num_frames, fps=sample.fps, crf=CRF)
            log.info("rendered %s, %.2f MB", row.path.name, row.path.stat().st_size / 1e6)
    write_index(folder / "index.jsonl", rows)
    contact_sheet(rows).save(folder / "contact_sheet.jpg", quality=80, optimize=True)
    (folder / "README.md").write_text(readme(wanted, rows), encoding="utf-8")
    return rows


def contact_sheet(rows: Sequence[ClipRow]) -> Image.Image:
    """One frame of each clip, with the number of the clip.

    Args:
        rows: the clips.

    Returns:
        The picture.
    """
    tiles = []
    for number, row in enumerate(rows, 1):
        clip = read_clip(row.path, num_frames=1, fps=8.0, size=TILE, start=row.start + TILE_SECOND)
        tile = Image.fromarray(clip.frames[0].permute(1, 2, 0).numpy())
        ImageDraw.Draw(tile).text(
            (5, 3), str(number), fill="white", stroke_width=2, stroke_fill="black", font_size=16
        )
        tiles.append(np.asarray(tile))
    blank = [np.zeros_like(tiles[0])] * (-len(tiles) % COLUMNS)
    grid = np.stack(tiles + blank).reshape(-1, COLUMNS, *TILE, 3)
    return Image.fromarray(grid.transpose(0, 2, 1, 3, 4).reshape(-1, COLUMNS * TILE[1], 3))


README = """# Sample clips

{count} clips of the sample world: rendered people whose depth, face and identity are known exactly. They are
ordinary mp4 files (H.264), so whatever reads them reads your own videos too.

![One frame of each clip, in the order of the table](contact_sheet.jpg)

| clip | split | person | size, frames, rate | caption |
|---|---|---|---|---|
{table}

- Training and held-out clips share no person. Clip 8 turns away from the camera, clip 12 shows nobody,
  clip 18 lasts 10 s and begins, for training, at its `start`.
- `index.jsonl` has one line per clip. Copy it for your own videos: only `path` (relative to the index) and
  `caption` are needed. `split` is `train` (if left out) or `heldout`, `identity` says who is in the clip,
  `start` is the second at which the clip begins, `id` is its name (if left out, that of the file).
- `seed` and `world` re-render a clip: `sample_spec(seed, **world)` of `semrepa.world` describes it exactly.
  This is how the depth teacher of the sample world answers.
- Made by `python -m semrepa.miniature.samples data_samples`; files that exist are kept.

Licence: {licence} (public domain). Nobody in these clips exists.
"""


def readme(wanted: Sequence[Sample], rows: Sequence[ClipRow]) -> str:
    """Text of the folder's README.

    Args:
        wanted: the samples.
        rows: their rows.

    Returns:
        Markdown.
    """
    table = "\n".join(
        f"| {row.path.name} | {row.split} | {'nobody' if row.identity is None else row.identity} | "
        f"{sample.size[1]}x{sample.size[0]}, {sample.num_frames}, {sample.fps:g} fps | {row.caption} |"
        for sample, row in zip(wanted, rows, strict=True)
    )
    return README.format(count=len(rows), table=table, licence=LICENCE)


def main() -> None:
    """Build the folder named on the command line."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("folder", type=Path)
    folder: Path = parser.parse_args().folder
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    rows = build(folder, samples())
    print(f"{len(rows)} clips in {folder}")


if __name__ == "__main__":
    main()
