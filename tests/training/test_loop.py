"""The loop and its checkpoints, driven with a model of one matrix."""

import dataclasses
import itertools
import json
import os
import signal
import time

import pytest
import torch
from torch import nn

from semrepa.config import TrainConfig
from semrepa.data.dataset import Batch
from semrepa.training.checkpoint import differences, latest_checkpoint
from semrepa.training.log import StepLog, read_metrics
from semrepa.training.loop import train
from semrepa.training.portion import normal, step_generator
from semrepa.training.schedules import learning_rate
from semrepa.training.task import Monitor, Task

CONFIG = TrainConfig(
    steps=8, batch_size=2, lr=0.1, warmup=2, checkpoint_every=100, eval_every=4, ema=0.9, resume=True
)


class Line(nn.Module):
    """A linear map with dropout, so that the global random state matters too."""

    def __init__(self):
        super().__init__()
        self.map = nn.Linear(3, 1)

    def count(self, portion):
        return {"clips": len(portion.batch.ids)}

    def forward(self, portion):
        data = portion.batch.latents.flatten(1)
        inputs = nn.functional.dropout(data + 0.1 * normal(data, portion.generators()), 0.2)
        loss = portion.mean((self.map(inputs).squeeze(1) - data.sum(dim=1)).square(), "clips")
        return loss, {"loss_line": loss.detach()}


def numbers(generator, count=2):
    """Clips whose latents are three numbers; the rest is empty."""
    return Batch(
        latents=torch.randn(count, 1, 3, 1, 1, generator=generator),
        depth_latents=torch.zeros(count, 1, 3, 1, 1),
        first_frames=torch.zeros(count, 3, 8, 8, dtype=torch.uint8),
        prompt_embeds=torch.zeros(count, 1, 1),
        id_embeds=torch.zeros(count, 1, 4),
        face_mask=torch.zeros(count, 1, dtype=torch.bool),
        ids=("one", "two")[:count],
    )


def stream(start):
    for step in itertools.count(start):
        yield [numbers(step_generator(1, step))]


def task(exported=None, recipe=None):
    torch.manual_seed(3)
    line = Line()
    return Task(
        objective=line,
        batches=stream,
        export=lambda: exported.append(line.map.weight.detach().clone()) if exported is not None else None,
        evaluate=lambda: {"loss_line": float(line.map.weight.square().sum())},
        floors={"loss_line": {"zero output": 3.0}},
        recipe=recipe or {"loss": {"weight": 1}},
    )


def run(folder, made=None, config=CONFIG, **options):
    return train(made or task(), config, folder, seed=5, **options)


def plain(log):
    return {**dataclasses.asdict(log), "seconds": 0}


def test_logs_are_plain_numbers_made_after_the_step(tmp_path):
    made = task()
    before = made.objective.map.weight.detach().clone()
    log = next(iter(run(tmp_path, made)))
    assert not torch.equal(made.objective.map.weight, before)
    assert log.step == 1
    assert log.samples == 2
    assert log.lr == pytest.approx(0.05)
    numbers = [log.loss, log.grad_norm, log.seconds, *log.parts.values()]
    assert all(type(number) is float for number in numbers)
    with pytest.raises(dataclasses.FrozenInstanceError):
        log.loss = 0.0


def test_metrics_file_holds_every_step_and_the_start(tmp_path):
    logs = list(run(tmp_path))
    lines = read_metrics(tmp_path)
    assert lines[0]["step"] == 0
    assert lines[0]["floors"] == {"loss_line": {"zero output": 3.0}}
    assert lines[0]["eval"]["loss_line"] > 0
    assert [StepLog(**line) for line in lines[1:]] == logs
    assert [line["step"] for line in lines if line["eval"]] == [0, 4, 8]


def test_log_every_thins_the_file_but_not_the_logs(tmp_path):
    config = dataclasses.replace(CONFIG, log_every=3, steps=7)
    assert len(list(run(tmp_path, config=config))) == 7
    assert [line["step"] for line in read_metrics(tmp_path)] == [0, 3, 4, 6, 7]


@pytest.mark.parametrize("stopped_at", [1, 3, 7])
def test_resume_is_bit_exact(tmp_path, stopped_at):
    whole = task()
    expected = [plain(log) for log in run(tmp_path / "whole", whole)]
    first = run(tmp_path / "parts")
    for _ in range(stopped_at):
        next(first)
    first.close()
    second = task()
    torch.manual_seed(99)
    rest = [plain(log) for log in run(tmp_path / "parts", second)]
    assert rest == expected[stopped_at:]
    assert torch.equal(second.objective.map.weight, whole.objective.map.weight)
    logged = [{**line, "seconds": 0} for line in read_metrics(tmp_path / "parts")]
    assert logged == [{**line, "seconds": 0} for line in read_metrics(tmp_path / "whole")]


