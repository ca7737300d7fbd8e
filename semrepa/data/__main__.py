"""`python -m semrepa.data pack|unpack|verify|manifest FOLDER`: look after a feature store."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from semrepa.data.complete import complete
from semrepa.data.decode_again import decode_again
from semrepa.data.manifest import ManifestWriter, compact, query, read_manifest, summary
from semrepa.data.pack import pack, unpack
from semrepa.data.packed import PackedStore, open_for_reading
from semrepa.data.store import FeatureStore
from semrepa.data.verify import as_json, verify


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: command line; None takes the real one.

    Returns:
        Exit code: 0 fine, 1 a store that is not sound, 2 a request that cannot be met.
    """
    options = parser().parse_args(arguments)
    commands = {"pack": _pack, "unpack": _unpack, "verify": _verify, "manifest": _manifest}
    try:
        return commands[options.command](options)
    except (ValueError, OSError) as error:
        print(f"{options.command}: {error}", file=sys.stderr)
        return 2


def parser() -> argparse.ArgumentParser:
    """Options of the command line.

    Returns:
        The parser.
    """
    made = argparse.ArgumentParser(prog="python -m semrepa.data", description="Look after a feature store.")
    commands = made.add_subparsers(dest="command", required=True)
    packing = commands.add_parser("pack", help="records into WebDataset tars with an index; can be resumed")
    packing.add_argument("folder", type=Path, help="the store")
    packing.add_argument("out", type=Path, help="folder of the packed store")
    packing.add_argument("--clips-per-shard", type=int, default=256, help="default: 256")
    unpacking = commands.add_parser("unpack", help="a packed store into single files of the same bytes")
    unpacking.add_argument("folder", type=Path, help="the packed store")
    unpacking.add_argument("out", type=Path, help="folder of the store")
    checking = commands.add_parser("verify", help="checksums, shapes, values; exit code 1 on damage")
    checking.add_argument("folder", type=Path, help="the store, packed or not")
    checking.add_argument("--sample", type=int, help="records to look at; default: all")
    checking.add_argument("--seed", type=int, default=0, help="fixes the sample")
    checking.add_argument(
        "--delete", action="store_true", help="delete damaged records; prepare makes them again"
    )
    checking.add_argument(
        "--decode", type=int, metavar="N", help="read the videos of N records again; default: of none"
    )
    asking = commands.add_parser("manifest", help="counts by outcome, and clips within bounds")
    asking.add_argument("folder", type=Path, help="the store, packed or not")
    asking.add_argument("--compact", action="store_true", help="make one file of many first")
    asking.add_argument("--complete", action="store_true", help="add rows for records without one first")
    asking.add_argument(
        "--where", nargs="+", default=[], metavar="NAME=NUMBER", help="such as min_face_rate=0.5 max_fps=60"
    )
    asking.add_argument("--ids", action="store_true", help="print names of clips instead of counts")
    return made


def _pack(options: argparse.Namespace) -> int:
    packed = pack(FeatureStore(options.folder), options.out, options.clips_per_shard)
    print(f"{len(packed.ids())} records in {len(packed.shards())} shards in {packed.folder}")
    return 0


def _unpack(options: argparse.Namespace) -> int:
    store = unpack(PackedStore(options.folder), options.out)
    print(f"{len(store.ids())} records in {store.folder}")
    return 0


def _verify(options: argparse.Namespace) -> int:
    store = open_for_reading(options.folder)
    again = decode_again(store) if options.decode else None
    report = verify(
        store,
        sample=options.sample,
        seed=options.seed,
        look_again=again,
        looks=options.decode or 0,
        delete=options.delete,
    )
    print(as_json(report))
    return 0 if report.is_sound else 1


def _manifest(options: argparse.Namespace) -> int:
    store = open_for_reading(options.folder)
    if options.complete:
        with ManifestWriter(store.folder, "complete") as writer:
            print(f"added {len(complete(store, writer))} rows", file=sys.stderr)
    if options.compact:
        compact(store.folder)
    table = read_manifest(store.folder)
    ids = query(table, **dict(map(_bound, options.where)))
    if options.ids:
        print(*ids, sep="\n")
        return 0
    for outcome, clips in summary(table).items():
        print(f"{clips:8d} {outcome}")
    if options.where:
        print(f"{len(ids):8d} done with {' '.join(options.where)}")
    return 0


def _bound(text: str) -> tuple[str, float]:
    name, _, number = text.partition("=")
    try:
        return name, float(number)
    except ValueError as error:
        raise ValueError(f"got --where {text}; expected NAME=NUMBER; e.g. min_face_rate=0.5") from error


if __name__ == "__main__":
    sys.exit(main())
