"""Plain folders and lists of clips: captions, ids, sides, and what is wrong with them."""

import json
import os

import pytest

from semrepa.data.index import read_index
from tests.data.archives import lines, problems, run


@pytest.fixture
def videos(tmp_path):
    folder = tmp_path / "videos"
    folder.mkdir()
    return folder


def place(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"video")


def index_of(tmp_path, *words):
    """Exit status, rows by path, and the problems file."""
    out = tmp_path / "index.jsonl"
    status = run(*words, "--out", out)
    rows = {line["path"]: line for line in lines(out)} if out.is_file() else None
    return status, rows, tmp_path / "index.problems.jsonl"


def test_captions_beside_videos(tmp_path, videos):
    place(videos, "a.mp4", "sub/b.MOV", "sub/c d é.webm", "e.mp4", ".hidden.mp4", ".git/x.mp4", "notes.txt")
    (videos / "a.txt").write_text("\ufeff A woman\nwaves. \n", encoding="utf-8")
    (videos / "sub" / "b.json").write_text('{"text": "B", "identity": 4, "start": 1.5, "other": 1}')
    (videos / "sub" / "c d é.webm.txt").write_text("C")
    (videos / "e.mp4.json").write_text('{"caption": "E", "licence": "MIT", "split": "heldout"}')
    status, rows, _ = index_of(tmp_path, "folder", videos, "--licence", "CC0-1.0")
    assert status == 0
    assert list(rows) == ["videos/a.mp4", "videos/e.mp4", "videos/sub/b.MOV", "videos/sub/c d é.webm"]
    assert rows["videos/a.mp4"] == {
        "id": "a", "path": "videos/a.mp4", "caption": "A woman\nwaves.", "split": "train",
        "licence": "CC0-1.0",
    }  # fmt: skip
    assert (rows["videos/sub/b.MOV"]["identity"], rows["videos/sub/b.MOV"]["start"]) == (4, 1.5)
    assert (rows["videos/e.mp4"]["licence"], rows["videos/e.mp4"]["split"]) == ("MIT", "heldout")
    assert len(read_index(tmp_path / "index.jsonl")) == 4


def test_missing_and_unreadable_captions_are_reported(tmp_path, videos):
    place(videos, "good.mp4", "none.mp4", "empty.mp4", "broken.mp4", "list.mp4", "latin.mp4", "wrong.mp4")
    (videos / "good.txt").write_text("Good.")
    (videos / "empty.txt").write_text(" \n")
    (videos / "broken.json").write_text("{")
    (videos / "list.json").write_text("[]")
    (videos / "latin.txt").write_bytes("\xe9".encode("latin-1"))
    place(videos, "half.mp4")
    (videos / "half.json").write_text('{"caption": "half a pair \\ud83d"}')
    (videos / "wrong.json").write_text('{"caption": "w", "split": "test"}')
    status, rows, found = index_of(tmp_path, "folder", videos)
    assert (status, list(rows)) == (1, ["videos/good.mp4"])
    kinds = {line["name"]: line["kind"] for line in lines(found)}
    assert kinds.pop("half.mp4") == "unreadable_caption"
    assert kinds == {
        "none.mp4": "no_caption", "empty.mp4": "empty_caption", "broken.mp4": "unreadable_caption",
        "list.mp4": "unreadable_caption", "latin.mp4": "unreadable_caption", "wrong.mp4": "wrong_fields",
    }  # fmt: skip
    rows = index_of(tmp_path, "folder", videos, "--keep-uncaptioned")[1]
    assert [row["caption"] for row in rows.values()] == ["", "Good.", ""]


def test_ids_do_not_depend_on_other_folders(tmp_path, videos):
    place(
        videos,
        "x/one.mp4",
        "y/one.mp4",
        "y/One.mp4",
        "y/two.mp4",
        "y/my clip.mp4",
        "日本.mp4",
        "Pair.mp4",
        "z/pair.mp4",
    )
    first = index_of(tmp_path, "folder", videos, "--keep-uncaptioned")[1]
    ids = {path: row["id"] for path, row in first.items()}
    assert len({name.lower() for name in ids.values()}) == 8  # also where case is not told apart
    assert ids["videos/y/two.mp4"] == "two"
    assert ids["videos/x/one.mp4"].startswith("one-")
    assert ids["videos/日本.mp4"].startswith("clip-")
    place(videos, "a/first.mp4", "y/also my clip.mp4")
    second = index_of(tmp_path, "folder", videos, "--keep-uncaptioned")[1]
    assert {path: second[path]["id"] for path in ids} == ids


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_a_file_of_captions(tmp_path, videos, kind):
    place(videos, "a.mp4", "sub/b.mp4", "x/c.mp4", "y/c.mp4", "z.mp4")
    (videos / "a.txt").write_text("beside")
    rows = [
        ("./a.mp4", "A"),
        ("b.mp4", "B"),
        ("x/c.mp4", "XC"),
        ("c.mp4", "?"),
        ("gone.mp4", "G"),
        ("a.mp4", "A2"),
    ]
    path = tmp_path / f"captions.{kind}"
    if kind == "csv":
        path.write_text("file_name,text\n" + "".join(f"{name},{text}\n" for name, text in rows))
    else:
        path.write_text("".join(json.dumps({"file_name": n, "text": t}) + "\n" for n, t in rows) + "[]\n")
    status, found, report = index_of(tmp_path, "folder", videos, "--captions", path)
    assert status == 1
    assert {name: row["caption"] for name, row in found.items()} == {
        "videos/a.mp4": "A", "videos/sub/b.mp4": "B", "videos/x/c.mp4": "XC",
    }  # fmt: skip
    assert problems(report, "caption_without_video") == ["c.mp4", "gone.mp4"]
    assert problems(report, "no_caption") == ["z.mp4", "y/c.mp4"]
    assert problems(report, "duplicate_row") == ["a.mp4"]
    assert problems(report, "no_json_object") == ([] if kind == "csv" else ["line 7"])


