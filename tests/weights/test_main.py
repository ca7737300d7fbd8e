"""The command that shows and fetches weights."""

import runpy
import sys

import huggingface_hub
import pytest
from huggingface_hub import constants

from semrepa.hashes import sha256_of
from semrepa.provenance import MINI_ASSETS
from semrepa.weights.__main__ import main
from tests.weights.makers import VITL, checkpoint, into_hub_cache, onnx_model


def test_full_on_an_empty_machine(capsys):
    assert main([]) == 1
    shown = capsys.readouterr().out
    table, blocks = shown.split("\n\n", 1)
    assert [line.split()[0] for line in table.splitlines()[2:]] == [
        *("model", "depth", "face", "people", "structure", "identity")
    ]
    assert table.count("MISSING") == 6
    assert "1.54 GB" in table and "non-commercial" in table
    assert blocks.count("get it") == 6


def test_mini_is_complete(capsys):
    assert main(["--preset", "mini"]) == 0
    shown = capsys.readouterr().out
    assert shown.count("shipped with the package") == 4
    assert f"face: mini, {MINI_ASSETS / 'face'}" in shown


def test_what_is_found_is_shown_with_its_kind_and_hash(tmp_path, capsys):
    depth = checkpoint(tmp_path / VITL)
    people = onnx_model(tmp_path / "yolov8n.onnx", semrepa_kind="random")
    options = ["--role", "depth", "people", "--hash", "-o", f"weights.folder={tmp_path}"]
    assert main(options) == 0
    shown = capsys.readouterr().out
    assert f"depth: real, {depth}  sha256 {sha256_of(depth)}" in shown
    assert f"people: random, {people}" in shown
    depth.write_bytes(b"")
    assert main(options) == 1
    assert "empty (0 bytes)" in capsys.readouterr().out


def test_download(tmp_path, monkeypatch, capsys):
    file = checkpoint(tmp_path / VITL)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda repo, **_: into_hub_cache(repo, file))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    assert main(["--role", "depth"]) == 1
    assert main(["--role", "depth", "--download"]) == 0
    assert "hub cache" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "hint"),
    [
        (["--preset", "tiny"], "expected one of mini, full"),
        (["-o", "depth.variants=vits"], "did you mean"),
        (["-o", "depth.variant"], "expected name=value"),
    ],
)
def test_wrong_command_line(options, hint, capsys):
    assert main(options) == 2
    assert hint in capsys.readouterr().err


def test_as_a_module(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["semrepa.weights", "--role", "structure"])
    monkeypatch.delitem(sys.modules, "semrepa.weights.__main__")
    with pytest.raises(SystemExit) as caught:
        runpy.run_module("semrepa.weights", run_name="__main__")
    assert caught.value.code == 1
    assert "structure.weights       not set" in capsys.readouterr().out
