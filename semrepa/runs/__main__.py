"""Make the videos of a model for an index, or check a folder of another program; see `semrepa.runs`."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from semrepa.config import Config, configure
from semrepa.data.index import SPLITS, ClipRow, read_index
from semrepa.models.quiet import quiet
from semrepa.runs.folder import check_run
from semrepa.runs.making import MODELS, Sampling, make_run
from semrepa.runs.report import RunReport


def main(arguments: Sequence[str] | None = None) -> int:
    """Make or check a run.

    Args:
        arguments: command line; None takes the real one.

    Returns:
        0 when the run is complete and as it should be, 1 when something is wrong with it, 2 for a request
        that makes no sense or weights that are missing.
    """
    options = parser().parse_args(arguments)
    quiet()
    try:
        cfg = configure(options.preset, options.override)
        rows = _rows(cfg, options)
        folder = _make(cfg, rows, options) if options.command == "generate" else options.folder
        resize = getattr(options, "resize", True)
        report = check_run(
            folder,
            rows,
            cfg.video,
            seeds=cfg.generate.seeds,
            resize=resize,
            decode=not getattr(options, "headers", False),
        )
    except (ValueError, TypeError, FileNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for finding in report.findings:
        print(finding)
    print(summary(report, cfg))
    return int(not report.is_fine)


def summary(report: RunReport, cfg: Config) -> str:
    """The last line of the output.

    Args:
        report: what was found.
        cfg: size and rate of the true clips.

    Returns:
        How many videos can be scored and what is wrong with how many others.
    """
    video = cfg.video
    found = f"{len(report.files)} of {report.wanted} videos can be scored"
    if report.size is not None:
        size = f"{report.size[0]}x{report.size[1]}"
        size += f", resized to {video.height}x{video.width}" if report.is_resized else ""
        found += f": {video.num_frames} frames at {video.fps:g} fps, {size}"
    wrong = ", ".join(f"{count} {reason}" for reason, count in report.counts().items())
    return f"{found}; {wrong or 'nothing is wrong'}"


def parser() -> argparse.ArgumentParser:
    """Options of the command line.

    Returns:
        The parser.
    """
    made = argparse.ArgumentParser(prog="python -m semrepa.runs", description=(__doc__ or "").strip())
    commands = made.add_subparsers(dest="command", required=True)
    making = commands.add_parser("generate", help="make the videos that are not there yet, then check")
    making.add_argument("--model", required=True, choices=MODELS)
    making.add_argument("--transformer", type=Path, help="folder that fine-tuning wrote, for finetuned")
    making.add_argument("--out", type=Path, required=True, help="folder of the videos")
    making.add_argument("--steps", type=int, help="sampler steps; default: the config's or the authors'")
    making.add_argument("--guidance", type=float, help="classifier-free guidance; default: likewise")
    making.add_argument("--size", type=_size, metavar="HxW", help="size at which svd or i2vgen-xl work")
    making.add_argument("--overlap", type=int, help="frames that windows of svd or i2vgen-xl share")
    checking = commands.add_parser("check", help="compare a folder with the index")
    checking.add_argument("folder", type=Path)
    checking.add_argument("--no-resize", dest="resize", action="store_false", help="other sizes are wrong")
    checking.add_argument("--headers", action="store_true", help="do not decode the pictures")
    for command in (making, checking):
        command.add_argument("--index", type=Path, help="index of the clips; default: the config's")
        command.add_argument("--split", choices=(*SPLITS, "all"), default="heldout", help="default: heldout")
        command.add_argument("--clips", type=int, help="only the first clips")
        command.add_argument("--preset", default="mini", help="mini (default) or full")
        command.add_argument(
            "-o", "--override", action="append", default=[], metavar="NAME=VALUE", help="config field"
        )
    return made


def _size(text: str) -> tuple[int, int]:
    height, _, width = text.partition("x")
    if not (height.isdigit() and width.isdigit()):
        raise argparse.ArgumentTypeError(f"got {text}; expected height x width in pixels, such as 576x1024")
    return int(height), int(width)


def _rows(cfg: Config, options: argparse.Namespace) -> list[ClipRow]:
    """The clips that are asked for; for a check their true videos need not all be here."""
    index = options.index or cfg.data.index
    rows = read_index(index, allow_missing=options.command == "check")
    chosen = [row for row in rows if options.split in (row.split, "all")][: options.clips]
    if not chosen:
        raise ValueError(f"got no clips of split {options.split} in {index}; expected some; see --split")
    return chosen


def _make(cfg: Config, rows: Sequence[ClipRow], options: argparse.Namespace) -> Path:
    sampling = Sampling(
        num_inference_steps=options.steps,
        guidance_scale=options.guidance,
        size=options.size,
        overlap=options.overlap,
    )
    made = make_run(cfg, options.model, rows, options.out, transformer=options.transformer, sampling=sampling)
    for count, pair in enumerate(made, 1):
        print(f"{count} of {len(rows) * len(cfg.generate.seeds)}: {pair.file}", flush=True)
    return options.out


if __name__ == "__main__":
    sys.exit(main())
