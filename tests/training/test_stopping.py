"""Requests to stop, and the record of how a training ended."""

import os
import signal

import pytest

from semrepa.training import stopping
from semrepa.training.outcome import SAVED_AND_STOPPED, Outcome, OutcomeRecord, read_outcome
from semrepa.training.stopping import StopRequests, anywhere

SIGNALS = pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])


def send(number):
    os.kill(os.getpid(), number)


@SIGNALS
def test_before_the_first_step_a_request_interrupts(number):
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt), StopRequests():
        send(number)
    assert signal.getsignal(number) is before


@SIGNALS
def test_while_steps_are_trained_it_is_noted_and_its_echo_is_ignored(number):
    with StopRequests() as requests:
        requests.hold()
        assert not requests.asked
        send(number)
        send(signal.SIGTERM)
        assert requests.asked


def test_a_second_request_ends_at_once(monkeypatch):
    monkeypatch.setattr(stopping, "ECHO", 0.0)
    with StopRequests() as requests:
        requests.hold()
        send(signal.SIGTERM)
        with pytest.raises(SystemExit) as end:
            send(signal.SIGTERM)
    assert end.value.code == 143


def test_an_interrupt_that_was_lost_in_preparation_is_remembered():
    requests = StopRequests()
    requests.asked = True
    with pytest.raises(KeyboardInterrupt):
        requests.hold()


def test_one_process_answers_for_itself():
    assert anywhere(True)
    assert not anywhere(False)


def record(folder, waited=None):
    return OutcomeRecord(folder, lambda: waited.append(read_outcome(folder)) if waited is not None else None)


def test_a_finished_run_is_recorded_before_any_process_leaves(tmp_path):
    waited = []
    with record(tmp_path, waited) as done:
        done.step = 7
    assert done.exit_code == 0
    assert waited == [Outcome(status="finished", step=7, exit_code=0)]


def test_a_stopped_run_has_a_code_of_its_own(tmp_path):
    with record(tmp_path) as done:
        done.step, done.stopped = 3, True
    assert done.exit_code == SAVED_AND_STOPPED
    assert read_outcome(tmp_path) == Outcome(status="stopped", step=3, exit_code=75)


def test_a_request_before_the_first_step_loses_nothing(tmp_path):
    with record(tmp_path) as done:
        raise KeyboardInterrupt
    assert done.exit_code == SAVED_AND_STOPPED
    assert read_outcome(tmp_path) == Outcome(status="stopped", step=None, exit_code=75)


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [(OSError("disk is gone"), 1, "OSError: disk is gone"), (SystemExit(143), 143, "SystemExit: 143")],
)
def test_a_failed_run_says_why(tmp_path, error, code, text):
    done = record(tmp_path)
    done.step = 2
    with pytest.raises(type(error)), done:
        raise error
    assert read_outcome(tmp_path) == Outcome(status="failed", step=2, exit_code=code, error=text)


def test_an_older_outcome_goes_when_a_run_begins(tmp_path):
    with record(tmp_path):
        pass
    with record(tmp_path):
        assert read_outcome(tmp_path) is None


def test_the_process_that_fails_first_is_believed(tmp_path, monkeypatch):
    with record(tmp_path) as main:
        main.stopped = True
        monkeypatch.setenv("RANK", "1")
        with pytest.raises(OSError, match="gone"), record(tmp_path):
            raise OSError("disk is gone")
    assert read_outcome(tmp_path).error == "OSError: disk is gone"
