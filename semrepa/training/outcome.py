"""How a training from the command line ended: `outcome.json` of its run folder.

Launchers hide exit codes (`accelerate launch` and `torchrun` turn all but 0 into 1), so the training itself
writes down what became of it. The first process that has something to say is believed.
"""

import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal

from semrepa.runtime import write_json

OUTCOME = "outcome.json"

SAVED_AND_STOPPED = 75
"""Exit code of a training that was asked to stop and lost nothing: start it again to go on (EX_TEMPFAIL)."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a run ended."""

    status: Literal["finished", "stopped", "failed"]
    """stopped: asked to, and all that was trained is saved; failed: see `error`."""
    step: int | None
    """Last optimiser step that was done; None: none was."""
    exit_code: int
    """Of the training process; its launcher may end with another."""
    error: str = ""
    """Name and message of the exception that ended a failed run."""


def read_outcome(run_dir: Path | str) -> Outcome | None:
    """Read how a run ended.

    Args:
        run_dir: run folder.

    Returns:
        The outcome; None where the run has not ended, or died without a word.
    """
    path = Path(run_dir) / OUTCOME
    return Outcome(**json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else None


class OutcomeRecord:
    """Context of a whole training that leaves `outcome.json` behind, whatever happens inside.

    A KeyboardInterrupt that reaches it means that nothing was lost, and ends here; errors go on.

    Attributes:
        step: last optimiser step; to be set inside.
        stopped: whether the training was stopped and saved; to be set inside.
        exit_code: for the process, once the context has ended without an error.
    """

    def __init__(self, run_dir: Path, together: Callable[[], object]) -> None:
        """Prepare; an outcome of an earlier run is removed when the context begins.

        Args:
            run_dir: run folder.
            together: waits for all processes; none may leave before the first one has written.
        """
        self.run_dir, self.together = run_dir, together
        self.is_main = int(os.environ.get("RANK", "0")) == 0
        self.step: int | None = None
        self.stopped = False
        self.exit_code = 0

    def __enter__(self) -> "OutcomeRecord":
        if self.is_main:
            (self.run_dir / OUTCOME).unlink(missing_ok=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> bool:
        early = isinstance(error, KeyboardInterrupt)
        if error is not None and not early:
            code = error.code if isinstance(error, SystemExit) and isinstance(error.code, int) else 1
            self._write("failed", code, f"{type(error).__name__}: {error}")
            return False
        self.exit_code = SAVED_AND_STOPPED if early or self.stopped else 0
        if self.is_main:
            self._write("stopped" if self.exit_code else "finished", self.exit_code)
        if not early:
            self.together()
        return early

    def _write(self, status: Literal["finished", "stopped", "failed"], code: int, error: str = "") -> None:
        if not (self.run_dir / OUTCOME).exists():
            outcome = Outcome(status=status, step=self.step, exit_code=code, error=error)
            write_json(self.run_dir / OUTCOME, asdict(outcome))
