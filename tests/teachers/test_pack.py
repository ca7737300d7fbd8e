"""Which files of a folder are taken, and what is said about folders that do not work."""

import hashlib
import json
import os
import shutil
from pathlib import Path

import pytest

from semrepa.provenance import mini_asset, sha256_of
from semrepa.teachers.face import InsightFaceTeacher
from semrepa.teachers.pack import find_pack
from tests.teachers.packs import ANTELOPE, blank, build_pack, draw_face, write_detector, write_recogniser

DETECTOR, ARCFACE, GLINT = "scrfd_10g_bnkps.onnx", "arcface.onnx", "glintr100.onnx"
FRAMES = draw_face(blank(), 1, 300, 200)[None]


def test_arcface_takes_the_place_of_glintr100(
    pack: Path, teacher: InsightFaceTeacher, tmp_path: Path
) -> None:
    found = find_pack(pack)
    assert (found.folder, found.detector.name, found.recogniser.name) == (pack, DETECTOR, ARCFACE)
    assert list(found.hashes.values()) == [sha256_of(pack / DETECTOR), sha256_of(pack / ARCFACE)]
    common = hashlib.sha256("".join(found.hashes.values()).encode()).hexdigest()
    assert found.provenance.sha256 == teacher.provenance.sha256 == common
    plain = InsightFaceTeacher(build_pack(tmp_path / "antelopev2", ANTELOPE))
    assert plain.provenance.name.endswith(GLINT)
    assert abs(plain(FRAMES).embeds[0] @ teacher(FRAMES).embeds[0]) < 0.2, "not interchangeable"


def test_buffalo_packs_work_too(tmp_path: Path) -> None:
    """buffalo_l, as insightface itself fetches it by default."""
    names = ("1k3d68.onnx", "2d106det.onnx", "det_10g.onnx", "genderage.onnx", "w600k_r50.onnx")
    teacher = InsightFaceTeacher(build_pack(tmp_path / "buffalo_l", names))
    assert teacher.provenance.name == "insightface det_10g.onnx + w600k_r50.onnx"
    assert teacher(FRAMES).mask.all()


def test_the_shipped_pack_is_a_pack() -> None:
    found = find_pack(mini_asset("face"))
    assert (found.detector.name, found.recogniser.name, found.kind) == (
        "detector.onnx",
        "recogniser.onnx",
        "mini",
    )


def test_files_without_a_word_about_it_are_real(tmp_path: Path) -> None:
    build_pack(tmp_path, (DETECTOR,))
    build_pack(tmp_path, (ARCFACE,), metadata={})
    assert find_pack(tmp_path).kind == "real"


@pytest.mark.parametrize("outer", ["antelopev2", "models"])
def test_a_doubled_folder_is_looked_through(pack: Path, tmp_path: Path, outer: str) -> None:
    inner = tmp_path / outer / "antelopev2"
    shutil.copytree(pack, inner)
    assert find_pack(tmp_path / outer).folder == inner
    assert InsightFaceTeacher(tmp_path / outer)(FRAMES).mask.all()


def test_a_half_doubled_folder_is_explained(tmp_path: Path) -> None:
    build_pack(tmp_path / "antelopev2" / "antelopev2", ANTELOPE)
    build_pack(tmp_path / "antelopev2", (ARCFACE,))
    with pytest.raises(
        FileNotFoundError, match=r"missing: detector; .*more models are in .*antelopev2: move them"
    ):
        find_pack(tmp_path / "antelopev2")


def test_missing_folder_and_files_are_named(pack: Path, tmp_path: Path) -> None:
    with pytest.raises(
        FileNotFoundError, match=r"absent cannot be read \(No such file.*expected .*detector.onnx"
    ):
        InsightFaceTeacher(tmp_path / "absent")
    with pytest.raises(NotADirectoryError, match=r"arcface.onnx cannot be read \(Not a directory"):
        find_pack(pack / ARCFACE)
    with pytest.raises(FileNotFoundError, match=r"no .onnx file; missing: detector, recogniser"):
        InsightFaceTeacher(tmp_path)
    shutil.copy(pack / DETECTOR, tmp_path)
    with pytest.raises(
        FileNotFoundError, match=r"with scrfd_10g_bnkps.onnx; missing: recogniser; .*arcface.onnx"
    ):
        InsightFaceTeacher(tmp_path)
    (tmp_path / DETECTOR).unlink()
    shutil.copy(pack / ARCFACE, tmp_path)
    with pytest.raises(FileNotFoundError, match=r"with arcface.onnx; missing: detector"):
        InsightFaceTeacher(tmp_path)


def test_an_unreadable_folder_is_named(pack: Path, tmp_path: Path) -> None:
    shutil.copytree(pack, tmp_path / "pack")
    (tmp_path / "pack").chmod(0)
    try:
        if os.geteuid() == 0:  # nothing is unreadable for root
            os.seteuid(65534)
        with pytest.raises(PermissionError, match=r"face pack: got .*cannot be read \(Permission denied\)"):
            find_pack(tmp_path / "pack")
    finally:
        if os.getuid() == 0:
            os.seteuid(0)
        (tmp_path / "pack").chmod(0o700)


def test_an_unreadable_file_is_named(pack: Path, tmp_path: Path) -> None:
    shutil.copy(pack / DETECTOR, tmp_path)
    (tmp_path / ARCFACE).mkdir()
    with pytest.raises(IsADirectoryError, match=r"arcface.onnx cannot be read \(Is a directory\)"):
        find_pack(tmp_path)
    (tmp_path / ARCFACE).rmdir()
    (tmp_path / ARCFACE).symlink_to(tmp_path / "gone")
    with pytest.raises(FileNotFoundError, match=r"arcface.onnx cannot be read \(No such file"):
        find_pack(tmp_path)


