"""The toy notebook: its functions are the library's, and alignment does in it what the text says."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def metrics(tmp_path_factory):
    folder = tmp_path_factory.mktemp("toy")
    notebook = "notebooks/10_method_from_scratch.ipynb"
    command = [sys.executable, "-m", "semrepa.headless", notebook, "--run-dir", str(folder)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=600
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads((folder / Path(notebook).stem / "run.json").read_text())["metrics"]


def test_its_functions_are_the_librarys(metrics):
    assert metrics["largest_difference_from_the_library"] < 1e-6


def test_aligned_is_ahead_of_plain_and_plain_of_base(metrics):
    for score in ("torn", "wrong_person"):
        base, plain, aligned = (metrics[f"{score}_{name}"] for name in ("base", "plain", "aligned"))
        assert aligned < plain < base
