"""Rules of everything else that is kept: sizes, targets, bounds, nothing of the machine it was written on."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ASSETS, SAMPLES = ROOT / "semrepa" / "assets" / "mini", ROOT / "data_samples"
MAKEFILE = (ROOT / "Makefile").read_text()
TARGETS = set(re.findall(r"^([a-z]+):", MAKEFILE, flags=re.M))
SUFFIXES = {".cfg", ".ipynb", ".json", ".jsonl", ".md", ".py", ".toml", ".txt", ".yml", ".yaml", ""}


def kept_files():
    """Files of the checkout, new ones included, without what git ignores."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    command = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\0")
    return [ROOT / name for name in names if name and (ROOT / name).is_file()]


def megabytes(folder):
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1e6


def test_mini_weights_are_complete_small_and_safe():
    parts = [
        "cogvideox/model_index.json",
        "face",
        "structure_aligner/config.json",
        "identity_aligner/config.json",
    ]
    assert [part for part in parts if not (ASSETS / part).exists()] == []
    assert megabytes(ASSETS) < 20
    kinds = {file.suffix for file in ASSETS.rglob("*") if file.is_file()}
    assert kinds <= {".safetensors", ".onnx", ".json", ".model", ".md", ".txt", ".npz", ".log", ".jsonl"}, (
        "no pickles"
    )


def test_samples_are_there_and_small():
    assert (SAMPLES / "index.jsonl").is_file()
    assert len(list(SAMPLES.rglob("*.mp4"))) >= 16
    assert megabytes(SAMPLES) < 12


def test_other_files_are_small():
    large = [file for file in kept_files() if file.stat().st_size > 1e6]
    large = [file for file in large if not file.is_relative_to(ASSETS) and not file.is_relative_to(SAMPLES)]
    assert large == []


def test_nothing_tells_of_the_machine_it_was_written_on():
    personal = re.compile(
        r"/(?:root|work|opt|home/\w+|Users/\w+)/|(?:index-url|find-links)[ =]+(?!https://download\.pytorch)"
    )
    texts = [file for file in kept_files() if file.suffix in SUFFIXES and file != Path(__file__)]
    found = [
        f"{file.relative_to(ROOT)}: {match[0]}"
        for file in texts
        if (match := personal.search(file.read_text()))
    ]
    assert found == []


def test_requirements_are_bounded_on_both_sides():
    lines = [
        line.split("#")[0].split(";")[0].strip()
        for line in (ROOT / "requirements.txt").read_text().splitlines()
    ]
    assert [line for line in lines if line and not re.fullmatch(r"[\w-]+>=[\d.]+,<[\d.]+", line)] == []


def test_make_targets_are_explained_and_parse():
    explained = set(re.findall(r"^([a-z]+):.*## \S", MAKEFILE, flags=re.M))
    assert explained == TARGETS
    assert {
        "setup",
        "demo",
        "lab",
        "test",
        "check",
        "notebooks",
        "weights",
        "samples",
        "clean",
        "help",
    } <= TARGETS
    done = subprocess.run(
        ["make", "-n", *sorted(TARGETS)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_ci_runs_the_checks_and_the_tests():
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert re.findall(r"^make (\w+)", script.read_text(), flags=re.M) == ["check", "test"]


def test_readme_promises_only_what_is_there():
    text = (ROOT / "README.md").read_text()
    assert set(re.findall(r"`make ([a-z]+)|^make ([a-z]+)", text, flags=re.M)) != set()
    promised = {a or b for a, b in re.findall(r"`make ([a-z]+)|^\s*make ([a-z]+)", text, flags=re.M)}
    assert promised <= TARGETS
    modules = re.findall(r"python -m (semrepa[\w.]*)", text)
    paths = [ROOT.joinpath(*module.split(".")) for module in modules]
    assert [path for path in paths if not (path.is_dir() or path.with_suffix(".py").is_file())] == []
    links = [link for link in re.findall(r"\]\(([^)#]+)", text) if "://" not in link]
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_license_is_apache_2():
    text = (ROOT / "LICENSE").read_text()
    assert "Apache License" in text
    assert "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text
