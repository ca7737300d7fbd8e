"""Two processes on CPUs train as one does: DDP and FSDP2, started with the files that are shipped."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from accelerate.commands.config.config_args import load_config_from_file
from diffusers import CogVideoXImageToVideoPipeline
from safetensors.torch import load_file
from training import ranks
from training.clips import HELDOUT, TRAIN

from semrepa.config import Config, override
from semrepa.models.identity import IdentityAligner
from semrepa.training.checkpoint import latest_checkpoint
from semrepa.training.floors import sample
from semrepa.training.log import read_metrics
from semrepa.training.pretrain import new_identity_aligner, new_structure_aligner
from semrepa.training.processes import this_process

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "semrepa" / "training" / "accelerate").glob("*.yaml"))


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


def started(kind, *arguments):
    """Two processes on CPUs, started with one of the files."""
    file = next(file for file in FILES if file.stem == kind)
    command = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(file)]
    command += ["--num_processes", "2", "--main_process_port", "0", *map(str, arguments)]
    paths = {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
    env = {**os.environ, **paths, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True)


def launch(kind, inputs, out, jobs):
    """Run some jobs in two processes; gives what each of the two says of each job."""
    done = started(kind, ROOT / "tests/training/ranks.py", inputs, out, *jobs)
    _, errors = done.communicate(timeout=600)
    assert done.returncode == 0, errors[-4000:]
    return {job: [json.loads((out / f"{job}.{n}.json").read_text()) for n in range(2)] for job in jobs}


@pytest.fixture(scope="module")
def ddp(inputs, tmp_path_factory):
    out = tmp_path_factory.mktemp("ddp")
    return out, launch("two_cpus", inputs, out, ranks.DDP_JOBS)


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
@pytest.mark.parametrize(
    ("job", "stage"),
    [
        ("whole", "finetune"),
        ("portions", "finetune"),
        ("identity", "pretrain_identity"),
        ("noisy", "pretrain_structure"),
    ],
)
def test_two_processes_equal_one(ddp, inputs, tmp_path, job, stage, accumulate):
    out, results = ddp
    changes = {stage: {"accumulate": accumulate}, **({"structure.input": "noisy"} if job == "noisy" else {})}
    run = {
        "finetune": ranks.finetuning,
        "pretrain_identity": ranks.identity,
        "pretrain_structure": ranks.structure,
    }
    expected = run[stage](inputs, tmp_path / "one", changes)
    first, second = (result["made"] for result in results[job])
    assert first == second
    assert_close(first, expected, 1e-5)
    assert_same_weights(out / job, tmp_path / "one", 1e-5)
    start, same = (read_metrics(folder)[0]["eval"] for folder in (out / job, tmp_path / "one"))
    assert start == pytest.approx(same, rel=1e-6)


@pytest.mark.slow
def test_only_the_main_process_writes(ddp):
    _, results = ddp
    for job in ("whole", "identity", "told", "broken"):
        main, other = results[job]
        assert main["written"], job
        assert other["written"] == [], job


@pytest.mark.slow
def test_a_request_to_one_process_stops_all_after_the_same_step(ddp, inputs, tmp_path):
    out, results = ddp
    assert [result["made"] for result in results["told"]] == ["SystemExit: 143"] * 2
    whole = ranks.identity(inputs, tmp_path / "one", {"pretrain_identity.steps": 5})
    rest = results["went_on"][0]["made"]
    assert [log["step"] for log in rest] == [3, 4, 5]
    assert_close(rest, whole[2:], 1e-5)
    assert_same_weights(out / "told", tmp_path / "one", 1e-5)


@pytest.mark.slow
def test_sigterm_to_the_launcher_ends_the_command_line_with_a_checkpoint(inputs, tmp_path):
    rows = [(name, "train") for name in TRAIN] + [(name, "heldout") for name in HELDOUT]
    lines = [{"id": name, "path": f"{name}.mp4", "caption": "a", "split": split} for name, split in rows]
    for line in lines:
        (tmp_path / line["path"]).touch()
    (tmp_path / "index.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    override(Config.load(inputs / "config.json"), {"pretrain_identity.steps": 10**6}).save(
        tmp_path / "long.json"
    )
    files = [
        "--config",
        tmp_path / "long.json",
        "--store",
        inputs / "store",
        "--index",
        tmp_path / "index.jsonl",
    ]
    run = started("two_cpus", "-m", "semrepa.training", "identity", *files, "--run-dir", tmp_path / "run")
    until = time.monotonic() + 240
    while not (tmp_path / "run" / "metrics.jsonl").is_file() or len(read_metrics(tmp_path / "run")) < 3:
        assert run.poll() is None and time.monotonic() < until
        time.sleep(0.2)
    run.terminate()
    _, errors = run.communicate(timeout=120)
    assert run.returncode, errors
    last = read_metrics(tmp_path / "run")[-1]["step"]
    assert 1 < last < 10**6
    assert latest_checkpoint(tmp_path / "run").name == f"step-{last:06d}"
    IdentityAligner.from_pretrained(tmp_path / "run" / "identity_aligner")


@pytest.mark.slow
def test_all_processes_skip_a_step_that_is_bad_in_one(ddp, inputs, tmp_path):
    out, results = ddp
    main, other = (result["made"] for result in results["broken"])
    assert main.startswith("FloatingPointError: step 3: got")
    assert other.startswith("FloatingPointError: step 3")
    lines = read_metrics(out / "broken")
    assert [(line["step"], line["skipped"]) for line in lines[1:]] == [(1, False), (2, True), (3, True)]
    ranks.identity(inputs, tmp_path / "one", {"pretrain_identity.steps": 5}, steps=1)
    names = ("one", "broken")
    saved = [
        latest_checkpoint(home / name) / "model.safetensors"
        for home, name in zip((tmp_path, out), names, strict=True)
    ]
    first, last = map(load_file, saved)
    assert all(torch.allclose(value, last[name], rtol=0, atol=1e-5) for name, value in first.items())
    assert len(json.loads((out / "broken" / "bad_batch.json").read_text())["clips"]) == 4


@pytest.mark.slow
def test_a_run_folder_that_not_all_machines_see_is_refused(ddp):
    _, results = ddp
    for result in results["blind"]:
        assert "ValueError: run_dir: 1 of 2 processes do not see" in result["made"]
        assert "all machines share" in result["made"]
        assert result["written"] == []


@pytest.mark.slow
def test_balance_is_that_of_the_whole_batch(ddp, inputs, tmp_path):
    _, results = ddp
    (expected,) = ranks.finetuning(inputs, tmp_path / "one", ranks.MEASURED, steps=1)
    for result in results["balance"]:
        ((found,),) = [result["made"]]
        assert found["parts"] == pytest.approx(expected["parts"], abs=1e-5)
        assert {"grad_diff", "grad_struct", "cos_diff_struct"} <= set(found["parts"])
        assert found["monitors"] == pytest.approx(expected["monitors"], abs=1e-5)
        assert {"grad_diff@300", "cos_diff_struct@300"} <= set(found["monitors"])


@pytest.fixture(scope="module")
def fsdp(inputs, tmp_path_factory):
    out = tmp_path_factory.mktemp("fsdp")
    list(ranks.finetuning(inputs, out / "one", steps=1))
    return out, launch("fsdp2", inputs, out, ranks.FSDP_JOBS)


@pytest.mark.slow
def test_each_process_holds_half_of_a_sharded_network(fsdp):
    _, results = fsdp
    (first, total, parts), (second, *_) = (result["made"] for result in results["shards"])
    assert first + second == total
    assert abs(first - second) < 0.05 * total
    assert parts == 2  # the objective with all that is outside of blocks, and one block


@pytest.mark.slow
@pytest.mark.parametrize("job", ["sharded", "lora", "noisy"])
def test_sharded_training_equals_one_process(fsdp, inputs, tmp_path, job):
    out, results = fsdp
    changes = {"sharded": ranks.CHECKPOINTED, "lora": ranks.LORA, "noisy": {"structure.input": "noisy"}}[job]
    run = ranks.structure if job == "noisy" else ranks.finetuning
    expected = run(inputs, tmp_path / "one", changes)
    main, other = results[job]
    assert main["made"] == other["made"]
    assert other["written"] == []
    assert_close(main["made"], expected, 1e-5)
    assert_same_weights(out / job, tmp_path / "one", 1e-5)


@pytest.mark.slow
def test_a_sharded_checkpoint_has_the_format_of_one_process(fsdp, inputs, tmp_path):
    """Written by two sharded processes, one process and the other way round."""
    out, results = fsdp
    whole = results["sharded"][0]["made"]
    assert_close(results["sharded_on"][0]["made"], whole[2:], 1e-5)
    assert_close(results["from_one"][0]["made"], whole[1:], 1e-5)
    for job in ("stopped", "one"):
        assert_same_weights(out / job, out / "sharded", 1e-5)
    copied = shutil.copytree(out / "stopped", tmp_path / "copied")
    shutil.rmtree(latest_checkpoint(copied))
    assert latest_checkpoint(copied).name == "step-000002"
    assert_close(ranks.finetuning(inputs, copied, resume=True), whole[2:], 1e-5)
    assert_same_weights(copied, out / "sharded", 1e-5)


@pytest.mark.slow
def test_stock_pipeline_loads_what_sharded_training_wrote(fsdp, tiny_folder):
    out, _ = fsdp
    pipeline = CogVideoXImageToVideoPipeline.from_pretrained(tiny_folder)
    network = type(pipeline.transformer).from_pretrained(out / "sharded" / "transformer")
    before = pipeline.transformer.state_dict()
    assert not all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    pipeline = CogVideoXImageToVideoPipeline.from_pretrained(tiny_folder, transformer=network)
    image, text = torch.zeros(1, 3, 32, 48), torch.zeros(1, 8, 16)
    prompt = {"prompt_embeds": text, "negative_prompt_embeds": text, "max_sequence_length": 8}
    size = {"height": 32, "width": 48, "num_frames": 9, "num_inference_steps": 1}
    video = pipeline(image=image, **prompt, **size, output_type="pt").frames
    assert video.shape == (1, 9, 3, 32, 48) and video.isfinite().all()
    pipeline.load_lora_weights(out / "lora" / "lora")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("job", "message"),
    [
        ("averaged", "ema: got 0.9 with FSDP2; expected None"),
        ("rounded", "weights_dtype: got 'bfloat16' with FSDP2; expected 'float32'"),
        ("no_blocks", "FSDP2 for a network without CogVideoXBlock"),
        ("unbalanced", "balance_every, probe_every, sample_every: got a measurement with FSDP2"),
        ("unprobed", "balance_every, probe_every, sample_every: got a measurement with FSDP2"),
    ],
)
def test_what_cannot_be_sharded_is_refused(fsdp, job, message):
    _, results = fsdp
    assert all(message in result["made"] for result in results[job])


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_launch_files_are_understood(file):
    read = load_config_from_file(str(file))
    assert read.num_processes == {"one_gpu": 1, "two_cpus": 2}.get(
        file.stem, 16 if read.num_machines == 2 else 8
    )
    if file.stem.startswith("fsdp2"):
        wanted = {"fsdp_version": 2, "fsdp_transformer_layer_cls_to_wrap": "CogVideoXBlock"}
        assert wanted.items() <= read.fsdp_config.items()
    assert file.name in (ROOT / "docs" / "TRAINING.md").read_text()


def test_all_kinds_of_launch_are_there():
    kinds = {file.stem: load_config_from_file(str(file)).distributed_type for file in FILES}
    assert kinds == {
        "ddp": "MULTI_GPU",
        "ddp_two_machines": "MULTI_GPU",
        "fsdp2": "FSDP",
        "fsdp2_two_machines": "FSDP",
        "one_gpu": "NO",
        "two_cpus": "MULTI_GPU",
        "zero2": "DEEPSPEED",
    }


def test_deepspeed_that_is_missing_is_named(monkeypatch):
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")
    monkeypatch.setattr("semrepa.training.processes.is_deepspeed_available", lambda: False)
    with pytest.raises(ModuleNotFoundError, match="pip install deepspeed"):
        this_process()
    monkeypatch.setattr("semrepa.training.processes.is_deepspeed_available", lambda: True)
    monkeypatch.setattr("semrepa.training.processes.pick_device", lambda: torch.device("cpu"))
    with pytest.raises(ValueError, match="DeepSpeed on CPUs; expected GPUs"):
        this_process()
