"""Processes that are killed in the middle of their work."""

import os
import signal
import time
from collections.abc import Callable


def killed_after(seconds: float, work: Callable[[Callable[[int], None]], None]) -> list[int]:
    """Kill -9 a fork of this process that runs `work`, and wait for its end.

    Returns:
        Numbers that it had passed to the function it was given, each a promise that something was kept.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.close(reading)
            os.write(writing, b"\0" * 8)
            work(lambda number: os.write(writing, number.to_bytes(8, "little")) and None)
            code = 0
        finally:
            os._exit(code)
    os.close(writing)
    os.read(reading, 8)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), "it ended by itself, so that nothing was tested"
    with os.fdopen(reading, "rb") as file:
        told = file.read()
    return [int.from_bytes(told[k : k + 8], "little") for k in range(0, len(told) // 8 * 8, 8)]
