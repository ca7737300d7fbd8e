"""Command line of the ingestion; each command's own --help says more.

    python -m semrepa.data.ingest members PARTS --out members.jsonl
    python -m semrepa.data.ingest openvid OpenVid-1M.csv --members members.jsonl --videos videos --out a.jsonl
    python -m semrepa.data.ingest plan a.jsonl --members members.jsonl --clips 10000
    python -m semrepa.data.ingest extract a.jsonl --parts PARTS --videos videos --out index.jsonl
    python -m semrepa.data.ingest folder VIDEOS --out index.jsonl --heldout 0.02
    python -m semrepa.data.ingest jsonl LIST --out index.jsonl

Status: 0 all is well; 1 some clips are missing or unusable and are listed, the rest is written; 2 bad input,
nothing is written.
"""

import argparse
import dataclasses
import json
import os
import sqlite3
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO

from semrepa.data.index import ClipRow, write_index
from semrepa.data.ingest import catalogue, extract, folder, openvid, plan
from semrepa.data.ingest.archives import Member
from semrepa.data.ingest.names import Splitting
from semrepa.data.ingest.options import parser
from semrepa.data.ingest.problems import Problems
from semrepa.data.ingest.tables import read_captions, read_csv
from semrepa.files import whole_text


def _records(options: argparse.Namespace) -> Iterator[catalogue.PartLine | Member]:
    return catalogue.scan(options.parts) if options.parts else catalogue.read_members(options.members)


def _splitting(options: argparse.Namespace) -> Splitting:
    return Splitting(heldout=options.heldout, seed=options.seed, pattern=options.source_pattern)


def _write(options: argparse.Namespace, rows: Iterator[ClipRow], counts: Counter[str]) -> None:
    """Write the index, or only count; nothing is written when no clip is left."""

    def checked() -> Iterator[ClipRow]:
        yield from rows
        if not counts["joined"]:
            raise ValueError(
                "got no clip that can be used; expected at least one; look at the problems above and see that"
                " captions and videos belong together"
            )

    if options.dry_run or options.out is None:
        for _ in checked():
            pass
    else:
        write_index(options.out, checked())


@contextmanager
def _text(path: Path | None) -> Iterator[IO[str]]:
    """A text file that is whole or absent, also with names of files that are no text; None writes nothing."""
    if path is None:
        with Path(os.devnull).open("w", encoding="utf-8") as file:
            yield file
        return
    with whole_text(path, errors="backslashreplace") as file:
        yield file


def _beside(options: argparse.Namespace, ending: str) -> Path | None:
    return None if options.dry_run or options.out is None else options.out.with_suffix(ending)


def _openvid(options: argparse.Namespace, problems: Problems, counts: Counter[str]) -> None:
    with closing(catalogue.database()) as db:
        catalogue.load(db, _records(options), problems)
        table = read_csv(options.csv, keep=options.keep, conditions=options.where)
        joined = openvid.join(
            table, db, problems, counts, videos=options.videos, splitting=_splitting(options),
            keep_uncaptioned=options.keep_uncaptioned, licence=options.licence,
        )  # fmt: skip
        keep = [name.lower() for name in options.keep]
        with _text(_beside(options, ".columns.jsonl") if keep else None) as file:
            _write(options, _keeping(joined, keep, file), counts)
        names = [name for (name,) in db.execute("SELECT name FROM parts")]
        counts["parts"] = len(names)
        if absent := openvid.absent_numbers(names):
            counts["parts_of_186_not_listed"] = len(absent)


def _keeping(
    joined: Iterator[tuple[ClipRow, dict[str, str]]], keep: Sequence[str], file: IO[str]
) -> Iterator[ClipRow]:
    for row, columns in joined:
        if keep:
            file.write(json.dumps({"id": row.id, **{name: columns[name] for name in keep}}) + "\n")
        yield row


