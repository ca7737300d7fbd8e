"""The command line of the notebook runner, see `semrepa.headless`."""

import argparse
import logging
import os
import signal
import sys
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from semrepa import headless
from semrepa.config import configure
from semrepa.config.strict import read_pair
from semrepa.headless.execution import GRACE, Terminated
from semrepa.headless.names import NOTEBOOKS, check_names, declared_names
from semrepa.headless.pipeline import run_all
from semrepa.headless.stacks import ASK
from semrepa.runtime import RunFolder
from semrepa.ui.pages import Entry, key_metrics

_OPTIONS = {"preset": "--preset", "run_dir": "--run-dir", "seed": "--seed", "overrides": "-o"}
"""Parameters that have an option of their own."""
_AGAIN = "the same command with --resume goes on from there"


def _tell(entry: Entry) -> None:
    metrics = "  ".join(f"{name} {value}" for name, value in key_metrics(entry.metrics))
    message = textwrap.indent(f"\n{entry.message}", "  ") if "\n" in entry.message else entry.message
    status = "ok, kept" if entry.kept else entry.status
    print(f"{entry.name:<28}{status:<12}{entry.seconds:>6.0f} s  {message or metrics}", flush=True)


@contextmanager
def _signals() -> Iterator[None]:
    """Let SIGTERM interrupt like Ctrl-C, and tell the kernels that nobody watches."""

    def stop(*_: object) -> None:
        raise Terminated

    previous = {signal.SIGTERM: signal.signal(signal.SIGTERM, stop)}
    if ASK is not None:
        previous[ASK] = signal.signal(ASK, lambda *_: print("no kernel runs just now", file=sys.stderr))
    os.environ["SEMREPA_HEADLESS"] = "1"
    try:
        yield
    finally:
        os.environ.pop("SEMREPA_HEADLESS")
        for number, handler in previous.items():
            signal.signal(number, handler)


def options() -> argparse.ArgumentParser:
    """Everything that the command line takes."""
    parser = argparse.ArgumentParser(
        prog="python -m semrepa.headless", description=str(headless.__doc__).splitlines()[0]
    )
    parser.add_argument("notebooks", nargs="*", type=Path, help="notebooks to run, in order")
    parser.add_argument("--all", action="store_true", help="all of notebooks/, in order")
    parser.add_argument("--preset", default="mini", help="mini (default) or full")
    parser.add_argument(
        "--run-dir",
        type=Path,
        default=Path("runs/headless"),
        help="folder of the report; each notebook has one in it",
    )
    parser.add_argument("--seed", type=int, help="seed of the run")
    parser.add_argument(
        "-o", "--override", action="append", default=[], metavar="NAME=VALUE", help="config field"
    )
    parser.add_argument(
        "-p", "--parameter", action="append", default=[], metavar="NAME=VALUE", help="notebook parameter"
    )
    parser.add_argument(
        "--resume", action="store_true", help="keep what is done and still holds, go on where it stopped"
    )
    parser.add_argument(
        "--log-output", action="store_true", help="show what the notebooks print while they run"
    )
    parser.add_argument(
        "--timeout", type=float, metavar="MINUTES",
        help="stop a notebook that takes longer, and say where its threads stand (default: no limit)",
    )  # fmt: skip
    parser.add_argument(
        "--grace", type=float, default=GRACE, metavar="SECONDS",
        help=f"time to save for a notebook that is interrupted (default {GRACE})",
    )  # fmt: skip
    return parser


def _plan(chosen: argparse.Namespace) -> tuple[list[Path], dict[str, Any]]:
    """Notebooks and parameters of a command line, all names and values checked."""
    notebooks = sorted(NOTEBOOKS.glob("[0-9]*.ipynb")) if chosen.all else chosen.notebooks
    if not notebooks:
        raise ValueError("notebooks: got none; name one, or use --all in the folder that holds notebooks/")
    overrides, own = dict(map(read_pair, chosen.override)), dict(map(read_pair, chosen.parameter))
    for name in _OPTIONS.keys() & own.keys():
        raise ValueError(f"-p {name}: got it as a parameter; expected the option {_OPTIONS[name]}")
    configure(chosen.preset, chosen.override, {"seed": chosen.seed})
    parameters = {"preset": chosen.preset, **own}
    parameters |= {"overrides": overrides} if overrides else {}
    parameters |= {} if chosen.seed is None else {"seed": chosen.seed}
    declared = {notebook: declared_names(notebook) for notebook in notebooks}
    for name, value in parameters.items():
        for notebook in [path for path in notebooks if name in declared[path]] or notebooks[:1]:
            check_names(notebook, {name: value})
    return notebooks, parameters


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; see the module.

    Args:
        argv: arguments, None: those of the process.

    Returns:
        0 when every notebook is ok, 1 when one failed, 2 for a wrong command line, 130 or 143 when stopped.
    """
    chosen = options().parse_args(argv)
    logging.basicConfig(level=logging.INFO if chosen.log_output else logging.WARNING, format="%(message)s")
    how = {name: getattr(chosen, name) for name in ("resume", "log_output", "timeout", "grace")}
    try:
        notebooks, parameters = _plan(chosen)
        with _signals():
            entries = run_all(notebooks, RunFolder(chosen.run_dir).path, parameters, tell=_tell, **how)
    except (ValueError, TypeError, FileNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: {error}; {_AGAIN}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as stop:
        print(f"stopped; what was finished is in {chosen.run_dir}; {_AGAIN}", file=sys.stderr)
        return 143 if isinstance(stop, Terminated) else 130
    print(f"report: {(chosen.run_dir / 'index.html').resolve()}")
    return int(any(entry.status != "ok" for entry in entries))


if __name__ == "__main__":
    sys.exit(main())
