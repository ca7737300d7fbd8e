"""What can be said on the command line of the ingestion."""

import argparse
import re
from pathlib import Path

from semrepa.data.ingest.tables import Condition, parse_condition


def _share(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"got {text}; expected a share from 0 to 1, such as 0.02")
    return value


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"got {text}; expected 1 or more")
    return value


def _condition(text: str) -> Condition:
    try:
        return parse_condition(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _pattern(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise argparse.ArgumentTypeError(f"got {text!r} ({error}); expected a regular expression") from error


def _add_split(command: argparse.ArgumentParser) -> None:
    command.add_argument("--heldout", type=_share, default=0.0, help="share of source videos held out")
    command.add_argument("--seed", type=int, default=0, help="of the choice of held-out videos")
    command.add_argument(
        "--source-pattern", type=_pattern, help="regular expression whose first group names the source video"
    )
    command.add_argument("--keep-uncaptioned", action="store_true", help="keep clips without caption")


def _add_clip_options(command: argparse.ArgumentParser) -> None:
    _add_split(command)
    command.add_argument("--licence", help="SPDX name to write into clips, such as CC-BY-4.0")


def parser() -> argparse.ArgumentParser:
    """Options of the command line.

    Returns:
        The parser.
    """
    made = argparse.ArgumentParser(
        prog="python -m semrepa.data.ingest", description="From raw collections to an index of clips."
    )
    commands = made.add_subparsers(dest="command", required=True)
    for name, (add, about) in COMMANDS.items():
        command = commands.add_parser(name, help=about, description=about)
        add(command)
        has_choice = name in ("plan", "extract")
        command.add_argument("--out", type=Path, required=not has_choice, help="the JSONL file to write")
        command.add_argument("--dry-run", action="store_true", help="say what would be done; write nothing")
    return made


def _add_archives(command: argparse.ArgumentParser) -> None:
    given = command.add_mutually_exclusive_group(required=True)
    given.add_argument("--parts", type=Path, help="folder with the zip files")
    given.add_argument("--members", type=Path, help="file of the command members")


def _add_where(command: argparse.ArgumentParser) -> None:
    about = "of a table, only rows that pass, such as 'seconds>=6.2'; repeatable"
    command.add_argument(
        "--where", type=_condition, action="append", default=[], metavar="CONDITION", help=about
    )


def _members(command: argparse.ArgumentParser) -> None:
    command.add_argument("parts", type=Path, help="folder with the zip files")


def _openvid(command: argparse.ArgumentParser) -> None:
    command.add_argument("csv", type=Path, help="OpenVid-1M.csv or OpenVidHD.csv")
    _add_archives(command)
    command.add_argument(
        "--videos", type=Path, required=True, help="folder of the extracted videos, now or later"
    )
    _add_where(command)
    command.add_argument(
        "--keep", action="append", default=[], metavar="COLUMN",
        help="column to keep in OUT.columns.jsonl; repeatable",
    )  # fmt: skip
    _add_clip_options(command)


def _plan(command: argparse.ArgumentParser) -> None:
    command.add_argument("wanted", type=Path, help="index (.jsonl), table (.csv) or list of names (.txt)")
    _add_archives(command)
    command.add_argument("--clips", type=_positive, help="stop when so many clips are reached")
    _add_where(command)


def _extract(command: argparse.ArgumentParser) -> None:
    command.add_argument("wanted", type=Path, help="index (.jsonl), table (.csv) or list of names (.txt)")
    command.add_argument("--parts", type=Path, required=True, help="folder with the zip files")
    command.add_argument("--videos", type=Path, required=True, help="folder to unpack into, flat")
    _add_where(command)


def _folder(command: argparse.ArgumentParser) -> None:
    command.add_argument("folder", type=Path, help="searched with its sub-folders")
    command.add_argument(
        "--captions", type=Path, help="CSV or JSONL; default: video.json or video.txt beside each"
    )
    _add_clip_options(command)


def _jsonl(command: argparse.ArgumentParser) -> None:
    command.add_argument("list", type=Path, help="JSONL file, paths relative to its folder")
    _add_split(command)


COMMANDS = {
    "members": (_members, "List the videos in zip files, whole or in pieces, without unpacking."),
    "openvid": (_openvid, "Join OpenVid-1M's table with its zip files."),
    "plan": (_plan, "Choose zip files that hold the most wanted clips per GB."),
    "extract": (_extract, "Unpack the wanted videos only; repeat it to go on."),
    "folder": (_folder, "Index a folder of videos with captions beside them or in a file."),
    "jsonl": (_jsonl, "Check a list of clips and write those that are fine."),
}
