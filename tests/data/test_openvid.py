"""OpenVid-1M: reading archives where they lie, joining both ways, planning, extracting."""

import io
import json
import os
import random
import unicodedata
import warnings
import zipfile

import pytest

from semrepa.data.index import read_index
from semrepa.data.ingest.archives import BrokenPartError, opened
from semrepa.data.ingest.extract import is_complete
from semrepa.data.ingest.names import clip_id, join_key, source_of, split_of, unsafe_reason
from semrepa.data.ingest.pieces import SplitFile, find_parts
from semrepa.data.ingest.tables import parse_condition, read_csv
from semrepa.files import whole_file
from tests.data.archives import HEADER, A, B, C, contents, cut, lines, problems, run, table, zipped


@pytest.fixture
def parts(tmp_path):
    folder = tmp_path / "parts"
    folder.mkdir()
    return folder


def join(tmp_path, parts, rows, *more, csv=None):
    """Exit status, index lines and problems of the command openvid."""
    path = csv or table(tmp_path / "OpenVid-1M.csv", rows)
    out = tmp_path / "all.jsonl"
    status = run("openvid", path, "--parts", parts, "--videos", tmp_path / "videos", "--out", out, *more)
    return status, lines(out) if out.is_file() else None, tmp_path / "all.problems.jsonl"


def test_split_file_reads_like_the_whole(tmp_path):
    data = contents("x", 1000)
    cut(tmp_path / "x", data, 1, 1, 400)  # one piece is empty
    files = sorted(tmp_path.iterdir())
    draw = random.Random(0)
    with SplitFile(files) as split:
        assert split.seek(0, io.SEEK_END) == 1000
        assert split.read(1) == b""
        split.seek(0)
        assert split.read() == data
        for _ in range(200):
            start, count = draw.randrange(1001), draw.randrange(700)
            with io.BufferedReader(SplitFile(files), 16) as buffered:
                buffered.seek(start)
                assert buffered.read(count) == data[start : start + count]
        with pytest.raises(OSError, match="position -1"):
            split.seek(-1)


@pytest.mark.parametrize("zip64", [False, True])
@pytest.mark.parametrize("style", ["whole", "_partaa", "_part_aa", ".zip.001"])
def test_members_of_whole_and_split_parts(tmp_path, parts, style, zip64):
    data = zipped([A, "panda/deep/" + B, "panda/", "readme.txt", "__MACOSX/._" + A], zip64=zip64)
    middle = len(data) // 3
    if style == "whole":
        (parts / "OpenVid_part7.zip").write_bytes(data)
    else:
        marks = ("1", "2") if style.endswith("1") else ("a", "b")
        for mark, piece in zip(marks, (data[:middle], data[middle:]), strict=True):
            (parts / f"OpenVid_part7{style[:-1]}{mark}").write_bytes(piece)
    out = tmp_path / "members.jsonl"
    assert run("members", parts, "--out", out) == 0
    head, *members = lines(out)
    assert head == {"part": "OpenVid_part7", "bytes": len(data), "problem": None}
    assert [(line["name"], line["size"]) for line in members] == [(A, 300), ("panda/deep/" + B, 300)]
    videos = tmp_path / "videos"
    (tmp_path / "names.txt").write_text(f"{A}\n{B}\n")
    assert run("extract", tmp_path / "names.txt", "--parts", parts, "--videos", videos) == 0
    assert (videos / A).read_bytes() == contents(A)
    assert (videos / B).read_bytes() == contents("panda/deep/" + B)
    assert sorted(file.name for file in videos.iterdir()) == sorted([A, B])


def test_names_of_parts(parts):
    for name in ("OpenVid_part100.zip", "OpenVid_part9.zip", "OpenVidHD_part_100.zip", "notes.txt"):
        (parts / name).touch()
    for name in ("OpenVidHD_part_1_part_ab", "OpenVidHD_part_1_part_aa", "OpenVid_part73_part000"):
        (parts / name).touch()
    found = {part.name: [file.name for file in part.files] for part in find_parts(parts)}
    assert list(found) == [
        "OpenVidHD_part_1", "OpenVidHD_part_100", "OpenVid_part9", "OpenVid_part73", "OpenVid_part100",
    ]  # fmt: skip
    assert found["OpenVidHD_part_1"] == ["OpenVidHD_part_1_part_aa", "OpenVidHD_part_1_part_ab"]
    assert found["OpenVid_part73"] == ["OpenVid_part73_part000"]


