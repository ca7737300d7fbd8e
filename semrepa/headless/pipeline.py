"""Several notebooks in order, and the report on them."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from semrepa.headless.execution import execute
from semrepa.headless.names import declared_names
from semrepa.ui.pages import Entry, index_page


def run_all(
    notebooks: Sequence[Path],
    run_dir: Path,
    parameters: Mapping[str, Any],
    *,
    tell: Callable[[Entry], object],
    log_output: bool = False,
    timeout: float | None = None,
) -> list[Entry]:
    """Run notebooks one after the other, each into its own folder, and write the report.

    Args:
        notebooks: notebooks in order.
        run_dir: gets one folder per notebook, `index.html` and `summary.json`, rewritten after each notebook.
        parameters: values for all of them; each goes to the notebooks that declare its name.
        tell: called with each notebook's entry as soon as it is there.
        log_output: see `execute`.
        timeout: see `execute`; for each notebook.

    Returns:
        One entry per notebook; a failed one does not stop the next.
    """
    entries: list[Entry] = []
    for notebook in notebooks:
        known = declared_names(notebook)
        given = {name: value for name, value in parameters.items() if name in known}
        folder = run_dir / notebook.stem
        entries.append(execute(notebook, folder, given, log_output=log_output, timeout=timeout))
        tell(entries[-1])
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
