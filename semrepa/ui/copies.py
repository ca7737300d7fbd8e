"""Copies of the notebooks for people to edit and run, so that no output gets into the checkout by autosave.

Copies keep what their user changed. One that nobody has edited follows the kit's when that changes.
"""

import hashlib
import shutil
from pathlib import Path
from typing import Literal

import nbformat

from semrepa.files import write_whole

RECORD = ".copied"
"""Folder in that of the copies, with the digest of each notebook's cells as it was copied."""

Outcome = Literal["copied", "kept", "edited", "outdated"]


def copy_notebooks(source: Path, target: Path) -> dict[str, Outcome]:
    """Copy the notebooks of a folder into another one, leaving alone what was edited there.

    Args:
        source: the kit's notebooks.
        target: folder of the copies, at the same depth, so that links between files still lead somewhere.

    Returns:
        What came of each, by file name. copied: it was not there, or nobody had edited it and the kit has
        another one now; kept: it is the kit's; edited: it is the user's; outdated: it is the user's, and the
        kit's has changed since.

    Raises:
        FileNotFoundError: there are no notebooks in the source folder.
    """
    found = sorted(source.glob("*.ipynb"))
    if not found:
        raise FileNotFoundError(f"notebooks: got {source} with none in it; run this in the kit's folder")
    (target / RECORD).mkdir(parents=True, exist_ok=True)
    return {path.name: _copy(path, target / path.name, target / RECORD / path.stem) for path in found}


def _copy(path: Path, copy: Path, record: Path) -> Outcome:
    now = _digest(path)
    mine = _digest(copy) if copy.is_file() else None
    base = record.read_text(encoding="ascii") if record.is_file() else None
    if mine == now:
        outcome: Outcome = "kept"
    elif mine is None or mine == base:
        shutil.copyfile(path, copy)
        outcome = "copied"
    else:
        return "edited" if base == now else "outdated"
    write_whole(record, now.encode(), durable=False)
    return outcome


def _digest(path: Path) -> str:
    """Digits that stand for the cells of a notebook without outputs, or for a file that is none."""
    try:
        cells = nbformat.read(path, as_version=4).cells
    except ValueError:  # half a file, or something else
        return hashlib.sha256(path.read_bytes()).hexdigest()
    text = "\0".join(f"{cell.cell_type} {cell.source}" for cell in cells)
    return hashlib.sha256(text.encode()).hexdigest()
