"""The contract of a run: everything that is wrong is found, named, and stops reading."""

import shutil
from fractions import Fraction

import av
import pytest
import torch

from semrepa.data.index import ClipRow
from semrepa.data.video import read_clip, write_video
from semrepa.runs import Pair, RunError, check_run, read_run
from tests.runs.clips import FRAMES, SIZE, moving, write_run


@pytest.fixture
def run(tmp_path):
    return write_run(tmp_path / "run")


def found(run, rows, cfg, **settings):
    """Reason and file of each finding."""
    report = check_run(run, rows, cfg.video, **settings)
    assert report.is_fine == (not report.findings)
    bad = {finding.pair for finding in report.findings} - {None}
    assert len(report.files) + len(bad) == report.wanted, "each video is scored or has a finding"
    assert not bad & set(report.files)
    return [(finding.reason, finding.name) for finding in report.findings]


def test_a_run_as_it_should_be(run, rows, cfg):
    report = check_run(run, rows, cfg.video)
    assert report.is_fine and report.wanted == 3
    assert list(report.files) == [Pair("a", 0), Pair("b", 0), Pair("c", 0)]
    assert (report.size, report.is_resized) == (SIZE, False)


def test_videos_are_read_in_the_order_of_the_index_seed_after_seed(tmp_path, rows, cfg):
    run = write_run(tmp_path / "run", seeds=(4, 2))
    videos = list(read_run(run, rows[::-1], cfg.video, seeds=(4, 2)))
    order = [(name, seed) for seed in (4, 2) for name in "cba"]
    assert [(video.id, video.seed) for video in videos] == order
    for video in videos:
        expected = moving(value=10 * "abc".index(video.id) + video.seed)
        assert video.frames.dtype == torch.uint8 and video.frames.shape == (FRAMES, 3, *SIZE)
        assert (video.frames.int() - expected.int()).abs().max() <= 4
        assert video.path == run / f"{video.id}-seed{video.seed}.mp4"


def test_a_name_without_a_seed_stands_for_the_first(run, rows, cfg):
    (run / "b-seed0.mp4").rename(run / "b.mp4")
    assert found(run, rows, cfg) == []
    assert [video.path.name for video in read_run(run, rows, cfg.video)][1] == "b.mp4"
    (run / "a-seed0.mp4").rename(run / "a-seed3.mp4")
    (run / "c-seed0.mp4").rename(run / "c-seed3.mp4")
    assert found(run, rows, cfg, seeds=(3,)) == []


def test_an_empty_folder_lacks_every_video(tmp_path, rows, cfg):
    (tmp_path / "notes.txt").write_text("no video")
    expected = [("missing", f"{name}-seed0.mp4") for name in "abc"]
    assert found(tmp_path, rows, cfg) == expected
    with pytest.raises(RunError, match=r"with 3 problems; expected 3 videos(.|\n)*missing: c-seed0.mp4"):
        read_run(tmp_path, rows, cfg.video)
    with pytest.raises(FileNotFoundError, match="expected a folder of mp4 files"):
        check_run(tmp_path / "none", rows, cfg.video)


def test_one_missing_video_is_never_passed_over(run, rows, cfg):
    (run / "b-seed0.mp4").unlink()
    assert found(run, rows, cfg) == [("missing", "b-seed0.mp4")]
    with pytest.raises(RunError, match="missing: b-seed0.mp4"):
        read_run(run, rows, cfg.video)
    assert [video.id for video in read_run(run, rows, cfg.video, allow={"missing"})] == ["a", "c"]


def test_videos_of_no_clip_and_of_other_seeds_are_extra(run, rows, cfg):
    shutil.copy(run / "a-seed0.mp4", run / "z.mp4")
    shutil.copy(run / "a-seed0.mp4", run / "a-seed7.mp4")
    (run / "made_from.json").write_text("{}")
    (run / "older").mkdir()
    assert found(run, rows, cfg) == [("extra", "a-seed7.mp4"), ("extra", "z.mp4")]
    assert len(list(read_run(run, rows, cfg.video, allow={"extra"}))) == 3


@pytest.mark.parametrize("second", ["a.mp4", "a-seed0.MP4", "A-seed0.mp4", "a-seed0.avi", "a-seed00.mp4"])
def test_two_files_for_one_video_are_duplicates(run, rows, cfg, second):
    shutil.copy(run / "a-seed0.mp4", run / second)
    assert found(run, rows, cfg) == [("duplicate", "a-seed0.mp4")]
    (finding,) = check_run(run, rows, cfg.video).findings
    assert second in finding.got and "a-seed0.mp4" in finding.got


@pytest.mark.parametrize(
    ("name", "do"), [("A-seed0.mp4", "rename"), ("a-seed0.avi", "convert"), ("a-seed00.mp4", "rename")]
)
def test_a_name_that_is_nearly_right_is_not_taken(run, rows, cfg, name, do):
    (run / "a-seed0.mp4").rename(run / name)
    (finding,) = check_run(run, rows, cfg.video).findings
    assert (finding.reason, finding.got, finding.pair) == ("wrong_name", name, Pair("a", 0))
    assert finding.do.startswith(do)