def test_links_and_odd_names(tmp_path, videos):
    place(videos, "a.mp4")
    (videos / "loop").symlink_to(videos, target_is_directory=True)
    (videos / "b.mp4").symlink_to(videos / "a.mp4")
    try:
        (videos / os.fsdecode(b"bad\xff.mp4")).write_bytes(b"")
    except OSError:
        pytest.skip("the file system takes only UTF-8 names")
    status, rows, found = index_of(tmp_path, "folder", videos, "--keep-uncaptioned")
    assert (status, list(rows)) == (1, ["videos/a.mp4", "videos/b.mp4"])
    assert len(problems(found, "name_not_utf8")) == 1


def test_sides_of_a_folder(tmp_path, videos):
    place(videos, *(f"film{n}_scene-{m:03d}.mp4" for n in range(40) for m in range(3)))
    words = ["folder", videos, "--keep-uncaptioned", "--heldout", "0.3"]
    rows = index_of(tmp_path, *words)[1]
    sides = {}
    for row in rows.values():
        sides.setdefault(row["id"].split("_")[0], set()).add(row["split"])
    assert {len(found) for found in sides.values()} == {1}
    assert 3 <= sum(found == {"heldout"} for found in sides.values()) <= 22
    rows = index_of(tmp_path, *words, "--source-pattern", r"^(film\d)")[1]
    sides = {}
    for row in rows.values():
        sides.setdefault(row["id"][:5], set()).add(row["split"])
    assert {len(found) for found in sides.values()} == {1}


def test_nothing_usable_is_bad_input(tmp_path, videos, capsys):
    assert index_of(tmp_path, "folder", videos)[:2] == (2, None)
    assert "got no clip that can be used" in capsys.readouterr().err
    assert index_of(tmp_path, "folder", tmp_path / "none")[0] == 2
    assert "expected an existing folder" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        run("folder", videos, "--out", tmp_path / "i.jsonl", "--heldout", "2")


def test_a_bad_run_leaves_the_old_index(tmp_path, videos):
    place(videos, "a.mp4")
    (videos / "a.txt").write_text("A")
    assert index_of(tmp_path, "folder", videos)[0] == 0
    (videos / "a.txt").unlink()
    status, rows, _ = index_of(tmp_path, "folder", videos)
    assert (status, len(rows)) == (2, 1)


def test_list_passes_with_checks(tmp_path, videos):
    place(videos, "a.mp4", "b.mp4", "film_clip1.mp4", "film_clip2.mp4")
    clips = [
        {"path": "a.mp4", "caption": "A", "world": {"shot": "half"}, "seed": 1},
        {"path": "a.mp4", "caption": "A later", "start": 6.125},
        {"path": "a.mp4", "caption": "A at last", "start": 9},
        {"path": "b.mp4", "caption": "B", "id": "a"},
        {"path": "b.mp4", "caption": " "},
        {"path": "gone.mp4", "caption": "G"},
        {"path": "film_clip1.mp4", "caption": "F", "split": "train"},
        {"path": "film_clip2.mp4", "caption": "F", "split": "heldout"},
        {"path": "b.mp4", "captoin": "B"},
        {"path": "b.mp4", "caption": "half a pair \ud83d"},
    ]
    path = videos / "list.jsonl"
    path.write_bytes("".join(json.dumps(clip) + "\n" for clip in clips).encode() + b'\n{\n"\xff"\n')
    out = tmp_path / "out" / "index.jsonl"
    out.parent.mkdir()
    assert run("jsonl", path, "--out", out) == 1
    rows = read_index(out)
    assert [(row.path.resolve().name, row.start, row.split) for row in rows] == [
        ("a.mp4", 0, "train"), ("a.mp4", 6.125, "train"), ("a.mp4", 9, "train"),
        ("film_clip1.mp4", 0, "train"), ("film_clip2.mp4", 0, "heldout"),
    ]  # fmt: skip
    assert (rows[0].id, rows[0].world, rows[0].seed) == ("a", {"shot": "half"}, 1)
    assert rows[1].id.startswith("a-")
    kinds = {(line["kind"], line["name"]) for line in lines(out.with_name("index.problems.jsonl"))}
    assert kinds == {
        ("duplicate_id", "a"), ("empty_caption", "b"), ("missing_video", "gone"), ("wrong_line", "line 9"),
        ("wrong_line", "line 10"), ("wrong_line", "line 12"), ("wrong_line", "line 13"),
        ("source_on_both_sides", "/film"),
    }  # fmt: skip


def test_list_is_split_by_video(tmp_path, videos):
    place(videos, *(f"v{n}.mp4" for n in range(30)))
    path = videos / "list.jsonl"
    clips = [{"path": f"v{n}.mp4", "caption": "x", "start": s} for n in range(30) for s in (0, 6)]
    path.write_text("".join(json.dumps(clip) + "\n" for clip in clips))
    assert run("jsonl", path, "--out", tmp_path / "index.jsonl", "--heldout", "0.5") == 0
    sides = {}
    for row in read_index(tmp_path / "index.jsonl"):
        sides.setdefault(row.path.name, []).append(row.split)
    assert {len(set(found)) for found in sides.values()} == {1}
    assert {found[0] for found in sides.values()} == {"train", "heldout"}
