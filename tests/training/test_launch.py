"""Real children: `accelerate launch -m semrepa.training` on tiny networks, stopped, taken up, and broken."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from training.clips import HELDOUT, TRAIN

import semrepa
from semrepa.config import override
from semrepa.data.index import read_index
from semrepa.training.checkpoint import latest_checkpoint
from semrepa.training.child import NotFinishedError
from semrepa.training.finetune import finetune
from semrepa.training.launch import attach, launch
from semrepa.training.log import read_metrics
from semrepa.training.outcome import SAVED_AND_STOPPED

ENOUGH = 100_000
"""Steps that nobody waits for."""
WEIGHTS = "transformer/diffusion_pytorch_model.safetensors"


@pytest.fixture(autouse=True)
def _as_many_threads(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture
def plain(cfg, tmp_path):
    """Config of a fine-tuning without aligners, which are not shipped in this size."""
    weights = {"loss.weight_struct": 0, "loss.weight_id": 0}
    return override(cfg, {**weights, "finetune.steps": ENOUGH, "finetune.eval_every": ENOUGH})


def until(condition, child, seconds=60):
    last = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < last, child.tail()
        assert child.status == "running", child.tail()
        time.sleep(0.1)


PARENT = """
import os, signal, sys
from semrepa.config import Config
from semrepa.data.index import read_index
from semrepa.training.launch import launch
config, store, run_dir, index = sys.argv[1:]
launch("finetune", Config.load(config), store, run_dir, rows=read_index(index))
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_child_outlives_its_parent_stops_on_request_and_goes_on_exactly(plain, store, index, tmp_path):
    root = str(Path(semrepa.__file__).parents[1])
    config = plain.save(tmp_path / "config.json")
    arguments = [str(path) for path in (config, store.folder, tmp_path / "run", index)]
    parent = subprocess.run(
        [sys.executable, "-c", PARENT, *arguments], env={**os.environ, "PYTHONPATH": root}, check=False
    )
    assert parent.returncode == -9
    child = attach(tmp_path / "run")
    assert child.status == "running"
    assert os.getsid(child.pid) == child.pid != os.getsid(0)
    stream = child.follow()
    assert [next(stream).step for _ in range(2)] == [1, 2]
    with pytest.raises(ValueError, match="where a training is running"):
        launch("finetune", plain, store.folder, tmp_path / "run")

    os.killpg(child.pid, signal.SIGTERM)  # as a scheduler does; it ends the launcher at once
    with pytest.raises(NotFinishedError, match="nothing lost"):
        child.wait(60)
    outcome = child.outcome
    assert (outcome.status, outcome.exit_code) == ("stopped", SAVED_AND_STOPPED)
    assert latest_checkpoint(child.run_dir).name == f"step-{outcome.step:06}"
    assert outcome.step == child.step >= 2
    assert (child.run_dir / "transformer" / "config.json").is_file(), "exported as well"

    longer = override(plain, {"finetune.steps": outcome.step + 2})
    again = launch("finetune", longer, store.folder, tmp_path / "run", rows=read_index(index))
    assert [log.step for log in again.steps()] == [outcome.step + 1, outcome.step + 2]
    assert (again.status, again.outcome.exit_code) == ("finished", 0)
    straight = finetune(longer, store, tmp_path / "here", train_ids=TRAIN, heldout_ids=HELDOUT)
    assert [log.loss for log in straight] == [line["loss"] for line in read_metrics(again.run_dir)[1:]]
    ours, theirs = (load_file(run / WEIGHTS) for run in (tmp_path / "here", again.run_dir))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours | theirs)


def test_two_processes_stop_after_the_same_step(plain, store, index, tmp_path):
    plain = override(plain, {"launch.num_processes": 2})
    child = launch(
        "identity",
        override(plain, {"pretrain_identity.steps": ENOUGH}),
        store.folder,
        tmp_path / "run",
        rows=read_index(index),
    )
    until(lambda: (child.step or 0) >= 2, child)
    assert len(child.processes()) == 3, "launcher and two that train"
    child.stop()
    with pytest.raises(NotFinishedError, match="nothing lost"):
        child.wait(60)
    assert child.outcome.step == child.step
    assert latest_checkpoint(child.run_dir).name == f"step-{child.step:06}"
    assert (child.run_dir / "identity_aligner" / "config.json").is_file()
    assert child.processes() == []


def test_a_failing_child_is_raised_with_the_end_of_its_log(plain, store, index, tmp_path):
    broken = override(plain, {"model.weights": str(tmp_path / "nothing")})
    child = launch("finetune", broken, store.folder, tmp_path / "run", rows=read_index(index))
    with pytest.raises(NotFinishedError) as error:
        child.wait(60)
    assert "failed before the first step: FileNotFoundError" in str(error.value).splitlines()[0]
    assert "Traceback" in str(error.value)
    assert child.outcome.exit_code == 1


def test_a_launcher_that_dies_early_has_crashed(plain, store, index, tmp_path):
    child = launch("finetune", plain, store.folder, tmp_path / "run", rows=read_index(index))
    child.stop(at_once=True)
    with pytest.raises(NotFinishedError, match="died before the first step"):
        child.wait(60)
    assert attach(tmp_path / "run").status == "crashed"
