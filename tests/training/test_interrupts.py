"""Requests to stop that arrive in the middle of a step."""

import os
import signal
import threading

import pytest
import torch
from training.test_loop import CONFIG, run, task

from semrepa.training.checkpoint import latest_checkpoint
from semrepa.training.interrupts import HeldBack


def send(number=signal.SIGINT):
    os.kill(os.getpid(), number)


def step(work):
    with HeldBack() as held, held.step():
        work(held)


def test_a_request_waits_for_the_end_of_the_step():
    done = []

    def work(held):
        send()
        done.append(held.asked)

    with pytest.raises(KeyboardInterrupt):
        step(work)
    assert done == [True]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_the_second_request_stops_at_once_but_not_while_weights_move():
    done = []

    def work(held):
        with held.unbroken():
            send()
            send()
            done.append("moved")
        send()
        done.append("never")

    with pytest.raises(KeyboardInterrupt):
        step(work)
    assert done == ["moved"]


def test_the_programs_own_handler_of_sigterm_is_called_after_the_step():
    order = []

    def leave(number, frame):
        order.append("handler")
        raise SystemExit(75)

    def work(held):
        send(signal.SIGTERM)
        order.append("step")

    before = signal.signal(signal.SIGTERM, leave)
    try:
        with pytest.raises(SystemExit) as ended:
            step(work)
        assert ended.value.code == 75
        assert order == ["step", "handler"]
        assert signal.getsignal(signal.SIGTERM) is leave
    finally:
        signal.signal(signal.SIGTERM, before)


def test_an_error_of_the_step_wins_over_a_request():
    def work(held):
        send()
        raise OSError("disk")

    with pytest.raises(OSError, match="disk"):
        step(work)


def test_other_threads_hold_nothing_back():
    found = []

    def work():
        with HeldBack() as held, held.step():
            found.append(held.asked)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [False]


def test_sigterm_saves_before_the_program_leaves(tmp_path):
    made = task()
    forward = made.objective.forward

    def stopped(portion):
        if portion.step == 3:
            send(signal.SIGTERM)
        return forward(portion)

    made.objective.forward = stopped
    before = signal.signal(signal.SIGTERM, lambda *_: (_ for _ in ()).throw(SystemExit(75)))
    try:
        with pytest.raises(SystemExit):
            list(run(tmp_path, made))
    finally:
        signal.signal(signal.SIGTERM, before)
    assert latest_checkpoint(tmp_path).name == "step-000003"
    assert next(run(tmp_path)).step == 4


def test_asked_twice_a_step_is_left_out_and_repeated_later(tmp_path):
    expected = list(run(tmp_path / "whole"))[3].loss
    made = task()
    forward = made.objective.forward

    def stopped(portion):
        if portion.step == 4:
            torch.nn.functional.dropout(torch.ones(9))
            send()
            send()
        return forward(portion)

    made.objective.forward = stopped
    with pytest.raises(KeyboardInterrupt):
        list(run(tmp_path / "parts", made))
    assert latest_checkpoint(tmp_path / "parts").name == "step-000003"
    assert all(p.grad is None for p in made.objective.parameters())
    assert next(run(tmp_path / "parts", config=CONFIG)).loss == expected


def test_several_processes_stop_where_they_agree():
    told, handler = [], signal.getsignal(signal.SIGINT)

    def agree(number):
        told.append(number)
        return number if len(told) == 3 else 0

    def run():
        with HeldBack(agree) as held:
            send()  # between steps too
            for _ in range(3):
                with held.step():
                    send()

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


def test_a_request_after_the_last_step_is_not_lost():
    with pytest.raises(KeyboardInterrupt):
        steps(lambda _: 0, after=send)
