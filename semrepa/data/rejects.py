"""Clips that are left out, as lines of a store: each process writes to a file of its own.

Machines that share a folder cannot append to one file safely. The newest line on a clip counts, whichever
file it is in; `rejects.jsonl` is what one process wrote for all, such as in a packed store.
"""

import json
import logging
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from semrepa.files import append_line, process, whole_lines

log = logging.getLogger(__name__)

FOLDER = "rejects"
"""Where processes write their lines, in a store."""
TOGETHER = "rejects.jsonl"
"""Lines that belong to no process."""


@dataclass(frozen=True)
class Reject:
    """A clip that was left out, and why."""

    id: str
    """Name of the clip."""
    reason: str
    """One word that can be counted, such as "too_short"."""
    message: str
    """What was got, expected, and what to do."""
    source: str = ""
    """What the clip was then, as given to `write`; while that stays, there is no use in trying again."""


class Notes:
    """The notes of all processes on the clips of a store, or of several stores.

    Args:
        folders: of the stores; what is added goes to the first.
    """

    def __init__(self, *folders: Path) -> None:
        self._folders = folders
        self._newest: dict[str, tuple[int, Reject]] = {}
        self._ends: dict[Path, int] = {}

    def add(self, reject: Reject) -> None:
        """Note a clip, unless the newest note on it says the same."""
        self._read()
        written, newest = self._newest.get(reject.id, (0, None))
        if newest == reject:
            return
        # Later than what it replaces, even when the clock of this machine is behind.
        line = {**asdict(reject), "written": max(time.time_ns(), written + 1)}
        own = self._folders[0] / FOLDER / f"{process()}.jsonl"
        own.parent.mkdir(exist_ok=True)
        append_line(own, json.dumps(line, ensure_ascii=False))

    def newest(self) -> dict[str, Reject]:
        """The newest note on each clip, by name."""
        self._read()
        return {clip_id: self._newest[clip_id][1] for clip_id in sorted(self._newest)}

    def together(self) -> bytes:
        """The newest notes as the contents of `rejects.jsonl`."""
        self._read()
        ordered = sorted(self._newest.values(), key=lambda note: (note[0], note[1].id))
        lines = [json.dumps({**asdict(reject), "written": written}) for written, reject in ordered]
        return "".join(f"{line}\n" for line in lines).encode()

    def _read(self) -> None:
        """Read what has come since it was last read."""
        for path in self._files():
            end = self._ends.get(path, 0)
            if path.stat().st_size == end:
                continue
            lines, self._ends[path] = whole_lines(path, end)
            for line in filter(None, lines):
                self._take(path, line)

    def _files(self) -> Iterator[Path]:
        for folder in self._folders:
            if (folder / TOGETHER).is_file():
                yield folder / TOGETHER
            yield from sorted((folder / FOLDER).glob("*.jsonl"))

    def _take(self, path: Path, line: str) -> None:
        try:
            said = json.loads(line)
            written = said.pop("written", 0)
            reject = Reject(**said)
        except (ValueError, TypeError, AttributeError):
            log.warning("a line of %s is torn, so that its clip will be tried again: %s", path, line[:80])
            return
        if written >= self._newest.get(reject.id, (0,))[0]:
            self._newest[reject.id] = written, reject
