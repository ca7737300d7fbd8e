"""The command: from folders of videos to a report, and what it says when they are not as they should be."""

import json
import re

import pyarrow.parquet as pq
import pytest
from PIL import Image

from semrepa.data.video import write_video
from semrepa.evaluation.__main__ import main
from semrepa.ui import report_page
from tests.runs.clips import moving, write_clips, write_run

SIZE = ["-o", "video.num_frames=9", "-o", "video.height=32", "-o", "video.width=48"]
NETWORK = r"<(?:script|link|img|iframe)[^>]+(?:src|href)=[\"'](?:https?:)?//"


@pytest.fixture
def world(tmp_path):
    """An index, and the run of a base model that says what made it."""
    write_clips(tmp_path)
    said(write_run(tmp_path / "base"))
    return tmp_path


@pytest.fixture
def plain_page(monkeypatch):
    """A report without figures, which take their time."""
    monkeypatch.setattr(report_page, "report_figures", lambda _: {})


def said(folder, kind="mini"):
    record = {"model": "base", "kind": kind, "weights": {"model": "0" * 64}, "sampling": {"steps": 2}}
    (folder / "made_from.json").write_text(json.dumps(record))
    return folder


def ours(world, **settings):
    """A second run whose videos are brighter."""
    folder = write_run(world / "ours")
    for place, name in enumerate(("a", "b", "c")):
        write_video(folder / f"{name}-seed0.mp4", moving(value=10 * place + 25, **settings))
    return said(folder)


def report(world, *more, runs=("base", "ours")):
    folders = [str(world / name) for name in runs]
    where = ["--index", str(world / "index.jsonl"), "--out", str(world / "report"), "--scores", "pixels"]
    return main([*folders, *where, *SIZE, *more])


def test_report_has_tables_figures_clips_and_every_video(world, capsys):
    ours(world)
    assert report(world) == 0
    folder = world / "report"
    names = {file.name for file in folder.iterdir()}
    assert names == {
        *("index.html", "table.md", "table.tex", "scores.parquet"),
        *("paired.png", "distributions.png", "gains_ssim.png"),
    }
    page = (folder / "index.html").read_text()
    assert not re.search(NETWORK, page)
    assert page.count('class="scrub"') == 2 and "ours, worst by ssim" in page
    assert "paper: SemanticREPA" in page and "0.6339" in page
    rows = pq.read_table(folder / "scores.parquet").to_pylist()
    assert [(row["arm"], row["video"]) for row in rows] == [
        (name, f"{clip}-seed0") for name in ("truth", "base", "ours") for clip in "abc"
    ]
    assert {row["weights"] for row in rows} == {"mini"} and {row["problem"] for row in rows} == {""}
    assert rows[3]["psnr"] > rows[6]["psnr"] > 5
    assert Image.open(folder / "paired.png").width > 500
    assert re.search(r"ours - base \|\n.*\n(?:.*\n)?\| ssim +\| +-\d", (folder / "table.md").read_text())
    assert "scored in" in capsys.readouterr().out


def break_wrong_length(world):
    write_video(world / "ours" / "b-seed0.mp4", moving(num_frames=8))


def break_missing(world):
    (world / "ours" / "b-seed0.mp4").unlink()


def break_duplicate(world):
    write_video(world / "ours" / "b.mp4", moving())


def break_unreadable(world):
    (world / "ours" / "b-seed0.mp4").write_bytes(b"no video")


def break_empty(world):
    for file in (world / "ours").glob("*.mp4"):
        file.unlink()


@pytest.mark.parametrize(
    ("damage", "reason", "message"),
    [
        (break_wrong_length, "wrong_length", "ours: wrong_length: b-seed0.mp4: got 8 frames; expected 9"),
        (break_missing, "missing", "ours: missing: b-seed0.mp4: got no such file"),
        (break_duplicate, "duplicate", "got 2 files: b-seed0.mp4, b.mp4"),
        (break_unreadable, "unreadable", "ours: unreadable: b-seed0.mp4"),
    ],
)
def test_broken_runs_stop_or_are_left_out_of_all_runs(world, capsys, plain_page, damage, reason, message):
    ours(world)
    damage(world)
    assert report(world) == 2
    assert message in capsys.readouterr().err
    assert not (world / "report").exists()
    assert report(world, "--allow", reason) == 1
    assert f"ours: b-seed0: {reason.replace('_', ' ')}: got" in capsys.readouterr().out
    rows = pq.read_table(world / "report" / "scores.parquet").to_pylist()
    told = {(row["arm"], row["video"]): row["problem"] for row in rows if row["problem"]}
    assert {*told} == {("ours", "b-seed0"), ("base", "b-seed0")}
    assert told["ours", "b-seed0"].startswith(reason.replace("_", " "))
    assert "cannot be scored in ours" in told["base", "b-seed0"]
    lost = [row for row in rows if row["problem"]]
    assert all(row["psnr"] is None and row["weights"] is None for row in lost)
    table = (world / "report" / "table.md").read_text()
    assert "Means over 2 clips" in table and "b-seed0" in table


def test_empty_folder_is_never_a_mean(world, capsys):
    ours(world)
    break_empty(world)
    assert report(world) == 2
    assert "3 problems" in capsys.readouterr().err
    assert report(world, "--allow", "missing") == 2
    assert "no video that all runs have" in capsys.readouterr().err


def test_kinds_come_from_the_records_and_are_never_mixed(world, capsys, plain_page):
    said(ours(world), kind="real")
    assert report(world) == 2
    assert "mixed kinds (mini: base; real: ours)" in capsys.readouterr().err
    (world / "ours" / "made_from.json").unlink()
    assert report(world) == 2
    assert "--kind ours=real" in capsys.readouterr().err
    assert report(world, "--kind", "ours=mini") == 0
    assert report(world, "--kind", "base=real", "--kind", "ours=mini") == 2
    assert "kind mini in its record and real given" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--baseline", "svd"], "got baseline 'svd'; expected one of base"),
        (["--scores", "pixels,beauty"], "got scores beauty; expected some of pixels"),
        (["--split", "train"], "got no clips of split train"),
        (["--every", "0"], "every=0"),
    ],
)
def test_senseless_requests_end_before_anything_is_scored(world, capsys, more, message):
    assert report(world, *more, runs=["base"]) == 2
    assert message in capsys.readouterr().err


def test_runs_need_names_of_their_own(world, capsys):
    assert main([str(world / "base"), str(world / "base"), "--out", str(world / "report")]) == 2
    assert "got run name 'base'" in capsys.readouterr().err
    assert main([f"truth={world / 'base'}", "--out", str(world / "report")]) == 2


def test_one_run_alone_has_no_differences(world):
    assert report(world, runs=["base"]) == 0
    text = (world / "report" / "table.md").read_text()
    assert "Paired differences" not in text and "base" in text
    assert not (world / "report" / "paired.png").exists()
