"""Score runs and write a report; see `semrepa.evaluation`."""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from semrepa.config import Config, configure
from semrepa.data.index import SPLITS, ClipRow, read_index
from semrepa.evaluation.judging import ALL, CORE, Group
from semrepa.evaluation.reading import Runs, read_runs
from semrepa.evaluation.results import Results
from semrepa.evaluation.scoring import TRUTH, Scorer
from semrepa.evaluation.tables import judgement
from semrepa.models.quiet import quiet
from semrepa.provenance import KINDS
from semrepa.runs.report import REASONS
from semrepa.ui.report_page import write_report

OFFLINE: tuple[Group, ...] = (*CORE, "sharpness", "steadiness")
"""Scores of the mini preset where nothing else is said: those that rest on its own networks or on none."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Score runs and write a report.

    Args:
        arguments: command line; None takes the real one.

    Returns:
        0 when all videos were scored, 1 when some were left out or show no face, 2 for a request that makes
        no sense, runs that break the contract, or weights that are missing.
    """
    options, began = parser().parse_args(arguments), time.perf_counter()
    quiet()
    try:
        cfg = configure(options.preset, options.override)
        rows = _rows(cfg, options)
        runs = read_runs(cfg, rows, _folders(options.runs), allow=options.allow, kinds=_kinds(options.kind))
        baseline = _baseline(runs, options.baseline)
        results = _results(cfg, rows, runs, baseline, _groups(cfg, options.scores), options.every)
        seconds = time.perf_counter() - began
        note = f"{results.num_clips} clips of {options.index or cfg.data.index}, scored in {seconds:.0f} s"
        files = write_report(options.out, results, runs.watch, fps=cfg.video.fps, note=note)
    except (ValueError, TypeError, FileNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for problem in results.problems:
        print(f"{problem.arm}: {problem.video}: {problem.reason}: {problem.what}")
    print("\n".join([*judgement(results), f"{note}; written: {', '.join(map(str, files))}"]))
    return int(bool(results.problems))


def parser() -> argparse.ArgumentParser:
    """Options of the command line.

    Returns:
        The parser.
    """
    made = argparse.ArgumentParser(prog="python -m semrepa.evaluation", description=(__doc__ or "").strip())
    made.add_argument("runs", nargs="+", metavar="[NAME=]RUN", help="folder of videos; default name: its own")
    made.add_argument("--index", type=Path, help="index of the true clips; default: the config's")
    made.add_argument("--split", choices=(*SPLITS, "all"), default="heldout", help="default: heldout")
    made.add_argument("--clips", type=int, help="only the first clips")
    made.add_argument("--baseline", help="run that others are compared with; default: base, if it is there")
    made.add_argument("--out", type=Path, required=True, help="folder of the report")
    made.add_argument(
        "--scores",
        help=f"comma-separated, of {', '.join(ALL)}; default: {', '.join(OFFLINE)}, in full also "
        "lpips, fid, motion and text",
    )
    made.add_argument("--every", type=int, default=1, help="lpips, fid, motion, text: only each k-th frame")
    made.add_argument(
        "--allow", nargs="+", default=[], choices=REASONS, help="leave such videos out of all runs"
    )
    made.add_argument(
        "--kind", action="append", default=[], metavar=f"NAME={'|'.join(KINDS)}", help="runs without a record"
    )
    made.add_argument("--preset", default="mini", help="mini (default) or full")
    made.add_argument(
        "-o", "--override", action="append", default=[], metavar="NAME=VALUE", help="config field"
    )
    return made


def _rows(cfg: Config, options: argparse.Namespace) -> list[ClipRow]:
    index = options.index or cfg.data.index
    chosen = [row for row in read_index(index) if options.split in (row.split, "all")][: options.clips]
    if not chosen:
        raise ValueError(f"got no clips of split {options.split} in {index}; expected some; see --split")
    return chosen


def _folders(given: Sequence[str]) -> dict[str, Path]:
    folders: dict[str, Path] = {}
    for text in given:
        name, mark, folder = text.partition("=")
        path = Path(folder if mark else name)
        name = name if mark else path.name
        if not name or name in folders or name == TRUTH:
            raise ValueError(
                f"got run name {name!r} for {path}; expected a name of its own for each run, not {TRUTH!r}; "
                "give it as NAME=RUN"
            )
        folders[name] = path
    return folders


def _kinds(given: Sequence[str]) -> dict[str, str]:
    return {name: kind for name, _, kind in (text.partition("=") for text in given)}


def _baseline(runs: Runs, asked: str | None) -> str | None:
    if asked is not None and asked not in runs.files:
        raise ValueError(
            f"got baseline {asked!r}; expected one of {', '.join(runs.files)}; give a run's name"
        )
    return asked or ("base" if "base" in runs.files else None)


def _groups(cfg: Config, asked: str | None) -> list[Group]:
    if asked is None:
        needless = ("second_face", "body")
        return [*OFFLINE] if cfg.preset == "mini" else [name for name in ALL if name not in needless]
    wanted = [name.strip() for name in asked.split(",")]
    if unknown := [name for name in wanted if name not in ALL]:
        raise ValueError(f"got scores {', '.join(unknown)}; expected some of {', '.join(ALL)}; see --scores")
    return [name for name in ALL if name in wanted]


def _results(
    cfg: Config,
    rows: Sequence[ClipRow],
    runs: Runs,
    baseline: str | None,
    groups: Sequence[Group],
    every: int,
) -> Results:
    clips = {pair.clip for files in runs.files.values() for pair in files}
    scorer = Scorer(cfg, [row for row in rows if row.id in clips], groups, every=every)
    kinds = {name: source.kind for name, source in runs.sources.items()}
    arms = [scorer.score(name, runs.videos(name), kind=kinds[name]) for name in runs.files]
    return Results(
        arms,
        ceilings=[scorer.truth(kind=arms[0].clips[0].provenance)],
        baseline=baseline,
        problems=runs.problems,
        sources=list(runs.sources.values()),
    )


if __name__ == "__main__":
    sys.exit(main())
