"""Notebooks in order, each with a folder of its own in one report."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import nbformat

from semrepa.files import write_whole
from semrepa.headless.execution import entry_of, execute
from semrepa.headless.names import declared_names
from semrepa.headless.record import Stage, set_aside
from semrepa.runtime import write_json
from semrepa.ui.pages import Entry, index_page

log = logging.getLogger(__name__)


def run_all(
    notebooks: Sequence[Path],
    run_dir: Path,
    parameters: Mapping[str, Any],
    *,
    tell: Callable[[Entry], object],
    resume: bool = False,
    **how: Any,
) -> list[Entry]:
    """Run notebooks one after the other, each into its own folder, and write the report.

    Args:
        notebooks: notebooks in order.
        run_dir: the report: gets one folder per notebook, in which later ones find what earlier ones made,
            and `index.html` and `summary.json`, rewritten after each notebook.
        parameters: values for all of them; each goes to the notebooks that declare its name.
        tell: called with each notebook's entry as soon as it is there.
        resume: keep notebooks that are done and whose settings, versions, weights and earlier stages are
            still the same; go on with the trainings of those that are not done; make others anew.
        **how: options of `execute` for each notebook.

    Returns:
        One entry per notebook; a failed one does not stop the next.
    """
    entries: list[Entry] = []
    for notebook in notebooks:
        known = declared_names(notebook)
        given = {name: value for name, value in parameters.items() if name in known}
        stage = Stage(notebook, run_dir / notebook.stem, given)
        kept = _kept(stage) if resume else None
        entries.append(kept or _run(stage, resume, how))
        tell(entries[-1])
        write_report(entries, run_dir)
    return entries


def _kept(stage: Stage) -> Entry | None:
    """The entry of a stage that still holds; None when it has to run, in a folder that is then ready."""
    if not stage.folder.is_dir():
        return None
    if why := stage.changes():
        log.warning(
            "%s runs anew: %s; before: %s", stage.folder.name, "; ".join(why), set_aside(stage.folder)
        )
        return None
    if stage.code_has_changed() or not stage.is_finished():
        return None
    executed = nbformat.read(stage.folder / stage.notebook.name, as_version=4)
    return entry_of(stage.folder, executed, stage.notebook.stem, seconds=stage.seconds, kept=True)


def _run(stage: Stage, resume: bool, how: Mapping[str, Any]) -> Entry:
    goes_on = resume and "overrides" in declared_names(stage.notebook)
    stage.begin()
    entry = execute(stage.notebook, stage.folder, stage.going_on() if goes_on else stage.parameters, **how)
    if entry.status == "ok":
        stage.finish(entry.seconds)
    return entry


def write_report(entries: Sequence[Entry], run_dir: Path) -> Path:
    """Write `summary.json` and `index.html`.

    Args:
        entries: what ran so far.
        run_dir: folder of the report.

    Returns:
        Path of the index page.
    """
    rows = [{name: value for name, value in asdict(entry).items() if name != "cover"} for entry in entries]
    write_json(run_dir / "summary.json", rows)
    total = sum(entry.seconds for entry in entries)
    note = (
        f"{len(entries)} notebooks, {total:.0f} s. Each card links to its executed notebook with all figures."
    )
    index = run_dir / "index.html"
    write_whole(index, index_page(entries, title="SemanticREPA: report", note=note).encode(), durable=False)
    return index