def test_resume_drops_lines_after_the_checkpoint(tmp_path):
    config = dataclasses.replace(CONFIG, checkpoint_every=3)
    made = task()

    def broken(start):
        yield from itertools.islice(stream(start), 5)
        raise OSError("disk is gone")

    with pytest.raises(OSError, match="disk"):
        list(run(tmp_path, dataclasses.replace(made, batches=broken), config))
    assert read_metrics(tmp_path)[-1]["step"] == 5
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 6, "lo')
    assert next(run(tmp_path, config=config)).step == 4
    assert [line["step"] for line in read_metrics(tmp_path)] == [0, 1, 2, 3, 4]


def test_finished_run_yields_nothing_more(tmp_path):
    exported = []
    list(run(tmp_path, task(exported)))
    assert list(run(tmp_path, task(exported))) == []
    assert torch.equal(*exported)


def test_fresh_start_sets_the_earlier_run_aside(tmp_path):
    list(run(tmp_path))
    assert next(run(tmp_path, resume=False)).step == 1
    assert len(read_metrics(tmp_path / "previous")) == 9
    assert latest_checkpoint(tmp_path / "previous").name == "step-000008"


def test_learning_rate_zero_changes_nothing(tmp_path):
    made = task()
    before = {name: value.clone() for name, value in made.objective.state_dict().items()}
    list(run(tmp_path, made, dataclasses.replace(CONFIG, lr=0.0, ema=None)))
    assert all(torch.equal(value, before[name]) for name, value in made.objective.state_dict().items())


def test_averaged_weights_are_exported_and_differ(tmp_path):
    exported = []
    made = task(exported)
    list(run(tmp_path, made))
    assert not torch.equal(exported[0], made.objective.map.weight)
    assert read_metrics(tmp_path)[-1]["eval"]["loss_line"] == pytest.approx(exported[0].square().sum().item())


def test_ctrl_c_finishes_the_step_and_saves(tmp_path):
    made = task()
    forward = made.objective.forward

    def interrupted(portion):
        if len(read_metrics(tmp_path)) == 3:
            os.kill(os.getpid(), signal.SIGINT)
        return forward(portion)

    made.objective.forward = interrupted
    handler = signal.getsignal(signal.SIGINT)
    logs = run(tmp_path, made)
    assert [next(logs).step, next(logs).step] == [1, 2]
    with pytest.raises(KeyboardInterrupt):
        next(logs)
    assert latest_checkpoint(tmp_path).name == "step-000003"
    assert signal.getsignal(signal.SIGINT) is handler
    assert next(run(tmp_path)).step == 4


def test_other_settings_are_refused_with_a_list(tmp_path):
    next(run(tmp_path))
    other = dataclasses.replace(CONFIG, lr=0.2, betas=(0.8, 0.95), steps=20, eval_every=7)
    with pytest.raises(ValueError, match="made with other settings") as error:
        next(run(tmp_path, task(recipe={"loss": {"weight": 2}}), other))
    listed = [line.strip() for line in str(error.value).splitlines()[1:-1]]
    assert listed == [
        "loss.weight: checkpoint 1, now 2",
        "train.betas: checkpoint [0.9, 0.95], now [0.8, 0.95]",
        "train.lr: checkpoint 0.1, now 0.2",
    ]


def test_allowed_settings_may_differ_but_not_those_a_checkpoint_depends_on(tmp_path, caplog):
    next(run(tmp_path))
    other = dataclasses.replace(CONFIG, lr=0.2, betas=(0.8, 0.95))
    message = r"train\.betas: .*\nGive the same .*--allow-change train\.betas"
    with pytest.raises(ValueError, match=message) as error:
        next(run(tmp_path, config=other, allow_change=["train.lr"]))
    assert "train.lr" not in str(error.value)
    assert next(run(tmp_path, config=other, allow_change=["train"])).lr == pytest.approx(0.2)
    assert "train.lr has changed from 0.1 to 0.2, as allowed" in caplog.text
    without = dataclasses.replace(other, ema=None)
    with pytest.raises(
        ValueError, match=r"train\.ema: checkpoint 0\.9, now None \(must not differ\)"
    ) as error:
        next(run(tmp_path, config=without, allow_change=["train"]))
    assert "--allow-change" not in str(error.value)


def test_checkpoints_come_by_minutes_too(tmp_path, monkeypatch):
    clock = itertools.count(0, 30)
    monkeypatch.setattr("semrepa.training.loop.time.monotonic", lambda: next(clock))
    config = dataclasses.replace(CONFIG, checkpoint_minutes=1.2, keep=100)
    list(itertools.islice(run(tmp_path, config=config), 6))
    steps = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert steps[:2] == ["step-000003", "step-000006"]


def test_differences_name_what_is_absent():
    assert differences({"a": {"b": 1}}, {"a": {"c": 2}}) == {
        "a.b": (1, "(absent)"),
        "a.c": ("(absent)", 2),
    }


@pytest.mark.parametrize("damage", ["flip", "cut", "gone", "manifest"])
def test_damaged_checkpoint_is_refused(tmp_path, damage):
    next(run(tmp_path))
    folder = latest_checkpoint(tmp_path)
    weights = folder / "model.safetensors"
    content = weights.read_bytes()
    match damage:
        case "flip":
            weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        case "cut":
            weights.write_bytes(content[:-4])
        case "gone":
            weights.unlink()
        case "manifest":
            (folder / "checkpoint.json").write_text("{")
    with pytest.raises(ValueError, match=f"delete {folder} to go on from the start, as none is older"):
        next(run(tmp_path))


