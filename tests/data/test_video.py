"""Reading by time stamp, on ordinary and on awkward files made here with PyAV."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from semrepa.data.decoding import pictures
from semrepa.data.sampling import Sampling, on_screen
from semrepa.data.video import ClipError, content_box, probe, read_clip, write_video

BITS = 8
READERS = [
    "pyav",
    pytest.param("decord", marks=pytest.mark.skipif(pictures.decord is None, reason="no decord")),
]


def numbered(count: int, height: int = 64, width: int = 96) -> np.ndarray:
    """Frames (n, 3, H, W) that carry their own number as black and white bars, top bar in red."""
    frames = np.zeros((count, 3, height, width), np.uint8)
    for k in range(count):
        for bit in range(BITS):
            bar = slice(bit * width // BITS, (bit + 1) * width // BITS)
            frames[k, :, :, bar] = 235 if k >> bit & 1 else 20
    frames[:, 0, : height // 4] = 235
    return frames


def numbers(frames: torch.Tensor) -> list[int]:
    """Frame numbers read back from the bars in the lower half."""
    width = frames.shape[-1] // BITS
    rows = frames[:, 1, frames.shape[-2] // 2 :].float().mean(1)
    bars = torch.stack([rows[:, bit * width + width // 2] for bit in range(BITS)], 1) > 128
    return [sum(int(on) << bit for bit, on in enumerate(row)) for row in bars]


def encode(
    path: Path,
    frames: np.ndarray,
    times: list[float],
    *,
    codec: str = "libx264",
    rotation: int = 0,
    rate: int = 30,
) -> Path:
    """Write frames at the given times, seconds."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate)
        stream.height, stream.width = frames.shape[2:]
        stream.pix_fmt = "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        if rotation:
            stream.set_display_rotation(rotation)
        for picture, seconds in zip(frames.transpose(0, 2, 3, 1), times, strict=True):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            frame.pts, frame.time_base = round(seconds * 1000), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@pytest.fixture(params=READERS)
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The reader that files which both can read are read with."""
    if request.param == "pyav":
        monkeypatch.setattr(pictures, "decord", None)
    return request.param


@pytest.fixture(scope="module")
def ordinary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clip of 20 numbered frames at 8 fps."""
    return write_video(tmp_path_factory.mktemp("video") / "clip.mp4", torch.from_numpy(numbered(20)), fps=8.0)


def test_same_rate_gives_back_every_frame(ordinary: Path, backend: str) -> None:
    clip = read_clip(ordinary, num_frames=20, fps=8, size=(64, 96))
    assert numbers(clip.frames) == list(range(20))
    assert clip.frames.shape == (20, 3, 64, 96) and clip.frames.dtype == torch.uint8
    assert clip.content == (0, 0, 64, 96) and clip.backend == backend
    error = clip.frames.int() - torch.from_numpy(numbered(20)).int()
    assert error.abs().float().mean() < 6


def test_thirty_fps_is_sampled_by_time_from_start(tmp_path: Path, backend: str) -> None:
    path = write_video(tmp_path / "a.mp4", numbered(60), fps=30)
    clip = read_clip(path, num_frames=5, fps=8, size=(64, 96), start=0.5)
    assert numbers(clip.frames) == [15, 18, 22, 26, 30] and clip.backend == backend
    assert clip.timestamps == pytest.approx([n / 30 for n in (15, 18, 22, 26, 30)], abs=1e-3)


