"""Decoding in a child process: limits of time, crashes, and going on after both."""

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from semrepa.data.decoding.child import DecodingChild
from semrepa.data.decoding.pictures import decode_clip
from semrepa.data.sampling import ClipError, MissingClipError, Sampling
from semrepa.data.video import probe
from tests.data.torture import counted

ASKED = Sampling(num_frames=9, fps=8, size=(64, 96))

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="needs signals of POSIX")


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("child") / "a.mp4"
    counted(path)
    return path


@pytest.fixture
def child(video: Path) -> Iterator[DecodingChild]:
    """A child that has read a clip."""
    child = DecodingChild()
    child.decode(video, ASKED, 60)
    yield child
    child.close()


def number(child: DecodingChild) -> int:
    """Process number."""
    assert child._process is not None
    return child._process.pid


def is_same(child: DecodingChild, video: Path) -> bool:
    """Whether the child reads what this process reads."""
    here, there = decode_clip(video, ASKED), child.decode(video, ASKED, 60)
    return np.array_equal(here.frames, there.frames) and here.timestamps == there.timestamps


def test_one_child_reads_clip_after_clip(child: DecodingChild, video: Path, tmp_path: Path) -> None:
    first = number(child)
    with pytest.raises(MissingClipError, match="expected an existing file"):
        child.decode(tmp_path / "gone.mp4", ASKED, 60)
    (tmp_path / "text.mp4").write_text("<html>")
    with pytest.raises(ClipError, match="is no video") as caught:
        child.decode(tmp_path / "text.mp4", ASKED, 60)
    assert caught.value.reason == "not_video"
    assert is_same(child, video) and number(child) == first


def test_a_child_says_what_a_file_is(child: DecodingChild, video: Path, tmp_path: Path) -> None:
    assert child.probe(video, 60) == probe(video) == probe(video, timeout=60)
    with pytest.raises(MissingClipError, match="expected an existing file"):
        probe(tmp_path / "gone.mp4", timeout=60)
    os.kill(number(child), signal.SIGSTOP)
    with pytest.raises(ClipError, match=r"not decoded after 0\.2 s"):
        child.probe(video, 0.2)
    assert child.probe(video, 60).codec == "h264"
    with pytest.raises(ValueError, match="timeout=0"):
        probe(video, timeout=0)


def test_a_decoder_that_hangs_is_stopped(child: DecodingChild, video: Path) -> None:
    first = number(child)
    os.kill(first, signal.SIGSTOP)
    with pytest.raises(ClipError, match=r"not decoded after 0\.2 s; .*; raise timeout") as caught:
        child.decode(video, ASKED, 0.2)
    assert caught.value.reason == "timeout"
    with pytest.raises(ProcessLookupError):
        os.kill(first, 0)
    assert is_same(child, video) and number(child) != first


@pytest.mark.parametrize("death", [signal.SIGSEGV, signal.SIGKILL])
def test_a_decoder_that_crashes_costs_one_clip(
    child: DecodingChild, video: Path, death: signal.Signals
) -> None:
    first = number(child)
    os.kill(first, signal.SIGSTOP)

    def die() -> None:
        os.kill(first, death)
        os.kill(first, signal.SIGCONT)

    timer = threading.Timer(0.2, die)
    timer.start()
    with pytest.raises(ClipError, match=rf"crashed \(exit status -{death.value}\)") as caught:
        child.decode(video, ASKED, 60)
    timer.join()
    assert caught.value.reason == "crashed"
    assert is_same(child, video) and number(child) != first


def test_a_child_that_ended_between_clips_is_replaced(child: DecodingChild, video: Path) -> None:
    os.kill(number(child), signal.SIGKILL)
    child._process.wait()
    assert is_same(child, video)


def test_an_interrupted_question_is_not_answered_later(
    child: DecodingChild, video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    first = number(child)
    with monkeypatch.context() as patch:
        patch.setattr("semrepa.data.decoding.child.pickle.load", interrupted)
        with pytest.raises(KeyboardInterrupt):
            child.decode(video, ASKED, 60)
    assert is_same(child, video) and number(child) != first
    child.close()
    with pytest.raises(ProcessLookupError):
        os.kill(first, 0)