def test_damaged_checkpoint_names_the_good_one_before_it(tmp_path):
    list(itertools.islice(run(tmp_path, config=dataclasses.replace(CONFIG, checkpoint_every=1)), 3))
    folder = latest_checkpoint(tmp_path)
    (folder / "state.pt").write_bytes(b"")
    with pytest.raises(
        ValueError, match=f"delete {folder} to go on from the checkpoint before it, step-000002"
    ):
        next(run(tmp_path))


def test_unfinished_checkpoint_does_not_count(tmp_path):
    next(run(tmp_path))
    folder = latest_checkpoint(tmp_path)
    folder.rename(folder.with_name(f".{folder.name}.partial"))
    assert next(run(tmp_path)).step == 1


def test_old_checkpoints_are_removed(tmp_path):
    list(run(tmp_path, config=dataclasses.replace(CONFIG, checkpoint_every=1, keep=3)))
    kept = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert kept == ["step-000006", "step-000007", "step-000008"]
    manifest = json.loads((latest_checkpoint(tmp_path) / "checkpoint.json").read_text())
    assert manifest["step"] == 8
    assert manifest["recipe"]["seed"] == 5


def test_learning_rate_schedules():
    constant = [learning_rate(CONFIG, step) for step in range(1, 9)]
    assert constant == pytest.approx([0.05, *[0.1] * 7])
    cosine = [learning_rate(dataclasses.replace(CONFIG, schedule="cosine"), step) for step in range(1, 9)]
    assert cosine[:3] == pytest.approx([0.05, 0.1, 0.1])
    assert cosine[5] == pytest.approx(0.05)
    assert 0 < cosine[7] < 0.01
    linear = [learning_rate(dataclasses.replace(CONFIG, schedule="linear"), step) for step in range(1, 9)]
    assert linear == pytest.approx([0.05, 0.1, *[0.1 * (1 - done / 6) for done in range(6)]])
    assert all(a > b for a, b in itertools.pairwise(cosine[2:]))


def test_monitors_are_measured_before_during_and_after_without_changing_the_run(tmp_path):
    made, seen = task(), []

    def measure(step):
        seen.append((step, made.objective.training, made.objective.map.weight.detach().clone()))
        torch.rand(3)
        return {"drift": float(step)}

    watched = [Monitor(every=3, measure=measure), Monitor(every=0, measure=measure)]
    logs = list(run(tmp_path / "watched", dataclasses.replace(made, monitors=watched)))
    assert [(step, training) for step, training, _ in seen] == [(n, False) for n in (0, 3, 6, 8)]
    lines = read_metrics(tmp_path / "watched")
    assert [(line["step"], line["monitors"]) for line in lines if line["monitors"]] == [
        (n, {"drift": float(n)}) for n in (0, 3, 6, 8)
    ]
    assert torch.equal(seen[-1][2], made.objective.map.weight)
    assert [log.loss for log in logs] == [log.loss for log in run(tmp_path / "plain")]


def test_monitors_of_averaged_weights_see_them(tmp_path):
    made, seen, exported = task(), [], []

    def measure(step):
        seen.append(made.objective.map.weight.detach().clone())
        return {}

    watched = [Monitor(every=100, measure=measure, averaged=True)]
    export = lambda: exported.append(made.objective.map.weight.detach().clone())  # noqa: E731
    list(run(tmp_path, dataclasses.replace(made, monitors=watched, export=export)))
    assert torch.equal(seen[-1], exported[-1])
    assert not torch.equal(seen[-1], made.objective.map.weight)


def test_speed_is_read_at_each_line_of_the_log(tmp_path):
    read = []
    made = dataclasses.replace(task(), speed=lambda *since: read.append(since) or {"mfu": 0.4})
    config = dataclasses.replace(CONFIG, log_every=3, steps=7)
    logs = list(run(tmp_path, made, config))
    assert [clips for clips, _ in read] == [2 * steps for steps in (3, 1, 2, 1)]  # lines 3, 4, 6 and 7
    assert sum(seconds for _, seconds in read) == pytest.approx(sum(log.seconds for log in logs))
    assert [log.speed for log in logs if log.speed] == [{"mfu": 0.4}] * 4
    assert read_metrics(tmp_path)[1]["speed"] == {"mfu": 0.4}


def test_seconds_hold_the_wait_for_data_but_no_measurements(tmp_path):
    def slow(start):
        for shares in stream(start):
            time.sleep(0.05)
            yield shares

    def inspect(_):
        time.sleep(0.5)
        return {}

    log = next(run(tmp_path, dataclasses.replace(task(), batches=slow, inspect=inspect)))
    assert 0.05 <= log.seconds < 0.5


def test_log_of_no_run_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"metrics\.jsonl: not found"):
        read_metrics(tmp_path)
