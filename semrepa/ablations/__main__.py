r"""Table 2 from the command line.

    python -m semrepa.ablations aligner --run-dir runs/ablations -o pretrain_structure.steps=600
    python -m semrepa.ablations run --preset mini --seeds 0 1 2 --run-dir runs/ablations
    python -m semrepa.ablations table --run-dir runs/ablations

The same command goes on where it was stopped; cells that are done are passed over.
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from semrepa.ablations.aligner import depth_errors, train_noisy_aligner
from semrepa.ablations.cells import STEPS, run_cells
from semrepa.ablations.collate import CLIPS
from semrepa.ablations.grid import ARMS, chosen
from semrepa.ablations.losses import unreadable
from semrepa.ablations.pages import write_recording, write_tables
from semrepa.ablations.settings import Setting
from semrepa.commands import described
from semrepa.config import configure
from semrepa.config.strict import read_pair
from semrepa.models.quiet import quiet
from semrepa.models.structure import StructureAligner
from semrepa.prepare import ensure_rows, prepare
from semrepa.runtime import seed_everything, write_json

log = logging.getLogger("semrepa.ablations")

ALIGNER = "noisy_aligner.json"
"""File of the ablations that says what the noisy aligner can do."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Train the noisy aligner, or run cells.

    Args:
        arguments: command line; None takes the real one.

    Returns:
        0 when all is done, 2 for a request that makes no sense or weights that are missing, 130 when stopped
        by hand.
    """
    options = parser().parse_args(arguments)
    quiet()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    log.setLevel(logging.INFO)
    try:
        {"aligner": _aligner, "run": _run, "table": _table}[options.command](options)
    except (ValueError, TypeError, FileNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped by hand; the same command goes on from here", file=sys.stderr)
        return 130
    return 0


def parser() -> argparse.ArgumentParser:
    """Options of the command line.

    Returns:
        The parser.
    """
    made = described("semrepa.ablations", __doc__)
    commands = made.add_subparsers(dest="command", required=True)
    aligner = commands.add_parser("aligner", help="train the structure aligner for noisy latents")
    run = commands.add_parser("run", help="run the cells that are not done")
    names = [arm.name for arm in ARMS]
    run.add_argument("--arms", nargs="+", choices=names, help="lines of the table; default: all")
    run.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="default: 0 1 2")
    run.add_argument("--steps", nargs="+", choices=STEPS, default=STEPS, help="what is done; default: all")
    tables = commands.add_parser("table", help="collate the cells that are done")
    tables.add_argument("--record", type=Path, metavar="FILE", help="also write a small file of all numbers")
    for command in (aligner, run, tables):
        command.add_argument("--run-dir", type=Path, default=Path("runs/ablations"), help="runs/ablations")
    for command in (aligner, run):
        command.add_argument("--cache", type=Path, default=Path("runs/cache"), help="clips and features")
        command.add_argument("--preset", default="mini", help="mini (default) or full")
        command.add_argument("--clips", type=int, help="only the first held-out clips")
        command.add_argument("--noisy-aligner", type=Path, help="folder of one that is trained already")
        command.add_argument(
            "-o", "--override", action="append", default=[], metavar="NAME=VALUE", help="config field"
        )
    return made


def open_setting(options: argparse.Namespace) -> Setting:
    """Clips and features of all cells, prepared once.

    Args:
        options: of the command line.

    Returns:
        What the cells share.
    """
    cfg = configure(options.preset, dict(map(read_pair, options.override)))
    rows = ensure_rows(cfg, options.cache)
    store = prepare(cfg, rows, options.cache)
    kept = [row for row in rows if store.has(row.id)]
    return Setting.of(cfg, store, kept, options.run_dir, clips=options.clips, noisy=options.noisy_aligner)


def _aligner(options: argparse.Namespace) -> None:
    setting = open_setting(options)
    seed_everything(setting.cfg.seed)
    clips = {"train_ids": setting.train_ids, "heldout_ids": setting.heldout_ids}
    for step in train_noisy_aligner(setting.cfg, setting.store, setting.folder, **clips):
        if step.eval:
            log.info("step %d: held-out loss %.4f", step.step, step.eval["loss_struct"])
    aligner = StructureAligner.from_pretrained(setting.noisy_aligner).eval()
    found = depth_errors(setting.cfg, setting.store, setting.heldout_ids, aligner)
    write_json(setting.folder / ALIGNER, {"train_clips": len(setting.train_ids), "errors": found})
    for level, errors in found.items():
        log.info("t = %d: %s", level, ", ".join(f"{name} {value:.3f}" for name, value in errors.items()))


def _run(options: argparse.Namespace) -> None:
    arms, setting = chosen(options.arms), open_setting(options)
    for cell in run_cells(setting, arms, options.seeds, options.steps):
        log.info("done: seed %d, %s", cell.seed, cell.arm.title)
    if not (setting.folder / CLIPS).is_file():
        cfg, clips = setting.judging(setting.cfg.seed), (setting.train_ids, setting.heldout_ids)
        write_json(setting.folder / CLIPS, unreadable(cfg, setting.store, *clips))


def _table(options: argparse.Namespace) -> None:
    print(write_tables(options.run_dir))
    if options.record:
        write_recording(options.run_dir, options.record)


if __name__ == "__main__":
    sys.exit(main())
