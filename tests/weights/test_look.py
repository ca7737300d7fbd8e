"""Files that are plainly not what their names say are found before a run starts."""

import json
import os
from contextlib import contextmanager
from pathlib import Path

import onnx
import pytest

from semrepa.config import full, override
from semrepa.weights import locate
from semrepa.weights.onnx_header import read_metadata
from tests.teachers.packs import build_pack, write_recogniser
from tests.weights.makers import VITL, aligner, checkpoint, into_hub_cache, onnx_model

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 5\n"


def problem(field, path):
    return locate(override(full(), {field: str(path)}), field.split(".")[0]).problem


@pytest.mark.parametrize("name", [VITL, "yolov8n.onnx"])
@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "empty (0 bytes)"),
        (POINTER, "git-lfs pointer"),
        (b"\n<!DOCTYPE html><html>Sign in</html>", "web page"),
        (b"just some text, no weights at all", "no "),
    ],
)
def test_files_that_are_no_weights(tmp_path, name, content, expected):
    (tmp_path / name).write_bytes(content)
    assert expected in problem("depth.weights" if name == VITL else "people.weights", tmp_path / name)


def test_checkpoint_that_is_cut_short(tmp_path):
    file = checkpoint(tmp_path / VITL)
    assert problem("depth.weights", file) == ""
    file.write_bytes(file.read_bytes()[:-30])
    assert "cut short at" in problem("depth.weights", file)


def test_old_torch_format_is_left_to_the_loader(tmp_path):
    (tmp_path / VITL).write_bytes(b"\x80\x02}q\x00.")
    assert problem("depth.weights", tmp_path / VITL) == ""


def test_onnx_that_is_cut_short(tmp_path):
    whole = onnx_model(tmp_path / "yolov8n.onnx", semrepa_kind="random", task="detect").read_bytes()
    assert read_metadata(tmp_path / "yolov8n.onnx") == {"semrepa.kind": "random", "task": "detect"}
    for size in range(1, len(whole)):
        (tmp_path / "cut.onnx").write_bytes(whole[:size])
        try:
            assert (
                read_metadata(tmp_path / "cut.onnx").items()
                <= {"semrepa.kind": "random", "task": "detect"}.items()
            )
        except ValueError:
            continue
    empty = onnx.ModelProto(ir_version=8, producer_name="nobody")
    onnx.save(empty, tmp_path / "empty.onnx")
    assert "no graph" in problem("people.weights", tmp_path / "empty.onnx")
    (tmp_path / "cut.onnx").write_bytes(whole[:-3])
    assert "no ONNX model, or not all of it" in problem("people.weights", tmp_path / "cut.onnx")


@pytest.mark.parametrize("name", ["video_depth_anything_vits.pth", f"metric_{VITL}"])
def test_official_file_of_another_variant(tmp_path, name):
    """A metric and a relative checkpoint cannot be told apart by what is inside."""
    found = problem("depth.weights", checkpoint(tmp_path / name))
    assert f"{name}, but depth.variant and depth.metric ask for {VITL}" in found


def test_own_names_are_free(tmp_path):
    assert problem("depth.weights", checkpoint(tmp_path / "mine.pth")) == ""


def test_folder_for_file_and_file_for_folder(tmp_path):
    file = checkpoint(tmp_path / "mine.pth")
    assert problem("depth.weights", tmp_path) == "a folder; expected a file"
    assert "expected a diffusers folder" in problem("model.weights", file)
    assert problem("face.pack", file) != ""
    assert "without config.json" in problem("structure.weights", file)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("scrfd_10g_bnkps.onnx",), "missing: recogniser"),
        (("arcface.onnx",), "missing: detector"),
        ((), "no .onnx"),
    ],
)
def test_half_a_pack(tmp_path, names, expected):
    (tmp_path / "pack").mkdir()
    assert expected in problem("face.pack", build_pack(tmp_path / "pack", names))


