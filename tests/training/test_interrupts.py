"""Requests to stop, with one process and with several that agree."""

import os
import signal

import pytest

from semrepa.training.interrupts import HeldBack


def ask():
    os.kill(os.getpid(), signal.SIGINT)


def test_one_process_stops_after_the_step_and_at_once_when_asked_again():
    done = []

    def step(held, times):
        with held.step():
            for _ in range(times):
                ask()
            done.append(held.asked)

    with HeldBack() as held:
        with pytest.raises(KeyboardInterrupt):
            step(held, 1)
        assert done == [True]
        with pytest.raises(KeyboardInterrupt):
            step(held, 2)
        assert done == [True]
        with pytest.raises(KeyboardInterrupt):
            ask()  # between steps nothing is held back


def test_several_processes_stop_where_they_agree():
    told, handler = [], signal.getsignal(signal.SIGINT)

    def agree(number):
        told.append(number)
        return number if len(told) == 3 else 0

    def run():
        with HeldBack(agree) as held:
            ask()  # between steps too
            for _ in range(3):
                with held.step():
                    ask()

    with pytest.raises(KeyboardInterrupt):
        run()
    assert told == [signal.SIGINT] * 3
    assert signal.getsignal(signal.SIGINT) is handler


def steps(agree, work=lambda: None, after=lambda: None):
    with HeldBack(agree) as held:
        with held.step():
            work()
        after()


def test_a_process_that_was_not_asked_stops_as_the_others_do():
    with pytest.raises(KeyboardInterrupt):
        steps(lambda _: signal.SIGINT)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    with pytest.raises(SystemExit, match="143"):
        steps(lambda _: signal.SIGTERM)


@pytest.mark.parametrize("agree", [None, lambda number: number])
def test_an_error_in_a_step_comes_first(agree):
    def fail():
        ask()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        steps(agree, fail)


def test_a_request_after_the_last_step_is_not_lost():
    with pytest.raises(KeyboardInterrupt):
        steps(lambda _: 0, after=ask)
