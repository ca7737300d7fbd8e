r"""Prepare features from the command line, by one process or many.

    python -m semrepa.prepare --preset full -o data.index=videos/index.jsonl --cache runs/cache
    python -m semrepa.prepare -o data.index=videos/index.jsonl --workers 2
    srun python -m semrepa.prepare --preset full -o data.index=videos/index.jsonl --cache /all/cache \
        --runner ranks
    python -m semrepa.prepare --preset full -o data.index=videos/index.jsonl --cache /all/cache \
        --runner ray --workers 8 --address auto

Every clip ends as a record or as a reject with a reason; the same command goes on where it was stopped.

exit status:
  0   every clip has ended as record or reject
  1   clips failed for reasons that are not theirs, or a worker died; the same command tries again
  2   wrong command line, settings or index, or missing weights
  3   stopped by a limit: full disk, or too little of it; too many unreadable videos; clips failing in a row
  130 stopped by hand
"""

import argparse
import logging
import os
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from semrepa.config import Config, configure
from semrepa.config.strict import read_pair
from semrepa.data.index import ClipRow
from semrepa.data.manifest import compact, query, read_manifest
from semrepa.data.store import FeatureStore
from semrepa.models.quiet import quiet
from semrepa.prepare.clips import ensure_rows
from semrepa.prepare.disk import check_disk
from semrepa.prepare.features import prepare, take_stock
from semrepa.prepare.limits import StoppedError, full_disk, is_disk_full
from semrepa.prepare.progress import outcomes
from semrepa.prepare.shares import Share
from semrepa.prepare.stores import open_store
from semrepa.prepare.text import new_captions, text_folder
from semrepa.prepare.workers import died, end_with_parent, gpu_variables, run_workers, worker_name

RUNNERS = ("local", "ranks", "ray")


def main(arguments: Sequence[str] | None = None) -> int:
    """Prepare the clips of an index.

    Args:
        arguments: command line; None takes the real one.

    Returns:
        The exit status, see above.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    options = parser().parse_args(arguments)
    quiet()
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("semrepa.prepare.progress").setLevel(logging.INFO)
    if options.under_parent:
        end_with_parent()
    status, rows, store = 0, [], None
    try:
        cfg, share = configure(options.preset, dict(map(read_pair, options.override))), share_of(options)
        rows = share.of(ensure_rows(cfg, options.cache, allow_missing=True))
        if options.runner == "ray":
            store = _run_ray(cfg, rows, options)
        else:
            store = open_store(cfg, options.cache)
            status = _run(cfg, store, rows, share, options, arguments)
    except StoppedError as error:
        status = _say(f"stopped: {error}", 3)
    except (ValueError, TypeError, ImportError, OSError) as error:
        if not is_disk_full(error):
            return _say(f"error: {error}", 2)
        status = _say(f"stopped: {full_disk(options.cache)}", 3)
    except KeyboardInterrupt:
        status = _say("stopped by hand; the same command goes on from here", 130)
    if store is None:
        return status
    failed = set(query(read_manifest(store.folder), status="failed")).intersection(row.id for row in rows)
    if not options.under_parent:
        print(summary(store, len(failed)))
    return status or int(bool(failed))


def share_of(options: argparse.Namespace) -> Share:
    """The clips that fall to this process and its workers.

    Args:
        options: the command line.

    Returns:
        The share.

    Raises:
        ValueError: options that do not fit together, or no launcher to say the share.
    """
    if options.workers < 1:
        raise ValueError(f"--workers: got {options.workers}; expected 1 or more; use 1 for one process")
    if options.address and options.runner != "ray":
        raise ValueError("--address: got one without --runner ray; expected both; leave it out, or add that")
    if options.runner == "ranks":
        return Share.of_this_process()
    return Share.read(options.share)


def _run(
    cfg: Config,
    store: FeatureStore,
    rows: Sequence[ClipRow],
    share: Share,
    options: argparse.Namespace,
    arguments: Sequence[str],
) -> int:
    """Prepare clips in this process or its workers; returns the exit status as far as they tell it."""
    codes: list[int] = []
    if options.workers == 1:
        if options.runner == "ranks":
            number = int(os.environ.get("LOCAL_RANK") or os.environ.get("SLURM_LOCALID") or 0)
            os.environ |= gpu_variables(number)
        prepare(cfg, rows, options.cache, worker=worker_name(share))
    elif todo := take_stock(store, rows, "parent"):
        captions = new_captions(text_folder(store, options.cache), (row.caption for row in todo))
        check_disk(cfg, store, len(todo), len(captions), options.cache)
        codes = run_workers(arguments, share, options.workers, store.folder)
    if share.rank == 0 and not options.under_parent:
        compact(store.folder)
    if any(codes):
        _say(f"workers that did not end well: {died(codes)}; the same command goes on from here", 1)
    return 3 if 3 in codes else int(any(codes))


def _run_ray(cfg: Config, rows: Sequence[ClipRow], options: argparse.Namespace) -> FeatureStore:
    """Prepare clips with actors of Ray, which need not be installed for anything else."""
    from semrepa.prepare.cluster import run_ray

    return run_ray(cfg, rows, options.cache, workers=options.workers, address=options.address)


def _say(message: str, status: int) -> int:
    print(message, file=sys.stderr)
    return status


def summary(store: FeatureStore, failed: int = 0) -> str:
    """What a store holds, in a line.

    Args:
        store: the store.
        failed: clips that failed.

    Returns:
        Counts of records, of rejects by reason, and of failures if there are some.
    """
    reasons = Counter(reject.reason for reject in store.rejects().values())
    return ", ".join([f"{store.folder}: {len(store.ids())} records", *outcomes(reasons, failed)])


def parser() -> argparse.ArgumentParser:
    """Options of the command line.

    Returns:
        The parser.
    """
    made = argparse.ArgumentParser(
        prog="python -m semrepa.prepare",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--preset", default="mini", help="mini (default) or full")
    made.add_argument(
        "-o", "--override", action="append", default=[], metavar="NAME=VALUE", help="config field"
    )
    made.add_argument("--cache", type=Path, default=Path("runs/cache"), help="folder for stores and clips")
    made.add_argument(
        "--runner",
        choices=RUNNERS,
        default="local",
        help="local (default): this machine; ranks: one share of many, as torchrun, accelerate or SLURM say; "
        "ray: a pool of Ray actors",
    )
    made.add_argument("--workers", type=int, default=1, metavar="N", help="processes or actors")
    made.add_argument("--share", default="0/1", metavar="K/N", help="only share K, from 0, of N")
    made.add_argument("--address", help="a running Ray cluster, auto or host:port; without: one of its own")
    made.add_argument("--under-parent", action="store_true", help=argparse.SUPPRESS)
    return made


if __name__ == "__main__":
    sys.exit(main())
