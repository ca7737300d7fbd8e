"""When decord is not believed, when its readers go, and files that are damaged without saying so."""

import weakref
from pathlib import Path

import av
import numpy as np
import pytest

from semrepa.data.decoding import pictures
from semrepa.data.video import ClipError, read_clip, write_video
from tests.data.torture import encode, numbered, numbers


@pytest.fixture
def ordinary(tmp_path: Path) -> Path:
    """A clip of 20 numbered frames at 8 fps."""
    return encode(tmp_path / "ordinary.mp4", map(numbered, range(20)), [k / 8 for k in range(20)])


@pytest.mark.parametrize("backend", ["auto", "pyav"])
@pytest.mark.parametrize("pad_last", [False, True])
def test_a_file_cut_between_frames_is_damaged_not_short(tmp_path: Path, backend: str, pad_last: bool) -> None:
    path = encode(tmp_path / "a.mp4", map(numbered, range(60)), [k / 8 for k in range(60)])
    with av.open(str(path)) as container:
        places = [packet.pos for packet in container.demux(video=0) if packet.size]
    path.write_bytes(path.read_bytes()[: places[30]])
    with pytest.raises(ClipError, match=r"cut off|damaged inside") as caught:
        read_clip(path, num_frames=49, fps=8, size=(64, 96), pad_last=pad_last, backend=backend)
    assert caught.value.reason == "corrupt"


def test_pyav_refuses_pictures_that_were_made_up(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (20, 3, 64, 96), dtype=np.uint8)
    path = write_video(tmp_path / "a.mp4", noise)
    with av.open(str(path)) as container:
        packet = [packet for packet in container.demux(video=0) if packet.size][10]
    data = bytearray(path.read_bytes())
    data[packet.pos + 40 : packet.pos + packet.size] = bytes(packet.size - 40)
    path.write_bytes(data)
    with pytest.raises(ClipError, match="incomplete|damaged") as caught:
        read_clip(path, num_frames=20, fps=8, size=(64, 96), backend="pyav")
    assert caught.value.reason == "corrupt"


@pytest.mark.skipif(pictures.decord is None, reason="no decord")
def test_decord_readers_are_dropped_at_once(
    ordinary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []

    class Watched(pictures.decord.VideoReader):
        def __init__(self, *args: object, **options: object) -> None:
            super().__init__(*args, **options)
            made.append(weakref.ref(self))

    monkeypatch.setattr(pictures.decord, "VideoReader", Watched)
    asked = {"fps": 8, "size": (64, 96)}
    assert read_clip(ordinary, num_frames=20, **asked).backend == "decord"
    assert len(made) == 1 and made[0]() is None
    with pytest.raises(ClipError) as kept:  # an error that is kept must not keep a reader
        read_clip(ordinary, num_frames=49, **asked)
    assert kept.value.reason == "too_short" and all(reader() is None for reader in made)


@pytest.mark.skipif(pictures.decord is None, reason="no decord")
def test_decord_that_sees_other_frames_is_not_believed(
    ordinary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Shifted(pictures.decord.VideoReader):
        def get_frame_timestamp(self, index: np.ndarray) -> np.ndarray:
            return super().get_frame_timestamp(index) + 0.01

    class Shorter(pictures.decord.VideoReader):
        def __len__(self) -> int:
            return super().__len__() - 1

    for wrong in (Shifted, Shorter):
        monkeypatch.setattr(pictures.decord, "VideoReader", wrong)
        clip = read_clip(ordinary, num_frames=20, fps=8, size=(64, 96))
        assert clip.backend == "pyav" and numbers(clip.frames.numpy()) == tuple(range(20))
