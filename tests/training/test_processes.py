"""Two processes on CPUs train as one does: DDP and FSDP2, started with the files that are shipped."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from accelerate.commands.config.config_args import load_config_from_file
from diffusers import CogVideoXImageToVideoPipeline
from safetensors.torch import load_file
from training import ranks
from training.clips import TRAIN

from semrepa.config import override
from semrepa.training.checkpoint import latest_checkpoint
from semrepa.training.floors import sample
from semrepa.training.log import read_metrics
from semrepa.training.pretrain import new_identity_aligner, new_structure_aligner

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "semrepa" / "training" / "accelerate").glob("*.yaml"))
HOME = {"identity": "identity_aligner", "noisy": "structure_aligner"}


@pytest.fixture(scope="module")
def inputs(cfg, store, tmp_path_factory):
    """A folder with all that a process needs: config, store, aligners."""
    folder = tmp_path_factory.mktemp("inputs")
    torch.manual_seed(0)
    new_structure_aligner(cfg).save_pretrained(folder / "structure")
    new_identity_aligner(cfg, sample(store, TRAIN)).save_pretrained(folder / "identity")
    places = {f"{role}.weights": str(folder / role) for role in ("structure", "identity")}
    override(cfg, places).save(folder / "config.json")
    (folder / "store").symlink_to(store.folder)
    return folder


@pytest.fixture(autouse=True)
def _float32(float32):
    """The runs in this process, as those of the others."""


def launch(file, inputs, out, jobs):
    """Run some jobs in two processes; gives what each of the two says of each job."""
    command = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(file)]
    command += ["--num_processes", "2", "--main_process_port", "0", str(ROOT / "tests/training/ranks.py")]
    env = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, str(inputs), str(out), *jobs], env=env, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return {job: [json.loads((out / f"{job}.{n}.json").read_text()) for n in range(2)] for job in jobs}


@pytest.fixture(scope="module")
def ddp(inputs, tmp_path_factory):
    out = tmp_path_factory.mktemp("ddp")
    return out, launch(FILES[[file.stem for file in FILES].index("two_cpus")], inputs, out, ranks.DDP_JOBS)


def assert_close(logs, others, tolerance):
    assert len(logs) == len(others) > 0
    for log, other in zip(logs, others, strict=True):
        assert log["loss"] == pytest.approx(other["loss"], abs=tolerance)
        assert log["parts"] == pytest.approx(other["parts"], abs=tolerance)
        assert log["grad_norm"] == pytest.approx(other["grad_norm"], rel=1e-4)
        assert log["eval"] == pytest.approx(other["eval"], abs=tolerance)
        assert log["lr"] == other["lr"]


def exported(folder):
    (file,) = folder.glob("*/*.safetensors")
    return load_file(file)


def assert_same_weights(folder, other, tolerance):
    weights = exported(other)
    for name, value in exported(folder).items():
        torch.testing.assert_close(value, weights[name], rtol=0, atol=tolerance)


@pytest.mark.slow
@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize(("job", "stage"), [("whole", "finetune"), ("portions", "finetune"), ("identity", "pretrain_identity"), ("noisy", "pretrain_structure")])
def test_two_processes_equal_one(ddp, inputs, tmp_path, job, stage, accumulate):
    out, results = ddp
    changes = {stage: {"accumulate": accumulate}, **({"structure.input": "noisy"} if job == "noisy" else {})}
    run = {"finetune": ranks.finetuning, "pretrain_identity": ranks.identity, "pretrain_structure": ranks.structure}
    expected = run[stage](inputs, tmp_path / "one", changes)
    first, second = (result["made"] for result in results[job])
    assert first == second
    assert_close(first, expected, 1e-5)
    assert_same_weights(out / job, tmp_path / "one", 1e-5)
