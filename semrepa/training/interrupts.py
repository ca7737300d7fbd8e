"""Requests to stop that arrive in the middle of a step."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class HeldBack:
    """Keeps Ctrl-C, and SIGTERM where the program handles it, until a step is done.

    The program's own handler is then called, which for Ctrl-C raises KeyboardInterrupt. Only the main thread
    gets signals; elsewhere nothing is held back.

    One process: requests are held back within `step`. Asking a second time stops at once, unless weights are
    being moved just then. Several processes: requests are held back as long as this is entered, and after
    each step all processes agree whether one of them was asked to stop; then all stop, after the same step.
    Asking again does nothing, since launchers pass on what a process has already got.
    """

    def __init__(self, agree: Callable[[int], int] | None = None) -> None:
        """Hold back nothing yet.

        Args:
            agree: with several processes, makes the number of a signal (0: none) known to all, see
                `processes.agreed_signal`; None: one process.
        """
        self._agree = agree
        self._waiting: list[int] = []
        self._handlers: dict[int, Any] = {}
        self._unbroken = False

    @property
    def asked(self) -> bool:
        """Whether a request waits."""
        return bool(self._waiting)

    def __enter__(self) -> "HeldBack":
        if self._agree:
            self._catch()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if self._agree:
            self._release(act=kind is None)

    @contextmanager
    def step(self) -> Iterator["HeldBack"]:
        """Within this context a request waits; at its end it is acted upon, unless there was an error."""
        if self._agree:
            yield self
            if number := self._agree(self._waiting[0] if self._waiting else 0):
                self._waiting.clear()
                self._act(number)
            return
        self._catch()
        done = False
        try:
            yield self
            done = True
        finally:
            self._release(act=done)

    @contextmanager
    def unbroken(self) -> Iterator[None]:
        """Within this context nothing stops the step, however often it is asked for."""
        self._unbroken = True
        try:
            yield
        finally:
            self._unbroken = False

    def _catch(self) -> None:
        if threading.current_thread() is threading.main_thread():
            found = {number: signal.getsignal(number) for number in SIGNALS}
            self._handlers = {number: handler for number, handler in found.items() if callable(handler)}
            for number in self._handlers:
                signal.signal(number, self._remember)

    def _release(self, *, act: bool) -> None:
        waiting, self._waiting = self._waiting, []
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        if waiting and act:
            self._act(waiting[0])

    def _act(self, number: int) -> None:
        """Do what the program does on a signal, also where only another process got it."""
        handler = self._handlers.get(number)
        if handler is None:
            raise SystemExit(128 + number)
        handler(number, None)

    def _remember(self, number: int, frame: FrameType | None) -> None:
        again = bool(self._waiting)
        self._waiting.append(number)
        if again and not self._unbroken and not self._agree:
            self._handlers[number](number, frame)
