"""Every file of the torture set ends in the right frames or the right reason, with either reader."""

from pathlib import Path

import pytest

from semrepa.data.decoding import pictures
from semrepa.data.motion import check_motion, measure_motion
from semrepa.data.video import ClipError, VideoClip, read_clip
from tests.data.torture import FPS, NUM_FRAMES, SIZE, Expected, numbers, write_torture

ASKED = {"num_frames": NUM_FRAMES, "fps": FPS, "size": SIZE}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("torture")


@pytest.fixture(scope="module")
def torture(folder: Path) -> dict[str, Expected]:
    return write_torture(folder)


def shown(clip: VideoClip) -> tuple[int, ...]:
    """Frame numbers inside the picture."""
    top, left, height, width = clip.content
    return numbers(clip.frames[:, :, top : top + height, left : left + width].numpy())


def outcomes(folder: Path, torture: dict[str, Expected], **options: object) -> dict[str, tuple]:
    """Reason, frame numbers, reader and reason of `check_motion` for each file."""
    found = {}
    for name in torture:
        try:
            clip = read_clip(folder / name, **ASKED, **options)
        except ClipError as error:
            found[name] = (error.reason, None, None, None)
            continue
        try:
            unchanging = check_motion(measure_motion(clip))
        except ClipError as error:
            unchanging = error.reason
        found[name] = (None, shown(clip), clip.backend, unchanging)
    return found


def wanted(torture: dict[str, Expected], only: str | None = None) -> dict[str, tuple]:
    """What `outcomes` must give, when all or only some are read by a reader."""
    return {
        name: (e.reason, e.numbers, None if e.reason else only or e.backend, e.unchanging)
        for name, e in torture.items()
    }


def differing(found: dict[str, tuple], expected: dict[str, tuple]) -> dict[str, tuple]:
    return {name: (found[name], expected[name]) for name in expected if found[name] != expected[name]}


@pytest.mark.skipif(pictures.decord is None, reason="no decord")
def test_each_file_ends_right(folder: Path, torture: dict[str, Expected]) -> None:
    assert differing(outcomes(folder, torture), wanted(torture)) == {}
    assert len(torture) >= 40


def test_pyav_alone_gives_the_same(folder: Path, torture: dict[str, Expected]) -> None:
    assert differing(outcomes(folder, torture, backend="pyav"), wanted(torture, only="pyav")) == {}


def test_no_decord_is_no_difference(
    folder: Path, torture: dict[str, Expected], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, "decord", None)
    assert differing(outcomes(folder, torture), wanted(torture, only="pyav")) == {}


@pytest.mark.skipif(pictures.decord is None, reason="no decord")
def test_both_readers_agree_on_times_and_pixels(folder: Path, torture: dict[str, Expected]) -> None:
    both = [name for name, e in torture.items() if e.reason is None and e.backend == "decord"]
    for name in both:
        one, other = (read_clip(folder / name, **ASKED, backend=backend) for backend in ("auto", "pyav"))
        assert (one.backend, other.backend) == ("decord", "pyav"), name
        assert one.timestamps == pytest.approx(other.timestamps, abs=1e-6), name
        assert (one.frames.float() - other.frames.float()).abs().mean() < 3, name


@pytest.mark.skipif(pictures.decord is None, reason="no decord")
def test_a_child_gives_the_same(folder: Path, torture: dict[str, Expected]) -> None:
    assert differing(outcomes(folder, torture, timeout=60), wanted(torture)) == {}
