"""Children by their run folder: followed, stopped, waited for; they are scripts that train nothing."""

import dataclasses
import json
import os
import signal
import threading
import time
from collections import deque

import psutil
import pytest
from training.stub import rewrite, stub

from semrepa.training import child as module
from semrepa.training.child import NotFinishedError
from semrepa.training.follow import LogReader
from semrepa.training.launch import attach, launch, release, wait
from semrepa.training.log import StepLog, append_line, cut_log, set_aside


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(module, "POLL_SECONDS", 0.02)


def step_log(step: int, seconds: float = 0.5) -> StepLog:
    return StepLog(step=step, loss=1.0, parts={}, lr=1.0, grad_norm=1.0, seconds=seconds, samples=step)


def given(reader: LogReader) -> list[int]:
    return [log.step for log in reader.new()]


def test_reader_gives_each_line_once_and_never_half_a_line(tmp_path):
    reader = LogReader(tmp_path)
    assert given(reader) == []
    append_line(tmp_path, {"step": 0, "eval": {}, "floors": {}})
    append_line(tmp_path, step_log(1))
    assert reader.new() == [step_log(1)]
    text = json.dumps(dataclasses.asdict(step_log(2))) + "\n"
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write(text[:20])
        file.flush()
        assert given(reader) == []
        file.write(text[20:])
    assert given(reader) == [2]
    assert given(reader) == []


def test_reader_follows_a_log_that_is_cut_and_grows_past_its_length(tmp_path):
    reader = LogReader(tmp_path)
    for step in range(1, 6):
        append_line(tmp_path, step_log(step))
    assert given(reader) == [1, 2, 3, 4, 5]
    cut_log(tmp_path, 3)
    assert given(reader) == []
    append_line(tmp_path, step_log(4, seconds=0.75))
    assert given(reader) == [4]
    cut_log(tmp_path, 2)
    for step in range(3, 9):
        append_line(tmp_path, step_log(step, seconds=0.25))
    assert given(reader) == [3, 4, 5, 6, 7, 8], "longer than before, but another text"


def test_reader_follows_a_run_that_begins_anew(tmp_path):
    reader = LogReader(tmp_path)
    append_line(tmp_path, step_log(1))
    assert given(reader) == [1]
    set_aside(tmp_path)
    assert given(reader) == []
    append_line(tmp_path, step_log(1, seconds=0.75))
    assert given(reader) == [1]


def test_a_running_child_is_followed_stopped_and_waited_for(tmp_path):
    child = stub(tmp_path, "waits")
    stream = child.follow()
    assert [next(stream).step for _ in range(3)] == [1, 2, 3]
    assert (child.status, child.step, child.outcome) == ("running", 3, None)
    assert child.describe() == f"running, process {child.pid}, at step 3"
    with pytest.raises(TimeoutError, match=r"running.* after 0\.1 s"):
        child.wait(0.1)
    child.stop()
    with pytest.raises(NotFinishedError, match="stopped at step 3, nothing lost; start it again"):
        next(stream)
    again = attach(tmp_path)
    assert (again.status, again.outcome.exit_code) == ("stopped", 75)
    stream = again.follow()
    assert [next(stream).step for _ in range(3)] == [1, 2, 3]


def test_a_finished_child(tmp_path):
    child = stub(tmp_path, "finishes")
    assert child.wait(20).status == "finished"
    assert [log.step for log in attach(tmp_path).follow(past=1)] == [3]
    wait(tmp_path)
    assert child.processes() == []


def test_a_failed_child_tells_its_error_and_the_end_of_its_log(tmp_path):
    child = stub(tmp_path, "fails", steps=30)
    with pytest.raises(NotFinishedError) as error:
        wait(tmp_path)
    lines = str(error.value).splitlines()
    assert lines[0].endswith("failed at step 30: FloatingPointError: got nan; expected a number")
    assert lines[1] == "end of train.log:"
    assert lines[2:] == [f"printed at step {step}" for step in range(11, 31)]
    assert child.status == "failed"


def test_a_crashed_child_has_no_outcome(tmp_path):
    stub(tmp_path, "dies")
    with pytest.raises(NotFinishedError, match="died at step 3, often for lack of memory"):
        wait(tmp_path)
    child = attach(tmp_path)
    assert (child.status, child.outcome) == ("crashed", None)
    child.stop()  # nothing is there to stop, and nothing is hit


def test_closing_its_steps_stops_it_as_a_training_in_this_process(tmp_path):
    child = stub(tmp_path, "waits", steps=1000)
    stream = child.steps()
    first = next(stream).step
    assert next(stream).step == first + 1
    stream.close()
    assert child.status == "stopped"


def test_ctrl_c_stops_it_and_waits_until_it_has_saved(tmp_path):
    child = stub(tmp_path, "waits")
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        deque(child.steps())
    assert child.status == "stopped"


def test_stopping_at_once_ends_everything(tmp_path):
    child = stub(tmp_path, "waits")
    next(child.follow())
    os.kill(child.pid, signal.SIGSTOP)  # hears no request
    child.stop()
    assert child.status == "running"
    child.stop(at_once=True)
    with pytest.raises(NotFinishedError, match="died"):
        child.wait(20)


def test_another_process_with_its_number_is_neither_alive_nor_stopped(tmp_path):
    child = stub(tmp_path, "waits")
    innocent = psutil.Popen(["sleep", "60"])
    try:
        other = rewrite(tmp_path, pid=innocent.pid, started=innocent.create_time() - 3600)
        assert [process.pid for process in other.processes()] == [child.pid], "known by its command line"
        child.stop(at_once=True)
        while child.processes():
            time.sleep(0.02)
        assert other.status == "crashed"
        other.stop(at_once=True)
        assert innocent.is_running()
        assert innocent.status() != psutil.STATUS_ZOMBIE
    finally:
        innocent.kill()
        innocent.wait()


def test_a_child_of_another_machine_cannot_be_judged(tmp_path, small_config):
    stub(tmp_path, "dies").stop(at_once=True)
    child = rewrite(tmp_path, host="another")
    assert child.status == "elsewhere"
    with pytest.raises(ValueError, match="trains on another; expected a training on this machine"):
        child.stop()
    with pytest.raises(ValueError, match="where a training is running on another"):
        launch("finetune", small_config, tmp_path, tmp_path)


def test_one_training_at_a_time_in_a_folder(tmp_path, small_config):
    child = stub(tmp_path, "waits")
    expected = rf"where a training is running, process {child.pid}.*attach\(run_dir\)\.stop\(\) saves"
    with pytest.raises(ValueError, match=expected):
        launch("finetune", small_config, tmp_path, tmp_path)
    with pytest.raises(ValueError, match=expected):
        release(tmp_path)
    child.stop()
    with pytest.raises(NotFinishedError):
        child.wait(20)
    release(tmp_path)
    assert not (tmp_path / "outcome.json").exists()
    wait(tmp_path)  # nothing to wait for


def test_a_folder_without_a_child_is_named(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"child\.json: not found; expected a run folder that `launch`"
    ):
        attach(tmp_path)
