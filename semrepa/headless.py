"""Run notebooks without a browser, strictly: wrong names stop before the start, and failure is failure.

    python -m semrepa.headless notebooks/06_dit_finetuning.ipynb --run-dir runs/x -o finetune.steps=20
    python -m semrepa.headless --all --run-dir runs/demo

Each notebook leaves its executed copy, an HTML page that opens offline and its `run.json` in its run folder.
Plain `papermill notebook out.ipynb -p preset mini` works too; it only lacks the checks and the pages.
"""

import argparse
import difflib
import json
import logging
import os
import shutil
import signal
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import nbformat
import papermill
from nbclient.exceptions import DeadKernelError
from papermill.exceptions import PapermillExecutionError
from traitlets.config import Config as Traits

from semrepa.config import override, preset
from semrepa.config.strict import read_pair
from semrepa.ui.pages import Entry, index_page, key_metrics, notebook_page, opening, pictures

NOTEBOOKS = Path("notebooks")
GRACE = 120
"""Seconds that an interrupted notebook has to save its work."""

_KERNEL = {"shutdown_wait_time": GRACE, "transport_encryption": "auto"}
_TRAITS = Traits({"KernelManager": _KERNEL, "AsyncKernelManager": _KERNEL})


class Terminated(KeyboardInterrupt):
    """SIGTERM, treated like Ctrl-C so that the kernel is interrupted and can save."""


def execute(
    notebook: Path, run_dir: Path, parameters: Mapping[str, Any], *, log_output: bool = False
) -> Entry:
    """Run one notebook with papermill; success means that papermill and its `run.json` both say so.

    Args:
        notebook: a notebook with a `parameters` cell.
        run_dir: gets the executed notebook, the HTML page and whatever the notebook writes.
        parameters: values for the parameters cell; `run_dir` is added.
        log_output: pass the notebook's printed text on to the log while it runs.

    Returns:
        What came of it. Failure is a status, not an exception.

    Raises:
        ValueError: a parameter that the notebook does not have.
        FileNotFoundError: no such notebook.
        KeyboardInterrupt: Ctrl-C or SIGTERM, after the kernel had time to save.
    """
    check_names(notebook, parameters)
    run_dir.mkdir(parents=True, exist_ok=True)
    report = run_dir / "run.json"
    report.unlink(missing_ok=True)
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        draft = Path(folder) / notebook.name
        try:
            message = _papermill(notebook, draft, {**parameters, "run_dir": str(run_dir)}, log_output)
        finally:
            executed = _publish(draft, run_dir)
    run = json.loads(report.read_text(encoding="utf-8")) if report.is_file() else {}
    if not message and run.get("status") != "ok":
        state = run.get("status", "missing")
        message = f"{report}: status is {state!r}; expected 'ok' from the last cell of the notebook"
    heading, question = opening(executed)
    return Entry(
        name=notebook.stem, title=heading, question=question, status="failed" if message else "ok",
        seconds=round(time.perf_counter() - started, 1), metrics=run.get("metrics", {}), message=message,
        cover=(pictures(executed, "cover") or pictures(executed) or [""])[-1],
        link=f"{run_dir.name}/{notebook.stem}.html",
    )  # fmt: skip


def _papermill(notebook: Path, draft: Path, parameters: Mapping[str, Any], log_output: bool) -> str:
    """Execute into `draft`; returns the error as one screen of text, empty when all cells ran."""
    try:
        papermill.execute_notebook(
            notebook, draft, parameters=dict(parameters), progress_bar=False, log_output=log_output,
            coalesce_streams=True, store_widget_state=False, config=_TRAITS,
        )  # fmt: skip
    except PapermillExecutionError as error:
        return f"cell {error.cell_index}: {error.ename}: {error.evalue}"
    except DeadKernelError as error:
        return f"the kernel died, often for lack of memory ({error}); try a smaller batch or fewer frames"
    return ""


def _publish(draft: Path, run_dir: Path) -> nbformat.NotebookNode:
    """Move the executed notebook into the run folder and write its page."""
    if not draft.is_file():
        return nbformat.v4.new_notebook()
    executed = nbformat.read(draft, as_version=4)
    shutil.move(draft, run_dir / draft.name)
    page = run_dir / f"{draft.stem}.html"
    page.write_text(notebook_page(executed, draft.stem), encoding="utf-8")
    return executed


def check_names(notebook: Path, parameters: Mapping[str, Any]) -> None:
    """Refuse parameters that the notebook does not declare, which papermill would only warn about.

    Args:
        notebook: a notebook with a `parameters` cell.
        parameters: names and values to be given to it.

    Raises:
        ValueError: an undeclared name; the message has the nearest declared one.
        FileNotFoundError: no such notebook.
    """
    declared = declared_names(notebook)
    for name in parameters:
        if name not in declared:
            close = difflib.get_close_matches(name, declared, n=1)
            hint = f"did you mean {close[0]}?" if close else f"it has {', '.join(declared)}"
            raise ValueError(
                f"{notebook.name}: got parameter {name!r}, which the notebook does not have; {hint}"
            )


def declared_names(notebook: Path) -> list[str]:
    """Names in the `parameters` cell of a notebook.

    Args:
        notebook: path of the notebook.

    Returns:
        The names in order.

    Raises:
        FileNotFoundError: no such notebook.
        ValueError: no cell tagged `parameters`.
    """
    if not notebook.is_file():
        known = ", ".join(path.stem for path in sorted(NOTEBOOKS.glob("*.ipynb"))) or "none in this folder"
        raise FileNotFoundError(f"notebook: got {notebook}, which is not there; known: {known}")
    names = list(papermill.inspect_notebook(notebook))
    if not names:
        raise ValueError(f"{notebook}: got no cell tagged 'parameters'; add the tag to the cell of literals")
    return names


