"""Read `metrics.jsonl` while another process writes it."""

import json
from dataclasses import fields
from pathlib import Path

from semrepa.training.log import METRICS, StepLog

_FIELDS = frozenset(field.name for field in fields(StepLog))


class LogReader:
    """Gives the steps of a run as they are logged, each once, never half a line.

    A run that goes on from a checkpoint cuts its log, and one that begins anew moves it away. The reader then
    starts over and leaves out the lines that it has given before.
    """

    def __init__(self, run_dir: Path | str) -> None:
        """Begin before the first line.

        Args:
            run_dir: run folder; its log may not be there yet.
        """
        self.path = Path(run_dir) / METRICS
        self._end = 0
        self._last = b""
        self._given: set[bytes] = set()

    def new(self) -> list[StepLog]:
        """Read on.

        Returns:
            Steps that were logged since the last call.
        """
        new = [line for line in self._lines() if line not in self._given]
        self._given.update(new)
        return [log for line in new if (log := _step_log(line)) is not None]

    def _lines(self) -> list[bytes]:
        """Whole lines from where the last call ended; from the first one when the log was cut or replaced."""
        try:
            file = self.path.open("rb")
        except FileNotFoundError:  # not there yet, or just moved away
            return []
        with file:
            file.seek(self._end - len(self._last))
            is_continued = file.read(len(self._last)) == self._last
            file.seek(start := self._end if is_continued else 0)
            data = file.read()
        lines = data[: data.rfind(b"\n") + 1].splitlines(keepends=True)
        self._end = start + sum(map(len, lines))
        self._last = lines[-1] if lines else self._last if is_continued else b""
        return lines


def _step_log(line: bytes) -> StepLog | None:
    values = json.loads(line)
    is_step = "loss" in values  # the first line holds the evaluation before training
    return StepLog(**{name: values[name] for name in values.keys() & _FIELDS}) if is_step else None