@pytest.mark.parametrize("num_frames", [FRAMES - 1, FRAMES + 1, 1])
def test_wrong_length(run, rows, cfg, num_frames):
    write_video(run / "c-seed0.mp4", moving(num_frames))
    (finding,) = check_run(run, rows, cfg.video).findings
    assert (finding.reason, finding.name) == ("wrong_length", "c-seed0.mp4")
    assert (finding.got, finding.expected) == (f"{num_frames} frames", "9")


@pytest.mark.parametrize("fps", [7, 7.99, 16, 24])
def test_wrong_rate(run, rows, cfg, fps):
    write_video(run / "b-seed0.mp4", moving(), fps=fps)
    wrong = [] if fps == 7.99 else [("wrong_fps", "b-seed0.mp4")]
    assert found(run, rows, cfg) == wrong
    if wrong:
        (finding,) = check_run(run, rows, cfg.video).findings
        assert f"got {fps} fps; expected 8 fps" in str(finding)


def test_frames_at_uneven_times(run, rows, cfg):
    path = run / "b-seed0.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=8)
        stream.height, stream.width = SIZE
        stream.codec_context.time_base = Fraction(1, 80)
        for k, picture in enumerate(moving().permute(0, 2, 3, 1).numpy()):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = 10 * k + 4 * (k == 5), Fraction(1, 80)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    (finding,) = check_run(run, rows, cfg.video).findings
    assert (finding.reason, finding.got) == ("wrong_fps", "frames at uneven times")


def test_wrong_length_and_rate_are_both_told(run, rows, cfg):
    write_video(run / "b-seed0.mp4", moving(5), fps=24)
    assert found(run, rows, cfg) == [("wrong_length", "b-seed0.mp4"), ("wrong_fps", "b-seed0.mp4")]


def test_files_that_cannot_be_read(run, rows, cfg):
    (run / "a-seed0.mp4").write_bytes(b"no video at all")
    (run / "b-seed0.mp4").write_bytes(b"")
    whole = (run / "c-seed0.mp4").read_bytes()
    (run / "c-seed0.mp4").write_bytes(whole[: len(whole) // 2])
    reasons = {name: reason for reason, name in found(run, rows, cfg)}
    assert reasons == dict.fromkeys(("a-seed0.mp4", "b-seed0.mp4", "c-seed0.mp4"), "unreadable")
    with pytest.raises(RunError, match="unreadable"):
        read_run(run, rows, cfg.video)


def test_damage_inside_is_found_by_decoding_and_stops_reading(run, rows, cfg):
    data = bytearray((run / "a-seed0.mp4").read_bytes())
    start = data.index(b"mdat") + 4
    data[start : start + 900] = bytes(900)
    (run / "a-seed0.mp4").write_bytes(data)
    assert found(run, rows, cfg) == [("unreadable", "a-seed0.mp4")]
    with pytest.raises(RunError, match="a-seed0.mp4"):
        list(read_run(run, rows, cfg.video))
    kept = read_run(run, rows, cfg.video, allow={"unreadable"})
    assert [video.id for video in kept] == ["b", "c"]


def test_another_size_is_resized_as_a_whole_and_recorded(tmp_path, rows, cfg):
    run = write_run(tmp_path / "run", size=(64, 64))
    report = check_run(run, rows, cfg.video)
    assert (report.is_fine, report.size, report.is_resized) == (True, (64, 64), True)
    frames = next(read_run(run, rows, cfg.video)).frames
    assert frames.shape == (FRAMES, 3, *SIZE)
    assert frames.float().std(dim=(1, 2, 3)).max() < 2, "no black sides"
    assert found(run, rows, cfg, resize=False) == [("wrong_size", f"{name}-seed0.mp4") for name in "abc"]


def test_one_run_has_one_size_and_no_upright_videos(run, rows, cfg):
    write_video(run / "b-seed0.mp4", moving(size=(64, 64)))
    assert found(run, rows, cfg) == [("wrong_size", "b-seed0.mp4")]
    upright = write_run(run.parent / "upright", size=(64, 32))
    assert {reason for reason, _ in found(upright, rows, cfg)} == {"wrong_size"}
    assert read_clip(upright / "a-seed0.mp4", **cfg.video.shape).content[1] > 0, "it would get black sides"


def test_requests_that_make_no_sense(run, rows, cfg):
    with pytest.raises(ValueError, match="got 0 clips and 1 seeds"):
        check_run(run, [], cfg.video)
    with pytest.raises(ValueError, match="got 3 clips and 0 seeds"):
        check_run(run, rows, cfg.video, seeds=())
    with pytest.raises(ValueError, match="that repeat"):
        check_run(run, [*rows, rows[0]], cfg.video)
    twin = ClipRow(id="a-seed1", path=rows[0].path, caption="")
    with pytest.raises(ValueError, match="got clip 'a-seed1' beside 'a'"):
        check_run(run, [*rows, twin], cfg.video)
