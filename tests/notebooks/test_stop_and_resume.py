"""Notebook 06, stopped by SIGTERM within a training, ends with the numbers of an undisturbed run."""

import json
import signal
import time

import pytest

from tests.notebooks.runners import end, finish, start
from tests.notebooks.test_notebooks_run import LIMIT, OVERRIDES, small_index

NAME = "06_dit_finetuning"
STEPS = 4
BRIEF = {
    "finetune.steps": STEPS,
    "finetune.eval_every": STEPS,
    "finetune.samples": 1,
    "finetune.probe_clips": 1,
}

pytestmark = pytest.mark.slow


def metrics(folder):
    found = json.loads((folder / NAME / "run.json").read_text())["metrics"]
    return {name: value for name, value in found.items() if name != "seconds"}


def wait_for_step(file, step, process):
    deadline = time.monotonic() + LIMIT
    while not (file.is_file() and f'"step": {step},' in file.read_text()):
        assert process.poll() is None, "it ended before it could be stopped"
        assert time.monotonic() < deadline, f"no step {step} in {file}"
        time.sleep(0.1)


def test_stopped_in_06_it_goes_on_to_the_same_numbers(tmp_path):
    overrides = OVERRIDES | BRIEF | {"data.index": str(small_index(tmp_path))}
    given = [f"notebooks/{NAME}.ipynb", *(f"--override={name}={value}" for name, value in overrides.items())]
    cache = {"SEMREPA_CACHE": str(tmp_path / "cache")}

    log, whole = tmp_path / "whole.log", tmp_path / "whole"
    finish({log: start(log, [*given, "--run-dir", str(whole)], **cache)}, seconds=LIMIT)

    log, stopped = tmp_path / "stopped.log", tmp_path / "stopped"
    process = start(log, [*given, "--run-dir", str(stopped)], **cache)
    plain = stopped / NAME / "plain"
    try:
        wait_for_step(plain / "metrics.jsonl", 1, process)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=300) == 143, log.read_text()
    finally:
        end([process])
    assert not (stopped / NAME / "run.json").exists()
    saved = max(int(folder.name[5:]) for folder in (plain / "checkpoints").glob("step-*"))
    assert 1 <= saved < STEPS, "in the middle"

    log = tmp_path / "resumed.log"
    command = [*given, "--run-dir", str(stopped), "--resume"]
    finish({log: start(log, command, **cache)}, seconds=LIMIT)
    assert not (stopped / "previous").exists()
    assert not (plain / "previous").exists(), "the training went on, it did not begin again"
    assert metrics(stopped) == metrics(whole)
