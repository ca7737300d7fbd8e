"""Names and types of parameters, checked against what a notebook declares before anything starts."""

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import papermill

from semrepa.config.strict import coerce

NOTEBOOKS = Path("notebooks")
_TYPES = {kind.__name__: kind for kind in (bool, int, float, str, list, dict)}


def check_names(notebook: Path, parameters: Mapping[str, Any]) -> None:
    """Refuse parameters that the notebook does not declare, which papermill would only warn about.

    Args:
        notebook: a notebook with a `parameters` cell.
        parameters: names and values to be given to it.

    Raises:
        ValueError: an undeclared name; the message has the nearest declared one.
        TypeError: a value of another type than the notebook declares; None is always taken.
        FileNotFoundError: no such notebook.
    """
    declared = declared_names(notebook)
    for name, value in parameters.items():
        if name not in declared:
            close = difflib.get_close_matches(name, declared, n=1)
            hint = f"did you mean {close[0]}?" if close else f"it has {', '.join(declared)}"
            raise ValueError(
                f"{notebook.name}: got parameter {name!r}, which the notebook does not have; {hint}"
            )
        if declared[name] is not None and value is not None:
            coerce(value, declared[name], f"{notebook.name}, parameter {name}")


def declared_names(notebook: Path) -> dict[str, type | None]:
    """Names in the `parameters` cell of a notebook, and the types that it annotates them with.

    Args:
        notebook: path of the notebook.

    Returns:
        Type by name, in order; None where there is no annotation, or not one of a plain type.

    Raises:
        FileNotFoundError: no such notebook.
        ValueError: no cell tagged `parameters`.
    """
    if not notebook.is_file():
        known = ", ".join(path.stem for path in sorted(NOTEBOOKS.glob("*.ipynb"))) or "none in this folder"
        raise FileNotFoundError(f"notebook: got {notebook}, which is not there; known: {known}")
    found = papermill.inspect_notebook(notebook)
    if not found:
        raise ValueError(f"{notebook}: got no cell tagged 'parameters'; add the tag to the cell of literals")
    return {name: _TYPES.get(parameter["inferred_type_name"]) for name, parameter in found.items()}
