"""The benchmark of a fine-tuning step still runs, and prints the line by which the engine is judged."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_the_table_ends_with_the_overhead_of_the_engine():
    command = [sys.executable, "-m", "benchmarks.finetune_step", "--cpu", "--rounds", "1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^engine overhead: \d\.\d+$", done.stdout, re.MULTILINE)
    assert all(step in done.stdout for step in ("bare loop", "plain", "+ both", "+ both, SNR gates"))
