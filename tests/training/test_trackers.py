"""Trackers beside `metrics.jsonl`: told the same numbers, asked for by name, missed by name."""

import dataclasses
import importlib.util
from typing import ClassVar

import pytest
from accelerate.tracking import LOGGER_TYPE_TO_CLASS, GeneralTracker
from training.test_loop import CONFIG, run, task

from semrepa.training import trackers
from semrepa.training.log import numbers, read_metrics

TRACKED = dataclasses.replace(CONFIG, trackers=("tensorboard",), log_every=3)


class Stub(GeneralTracker):
    """Writes down what it is told."""

    name, requires_logging_directory, tracker = "tensorboard", True, None
    made: ClassVar[list["Stub"]] = []

    def __init__(self, run_name, logging_dir, **options):
        super().__init__()
        self.place, self.options, self.told = (run_name, logging_dir), options, []
        self.made.append(self)

    def start(self):
        self.told.append("start")

    def store_init_configuration(self, values):
        self.settings = values

    def log(self, values, step=None, **_):
        self.told.append((step, values))

    def finish(self):
        self.told.append("finish")


@pytest.fixture
def stub(monkeypatch):
    Stub.made = []
    monkeypatch.setitem(LOGGER_TYPE_TO_CLASS, "tensorboard", Stub)
    monkeypatch.setattr(trackers, "_check_installed", lambda name: None)
    return Stub.made


def test_a_tracker_gets_every_line_of_the_log(stub, tmp_path):
    list(run(tmp_path, config=TRACKED))
    (tracker,) = stub
    assert tracker.place == ("tensorboard", tmp_path)
    assert tracker.told[0] == "start" and tracker.told[-1] == "finish"
    lines = read_metrics(tmp_path)
    assert tracker.told[1:-1] == [(line["step"], numbers(line)) for line in lines]
    assert [step for step, _ in tracker.told[1:-1]] == [0, 3, 4, 6, 8]
    assert {"loss", "loss_line", "eval.loss_line", "lr", "grad_norm"} <= set(tracker.told[3][1])
    assert tracker.settings["train.lr"] == 0.1
    assert tracker.settings["train.betas"] == "(0.9, 0.95)"


def test_a_run_that_goes_on_replaces_what_was_drawn_after_its_checkpoint(stub, tmp_path):
    stream = run(tmp_path, config=TRACKED)
    next(stream)
    stream.close()
    list(run(tmp_path, config=TRACKED))
    assert [tracker.options["purge_step"] for tracker in stub] == [None, 2]


def test_a_missing_package_is_named_before_anything_is_trained(monkeypatch, tmp_path):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    made = task()
    before = made.objective.map.weight.detach().clone()
    config = dataclasses.replace(CONFIG, trackers=("wandb",))
    with pytest.raises(ModuleNotFoundError, match=r"trackers: got 'wandb' without.*pip install wandb"):
        next(run(tmp_path, made, config))
    assert (made.objective.map.weight == before).all()
    assert not (tmp_path / "metrics.jsonl").exists()


def test_tensorboard_reads_what_was_written(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    logs = list(run(tmp_path, config=dataclasses.replace(TRACKED, log_every=1)))
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    drawn = {event.step: event.value for event in events.Scalars("loss")}
    assert drawn == pytest.approx({log.step: log.loss for log in logs})