def _plan(options: argparse.Namespace, problems: Problems, counts: Counter[str]) -> None:
    with closing(catalogue.database()) as db:
        counts["wanted"] = plan.want(db, plan.wanted_keys(options.wanted, options.where))
        catalogue.load(db, _records(options), problems)
        plan.record_unreachable(db, problems)
        steps = plan.plan(db, options.clips)
    reached = steps[-1].total_clips if steps else 0
    if reached < (options.clips or 0):
        problems.add("too_few_clips", f"{reached:,} of {options.clips:,}")
    counts.update(parts=len(steps), clips=reached, bytes=steps[-1].total_bytes if steps else 0)
    print(plan.plan_table(steps))
    with _text(None if options.dry_run else options.out) as file:
        for step in steps:
            file.write(json.dumps(dataclasses.asdict(step)) + "\n")


def _extract(options: argparse.Namespace, problems: Problems, counts: Counter[str]) -> None:
    if options.out is not None and options.wanted.suffix.lower() != ".jsonl":
        raise ValueError(f"got --out with {options.wanted}; expected an index (.jsonl) to take rows from")
    with closing(catalogue.database()) as db:
        counts["wanted"] = plan.want(db, plan.wanted_keys(options.wanted, options.where))
        counts += extract.extract(db, options.parts, None if options.dry_run else options.videos, problems)
        if not counts["extracted"] + counts["already_there"]:
            raise ValueError(
                f"got no wanted video out of {options.parts}; expected one or more; look at the problems"
                " above and get the zip files that plan names"
            )
        if options.out is not None and not options.dry_run:
            write_index(options.out, extract.extracted_rows(db, options.wanted, options.videos))


def _members(options: argparse.Namespace, problems: Problems, counts: Counter[str]) -> None:
    with closing(catalogue.database()) as db:
        with _text(None if options.dry_run else options.out) as file:
            catalogue.load(db, catalogue.kept_in(file, catalogue.scan(options.parts)), problems)
        counts.update(parts=db.execute("SELECT count(*) FROM parts").fetchone()[0])
        counts.update(videos=db.execute("SELECT count(*) FROM members").fetchone()[0])


def _folder(options: argparse.Namespace, problems: Problems, counts: Counter[str]) -> None:
    captions = read_captions(options.captions) if options.captions else None
    with closing(catalogue.database()) as db:
        rows = folder.folder_rows(
            options.folder, db, problems, counts, captions=captions, splitting=_splitting(options),
            keep_uncaptioned=options.keep_uncaptioned, licence=options.licence,
        )  # fmt: skip
        _write(options, rows, counts)


def _jsonl(options: argparse.Namespace, problems: Problems, counts: Counter[str]) -> None:
    with closing(catalogue.database()) as db:
        rows = folder.jsonl_rows(
            options.list, db, problems, counts, splitting=_splitting(options),
            keep_uncaptioned=options.keep_uncaptioned,
        )  # fmt: skip
        _write(options, rows, counts)


COMMANDS = {
    "members": _members, "openvid": _openvid, "plan": _plan,
    "extract": _extract, "folder": _folder, "jsonl": _jsonl,
}  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: what follows the program's name; None takes the real ones.

    Returns:
        0, 1 or 2, as at the top of this file.
    """
    options = parser().parse_args(arguments)
    counts: Counter[str] = Counter()
    try:
        with _text(_beside(options, ".problems.jsonl")) as file:
            problems = Problems(file)
            try:
                COMMANDS[options.command](options, problems, counts)
            finally:
                _say(options, problems, counts)
    except (ValueError, OSError) as error:
        print(f"{options.command}: {error}", file=sys.stderr)
        return 2
    except sqlite3.Error as error:
        advice = "set TMPDIR to a folder with a few GB free"
        print(f"{options.command}: got {error} from the temporary database; {advice}", file=sys.stderr)
        return 2
    return 1 if problems.counts else 0


def _say(options: argparse.Namespace, problems: Problems, counts: Counter[str]) -> None:
    """Print what was done and what was not, and keep the numbers beside the result."""
    print(", ".join(f"{name.replace('_', ' ')} {count:,}" for name, count in counts.items()))
    if problems.counts:
        print(f"problems:\n{problems.summary()}")
        if (path := _beside(options, ".problems.jsonl")) is not None:
            print(f"all of them: {path}")


if __name__ == "__main__":
    sys.exit(main())
