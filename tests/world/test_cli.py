"""The command line: one clip to one mp4, and clear messages."""

import pytest

from semrepa.world.__main__ import main


def test_a_clip_becomes_an_mp4(tmp_path, capsys):
    video = pytest.importorskip("semrepa.data.video")
    out = tmp_path / "clip.mp4"
    assert main(["--seed", "7", "--size", "48x72", "--frames", "3", "--out", str(out)]) == 0
    info = video.probe(out)
    assert (info.height, info.width) == (48, 72)
    assert str(out) in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out", "clip.avi"], "expected a file ending in .mp4"),
        (["--out", "missing/clip.mp4"], "expected an existing folder"),
        (["--out", "c.mp4", "--size", "480"], "expected HEIGHTxWIDTH"),
        (["--out", "c.mp4", "--size", "31x48"], "expected even sides"),
        (["--out", "c.mp4", "--size", "48x32"], "expected wider than tall"),
        (["--out", "c.mp4", "--motion", "fly"], "invalid choice"),
        (["--out", "c.mp4", "--frames", "0"], "num_frames: got 0"),
    ],
)
def test_messages(arguments, message, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err
