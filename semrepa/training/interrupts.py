"""Requests to stop that arrive in the middle of a step."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class HeldBack:
    """Context that keeps Ctrl-C, and SIGTERM where the program handles it, until a step is done.

    The program's own handler is then called, which for Ctrl-C raises KeyboardInterrupt. Asking a second time
    stops at once, unless weights are being moved just then. Only the main thread gets signals; elsewhere
    nothing is held back.
    """

    def __init__(self) -> None:
        """Hold back nothing yet."""
        self._waiting: list[int] = []
        self._handlers: dict[int, Any] = {}
        self._unbroken = False

    @property
    def asked(self) -> bool:
        """Whether a request waits."""
        return bool(self._waiting)

    def __enter__(self) -> "HeldBack":
        if threading.current_thread() is threading.main_thread():
            found = {number: signal.getsignal(number) for number in SIGNALS}
            self._handlers = {number: handler for number, handler in found.items() if callable(handler)}
            for number in self._handlers:
                signal.signal(number, self._remember)
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        waiting, self._waiting = self._waiting, []
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        if waiting and kind is None:
            self._handlers[waiting[0]](waiting[0], None)

    @contextmanager
    def unbroken(self) -> Iterator[None]:
        """Within this context nothing stops the step, however often it is asked for."""
        self._unbroken = True
        try:
            yield
        finally:
            self._unbroken = False

    def _remember(self, number: int, frame: FrameType | None) -> None:
        again = bool(self._waiting)
        self._waiting.append(number)
        if again and not self._unbroken:
            self._handlers[number](number, frame)
