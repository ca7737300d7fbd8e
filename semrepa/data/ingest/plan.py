"""Which archives to download for the clips that are wanted."""

import heapq
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from semrepa.data.index import read_line
from semrepa.data.ingest.names import join_key
from semrepa.data.ingest.problems import Problems
from semrepa.data.ingest.tables import Condition, read_csv


@dataclass(frozen=True, kw_only=True)
class PlanStep:
    """One archive of a plan."""

    part: str
    """Name of the archive."""
    clips: int
    """Wanted clips that it adds."""
    bytes: int | None
    """Its size; None when unknown."""
    total_clips: int
    """Wanted clips up to and with this archive."""
    total_bytes: int
    """Known bytes up to and with this archive."""


def wanted_keys(path: Path, conditions: Sequence[Condition] = ()) -> Iterator[str]:
    """Names of wanted clips from an index (.jsonl), a table (.csv) or a list of names (.txt).

    Args:
        path: the file.
        conditions: for tables, what rows must pass.

    Yields:
        Base names, as members of archives are joined by.

    Raises:
        FileNotFoundError: no such file.
        ValueError: an index with wrong lines, or conditions on what is no table.
    """
    if not path.is_file():
        raise FileNotFoundError(f"got wanted clips {path}; expected an existing .jsonl, .csv or .txt file")
    kind = path.suffix.lower()
    if conditions and kind != ".csv":
        raise ValueError(f"got --where with {path}; expected it with a .csv table; leave it out")
    if kind == ".csv":
        for row in read_csv(path, conditions=conditions):
            if row.name and row.fault is None and row.passes:
                yield join_key(row.name)
        return
    with path.open(encoding="utf-8-sig") as file:
        for number, text in enumerate(file, 1):
            if not text.strip():
                continue
            if kind != ".jsonl":
                yield join_key(text.strip())
                continue
            row, found = read_line(text, path.parent)
            if row is None:
                raise ValueError(f"got line {number} of index {path}: {'; '.join(found)}; correct it")
            yield join_key(row.path.name)


def want(db: sqlite3.Connection, keys: Iterable[str]) -> int:
    """Note the wanted clips.

    Args:
        db: answer of `database`.
        keys: base names.

    Returns:
        How many different ones there are.
    """
    db.execute("CREATE TABLE wanted (key TEXT PRIMARY KEY, done INTEGER DEFAULT 0) WITHOUT ROWID")
    db.executemany("INSERT OR IGNORE INTO wanted (key) VALUES (?)", ((key,) for key in keys))
    return db.execute("SELECT count(*) FROM wanted").fetchone()[0]


def record_unreachable(db: sqlite3.Connection, problems: Problems) -> int:
    """Record wanted clips that no archive holds.

    Args:
        db: database with members and wanted clips.
        problems: gets "not_in_parts".

    Returns:
        How many there are.
    """
    count = 0
    for (key,) in db.execute(
        "SELECT key FROM wanted WHERE NOT EXISTS (SELECT 1 FROM members WHERE members.key = wanted.key)"
    ):
        count += 1
        problems.add("not_in_parts", key)
    return count


class _Offers:
    """What each part would still add; clips that lie in several parts count until they are taken."""

    def __init__(self, db: sqlite3.Connection) -> None:
        pairs = "SELECT DISTINCT m.key, m.part FROM members m JOIN wanted w ON w.key = m.key"
        self.clips: dict[int, int] = dict(
            db.execute(f"SELECT part, count(*) FROM ({pairs}) GROUP BY part").fetchall()
        )
        shared = db.execute(
            f"SELECT key, part FROM ({pairs}) WHERE key IN (SELECT key FROM ({pairs}) GROUP BY key"
            " HAVING count(*) > 1)"
        )
        self._parts_of: defaultdict[str, set[int]] = defaultdict(set)
        self._keys_of: defaultdict[int, set[str]] = defaultdict(set)
        for key, part in shared:
            self._parts_of[key].add(part)
            self._keys_of[part].add(key)

    def take(self, part: int) -> int:
        """Take a part; the others add its clips no longer."""
        clips = self.clips.pop(part)
        for key in self._keys_of.pop(part, set()):
            for other in self._parts_of.pop(key, set()) - {part}:
                self.clips[other] -= 1
                self._keys_of[other].discard(key)
        return clips


def plan(db: sqlite3.Connection, clips: int | None = None) -> list[PlanStep]:
    """Archives in the order of most wanted clips per byte, each counted without what those before it hold.

    Args:
        db: database with members and wanted clips.
        clips: stop when so many are reached; None goes on until nothing is left to gain.

    Returns:
        Steps; archives of unknown size are taken for as large as the average of the known ones.
    """
    known = {
        number: (name, size) for number, name, size in db.execute("SELECT number, name, bytes FROM parts")
    }
    sizes = [size for _, size in known.values() if size]
    average = max(1.0, sum(sizes) / len(sizes)) if sizes else 1.0
    offers = _Offers(db)

    def worth(part: int) -> float:
        return -offers.clips[part] / (known[part][1] or average)

    heap = [(worth(part), part) for part in offers.clips]
    heapq.heapify(heap)
    steps: list[PlanStep] = []
    total_clips = total_bytes = 0
    while heap and (clips is None or total_clips < clips):
        value, part = heapq.heappop(heap)
        if worth(part) > value:
            heapq.heappush(heap, (worth(part), part))
            continue
        if not offers.clips[part]:
            break
        gained = offers.take(part)
        name, size = known[part]
        total_clips, total_bytes = total_clips + gained, total_bytes + (size or 0)
        steps.append(
            PlanStep(part=name, clips=gained, bytes=size, total_clips=total_clips, total_bytes=total_bytes)
        )
    return steps


def plan_table(steps: Sequence[PlanStep], shown: int = 20) -> str:
    """A plan as text.

    Args:
        steps: answer of `plan`.
        shown: lines; the rest is counted.

    Returns:
        A table with one line per archive.
    """
    width = max([len(step.part) for step in steps[:shown]] + [4])
    lines = [f"  {'part':{width}}  {'clips':>9}  {'GB':>8}  {'all clips':>9}  {'all GB':>9}"]
    for step in steps[:shown]:
        size = "?" if step.bytes is None else f"{step.bytes / 1e9:.2f}"
        lines.append(
            f"  {step.part:{width}}  {step.clips:>9,}  {size:>8}  {step.total_clips:>9,}"
            f"  {step.total_bytes / 1e9:>9.2f}"
        )
    if len(steps) > shown:
        lines.append(f"  and {len(steps) - shown} more")
    return "\n".join(lines)
