"""Requests to stop, with one process and with several that agree."""

import os
import signal

import pytest

from semrepa.training.interrupts import HeldBack


def ask():
    os.kill(os.getpid(), signal.SIGINT)


def test_one_process_stops_after_the_step_and_at_once_when_asked_again():
    with HeldBack() as held:
        with pytest.raises(KeyboardInterrupt), held.step():
            ask()
            assert held.asked
        with pytest.raises(KeyboardInterrupt), held.step():
            ask()
            ask()
            pytest.fail("went on")
        with pytest.raises(KeyboardInterrupt):
            ask()  # between steps nothing is held back


def test_several_processes_stop_where_they_agree():
    told, handler = [], signal.getsignal(signal.SIGINT)
    with HeldBack(lambda number: told.append(number) or (number if len(told) > 2 else 0)) as held:
        ask()  # between steps too
        with held.step():
            ask()
            ask()
        with held.step():
            assert held.asked
        with pytest.raises(KeyboardInterrupt), held.step():
            pass
    assert told == [signal.SIGINT] * 3
    assert signal.getsignal(signal.SIGINT) is handler


def test_a_process_that_was_not_asked_stops_as_the_others_do():
    with HeldBack(lambda _: signal.SIGINT) as held, pytest.raises(KeyboardInterrupt), held.step():
        assert not held.asked
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    with HeldBack(lambda _: signal.SIGTERM) as held, pytest.raises(SystemExit, match="143"), held.step():
        pass


def test_an_error_in_a_step_comes_first():
    for agree in (None, lambda number: number):
        with pytest.raises(ZeroDivisionError), HeldBack(agree) as held, held.step():
            ask()
            raise ZeroDivisionError


def test_a_request_after_the_last_step_is_not_lost():
    with pytest.raises(KeyboardInterrupt), HeldBack(lambda _: 0) as held:
        with held.step():
            pass
        ask()