def damaged(data, how, parts):
    """One broken part in the folder."""
    third = len(data) // 3
    whole = parts / "OpenVid_part3.zip"
    {
        "truncated": lambda: whole.write_bytes(data[: -third // 2]),
        "empty": lambda: whole.write_bytes(b""),
        "pointer": lambda: whole.write_bytes(b"version https://git-lfs.github.com/spec/v1\n"),
        "page": lambda: whole.write_bytes(b"<!doctype html><p>404"),
        "text": lambda: whole.write_bytes(b"hello"),
        "last": lambda: cut(parts / "OpenVid_part3", data[: 2 * third], third),
        "middle": lambda: cut(parts / "OpenVid_part3", data, third, 2 * third),
        "first": lambda: cut(parts / "OpenVid_part3", data, third),
        "short": lambda: (parts / "OpenVid_part3_partaa").write_bytes(data[: third - 5]),
    }[how]()
    if how == "short":
        (parts / "OpenVid_part3_partab").write_bytes(data[third:])
    if how in ("middle", "first"):
        (parts / f"OpenVid_part3_parta{'b' if how == 'middle' else 'a'}").unlink()


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("truncated", "cut short after .* bytes"),
        ("empty", "empty"),
        ("pointer", "Git LFS pointer"),
        ("page", "a web page"),
        ("text", "first bytes are not PK"),
        ("last", "after OpenVid_part3_partab: it is cut short, or later pieces are missing"),
        ("middle", "piece 'ab' is missing"),
        ("first", "piece 'aa' is missing"),
        ("short", "is not where the directory says|broken zip"),
    ],
)
def test_a_broken_part_is_a_reason_not_a_crash(tmp_path, parts, how, reason):
    damaged(zipped([A, B], zip64=True), how, parts)
    (part,) = find_parts(parts)
    with pytest.raises(BrokenPartError, match=reason), opened(part):
        pass
    (parts / "OpenVid_part4.zip").write_bytes(zipped([C]))
    status, index, found = join(tmp_path, parts, [(A, "a"), (C, "c")])
    assert status == 1
    assert [line["path"] for line in index] == [f"videos/{C}"]
    assert problems(found, "broken_part") == ["OpenVid_part3"]
    assert problems(found, "not_in_parts") == [A]
    status = run("extract", tmp_path / "all.jsonl", "--parts", parts, "--videos", tmp_path / "videos")
    assert status == 1
    assert (tmp_path / "videos" / C).is_file()


def test_pieces_stand_in_for_a_broken_whole(tmp_path, parts):
    data = zipped([A])
    cut(parts / "OpenVid_part3", data, 99)
    (parts / "OpenVid_part3.zip").write_bytes(data[:150])
    status, index, _ = join(tmp_path, parts, [(A, "a")])
    assert (status, len(index)) == (0, 1)


def test_join_reports_misses_and_duplicates_of_both_sides(tmp_path, parts):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a name twice in one archive
        (parts / "OpenVid_part0.zip").write_bytes(zipped([f"a/{A}", B, f"b/{B}", "extra one.mp4", f"x/{C}"]))
    (parts / "OpenVid_part1.zip").write_bytes(zipped([(C, contents(f"x/{C}")), "late.mp4"]))
    rows = [(B, "b"), (A, "a"), ("gone.mp4", "g"), (A, "another"), (B, "b"), (C, "  "), ("late.mp4", "l")]
    status, index, found = join(tmp_path, parts, rows)
    assert status == 1
    assert [(line["id"], line["caption"]) for line in index] == [(B[:-4], "b"), (A[:-4], "a"), ("late", "l")]
    by_kind = {(line["kind"], line["name"]): line for line in lines(found)}
    assert set(by_kind) == {
        ("not_in_parts", "gone.mp4"), ("not_in_csv", "extra one.mp4"), ("duplicate_row", A),
        ("duplicate_row", B), ("duplicate_member", B), ("duplicate_member", C), ("empty_caption", C),
    }  # fmt: skip
    assert by_kind["duplicate_row", A]["same_caption"] == "no"
    assert by_kind["duplicate_row", B]["same_caption"] == "yes"
    assert by_kind["duplicate_member", B]["same_content"] == "no"
    assert by_kind["duplicate_member", C]["same_content"] == "yes"
    assert by_kind["duplicate_member", C]["parts"] == "OpenVid_part0 OpenVid_part1"


