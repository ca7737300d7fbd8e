"""One notebook through papermill, strictly: failure is failure."""

import json
import logging
import shutil
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

from semrepa.headless.names import check_names
from semrepa.headless.stacks import Kernels, time_limit
from semrepa.ui.pages import Entry, notebook_page, opening, pictures

log = logging.getLogger(__name__)

GRACE = 120
"""Seconds that an interrupted notebook has to save its work."""

_KERNEL = {"shutdown_wait_time": GRACE, "transport_encryption": "auto"}
_TRAITS = Traits({"KernelManager": _KERNEL, "AsyncKernelManager": _KERNEL})


class Terminated(KeyboardInterrupt):
    """SIGTERM, treated like Ctrl-C so that the kernel is interrupted and can save."""


def execute(
    notebook: Path,
    run_dir: Path,
    parameters: Mapping[str, Any],
    *,
    log_output: bool = False,
    timeout: float | None = None,
) -> Entry:
    """Run one notebook with papermill; success means that papermill and its `run.json` both say so.

    Args:
        notebook: a notebook with a `parameters` cell.
        run_dir: gets the executed notebook, the HTML page and whatever the notebook writes.
        parameters: values for the parameters cell; `run_dir` is added.
        log_output: pass the notebook's printed text on to the log while it runs.
        timeout: minutes that it may take; then the log and `stacks.txt` say where all threads of its kernel
            stand, it is interrupted, and fails. None: as long as it likes.

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
        kernels, draft = Kernels(Path(folder) / "kernels"), Path(folder) / notebook.name
        kernels.folder.mkdir()
        given = {**parameters, "run_dir": str(run_dir)}
        try:
            with time_limit(kernels, timeout, GRACE) as limit:
                message = _papermill(notebook, draft, given, log_output, kernels.startup)
        finally:
            executed = _publish(draft, run_dir)
    if limit.report:
        message = _overdue(run_dir / "stacks.txt", limit.report, timeout)
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


def _papermill(
    notebook: Path, draft: Path, parameters: Mapping[str, Any], log_output: bool, startup: str
) -> str:
    """Execute into `draft`; returns the error as one screen of text, empty when all cells ran."""
    try:
        papermill.execute_notebook(
            notebook, draft, parameters=dict(parameters), progress_bar=False, log_output=log_output,
            coalesce_streams=True, store_widget_state=False, config=_TRAITS,
            extra_arguments=[f"--IPKernelApp.exec_lines={startup}"],
        )  # fmt: skip
    except PapermillExecutionError as error:
        return f"cell {error.cell_index}: {error.ename}: {error.evalue}"
    except DeadKernelError as error:
        return f"the kernel died, often for lack of memory ({error}); try a smaller batch or fewer frames"
    return ""


def _overdue(file: Path, stacks: str, minutes: float | None) -> str:
    """Keep the stacks of a notebook that took too long; returns the error."""
    log.error("%s", stacks)
    file.write_text(stacks, encoding="utf-8")
    return f"took longer than its limit of {minutes:g} minutes; where each thread stood is in {file}"


def _publish(draft: Path, run_dir: Path) -> nbformat.NotebookNode:
    """Move the executed notebook into the run folder and write its page."""
    if not draft.is_file():
        return nbformat.v4.new_notebook()
    executed = nbformat.read(draft, as_version=4)
    shutil.move(draft, run_dir / draft.name)
    page = run_dir / f"{draft.stem}.html"
    page.write_text(notebook_page(executed, draft.stem), encoding="utf-8")
    return executed
