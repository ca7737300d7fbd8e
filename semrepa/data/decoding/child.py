"""Decode in a child process with a time limit: a decoder that hangs or crashes costs one clip, not the run.

The child stays for the next clip, so it is started once. `python -m semrepa.data.decoding.child` is its side:
it answers requests from standard input on standard output until the input ends.
"""

import atexit
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import IO, Any, TypeVar

from semrepa.data.decoding.opening import VideoInfo, probe
from semrepa.data.decoding.pictures import Decoded, decode_clip
from semrepa.data.sampling import ClipError, MissingClipError, Sampling

Answer = TypeVar("Answer", Decoded, VideoInfo)

START_SECONDS = 120.0
"""How long a child may take to start."""


class DecodingChild:
    """A process that decodes one clip after another; made anew after it was stopped."""

    def __init__(self) -> None:
        """Start nothing yet."""
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = os.getpid()
        self._lock = threading.Lock()

    def decode(self, path: Path, sampling: Sampling, timeout: float) -> Decoded:
        """Do `decode_clip` in the child.

        Args:
            path: video file.
            sampling: what is asked for.
            timeout: seconds until the child is stopped.

        Returns:
            The pictures.

        Raises:
            MissingClipError: when there is no such file.
            ClipError: as in `decode_clip`; also "timeout" and "crashed".
        """
        return self._do(partial(decode_clip, path, sampling), path, timeout)

    def probe(self, path: Path, timeout: float) -> VideoInfo:
        """Do `probe` in the child.

        Args:
            path: video file.
            timeout: seconds until the child is stopped.

        Returns:
            What the file says about itself.

        Raises:
            MissingClipError: when there is no such file.
            ClipError: as in `probe`; also "timeout" and "crashed".
        """
        return self._do(partial(probe, path), path, timeout)

    def _do(self, job: Callable[[], Answer], path: Path, timeout: float) -> Answer:
        """Have the child do something with a file; what is wrong with the file is raised here."""
        with self._lock:
            child, answer, is_late = self._started(), None, False
            try:
                answer, is_late = _ask(child, job, timeout)
            finally:
                # Also when a user interrupts: an answer that is still to come is not for the next clip.
                if answer is None or is_late:
                    self.close()
        if answer is None:
            answer = _ended(path, timeout if is_late else None, child.returncode)
        if not isinstance(answer, tuple):
            return answer
        reason, message = answer
        raise MissingClipError(message) if reason == "missing" else ClipError(reason, message)

    def close(self) -> None:
        """Stop the child, if there is one."""
        child, self._process = self._process, None
        if child is None or self._owner != os.getpid():  # after a fork it belongs to the other process
            return
        child.kill()
        child.wait()
        for pipe in (child.stdin, child.stdout):
            with suppress(BrokenPipeError):
                pipe.close()

    def _started(self) -> "subprocess.Popen[bytes]":
        """The running child; a new one if there is none, it has ended, or this process has been forked."""
        if self._owner != os.getpid():
            self._process, self._owner = None, os.getpid()
        if self._process is None or self._process.poll() is not None:
            self.close()
            command = [sys.executable, "-m", "semrepa.data.decoding.child"]
            paths = os.pathsep.join(filter(None, [*sys.path, os.environ.get("PYTHONPATH")]))
            environment = os.environ | {"PYTHONPATH": paths}
            pipe = subprocess.PIPE
            self._process = subprocess.Popen(
                command, stdin=pipe, stdout=pipe, env=environment, start_new_session=True
            )
            if _ask(self._process, None, START_SECONDS)[0] is None:
                self.close()
                raise RuntimeError(
                    "got no answer from a new decoding child; see its message above; use timeout=None"
                )
        return self._process


def _ask(child: "subprocess.Popen[bytes]", request: object, timeout: float) -> tuple[Any, bool]:
    """The child's answer, None if it ended without one, and whether it was stopped for being late."""
    late = threading.Event()

    def stop() -> None:
        late.set()
        child.kill()

    timer = threading.Timer(timeout, stop)
    timer.daemon = True
    timer.start()
    try:
        pickle.dump(request, child.stdin)
        child.stdin.flush()
        answer = pickle.load(child.stdout)
    except (EOFError, BrokenPipeError, pickle.UnpicklingError):
        child.wait()
        answer = None
    finally:
        timer.cancel()
        timer.join()
    return answer, late.is_set()


def _ended(path: Path, late_after: float | None, status: int | None) -> tuple[str, str]:
    """Reason and message for a clip whose decoding ended without an answer."""
    if late_after is None:
        message = f"got {path}, on which the decoder crashed (exit status {status}); expected pictures"
        return "crashed", f"{message}; replace the file"
    message = f"got {path}, not decoded after {late_after:g} s; expected pictures by then"
    return "timeout", f"{message}; raise timeout, or replace the file"


def _serve(requests: IO[bytes], answers: IO[bytes]) -> None:
    """Answer requests until there are no more; None asks for a sign of life."""
    while True:
        try:
            request = pickle.load(requests)
        except EOFError:
            return
        answer: object = True
        if request is not None:
            try:
                answer = request()
            except ClipError as error:
                answer = (error.reason, str(error))
        pickle.dump(answer, answers, protocol=pickle.HIGHEST_PROTOCOL)
        answers.flush()
        del answer, request  # hundreds of megabytes, which would wait for the next clip


SHARED = DecodingChild()
"""The child of this process."""

atexit.register(SHARED.close)


def main() -> None:
    """Serve on the pipes; what libraries print goes to standard error."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    _serve(sys.stdin.buffer, answers)


if __name__ == "__main__":
    main()