def test_summary_counts_and_shows_the_first_few(tmp_path, parts, capsys):
    (parts / "OpenVid_part0.zip").write_bytes(zipped([A, *(f"v{n}.mp4" for n in range(5))]))
    assert join(tmp_path, parts, [(A, "a")])[0] == 1
    said = capsys.readouterr().out
    assert "rows 1, joined 1" in said
    assert "parts of 186 not listed 185" in said
    assert "not_in_csv: 5: v0.mp4 (part OpenVid_part0" in said
    assert "v2.mp4" in said
    assert "v3.mp4" not in said


def test_unicode_and_spaces(tmp_path, parts):
    composed, decomposed = (unicodedata.normalize(form, "été à.mp4") for form in ("NFC", "NFD"))
    assert composed != decomposed
    plain = io.BytesIO()
    with zipfile.ZipFile(plain, "w") as archive:
        info = zipfile.ZipInfo("x" * len("日本 語.mp4".encode()))
        archive.writestr(info, b"raw")
    data = plain.getvalue().replace(info.filename.encode(), "日本 語.mp4".encode())  # UTF-8 without its flag
    (parts / "OpenVid_part0.zip").write_bytes(zipped([f"ü/{decomposed}", "back\\slash.mp4"]))
    (parts / "OpenVid_part1.zip").write_bytes(data)
    rows = [(composed, "été"), ("日本 語.mp4", "x"), ("slash.mp4", "s")]
    status, index, _ = join(tmp_path, parts, rows)
    assert (status, len(index)) == (0, 3)
    arguments = ["--parts", parts, "--videos", tmp_path / "videos", "--out", tmp_path / "index.jsonl"]
    assert run("extract", tmp_path / "all.jsonl", *arguments) == 0
    assert [row.caption for row in read_index(tmp_path / "index.jsonl")] == ["été", "x", "s"]
    assert (tmp_path / "videos" / "日本 語.mp4").read_bytes() == b"raw"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("header", [HEADER, HEADER.upper(), "caption,seconds,video", "", "clip,what"])
def test_csv_of_many_forms(tmp_path, header, encoding):
    caption = 'He says "hi",\nthen leaves.\u2028 É'
    rows = [(A, caption, 7), (B, caption, 9)]
    if header.startswith("caption"):
        rows = [(caption, 7, A), (caption, 9, B)]
    path = table(tmp_path / "t.csv", rows, header=header, encoding=encoding)
    assert [(row.name, row.caption, row.fault) for row in read_csv(path)] == [
        (A, caption, None), (B, caption, None),
    ]  # fmt: skip


def test_a_caption_with_odd_line_ends_survives_the_index(tmp_path, parts):
    caption = 'one\u2028two\x85three\n"four"'
    (parts / "OpenVid_part0.zip").write_bytes(zipped([A]))
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / A).touch()
    assert join(tmp_path, parts, [(A, caption)])[0] == 0
    assert [row.caption for row in read_index(tmp_path / "all.jsonl")] == [caption]


def test_faulty_rows_are_recorded(tmp_path, parts):
    (parts / "OpenVid_part0.zip").write_bytes(zipped([A, B, C]))
    text = f"{HEADER}\n{A},ok,1,1,1,x,1,1,7,1\n{B},\xff\xfe,1,1,1,x,1,1,7,1\nlonely\n,none,1\n"
    text += f"{C},c,1,1,1,x,1,1,many,1\n"
    (tmp_path / "t.csv").write_bytes(text.encode("latin-1"))
    status, index, found = join(tmp_path, parts, [], "--where", "seconds>=6", csv=tmp_path / "t.csv")
    assert status == 1
    assert [line["caption"] for line in index] == ["ok"]
    kinds = {line["kind"]: line["name"] for line in lines(found)}
    assert kinds == {
        "not_utf8": B, "too_few_columns": "lonely", "no_name": "line 5", "no_number_in_column": C,
    }  # fmt: skip


