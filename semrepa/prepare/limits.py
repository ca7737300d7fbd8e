"""When a run must not go on: its files cannot be read, or the machine is at fault."""

import errno
from collections import Counter, deque
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from semrepa.data.store import FeatureStore

UNREADABLE = ("missing", "unreadable", "empty", "not_video", "corrupt", "timeout", "crashed")
"""Reasons that speak of the file, or of the place where it lies, and not of what the pictures show."""
RECENT = 100
"""Clips over which the share of such reasons is counted: the latest ones."""
LEAST = 50
"""Clips after which it is first looked at."""
FAILURES = 3
"""Clips in a row that may fail for reasons that are not theirs."""
MACHINE = (MemoryError, OSError, RuntimeError)
"""Faults of the machine, not of a clip; an exhausted GPU is a RuntimeError."""


class StoppedError(RuntimeError):
    """A run that was stopped because going on makes no sense. What was done is kept."""


class Limits:
    """Watches the outcomes of a run."""

    def __init__(self, max_reject_share: float) -> None:
        """Begin.

        Args:
            max_reject_share: largest share of the latest clips that may be unreadable for one reason.
        """
        self._share = max_reject_share
        self._latest: deque[dict[str, Any]] = deque(maxlen=RECENT)
        self._failures = 0

    def check(self, found: Mapping[str, Any]) -> None:
        """Look at one more outcome.

        Args:
            found: a clip's row of the manifest.

        Raises:
            StoppedError: clips fail one after the other, or too many of the latest cannot be read.
        """
        self._failures = self._failures + 1 if found["status"] == "failed" else 0
        if self._failures == FAILURES:
            raise StoppedError(
                f"got {FAILURES} clips in a row that failed, the last with: {found['message']}; expected a "
                "machine that can do the work; mend it, then run the same command again"
            )
        self._latest.append({name: found.get(name) for name in ("clip_id", "reject_reason", "message")})
        if self.suspects:
            raise StoppedError(self._stopped())

    @property
    def suspects(self) -> list[str]:
        """Clips among the latest that were left out for a reason that has passed its limit."""
        if len(self._latest) < LEAST:
            return []
        counts = Counter(found["reject_reason"] for found in self._latest)
        bad = [reason for reason in UNREADABLE if counts[reason] > self._share * len(self._latest)]
        return [found["clip_id"] for found in self._latest if found["reject_reason"] in bad]

    def _stopped(self) -> str:
        clips = self.suspects
        last = next(found for found in reversed(self._latest) if found["clip_id"] in clips)
        latest, reason = len(self._latest), last["reject_reason"]
        return (
            f"got {len(clips)} of the latest {latest} clips left out as {reason!r}, such as:\n"
            f"  {last['message']}\nexpected at most {self._share:.0%}; see whether the videos' folder "
            "is mounted, then run the same command again, which tries these clips again; if they are really "
            "so, raise the limit: -o data.max_reject_share=1 is none"
        )


def forget(store: FeatureStore, clips: Collection[str]) -> None:
    """Have clips that were left out tried again by the next run; they stay listed until then.

    Args:
        store: the store.
        clips: their names.
    """
    rejects = store.rejects()
    for clip_id in clips:
        store.reject(replace(rejects[clip_id], source=""))


def full_disk(folder: Path) -> StoppedError:
    """What stops a run when nothing more can be written.

    Args:
        folder: of the store.

    Returns:
        The error to raise.
    """
    return StoppedError(
        f"got a full disk, or no quota left, at {folder}; expected room for a record; free some, then run "
        "the same command again, which goes on from here"
    )


def is_disk_full(error: BaseException) -> bool:
    """Whether there was no room, or no quota, for what was to be written.

    Args:
        error: what writing raised.

    Returns:
        True for a full disk.
    """
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