def run_all(
    notebooks: Sequence[Path], run_dir: Path, parameters: Mapping[str, Any], *, log_output: bool = False
) -> list[Entry]:
    """Run notebooks one after the other, each into its own folder, and write the report.

    Args:
        notebooks: notebooks in order.
        run_dir: gets one folder per notebook, `index.html` and `summary.json`, rewritten after each notebook.
        parameters: values for all of them; each goes to the notebooks that declare its name.
        log_output: see `execute`.

    Returns:
        One entry per notebook; a failed one does not stop the next.
    """
    entries: list[Entry] = []
    for notebook in notebooks:
        known = declared_names(notebook)
        given = {name: value for name, value in parameters.items() if name in known}
        entries.append(execute(notebook, run_dir / notebook.stem, given, log_output=log_output))
        print(_line(entries[-1]), flush=True)
        write_report(entries, run_dir)
    return entries


def write_report(entries: Sequence[Entry], run_dir: Path) -> Path:
    """Write `summary.json` and `index.html`.

    Args:
        entries: what ran so far.
        run_dir: folder of the report.

    Returns:
        Path of the index page.
    """
    rows = [{name: value for name, value in asdict(entry).items() if name != "cover"} for entry in entries]
    (run_dir / "summary.json").write_text(json.dumps(rows, indent=2), encoding="utf-8")
    total = sum(entry.seconds for entry in entries)
    note = (
        f"{len(entries)} notebooks, {total:.0f} s. Each card links to its executed notebook with all figures."
    )
    index = run_dir / "index.html"
    index.write_text(index_page(entries, title="SemanticREPA: report", note=note), encoding="utf-8")
    return index


def _line(entry: Entry) -> str:
    metrics = "  ".join(f"{name} {value}" for name, value in key_metrics(entry.metrics))
    message = textwrap.indent(f"\n{entry.message}", "  ") if "\n" in entry.message else entry.message
    return f"{entry.name:<28}{entry.status:<12}{entry.seconds:>6.0f} s  {message or metrics}"


@contextmanager
def _signals() -> Iterator[None]:
    """Let SIGTERM interrupt like Ctrl-C, and tell the kernels that nobody watches."""

    def stop(*_: object) -> None:
        raise Terminated

    previous = signal.signal(signal.SIGTERM, stop)
    os.environ["SEMREPA_HEADLESS"] = "1"
    try:
        yield
    finally:
        os.environ.pop("SEMREPA_HEADLESS")
        signal.signal(signal.SIGTERM, previous)


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m semrepa.headless", description=__doc__.splitlines()[0])
    parser.add_argument("notebooks", nargs="*", type=Path, help="notebooks to run, in order")
    parser.add_argument("--all", action="store_true", help="all of notebooks/, in order")
    parser.add_argument("--preset", default="mini", help="mini (default) or full")
    parser.add_argument("--run-dir", type=Path, default=Path("runs/headless"), help="folder of the results")
    parser.add_argument("--seed", type=int, help="seed of the run")
    parser.add_argument(
        "-o", "--override", action="append", default=[], metavar="NAME=VALUE", help="config field"
    )
    parser.add_argument(
        "-p", "--parameter", action="append", default=[], metavar="NAME=VALUE", help="notebook parameter"
    )
    parser.add_argument(
        "--log-output", action="store_true", help="show what the notebooks print while they run"
    )
    return parser.parse_args(argv)


def _plan(options: argparse.Namespace) -> tuple[list[Path], dict[str, Any]]:
    """Notebooks and parameters of a command line, all names and values checked."""
    notebooks = sorted(NOTEBOOKS.glob("[0-9]*.ipynb")) if options.all else options.notebooks
    if not notebooks:
        raise ValueError("notebooks: got none; name one, or use --all in the folder that holds notebooks/")
    overrides = dict(map(read_pair, options.override))
    override(preset(options.preset), options.override)
    parameters = {"preset": options.preset, **dict(map(read_pair, options.parameter))}
    parameters |= {"overrides": overrides} if overrides else {}
    parameters |= {} if options.seed is None else {"seed": options.seed}
    known = {name for notebook in notebooks for name in declared_names(notebook)}
    for name in set(parameters) - known:
        check_names(notebooks[0], {name: None})
    return notebooks, parameters


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; see the module.

    Args:
        argv: arguments, None: those of the process.

    Returns:
        0 when every notebook is ok, 1 when one failed, 2 for a wrong command line, 130 or 143 when stopped.
    """
    options = _arguments(argv)
    logging.basicConfig(level=logging.INFO if options.log_output else logging.WARNING, format="%(message)s")
    try:
        notebooks, parameters = _plan(options)
        with _signals():
            if len(notebooks) == 1 and not options.all:
                entries = [execute(notebooks[0], options.run_dir, parameters, log_output=options.log_output)]
                print(_line(entries[0]))
                page = options.run_dir / f"{notebooks[0].stem}.html"
            else:
                entries = run_all(notebooks, options.run_dir, parameters, log_output=options.log_output)
                page = options.run_dir / "index.html"
    except (ValueError, TypeError, FileNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        print(f"stopped; what was finished is in {options.run_dir}", file=sys.stderr)
        return 143 if isinstance(stop, Terminated) else 130
    print(f"report: {page.resolve()}")
    return int(any(entry.status != "ok" for entry in entries))


if __name__ == "__main__":
    sys.exit(main())