def spoil(file: Path, how: str) -> None:
    whole = file.read_bytes()
    file.write_bytes(
        {
            "page": b"<!DOCTYPE html><html><body>404</body></html>",
            "pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 260665334\n",
            "answer": b"Entry not found",
            "empty": b"",
            "truncated": whole[: len(whole) // 2],
            "short": whole[:-1],
        }[how]
    )


@pytest.mark.parametrize("how", ["page", "pointer", "answer", "empty", "truncated", "short"])
@pytest.mark.parametrize("name", [DETECTOR, ARCFACE, "genderage.onnx"])
def test_files_that_are_no_models_are_refused(pack: Path, tmp_path: Path, how: str, name: str) -> None:
    shutil.copytree(pack, tmp_path, dirs_exist_ok=True)
    spoil(tmp_path / name, how)
    with pytest.raises(ValueError, match=rf"{name} \(\d+ bytes\), which is not an ONNX model.*fetch"):
        find_pack(tmp_path)


@pytest.mark.parametrize(
    ("name", "other"),
    [(ARCFACE, "genderage.onnx"), (ARCFACE, DETECTOR), (DETECTOR, ARCFACE), (GLINT, "2d106det.onnx")],
)
def test_the_wrong_model_under_the_right_name_is_refused(
    pack: Path, tmp_path: Path, name: str, other: str
) -> None:
    shutil.copytree(pack, tmp_path, dirs_exist_ok=True)
    shutil.copy(pack / other, tmp_path / name)
    with pytest.raises(ValueError, match=rf"{name}, which is no (detector|recogniser); .*fetch it again"):
        find_pack(tmp_path)


def test_a_recogniser_of_another_width_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"arcface.onnx with .* 128 features; expected 112 x 112 .* 512"):
        InsightFaceTeacher(build_pack(tmp_path, (DETECTOR, ARCFACE), width=128))


def test_a_recogniser_of_another_batch_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="fixed batch of 4; expected 1 or free"):
        find_pack(build_pack(tmp_path, (DETECTOR, ARCFACE), batch=4))


def test_a_detector_without_key_points_is_refused(tmp_path: Path) -> None:
    build_pack(tmp_path, (ARCFACE,))
    write_detector(tmp_path / "scrfd_10g.onnx", points=False)
    with pytest.raises(ValueError, match=r"scrfd_10g.onnx with 6 outputs, so without key points"):
        find_pack(tmp_path)


def test_two_detectors_or_recognisers_are_no_choice(pack: Path, tmp_path: Path) -> None:
    shutil.copytree(pack, tmp_path, dirs_exist_ok=True)
    write_detector(tmp_path / "det_500m.onnx")
    with pytest.raises(ValueError, match=r"2 detectors: det_500m.onnx, scrfd_10g_bnkps.onnx; expected one"):
        find_pack(tmp_path)
    (tmp_path / "det_500m.onnx").unlink()
    write_recogniser(tmp_path / "aaa.onnx")
    with pytest.raises(
        ValueError, match=r"3 recognisers: aaa.onnx, arcface.onnx, glintr100.onnx; .*arcface.onnx first"
    ):
        find_pack(tmp_path)


def test_a_model_that_only_onnxruntime_refuses_is_named(pack: Path, tmp_path: Path) -> None:
    shutil.copytree(pack, tmp_path, dirs_exist_ok=True)
    graph = (tmp_path / ARCFACE).read_bytes()
    (tmp_path / ARCFACE).write_bytes(graph.replace(b"MatMul", b"MatMud"))
    with pytest.raises(
        ValueError, match=r"insightface cannot load \(.*MatMud.*\); expected complete ONNX models"
    ):
        InsightFaceTeacher(tmp_path)


def with_manifest(pack: Path, folder: Path, **changes: object) -> Path:
    (folder / "models").mkdir(parents=True)
    for name in (DETECTOR, GLINT, ARCFACE):
        shutil.copy(pack / name, folder / "models")
    tasks = {
        "detection": {"file": f"models/{DETECTOR}"},
        "recognition": {"file": f"models/{GLINT}", "sha256": sha256_of(pack / GLINT)},
    }
    manifest = {"manifest_version": 2, "model_id": "toy", "license": "MODEL.LICENSE", "tasks": tasks}
    (folder / "manifest.json").write_text(json.dumps(manifest | changes))
    return folder


def test_a_manifest_says_which_files_count(pack: Path, tmp_path: Path) -> None:
    teacher = InsightFaceTeacher(with_manifest(pack, tmp_path / "toy"))
    assert teacher.provenance.name == f"insightface {DETECTOR} + {GLINT}"
    assert teacher(FRAMES).mask.all()


def test_other_files_than_the_manifest_says_are_refused(pack: Path, tmp_path: Path) -> None:
    folder = with_manifest(pack, tmp_path / "toy")
    shutil.copy(pack / ARCFACE, folder / "models" / GLINT)
    with pytest.raises(ValueError, match="SHA-256 mismatch"):
        InsightFaceTeacher(folder)


def test_broken_manifests_are_refused_and_old_ones_ignored(pack: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="missing: detector, recogniser"):
        find_pack(with_manifest(pack, tmp_path / "empty", tasks={}))
    with pytest.raises(ValueError, match=r"manifest.json, which cannot be read as a manifest"):
        find_pack(with_manifest(pack, tmp_path / "broken", tasks={"detection": "x.onnx"}))
    shutil.copytree(pack, tmp_path / "old")
    (tmp_path / "old" / "manifest.json").write_text('{"manifest_version": 1}')
    assert find_pack(tmp_path / "old").recogniser.name == ARCFACE