def test_a_quote_that_is_never_closed_is_found(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text(f'{HEADER}\n{A},"open\n{B},fine,1\n')
    assert [row.fault for row in read_csv(path)] == ["quote_never_closed"]
    path.write_text(f'{HEADER}\n{A},"open\n' + f"{B},{'long ' * 50},1\n" * 2000)
    with pytest.raises(ValueError, match="unreadable row near line .*expected every opened quote"):
        list(read_csv(path))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "expected columns video,caption"),
        (b"one\n", "expected columns video,caption"),
        ("video,caption\n".encode("utf-16"), "UTF-16; expected UTF-8"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"<!DOCTYPE html>", "a web page"),
        (b"PK\x03\x04", "a binary file"),
    ],
)
def test_what_is_no_table_is_bad_input(tmp_path, parts, capsys, content, message):
    (parts / "OpenVid_part0.zip").write_bytes(zipped([A]))
    (tmp_path / "t.csv").write_bytes(content)
    status, index, found = join(tmp_path, parts, [], csv=tmp_path / "t.csv")
    assert (status, index, found.exists()) == (2, None, False)
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--where", "secs>=6"], "without column 'secs'; expected one of video, caption, aesthetic score"),
        (["--keep", "fpss"], "without column 'fpss'"),
        (["--where", "seconds>=99"], "got no clip that can be used"),
    ],
)
def test_wrong_choices_are_bad_input(tmp_path, parts, capsys, arguments, message):
    (parts / "OpenVid_part0.zip").write_bytes(zipped([A]))
    status, index, _ = join(tmp_path, parts, [(A, "a")], *arguments)
    assert (status, index) == (2, None)
    assert message in capsys.readouterr().err
    assert not [file for file in tmp_path.iterdir() if file.name.startswith(".")]


def test_missing_folders_and_bad_conditions(tmp_path, parts, capsys):
    csv = table(tmp_path / "t.csv", [(A, "a")])
    out = ["--videos", tmp_path, "--out", tmp_path / "o.jsonl"]
    assert run("openvid", csv, "--parts", parts, *out) == 2
    assert "without zip files" in capsys.readouterr().err
    assert run("openvid", csv, "--members", tmp_path / "no.jsonl", *out) == 2
    assert "make it with the command members" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        run("openvid", csv, "--parts", parts, *out, "--where", "seconds")
    assert "expected COLUMN SIGN VALUE" in capsys.readouterr().err


def test_filters_and_kept_columns(tmp_path, parts):
    (parts / "OpenVid_part0.zip").write_bytes(zipped([A, B, C]))
    rows = [
        (A, "a", 5.5, 1, 1, "static", 1, 30, 8.0, 1),
        (B, "b", 4.0, 1, 1, "static", 1, 30, 9.0, 2),
        (C, "c", 6.5, 1, 1, "pan", 1, 30, 8.0, 3),
    ]
    where = ["--where", "Aesthetic Score >= 5", "--where", "camera motion==static"]
    status, index, _ = join(tmp_path, parts, rows, *where, "--keep", "fps", "--keep", "Seconds")
    assert status == 0  # filtered rows are no misses of the archives
    assert [line["caption"] for line in index] == ["a"]
    assert lines(tmp_path / "all.columns.jsonl") == [{"id": A[:-4], "fps": "30", "seconds": "8.0"}]


@pytest.mark.parametrize(
    ("sign", "cell", "holds"),
    [(">=", "6", True), (">=", "5.9", False), ("<", "6", False), ("==", "6.0", True), ("!=", "6", False)],
)
def test_conditions(sign, cell, holds):
    assert parse_condition(f"x y {sign} 6").holds(cell) is holds


def test_dry_run_writes_nothing(tmp_path, parts):
    (parts / "OpenVid_part0.zip").write_bytes(zipped([A]))
    before = sorted(tmp_path.rglob("*"))
    assert run("members", parts, "--out", tmp_path / "m.jsonl", "--dry-run") == 0
    assert join(tmp_path, parts, [(A, "a")], "--dry-run", "--keep", "fps")[0] == 0
    (tmp_path / "OpenVid-1M.csv").rename(tmp_path / "t.csv")
    out = ["--videos", tmp_path / "videos", "--dry-run"]
    assert run("extract", tmp_path / "t.csv", "--parts", parts, *out) == 0
    plan = ["--parts", parts, "--out", tmp_path / "plan.jsonl", "--dry-run"]
    assert run("plan", tmp_path / "t.csv", *plan) == 0
    assert sorted(tmp_path.rglob("*")) == sorted([*before, tmp_path / "t.csv"])