def test_slow_source_repeats_the_frame_on_screen(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", numbered(4), fps=4)
    assert numbers(read_clip(path, num_frames=8, fps=8, size=(64, 96)).frames) == [0, 0, 1, 1, 2, 2, 3, 3]


def test_variable_rate_follows_time_stamps(tmp_path: Path, backend: str) -> None:
    times = [k / 30 for k in range(30)] + [1 + k / 10 for k in range(10)] + [2 + k / 50 for k in range(30)]
    path = encode(tmp_path / "vfr.mp4", numbered(70), times)
    wanted = [k / 8 for k in range(17)]
    expected = [max(i for i, t in enumerate(times) if round(t, 3) <= w + 1e-3) for w in wanted]
    clip = read_clip(path, num_frames=17, fps=8, size=(64, 96))
    assert numbers(clip.frames) == expected and clip.backend == backend


def test_late_first_time_stamp_counts_from_the_first_frame(tmp_path: Path) -> None:
    path = encode(tmp_path / "late.mkv", numbered(20), [1.5 + k / 8 for k in range(20)], rate=8)
    clip = read_clip(path, num_frames=17, fps=8, size=(64, 96))
    assert clip.backend == "pyav" and numbers(clip.frames) == list(range(17))


def test_rotated_phone_video_is_turned_upright(tmp_path: Path) -> None:
    path = encode(tmp_path / "phone.mp4", numbered(9), [k / 8 for k in range(9)], rotation=90, rate=8)
    info = probe(path)
    assert (info.width, info.height) == (64, 96)
    clip = read_clip(path, num_frames=9, fps=8, size=(96, 64))
    stored = torch.from_numpy(numbered(9)).rot90(info.rotation // 90, dims=(2, 3))
    assert clip.backend == "pyav" and (clip.frames.int() - stored.int()).abs().float().mean() < 8


def test_vertical_is_padded_left_and_right(tmp_path: Path, backend: str) -> None:
    path = write_video(tmp_path / "tall.mp4", np.full((9, 3, 192, 128), 200, np.uint8))
    clip = read_clip(path, num_frames=9, fps=8, size=(64, 96))
    top, left, height, width = clip.content
    assert (top, left, height, width) == (0, 27, 64, 42) and clip.backend == backend
    assert clip.frames[..., left : left + width].float().mean() > 190
    assert clip.frames[..., :left].max() == 0 and clip.frames[..., left + width :].max() == 0


def test_a_colon_in_a_relative_name_is_no_protocol(
    ordinary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backend: str
) -> None:
    (tmp_path / "a:b.mp4").write_bytes(ordinary.read_bytes())
    monkeypatch.chdir(tmp_path)
    clip = read_clip("a:b.mp4", num_frames=9, fps=8, size=(64, 96))
    assert numbers(clip.frames) == list(range(9)) and clip.backend == backend


def test_a_rounded_time_stamp_is_the_same_moment() -> None:
    late = [(k / 8 + 5e-5, (k + 1) / 8 + 5e-5, k) for k in range(9)]
    asked = Sampling(num_frames=9, fps=8, size=(64, 96))
    found = list(on_screen(late, asked, Path("a.mp4")))
    assert [number for _, number in found] == list(range(9))


def test_content_box_of_the_paper() -> None:
    assert content_box(1280, 720, (480, 720)) == (0, 0, 480, 720)
    assert content_box(720, 1280, (480, 720)) == (0, 225, 480, 270)
    assert content_box(480, 720, (720, 480)) == (0, 0, 720, 480)


@pytest.mark.skipif(pictures.decord is None, reason="no decord")
def test_readers_agree(ordinary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = {(64, 96): 0.01, (32, 64): 2.0}
    one = [read_clip(ordinary, num_frames=9, fps=8, size=size) for size in sizes]
    monkeypatch.setattr(pictures, "decord", None)
    other = [read_clip(ordinary, num_frames=9, fps=8, size=size) for size in sizes]
    for a, b, tolerance in zip(one, other, sizes.values(), strict=True):
        assert (a.backend, b.backend) == ("decord", "pyav")
        assert (a.frames.float() - b.frames.float()).abs().mean() < tolerance


def test_too_short_says_how_long(ordinary: Path, backend: str) -> None:
    read_clip(ordinary, num_frames=17, fps=8, size=(64, 96), start=0.375)
    with pytest.raises(ClipError, match=r"2\.50 s; expected a picture at 2\.50 s") as caught:
        read_clip(ordinary, num_frames=17, fps=8, size=(64, 96), start=0.5)
    assert caught.value.reason == "too_short"


def audio_only(path: Path) -> None:
    """Write a file with sound and no picture."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        sound.sample_rate = 16000
        container.mux(stream.encode(sound))
        container.mux(stream.encode())


def test_unusable_files_name_their_reason(ordinary: Path, tmp_path: Path) -> None:
    whole = ordinary.read_bytes()
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "page.mp4").write_text("<html>404</html>")
    (tmp_path / "cut.mp4").write_bytes(whole[: 3 * len(whole) // 5])
    audio_only(tmp_path / "sound.mp4")
    expected = {"empty": "empty", "page": "not_video", "cut": "corrupt", "sound": "no_video_stream"}
    for name, reason in expected.items():
        with pytest.raises(ClipError, match=r"got .*; expected .*; .*replace|copy") as caught:
            read_clip(tmp_path / f"{name}.mp4", num_frames=17, fps=8, size=(64, 96))
        assert caught.value.reason == reason, name
    with pytest.raises(FileNotFoundError, match=r"nowhere\.mp4; expected an existing file") as missing:
        read_clip(tmp_path / "nowhere.mp4", num_frames=5, fps=8, size=(64, 96))
    assert isinstance(missing.value, ClipError) and missing.value.reason == "missing"


@pytest.fixture
def nobody(ordinary: Path) -> Iterator[Path]:
    """A folder that anybody may enter, while this process has no rights of root."""
    with tempfile.TemporaryDirectory() as name:
        folder, user = Path(name), os.geteuid()
        folder.chmod(0o755)
        shutil.copyfile(ordinary, folder / "open.mp4")
        shutil.copyfile(ordinary, folder / "locked.mp4").chmod(0)
        read_clip(folder / "open.mp4", num_frames=5, fps=8, size=(64, 96))  # imports what reading needs
        if user == 0:
            os.seteuid(65534)
        try:
            yield folder
        finally:
            os.seteuid(user)


def test_a_file_without_permission_is_unreadable(nobody: Path) -> None:
    assert numbers(read_clip(nobody / "open.mp4", num_frames=5, fps=8, size=(64, 96)).frames) == [*range(5)]
    with pytest.raises(ClipError, match=r"got .*locked\.mp4.*; expected") as caught:
        read_clip(nobody / "locked.mp4", num_frames=5, fps=8, size=(64, 96))
    assert caught.value.reason == "unreadable"


def test_padding_by_choice_tells_which_frames_are_real(ordinary: Path, backend: str) -> None:
    asked = {"num_frames": 9, "fps": 8, "size": (64, 96), "pad_last": True}
    clip = read_clip(ordinary, start=1.875, **asked)
    assert numbers(clip.frames) == [15, 16, 17, 18, 19, 19, 19, 19, 19]
    assert clip.num_valid == 5 and clip.backend == backend
    assert clip.timestamps[4:] == pytest.approx([19 / 8] * 5, abs=1e-3)
    assert read_clip(ordinary, **asked).num_valid == 9
    with pytest.raises(ClipError, match="use a longer clip") as caught:
        read_clip(ordinary, start=2.5, **asked)
    assert caught.value.reason == "too_short"


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"num_frames": 0}, "num_frames=0"),
        ({"fps": 0}, "fps=0"),
        ({"start": -1.0}, "start=-1.0"),
        ({"size": (63, 96)}, "expected even height and width"),
        ({"fps": float("nan")}, "fps=nan"),
        ({"start": float("inf")}, "start=inf"),
        ({"timeout": 0}, "timeout=0; expected seconds above 0"),
    ],
)
def test_senseless_requests(ordinary: Path, request_: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_clip(ordinary, **{"num_frames": 5, "fps": 8, "size": (64, 96)} | request_)


def test_writing_checks_its_frames(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="float32; expected uint8"):
        write_video(tmp_path / "a.mp4", np.zeros((3, 3, 8, 8), np.float32))
    with pytest.raises(ValueError, match=r"expected \(n, 3, H, W\)"):
        write_video(tmp_path / "a.mp4", np.zeros((3, 8, 8, 3), np.uint8))
    with pytest.raises(ValueError, match="9x8; expected even"):
        write_video(tmp_path / "a.mp4", np.zeros((3, 3, 9, 8), np.uint8))
    assert list(tmp_path.iterdir()) == []


def test_writing_is_repeatable_and_leaves_nothing_else(tmp_path: Path) -> None:
    first = write_video(tmp_path / "one" / "a.mp4", numbered(5)).read_bytes()
    assert write_video(tmp_path / "two" / "b.mp4", numbered(5)).read_bytes() == first
    assert [p.name for p in (tmp_path / "one").iterdir()] == ["a.mp4"]
    assert probe(tmp_path / "one" / "a.mp4").codec == "h264"
