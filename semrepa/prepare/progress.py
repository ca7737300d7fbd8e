"""How far a run is: counts by outcome, rate, and what is left of the time."""

import logging
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

log = logging.getLogger(__name__)

STATUS = {"done": "written", "rejected": "rejected", "failed": "failed"}
"""What a report calls the outcomes that the manifest knows."""
ONCE = ("text",)
"""Stages that are done for all clips before the first one."""
UNITS = (("d", 86_400), ("h", 3_600), ("min", 60))


class Tally:
    """Counts the outcomes of a run and logs a line now and then."""

    def __init__(self, total: int, name: str = "", *, every: float = 10.0) -> None:
        """Begin to count.

        Args:
            total: clips to come.
            name: of this process among several; it begins the lines.
            every: least seconds between two lines; there is always one at the end.
        """
        self.total, self._prefix, self._every = total, f"{name}: " if name else "", every
        self.outcomes: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()
        self.seconds: Counter[str] = Counter()
        self.begin()

    def begin(self) -> None:
        """Start the clock; what was done before, such as loading, does not count as work on clips."""
        self._began = self._said = time.monotonic()

    @property
    def done(self) -> int:
        """Clips that have ended in some way."""
        return self.outcomes.total()

    def add(self, found: Mapping[str, Any]) -> None:
        """Count a clip.

        Args:
            found: its row of the manifest.
        """
        self.outcomes[found["status"]] += 1
        if found["status"] == "rejected":
            self.reasons[found["reject_reason"]] += 1
        self.seconds.update(found.get("seconds") or {})
        now = time.monotonic()
        if now - self._said >= self._every or self.done == self.total:
            self._said = now
            log.info("%s%s", self._prefix, self.line(now - self._began))

    def line(self, seconds: float) -> str:
        """How far the run is.

        Args:
            seconds: that the clips so far have taken.

        Returns:
            One line of text.
        """
        rate = self.done / seconds if seconds else 0.0
        parts = [f"{self.done} of {self.total} clips, {60 * rate:.1f} a minute"]
        left = self.total - self.done
        if left and rate:
            stages = {name: left * taken / self.done for name, taken in self.seconds.most_common()}
            each = [f"{name} {span(rest)}" for name, rest in stages.items() if name not in ONCE and rest >= 1]
            parts.append(f"{span(left / rate)} left" + (f" ({', '.join(each)})" if each else ""))
        else:
            parts.append(f"in {span(seconds)}")
        return ", ".join(parts + outcomes(self.reasons, self.outcomes["failed"]))

    def report(self) -> dict[str, Any]:
        """Counts as `report.json` holds them.

        Returns:
            `written`, `rejected` and `failed` clips, `reasons` of rejects, and `seconds` by stage.
        """
        counts = {name: self.outcomes[status] for status, name in STATUS.items()}
        return {**counts, "reasons": dict(self.reasons.most_common()), "seconds": dict(self.seconds)}


def outcomes(reasons: Counter[str], failed: int) -> list[str]:
    """What did not become a record.

    Args:
        reasons: rejects by reason.
        failed: clips that failed.

    Returns:
        Phrases; that of failures only where there are some.
    """
    ordered = sorted(reasons.items(), key=lambda pair: (-pair[1], pair[0]))
    listed = ", ".join(f"{reason} {count}" for reason, count in ordered)
    phrases = [f"{reasons.total()} left out ({listed or 'none'})"]
    return phrases + ([f"{failed} failed, to be tried again"] if failed else [])


def span(seconds: float) -> str:
    """A length of time as people say it.

    Args:
        seconds: 0 or more.

    Returns:
        Such as "40 s", "12 min", "3.5 h" or "2.0 d".
    """
    for unit, size in UNITS:
        if seconds >= 1.5 * size:
            return f"{seconds / size:.0f} {unit}" if unit == "min" else f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"
