"""How long each notebook took when it was last measured, in `times.json` and at the top of the notebook."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nbformat

from semrepa.runtime import write_json

FILE = "times.json"
"""Beside the notebooks: notebook to kind of device to its last measured run."""

CELL = "time"
"""Name of the cell that tells the time; it follows the first cell."""

BUSY = 1.5
"""Processes waiting per core from which a measurement is said to have had company."""

Times = dict[str, dict[str, dict[str, Any]]]


def measured(run_dir: Path) -> Times:
    """Read how long the notebooks of a run took.

    Args:
        run_dir: folder with one folder per notebook.

    Returns:
        Notebook to `cpu` or `cuda` to `seconds`, `cores`, `load`, `device` and `date`.

    Raises:
        FileNotFoundError: no notebook of this folder has finished.
    """
    found: Times = {}
    for path in sorted(run_dir.glob("*/run.json")):
        run = json.loads(path.read_text(encoding="utf-8"))
        if run.get("status") != "ok" or "seconds" not in run.get("metrics", {}):
            continue
        machine = run.get("machine", {})
        found[path.parent.name] = {
            machine.get("kind", "cpu"): {
                "seconds": run["metrics"]["seconds"],
                "cores": machine.get("cores"),
                "load": machine.get("load"),
                "device": machine.get("device"),
                "date": run["finished"][:10],
            }
        }
    if not found:
        raise FileNotFoundError(
            f"run_dir: got {run_dir}, where no notebook has finished; expected <notebook>/run.json with "
            "status 'ok'; make one with `make demo`"
        )
    return found


def merge(old: Times, new: Times) -> Times:
    """Replace old measurements by new ones of the same notebook and kind of device.

    Args:
        old: what was known.
        new: what was measured now.

    Returns:
        All of it, sorted by notebook.
    """
    names = sorted({*old, *new})
    return {name: {**old.get(name, {}), **new.get(name, {})} for name in names}


def read_times(notebooks: Path) -> Times:
    """Read `times.json`.

    Args:
        notebooks: folder of the notebooks.

    Returns:
        What is known; empty where there is no such file.
    """
    path = notebooks / FILE
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def write_times(notebooks: Path, times: Times) -> Path:
    """Write `times.json`.

    Args:
        notebooks: folder of the notebooks.
        times: what is known.

    Returns:
        Its path.
    """
    return write_json(notebooks / FILE, times)


def time_line(known: Mapping[str, Mapping[str, Any]]) -> str:
    """Say in one line how long a notebook takes.

    Args:
        known: kind of device to measurement.

    Returns:
        Markdown; a device on which nothing was measured is said to be so.
    """
    parts = [_on(kind, known.get(kind)) for kind in ("cpu", "cuda")]
    return f"*Time in `mini`: {'; '.join(parts)}. Written by `python -m semrepa.showcase`.*"


def _on(kind: str, found: Mapping[str, Any] | None) -> str:
    if found is None:
        return "never measured on a GPU" if kind == "cuda" else "never measured on a CPU"
    seconds = found["seconds"]
    took = f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.1f} minutes"
    cores = found.get("cores")
    where = f"on {cores} CPU cores" if cores else "on CPU cores"
    where = found.get("device") or "on a GPU" if kind == "cuda" else where
    load = found.get("load")
    company = ", with other work on the machine" if load and cores and load > BUSY * cores else ""
    company = ", load not recorded" if load is None else company
    return f"{took} {where} ({found['date']}{company})"


def with_line(notebook: nbformat.NotebookNode, line: str) -> bool:
    """Put the line into the second cell of a notebook.

    Args:
        notebook: changed in place.
        line: from `time_line`.

    Returns:
        Whether anything has changed.
    """
    place = next((k for k, cell in enumerate(notebook.cells) if cell.get("id") == CELL), None)
    if place is None:
        cell = nbformat.v4.new_markdown_cell(line)
        cell["id"] = CELL
        notebook.cells.insert(1, cell)
        return True
    changed = notebook.cells[place].source != line
    notebook.cells[place].source = line
    return changed


def write_lines(notebooks: Path) -> list[Path]:
    """Write its time at the top of each notebook.

    Args:
        notebooks: folder with the notebooks and `times.json`.

    Returns:
        Notebooks that have changed.
    """
    times, changed = read_times(notebooks), []
    for path in sorted(notebooks.glob("[0-9]*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        if with_line(notebook, time_line(times.get(path.stem, {}))):
            text = json.dumps(_split(notebook), indent=1, ensure_ascii=False)
            path.write_text(f"{text}\n", encoding="utf-8")
            changed.append(path)
    return changed


def _split(notebook: nbformat.NotebookNode) -> dict[str, Any]:
    """The notebook with its texts as lists of lines, in the order in which files keep them."""
    return json.loads(nbformat.writes(notebook))
