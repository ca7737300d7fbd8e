"""What could not be used, and why: counted, the first few shown, all of them in a file."""

import json
from collections import Counter, defaultdict
from typing import IO, Any

SHOWN = 3
"""Examples of each kind in the summary."""


class Problems:
    """Collects problems; writes each as one line {"kind": ..., "name": ..., ...}.

    Args:
        file: open text file of all problems.
    """

    def __init__(self, file: IO[str]) -> None:
        self.counts: Counter[str] = Counter()
        self._first: defaultdict[str, list[str]] = defaultdict(list)
        self._file = file

    def add(self, kind: str, name: str, **details: Any) -> None:
        """Record one problem.

        Args:
            kind: a word that counts are kept by, such as "not_in_csv".
            name: the clip, part or line it is about.
            details: further fields of its line.
        """
        self.counts[kind] += 1
        if len(self._first[kind]) < SHOWN:
            more = ", ".join(f"{key} {value}" for key, value in details.items())
            self._first[kind].append(f"{name} ({more})" if more else name)
        self._file.write(json.dumps({"kind": kind, "name": name, **details}, ensure_ascii=False) + "\n")

    def summary(self) -> str:
        """Counts by kind, with the first few of each.

        Returns:
            One line per kind; empty when there were no problems.
        """
        lines = []
        for kind, count in sorted(self.counts.items()):
            more = ", ..." if count > SHOWN else ""
            lines.append(f"  {kind}: {count:,}: {', '.join(self._first[kind])}{more}")
        return "\n".join(lines)
