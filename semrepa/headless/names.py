"""Names of parameters, checked against what a notebook declares before anything starts."""

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import papermill

NOTEBOOKS = Path("notebooks")


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
