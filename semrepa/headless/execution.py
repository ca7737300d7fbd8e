"""One notebook through papermill, strictly: failure is failure."""

import copy
import html
import logging
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nbformat
import papermill
from nbclient.exceptions import DeadKernelError
from papermill.exceptions import PapermillExecutionError
from traitlets.config import Config as Traits

from semrepa.files import write_whole
from semrepa.headless.names import check_names
from semrepa.headless.record import read_record
from semrepa.headless.stacks import Kernels, time_limit
from semrepa.runtime import RunFolder
from semrepa.ui.pages import Entry, notebook_page, opening, pictures

log = logging.getLogger(__name__)

GRACE = 120
"""Seconds that an interrupted notebook has to save its work."""
SLOW = 180
"""Seconds in which a kernel must start, and its last output arrive; a busy machine is no failure."""


class Terminated(KeyboardInterrupt):
    """SIGTERM, treated like Ctrl-C so that the kernel is interrupted and can save."""


def execute(
    notebook: Path,
    run_dir: Path,
    parameters: Mapping[str, Any],
    *,
    log_output: bool = False,
    timeout: float | None = None,
    grace: float = GRACE,
) -> Entry:
    """Run one notebook with papermill; success means that papermill and its `run.json` both say so.

    Args:
        notebook: a notebook with a `parameters` cell.
        run_dir: gets the executed notebook, the HTML page and whatever the notebook writes.
        parameters: values for the parameters cell; `run_dir` is added.
        log_output: pass the notebook's printed text on to the log while it runs.
        timeout: minutes that it may take; then the log and `stacks.txt` say where all threads of its kernel
            stand, it is interrupted, and fails. None: as long as it likes.
        grace: seconds that it has to save its work when it is interrupted.

    Returns:
        What came of it. Failure is a status, not an exception.

    Raises:
        ValueError: a parameter that the notebook does not have; a folder that cannot be written.
        TypeError: a parameter of another type than the notebook declares.
        FileNotFoundError: no such notebook.
        OSError: the disk is full.
        KeyboardInterrupt: Ctrl-C or SIGTERM, after the kernel had time to save.
    """
    check_names(notebook, parameters)
    report = RunFolder(run_dir).path / "run.json"
    report.unlink(missing_ok=True)
    began, message = time.perf_counter(), "stopped before its end"
    with tempfile.TemporaryDirectory() as folder:
        kernels, draft = Kernels(Path(folder) / "kernels"), Path(folder) / notebook.name
        kernels.folder.mkdir()
        given = {**parameters, "run_dir": str(run_dir)}
        try:
            with time_limit(kernels, timeout, grace) as limit:
                how = {"log_output": log_output, "config": _traits(grace)}
                message = _papermill(notebook, draft, given, kernels.startup, **how)
            if limit.report:
                message = _overdue(run_dir / "stacks.txt", limit.report, timeout)
            message = message or _verdict(report)
        finally:
            executed = _publish(draft, run_dir, message)
    seconds = round(time.perf_counter() - began, 1)
    return entry_of(run_dir, executed, notebook.stem, seconds=seconds, message=message)


def entry_of(
    run_dir: Path,
    executed: nbformat.NotebookNode,
    name: str,
    *,
    seconds: float,
    message: str = "",
    kept: bool = False,
) -> Entry:
    """Describe a run for the report.

    Args:
        run_dir: folder of the run.
        executed: the executed notebook.
        name: its stem.
        seconds: wall time.
        message: what went wrong; empty: nothing.
        kept: it ran in an earlier command.

    Returns:
        The entry.
    """
    heading, question = opening(executed)
    return Entry(
        name=name, title=heading, question=question, status="failed" if message else "ok", seconds=seconds,
        metrics=read_record(run_dir / "run.json").get("metrics", {}), message=message, kept=kept,
        cover=(pictures(executed, "cover") or pictures(executed) or [""])[-1],
        link=f"{run_dir.name}/{name}.html",
    )  # fmt: skip


def _traits(grace: float) -> Traits:
    """What jupyter is told about kernels; an own name for encryption silences a warning of ipykernel."""
    kernel = {"shutdown_wait_time": grace, "transport_encryption": "auto"}
    return Traits({"KernelManager": kernel, "AsyncKernelManager": kernel})


def _papermill(notebook: Path, draft: Path, parameters: Mapping[str, Any], startup: str, **how: Any) -> str:
    """Execute into `draft`; returns the error as one screen of text, empty when all cells ran."""
    try:
        papermill.execute_notebook(
            notebook, draft, parameters=dict(parameters), progress_bar=False,
            coalesce_streams=True, store_widget_state=False,
            start_timeout=SLOW, iopub_timeout=SLOW,
            extra_arguments=[f"--IPKernelApp.exec_lines={startup}"], **how,
        )  # fmt: skip
    except PapermillExecutionError as error:
        return f"cell {error.cell_index}: {error.ename}: {error.evalue}"
    except DeadKernelError as error:
        return f"the kernel died, often for lack of memory ({error}); try a smaller batch or fewer frames"
    except (RuntimeError, TimeoutError) as error:
        return f"the kernel did not start or answer ({error}); is the machine overloaded?"
    return ""


def _verdict(report: Path) -> str:
    """What `run.json` says against a notebook whose cells all ran."""
    state = read_record(report).get("status", "missing")
    expected = "expected 'ok' from the last cell of the notebook"
    return "" if state == "ok" else f"{report}: status is {state!r}; {expected}"


def _overdue(file: Path, stacks: str, minutes: float | None) -> str:
    """Keep the stacks of a notebook that took too long; returns the error."""
    log.error("%s", stacks)
    write_whole(file, stacks.encode(), durable=False)
    return f"took longer than its limit of {minutes:g} minutes; where each thread stood is in {file}"


def _publish(draft: Path, run_dir: Path, message: str) -> nbformat.NotebookNode:
    """Put the executed notebook into the run folder, whole, with its page; a failure is told at their top."""
    try:
        executed = nbformat.read(draft, as_version=4)
    except (FileNotFoundError, ValueError):  # stopped before the first cell, or cut off by a full disk
        return nbformat.v4.new_notebook()
    shown = copy.deepcopy(executed)
    if message:
        text = f"<pre style='color:#b00020'>This run failed: {html.escape(message)}</pre>"
        shown.cells.insert(0, nbformat.v4.new_markdown_cell(text))
    write_whole(run_dir / draft.name, nbformat.writes(shown).encode(), durable=False)
    page = notebook_page(shown, draft.stem)
    write_whole(run_dir / f"{draft.stem}.html", page.encode(), durable=False)
    return executed