def members_file(path, parts):
    """A members file: part -> (bytes, names)."""
    records = [{"part": part, "bytes": size} for part, (size, _) in parts.items()]
    records += [{"part": part, "name": name} for part, (_, names) in parts.items() for name in names]
    path.write_text("\n".join(json.dumps(record) for record in records))
    return path


def test_plan_prefers_clips_per_byte_and_counts_shared_clips_once(tmp_path):
    many = [f"v{n}.mp4" for n in range(10)]
    members = members_file(
        tmp_path / "m.jsonl",
        {
            "big": (1000, [*many, "other.mp4"]),  # 10 wanted, 0.010 a byte
            "small": (100, many[:4]),  # 0.040
            "twin": (110, many[:4]),  # nothing new after small
            "half": (200, many[3:7]),  # 0.020 before small, 0.015 after
            "none": (1, ["unwanted.mp4"]),
        },
    )
    (tmp_path / "names.txt").write_text("\n".join([*many, *many]))
    out = tmp_path / "plan.jsonl"
    assert run("plan", tmp_path / "names.txt", "--members", members, "--out", out) == 1
    keys = ("part", "clips", "bytes", "total_clips", "total_bytes")
    assert [tuple(step[key] for key in keys) for step in lines(out)] == [
        ("small", 4, 100, 4, 100), ("half", 3, 200, 7, 300), ("big", 3, 1000, 10, 1300),
    ]  # fmt: skip
    run("plan", tmp_path / "names.txt", "--members", members, "--out", out, "--clips", 5)
    assert [step["part"] for step in lines(out)] == ["small", "half"]


def test_plan_from_index_or_table_and_what_cannot_be_had(tmp_path, capsys):
    members = members_file(tmp_path / "m.jsonl", {"one": (None, [A]), "two": (7, [f"sub/{B}"])})
    csv = table(tmp_path / "t.csv", [(A, "a", 1, 1, 1, "x", 1, 1, 2.0), (B, "b", 1, 1, 1, "x", 1, 1, 9.0)])
    out = tmp_path / "plan.jsonl"
    assert run("plan", csv, "--members", members, "--out", out, "--where", "seconds>6") == 0
    assert [step["part"] for step in lines(out)] == ["two"]
    index = tmp_path / "i.jsonl"
    index.write_text("".join(json.dumps({"path": f"v/{n}", "caption": ""}) + "\n" for n in (A, "gone.mp4")))
    assert run("plan", index, "--members", members, "--out", out, "--clips", 3) == 1
    assert [(step["part"], step["bytes"]) for step in lines(out)] == [("one", None)]
    assert problems(tmp_path / "plan.problems.jsonl", "not_in_parts") == ["gone.mp4"]
    assert problems(tmp_path / "plan.problems.jsonl", "too_few_clips") == ["1 of 3"]
    twice = members_file(tmp_path / "twice.jsonl", {"one": (1, [A]), "two": (1, [A])})
    assert run("plan", index, "--members", twice, "--out", out) == 1
    told = {line["kind"]: line for line in lines(tmp_path / "plan.problems.jsonl")}
    assert told["duplicate_member"]["same_content"] == "unknown"
    assert run("plan", index, "--members", members, "--where", "seconds>6") == 2
    assert "expected it with a .csv table" in capsys.readouterr().err
    (tmp_path / "m.jsonl").write_text('{"name": "x"}\n')
    assert run("plan", csv, "--members", members) == 2
    assert "got line 1" in capsys.readouterr().err


def test_plan_matches_exhaustive_greedy(tmp_path):
    draw = random.Random(3)
    names = [f"v{n}.mp4" for n in range(60)]
    parts = {f"p{n}": (draw.randint(50, 500), draw.sample(names, 15)) for n in range(12)}
    wanted = set(names[:40])
    members = members_file(tmp_path / "m.jsonl", parts)
    (tmp_path / "n.txt").write_text("\n".join(wanted))
    run("plan", tmp_path / "n.txt", "--members", members, "--out", tmp_path / "plan.jsonl")
    left, expected = set(wanted), []
    while gains := {p: len(left & set(held)) / size for p, (size, held) in parts.items() if left & set(held)}:
        best = max(gains, key=lambda p: (gains[p], -int(p[1:])))
        expected.append((best, len(left & set(parts[best][1]))))
        left -= set(parts[best][1])
    assert [(step["part"], step["clips"]) for step in lines(tmp_path / "plan.jsonl")] == expected