def test_pack_is_looked_at_again_when_it_changes(tmp_path):
    folder = build_pack(tmp_path / "pack", ("scrfd_10g_bnkps.onnx", "arcface.onnx"))
    assert problem("face.pack", folder) == ""
    write_recogniser(folder / "arcface.onnx", width=128)
    assert "128 features" in problem("face.pack", folder)


def test_model_with_parts_missing_cut_or_pickled(tiny_folder):
    folder = into_hub_cache("somebody/model", tiny_folder)
    assert problem("model.weights", folder) == ""
    (folder / "tokenizer" / "tokenizer.json").unlink()
    weights = folder / "vae" / "diffusion_pytorch_model.safetensors"
    content = weights.read_bytes()
    weights.unlink()
    weights.write_bytes(content[:-8])
    text = folder / "text_encoder" / "model.safetensors"
    text.rename(text.with_name("pytorch_model.bin"))
    found = problem("model.weights", folder)
    assert "incomplete, without tokenizer/spiece.model or tokenizer/tokenizer.json" in found
    assert "cut short" in found
    assert "only pytorch_model.bin: pickles" in found


def test_model_with_a_shard_missing(tiny_folder):
    folder = into_hub_cache("somebody/model", tiny_folder) / "transformer"
    single = folder / "diffusion_pytorch_model.safetensors"
    shards = {f"w{k}": f"diffusion_pytorch_model-0000{k}-of-00002.safetensors" for k in (1, 2)}
    single.rename(folder / shards["w1"])
    (folder / f"{single.name}.index.json").write_text(json.dumps({"weight_map": shards}))
    found = problem("model.weights", folder.parent)
    assert f"without {shards['w2']}" in found
    assert shards["w1"] not in found.partition("without")[2].partition(";")[0]


def test_model_of_another_kind(tiny_folder):
    folder = into_hub_cache("somebody/model", tiny_folder)
    for file, old, new, expected in (
        ("transformer/config.json", '"in_channels": 32', '"in_channels": 16', "text-to-video"),
        ("vae/config.json", "AutoencoderKLCogVideoX", "AutoencoderKL", "of class AutoencoderKL;"),
        ("transformer/config.json", "{", "", "got no JSON"),
    ):
        path = folder / file
        text = path.read_text()
        assert old in text
        path.unlink()
        path.write_text(text.replace(old, new, 1))
        assert expected in problem("model.weights", folder)
        path.write_text(text)


def test_aligner_without_weights(tmp_path):
    folder = aligner(tmp_path / "structure_aligner")
    assert problem("structure.weights", folder) == ""
    (folder / "diffusion_pytorch_model.safetensors").unlink()
    assert "no weights" in problem("structure.weights", folder)


@contextmanager
def as_somebody_else():
    """Root may read everything, so that a test run by root goes on as nobody."""
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)


@pytest.mark.skipif(os.name != "posix", reason="no permissions to take away")
@pytest.mark.parametrize(
    ("field", "name"), [("depth.weights", VITL), ("face.pack", "pack"), ("model.weights", "m")]
)
def test_folder_without_permission(tmp_path, field, name):
    locked = tmp_path / "locked"
    (locked / name).mkdir(parents=True)
    locked.chmod(0)
    try:
        with as_somebody_else():
            assert "Permission denied" in problem(field, locked / name)
    finally:
        locked.chmod(0o700)


@pytest.mark.parametrize("field", ["depth.weights", "face.pack", "model.weights", "structure.weights"])
def test_refused_access_is_a_problem_like_others(tmp_path, monkeypatch, field):
    exists = Path.exists

    def refuse(path):
        if path.is_relative_to(tmp_path):
            raise PermissionError(13, "Permission denied", str(path))
        return exists(path)

    for question in ("exists", "is_file", "is_dir"):
        monkeypatch.setattr(Path, question, refuse)
    monkeypatch.setattr(os, "listdir", refuse)
    assert "Permission denied" in problem(field, tmp_path / "there")
