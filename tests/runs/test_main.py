"""The command: clear output and an exit status that a script can trust."""

import pytest

from semrepa.runs.__main__ import main
from tests.runs.clips import write_run


@pytest.fixture
def options(rows, cfg):
    """Index and config of the small clips."""
    values = {
        "video.num_frames": 9,
        "video.height": 32,
        "video.width": 48,
        "generate.num_inference_steps": 2,
        "model.weights": cfg.model.weights,
        "baselines.svd": cfg.baselines.svd,
        "baselines.i2vgen_xl": cfg.baselines.i2vgen_xl,
    }
    index = rows[0].path.parents[1] / "index.jsonl"
    return [
        "--index",
        str(index),
        *(word for pair in values.items() for word in ("-o", "{}={}".format(*pair))),
    ]


def test_check_says_that_all_is_fine(options, tmp_path, capsys):
    run = write_run(tmp_path / "run", size=(64, 64))
    assert main(["check", str(run), *options]) == 0
    shown = capsys.readouterr().out
    assert shown == (
        "3 of 3 videos can be scored: 9 frames at 8 fps, 64x64, resized to 32x48; nothing is wrong\n"
    )
    assert main(["check", str(run), "--no-resize", *options]) == 1


def test_check_lists_what_is_wrong(options, tmp_path, capsys):
    run = write_run(tmp_path / "run", ids=("a", "b", "d"))
    (run / "b-seed0.mp4").write_bytes(b"nothing")
    assert main(["check", str(run), *options]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines[:-1]] == ["missing", "extra", "unreadable"]
    assert all("got" in line and "expected" in line for line in lines[:-1])
    assert (
        lines[-1].startswith("1 of 3 videos can be scored")
        and "1 missing, 1 extra, 1 unreadable" in lines[-1]
    )
    assert main(["check", str(run), "--clips", "1", *options]) == 1
    assert "2 extra" in capsys.readouterr().out


def test_seeds_are_those_of_the_config(options, tmp_path):
    run = write_run(tmp_path / "run", seeds=(1, 2))
    assert main(["check", str(run), *options, "-o", "generate.seeds=[1,2]"]) == 0
    assert main(["check", str(run), *options]) == 1


@pytest.mark.parametrize("model", ["base", "svd", "i2vgen-xl"])
def test_generate_makes_and_checks(options, tmp_path, capsys, model):
    out = tmp_path / "run"
    small = [] if model == "base" else ["--size", "32x48", "--steps", "2", "--overlap", "1"]
    assert main(["generate", "--model", model, "--out", str(out), "--clips", "2", *small, *options]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[:2] == ["1 of 2: a-seed0.mp4", "2 of 2: b-seed0.mp4"]
    assert shown[2] == "2 of 2 videos can be scored: 9 frames at 8 fps, 32x48; nothing is wrong"
    assert sorted(path.name for path in out.iterdir()) == ["a-seed0.mp4", "b-seed0.mp4", "made_from.json"]


def test_bad_requests(options, tmp_path, capsys):
    out = ["--out", str(tmp_path / "out")]
    for arguments, hint in [
        (["check", str(tmp_path / "none"), *options], "expected a folder of mp4 files"),
        (["check", str(tmp_path), *options, "-o", "video.high=3"], "video.high"),
        (["check", str(tmp_path), *options, "--split", "train"], "got no clips of split train"),
        (["check", str(tmp_path), "--index", str(tmp_path / "no.jsonl")], "got index"),
        (["generate", "--model", "finetuned", *out, *options], "without a transformer"),
        (["generate", "--model", "svd", *out, "-o", f"baselines.svd={tmp_path}"], "without vae/config.json"),
    ]:
        assert main(arguments) == 2
        assert hint in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["generate", "--model", "seine", "--out", "o"], "invalid choice: 'seine'"),
        (["generate", "--model", "svd"], "--out"),
        (["generate", "--model", "svd", "--out", "o", "--size", "480"], "expected height x width"),
        ([], "command"),
    ],
)
def test_bad_command_lines(words, hint, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(words)
    assert stopped.value.code == 2
    assert hint in capsys.readouterr().err