def test_extraction_goes_on_where_it_stopped(tmp_path, parts, monkeypatch):
    data = zipped([A, B, C], method=zipfile.ZIP_DEFLATED)
    cut(parts / "OpenVid_part0", data, len(data) // 2)
    (tmp_path / "names.txt").write_text(f"{A}\n{B}\n")
    arguments = ["extract", tmp_path / "names.txt", "--parts", parts, "--videos", tmp_path / "videos"]
    with monkeypatch.context() as patched:
        patched.setattr("shutil.copyfileobj", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left")))
        assert run(*arguments) == 2
    assert list((tmp_path / "videos").iterdir()) == []
    assert run(*arguments) == 0
    untouched, short, wrong = (tmp_path / "videos" / A), (tmp_path / "videos" / B), contents(A)[:-1] + b"?"
    times = untouched.stat().st_mtime_ns, untouched.stat().st_ino
    short.write_bytes(b"short")
    with monkeypatch.context() as patched:  # what was extracted whole is not read again
        patched.setattr("semrepa.data.ingest.extract.zlib.crc32", lambda *_: 1 / 0)
        assert run(*arguments) == 0
    assert (untouched.stat().st_mtime_ns, untouched.stat().st_ino) == times
    assert short.read_bytes() == contents(B)
    untouched.write_bytes(contents(A))  # a copy is read, and is fine
    assert run(*arguments) == 0 and untouched.stat().st_ino == times[1]
    untouched.write_bytes(wrong)  # right size, wrong contents
    assert run(*arguments) == 0
    assert untouched.read_bytes() == contents(A)
    assert not (tmp_path / "videos" / C).exists()


def test_leftovers_of_a_killed_extraction_are_cleared(tmp_path, parts):
    (parts / "OpenVid_part0.zip").write_bytes(zipped([A]))
    (tmp_path / "names.txt").write_text(A)
    (tmp_path / "videos").mkdir()
    with whole_file(tmp_path / "videos" / B) as mine:
        left = mine.with_name(mine.name.replace(f"-{os.getpid()}-", "-999999-"))
        left.write_bytes(b"half a video")
        mine.touch()
    assert run("extract", tmp_path / "names.txt", "--parts", parts, "--videos", tmp_path / "videos") == 0
    assert sorted(file.name for file in (tmp_path / "videos").iterdir()) == sorted([A, B])


def test_damaged_contents_are_not_kept(tmp_path, parts):
    data = bytearray(zipped([A, B]))
    data[data.index(contents(A)[:50]) + 20] ^= 1
    (parts / "OpenVid_part0.zip").write_bytes(data)
    table(tmp_path / "t.csv", [(A, "a"), (B, "b")])
    join(tmp_path, parts, [(A, "a"), (B, "b")])
    out = ["--parts", parts, "--videos", tmp_path / "videos", "--out", tmp_path / "index.jsonl"]
    assert run("extract", tmp_path / "all.jsonl", *out) == 1
    assert [row.id for row in read_index(tmp_path / "index.jsonl")] == [B[:-4]]
    assert [file.name for file in (tmp_path / "videos").iterdir()] == [B]
    assert problems(tmp_path / "index.problems.jsonl", "broken_member") == [A]
    (parts / "OpenVid_part1.zip").write_bytes(zipped([A]))  # a second copy helps
    assert run("extract", tmp_path / "all.jsonl", *out) == 1
    assert len(read_index(tmp_path / "index.jsonl")) == 2


def test_nothing_to_extract_is_bad_input(tmp_path, parts, capsys):
    (parts / "OpenVid_part0.zip").write_bytes(zipped([A]))
    (tmp_path / "names.txt").write_text("other.mp4\n")
    assert run("extract", tmp_path / "names.txt", "--parts", parts, "--videos", tmp_path / "videos") == 2
    assert "got no wanted video" in capsys.readouterr().err


def test_too_little_space_is_said_before_writing(tmp_path, parts, monkeypatch, capsys):
    (parts / "OpenVid_part0.zip").write_bytes(zipped([A]))
    (tmp_path / "names.txt").write_text(A)
    monkeypatch.setattr("semrepa.data.ingest.extract.SPARE_BYTES", 2**60)
    assert run("extract", tmp_path / "names.txt", "--parts", parts, "--videos", tmp_path / "videos") == 2
    assert "GB free" in capsys.readouterr().err
    assert list((tmp_path / "videos").iterdir()) == []


@pytest.mark.parametrize(
    "name",
    ["../evil.mp4", "a/../../evil.mp4", "/etc/evil.mp4", "..\\evil.mp4", "C:\\evil.mp4", "a\nb/evil.mp4"],
)
def test_names_that_leave_the_folder_are_refused(tmp_path, parts, name):
    assert unsafe_reason(name)
    (parts / "OpenVid_part0.zip").write_bytes(zipped([name, A]))
    (tmp_path / "names.txt").write_text(f"evil.mp4\n{A}\n")
    arguments = ["--parts", parts, "--videos", tmp_path / "deep" / "videos"]
    assert run("extract", tmp_path / "names.txt", *arguments) == 1
    assert [file.name for file in tmp_path.rglob("*.mp4")] == [A]


def test_links_in_archives_are_refused(tmp_path, parts):
    info = zipfile.ZipInfo(A)
    info.external_attr = 0o120777 << 16
    with zipfile.ZipFile(parts / "OpenVid_part0.zip", "w") as archive:
        archive.writestr(info, "/etc/passwd")
        archive.writestr(B, contents(B))
    status, index, found = join(tmp_path, parts, [(A, "a"), (B, "b")])
    assert (status, len(index)) == (1, 1)
    assert problems(found, "unusable_member") == [A]


def test_ids_are_safe_stable_and_distinct(tmp_path, parts):
    names = ["one.mp4", "one.mov", "sp ace.mp4", "-x.mp4", "l" * 200 + ".mp4"]
    (parts / "OpenVid_part0.zip").write_bytes(zipped(names))
    status, index, _ = join(tmp_path, parts, [(name, "c") for name in names])
    ids = [line["id"] for line in index]
    assert status == 0
    assert len(set(ids)) == 5
    assert (ids[0], ids[3]) == ("one", "-x")
    assert ids[2] == clip_id("sp ace.mp4") != clip_id("sp_ace.mp4")
    assert max(map(len, ids)) <= 120


def test_clips_of_one_video_are_on_one_side(tmp_path, parts):
    names = [f"{'abcdefghij'[n // 10]}{n:010d}_{clip}_0to99.mp4" for n in range(100) for clip in range(3)]
    (parts / "OpenVid_part0.zip").write_bytes(zipped(names))
    rows = [(name, "c") for name in names]
    status, index, _ = join(tmp_path, parts, rows, "--heldout", "0.2")
    sides = {}
    for line in index:
        sides.setdefault(line["id"][:11], set()).add(line["split"])
    assert status == 0
    assert {len(found) for found in sides.values()} == {1}
    held = {name for name, found in sides.items() if found == {"heldout"}}
    assert 10 <= len(held) <= 32
    again = join(tmp_path, parts, rows[::-1][:150], "--heldout", "0.2")[1]
    assert {line["id"][:11] for line in again if line["split"] == "heldout"} <= held
    other = join(tmp_path, parts, rows, "--heldout", "0.2", "--seed", "1")[1]
    assert {line["id"][:11] for line in other if line["split"] == "heldout"} != held


def test_sources():
    assert source_of(A) == source_of(B) == "youtube:---_iRTHryQ"
    assert source_of(C) == "youtube:-_Bdf9C0SAU"
    assert source_of("a/x_scene-001.mp4") == source_of("a/x_scene-002.mp4") != source_of("b/x_scene-001.mp4")
    assert source_of("IMG_0001.mp4") != source_of("IMG_0002.mp4")
    assert source_of("film/clip_1.mp4") == source_of("film/clip_2.mp4") == "film"
    assert source_of("clip_1.mp4") != source_of("clip_2.mp4")
    assert source_of("x_0.5to3.mp4") == source_of("x_3to9.mp4")
    assert {split_of("x", 0.0, 0), split_of("x", 1.0, 0)} == {"train", "heldout"}


def test_join_key_takes_the_base_name_in_one_form():
    assert join_key("a\\b/e\u0301.mp4") == "\u00e9.mp4"


def test_is_complete(tmp_path):
    (tmp_path / "x").write_bytes(b"abc")
    assert is_complete(tmp_path / "x", 3, 0x352441C2)
    assert not is_complete(tmp_path / "x", 3, 0x352441C3)
    assert not is_complete(tmp_path / "x", 4, 0x352441C2)
    assert not is_complete(tmp_path / "y", 0, 0)
