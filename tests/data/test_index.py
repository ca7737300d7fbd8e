"""The index file: what it accepts, and how it says what is wrong."""

import json
from pathlib import Path

import pytest

from semrepa.data.index import ClipRow, read_index, write_index


def index_of(folder: Path, *lines: dict | str, videos: tuple[str, ...] = ("a.mp4", "b.mp4")) -> Path:
    """Write an index with these lines beside empty video files."""
    for name in videos:
        (folder / name).touch()
    path = folder / "index.jsonl"
    path.write_text(
        "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines), encoding="utf-8"
    )
    return path


def test_two_fields_are_enough(tmp_path: Path) -> None:
    (row,) = read_index(index_of(tmp_path, {"path": "a.mp4", "caption": "Someone waves."}, ""))
    assert row == ClipRow(id="a", path=tmp_path / "a.mp4", caption="Someone waves.")
    assert (row.split, row.start, row.seed, row.identity) == ("train", 0.0, None, None)


def test_default_id_is_a_safe_file_name(tmp_path: Path) -> None:
    (row,) = read_index(
        index_of(tmp_path, {"path": "my é clip.mp4", "caption": ""}, videos=("my é clip.mp4",))
    )
    assert row.id == "my_clip"


def test_written_rows_are_read_back(tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "a.mp4").touch()
    rows = [
        ClipRow(
            id="one", path=tmp_path / "videos" / "a.mp4", caption="Une femme à la fenêtre.", identity=4,
            seed=7, split="heldout", start=1.5, licence="CC0-1.0", world={"identity": 4, "shot": "half"},
        ),
        ClipRow(id="two", path=tmp_path / "videos" / "a.mp4", caption=""),
    ]  # fmt: skip
    path = write_index(tmp_path / "lists" / "index.jsonl", rows)
    assert json.loads(path.read_text().splitlines()[1]) == {
        "id": "two", "path": "../videos/a.mp4", "caption": "", "split": "train",
    }  # fmt: skip
    again = read_index(path)
    assert [row.path.resolve() for row in again] == [row.path for row in rows]
    assert [vars(row) | {"path": None} for row in again] == [vars(row) | {"path": None} for row in rows]
    assert [p.name for p in path.parent.iterdir()] == ["index.jsonl"]


GOOD = {"path": "a.mp4", "caption": "x"}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{'path'}", "line 2: got no valid JSON"),
        ("[1]", "line 2: got list; expected an object"),
        ({"path": "b.mp4"}, "line 2: got no field 'caption'"),
        (GOOD | {"captoin": "y"}, "line 2: got unknown field 'captoin'; did you mean 'caption'"),
        (GOOD | {"zzz": 1}, "line 2: got unknown field 'zzz'; known fields are id, path"),
        (GOOD | {"split": "test"}, "line 2: split: got 'test'; expected one of train, heldout"),
        (GOOD | {"start": -1}, "line 2: start: got -1; expected seconds"),
        (GOOD | {"start": True}, "line 2: start: got True"),
        (GOOD | {"seed": 1.5}, "line 2: seed: got 1.5; expected a whole number"),
        (GOOD | {"identity": []}, r"line 2: identity: got \[\]"),
        (GOOD | {"id": "a/b"}, "line 2: id: got 'a/b'; expected letters"),
        (GOOD | {"world": "half"}, "line 2: world: got 'half'; expected an object"),
        (GOOD, r"line 2: got id 'a' again \(first on line 1\)"),
    ],
)
def test_wrong_lines_are_named(tmp_path: Path, line: dict | str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_index(index_of(tmp_path, GOOD, line))


def test_all_problems_come_at_once(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"12 wrong.*\n  line 1: .*(\n.*){9}\n  and 2 more") as caught:
        read_index(index_of(tmp_path, *["nonsense"] * 12))
    assert "line 10" in str(caught.value)


def test_empty_and_missing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"got empty index .*; expected one JSON object per clip"):
        read_index(index_of(tmp_path, "", ""))
    with pytest.raises(FileNotFoundError, match="expected an existing JSONL file"):
        read_index(tmp_path / "other.jsonl")
    with pytest.raises(FileNotFoundError, match=r"2 missing videos(.|\n)*c\.mp4\n.*d\.mp4"):
        read_index(index_of(tmp_path, GOOD, *({"path": f"{name}.mp4", "caption": ""} for name in "cd")))


def test_some_videos_may_have_gone_meanwhile(tmp_path: Path) -> None:
    index = index_of(tmp_path, GOOD, {"path": "gone.mp4", "caption": ""})
    (tmp_path / "a.mp4").write_bytes(b"x")
    assert [row.id for row in read_index(index, allow_missing=True)] == ["a", "gone"]
    with pytest.raises(FileNotFoundError, match="1 missing videos"):
        read_index(index)
    (tmp_path / "a.mp4").unlink()
    with pytest.raises(FileNotFoundError, match="2 missing videos"):
        read_index(index, allow_missing=True)
