"""The sample clips: the list of them, and the files that are shipped."""

from collections import Counter
from pathlib import Path

import pytest
import torch
from PIL import Image

from semrepa.data.index import ClipRow, read_index
from semrepa.data.video import probe, read_clip
from semrepa.miniature.samples import LICENCE, build, sample_row
from semrepa.world import render_clip, sample_spec
from semrepa.world.samples import Sample, samples

FOLDER = Path(__file__).parents[2] / "data_samples"


@pytest.fixture(scope="module")
def rows() -> list[ClipRow]:
    """Rows of the shipped index."""
    return read_index(FOLDER / "index.jsonl")


def test_list_covers_what_readers_of_it_need() -> None:
    clips = samples()
    people = Counter(clip.spec.identity for clip in clips)
    assert len(clips) >= 16 and len(people) - 1 >= 8
    assert sum(count > 1 for who, count in people.items() if who is not None) >= 2 and people[None] == 1
    assert sum(clip.size == (720, 480) for clip in clips) == 4
    assert [clip.num_frames / clip.fps for clip in clips if clip.fps == 30] == [10]
    assert all((clip.num_frames, clip.fps) == (49, 8.0) for clip in clips if clip.fps != 30)
    assert len({clip.seed for clip in clips}) == len({clip.name for clip in clips}) == len(clips)


def test_splits_share_nobody() -> None:
    for clip in samples():
        who = clip.spec.identity
        assert who is None or (who < 100_000 if clip.split == "train" else who >= 1_000_000)


def test_one_face_turns_away() -> None:
    turning = next(clip.spec for clip in samples() if clip.name == "08_turn_half")
    seen = render_clip(turning, size=(32, 48), num_frames=7, fps=1, supersample=1).face_visible
    assert seen[0] and not seen.all()


def test_shipped_index_is_the_list(rows: list[ClipRow]) -> None:
    assert rows == [sample_row(sample, FOLDER) for sample in samples()]
    assert {row.licence for row in rows} == {LICENCE}
    for sample, row in zip(samples(), rows, strict=True):
        info = probe(row.path)
        assert (info.height, info.width) == sample.size and info.codec == "h264"
        assert info.fps == pytest.approx(sample.fps) and info.duration == pytest.approx(
            sample.num_frames / sample.fps
        )


def test_shipped_files_are_small() -> None:
    assert sum(file.stat().st_size for file in FOLDER.iterdir()) < 8_000_000
    assert (FOLDER / "contact_sheet.jpg").stat().st_size < 300_000
    readme = (FOLDER / "README.md").read_text()
    assert LICENCE in readme and all(sample.name in readme for sample in samples())


@pytest.mark.parametrize("number", [5, 9, 18])
def test_shipped_clips_are_what_their_rows_describe(rows: list[ClipRow], number: int) -> None:
    row = rows[number - 1]
    shown = read_clip(row.path, num_frames=2, fps=1, size=(128, 192), start=row.start + 1)
    top, left, height, width = shown.content
    spec = sample_spec(row.seed, **row.world)
    exact = render_clip(spec, size=(height, width), num_frames=2, fps=1, start=row.start + 1)
    picture = shown.frames[:, :, top : top + height, left : left + width].float()
    error = (picture - torch.from_numpy(exact.frames).float()).square().mean().sqrt()
    assert error < 8, "more than compression and another resolution explain"


def test_building_writes_clips_index_sheet_and_readme(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Sample, "size", (32, 48))
    tiny = [Sample(name=f"c{seed}", seed=seed, num_frames=5) for seed in (1, 2)]
    built = build(tmp_path, tiny)
    assert read_index(tmp_path / "index.jsonl") == built
    assert Image.open(tmp_path / "contact_sheet.jpg").size == (6 * 240, 160)
    assert "| c1.mp4 | train | 1 | 48x32, 5, 8 fps |" in (tmp_path / "README.md").read_text()
    before = (tmp_path / "c1.mp4").stat().st_mtime_ns
    build(tmp_path, tiny)
    assert (tmp_path / "c1.mp4").stat().st_mtime_ns == before
