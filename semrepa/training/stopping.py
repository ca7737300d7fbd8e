"""Signals that ask a training to stop: the step in progress ends first, the same one on all processes.

A scheduler, a terminal and a notebook send SIGTERM or SIGINT to one process or to many, and launchers pass it
on, so that one request arrives twice within moments. What comes later than that is a second request.
"""

import signal
import threading
import time
from types import FrameType, TracebackType

ECHO = 2.0
"""Seconds within which a further signal is the same request, passed on by a launcher."""


class StopRequests:
    """Context in which SIGTERM and SIGINT ask for a stop; a second request ends the process at once.

    Before `hold` nothing is trained yet, and a request is a KeyboardInterrupt. In a thread other than the
    main one signals stay as they are.

    Attributes:
        asked: whether a stop was asked for.
    """

    def __init__(self) -> None:
        self.asked = False
        self._first = 0.0
        self._holding = False
        self._before: dict[signal.Signals, object] = {}

    def __enter__(self) -> "StopRequests":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._before[number] = signal.signal(number, self._receive)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # pyright: ignore[reportArgumentType]

    def hold(self) -> None:
        """From here on steps are trained: a request is only noted.

        Raises:
            KeyboardInterrupt: a stop was asked for before.
        """
        self._holding = True
        if self.asked:
            raise KeyboardInterrupt

    def _receive(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self.asked:
            # Without a frame it is no new signal, but one that was held back for a while.
            if frame is not None and now - self._first > ECHO:
                raise SystemExit(128 + number)
            return
        self.asked, self._first = True, now
        if not self._holding:
            raise KeyboardInterrupt


def anywhere(asked: bool) -> bool:
    """Whether any process has been asked to stop; all of them must call this, and get the same answer.

    Args:
        asked: whether this one has.

    Returns:
        The answer of all processes.
    """
    import torch

    from semrepa.training.processes import summed

    return bool(summed(torch.tensor([float(asked)])).item())


def everyone() -> None:
    """Wait for all processes: a launcher ends the others as soon as one leaves with a code that is not 0."""
    from semrepa.training.processes import this_process

    this_process().wait_for_everyone()
