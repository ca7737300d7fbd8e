"""Show figures, tables and pages so that JupyterLab, papermill, nbconvert and GitHub all display them.

A figure goes out as one bundle with a PNG in it; a plotly version may ride along for front ends that can.
Outside a kernel everything turns into one quiet log line.
"""

import base64
import html
import logging
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from semrepa.ui.style import FAINT, INK, PAPER, SCREEN_DPI, fewer_colors, to_png

logger = logging.getLogger(__name__)

PLOTLY = "application/vnd.plotly.v1+json"
FIGURE_SPACE = "\u2007"
"""A space as wide as a digit."""
_PLAIN = re.compile(r"-?\d+(\.\d+)?")
"""A number without an exponent."""
CELL_WIDTH = 840
"""Pixels that an output has in JupyterLab on a small laptop, beside the list of files."""
HEAVY = 250_000
"""Bytes of a PNG above which it is stored in 256 colours: those are figures of video frames."""


def in_kernel() -> bool:
    """Tell whether this process is a Jupyter kernel with a display."""
    from IPython import get_ipython

    shell = get_ipython()
    return shell is not None and hasattr(shell, "kernel")


def is_headless() -> bool:
    """Tell whether nobody can move a slider: a papermill run (`SEMREPA_HEADLESS=1`) or no kernel at all.

    JupyterLab, VS Code and Colab let a cell ask for input; papermill, nbconvert and nbclient do not, so that
    they are known without the runner's word too.

    Returns:
        Whether a figure has to speak for itself.
    """
    return os.environ.get("SEMREPA_HEADLESS", "") == "1" or not in_kernel() or not _can_ask()


def _can_ask() -> bool:
    """Whether the front end that runs this cell takes questions to somebody."""
    from IPython import get_ipython

    return bool(getattr(getattr(get_ipython(), "kernel", None), "_allow_stdin", True))


def bundle(
    figure: Figure, *, text: str = "", plotly: Mapping[str, object] | None = None
) -> dict[str, object]:
    """Pack a figure as a mimebundle.

    Args:
        figure: the matplotlib figure, always stored as `image/png`.
        text: one line for terminals and screen readers.
        plotly: an interactive version as plotly JSON (`data` and `layout`), or None.

    Returns:
        Mime type to content, ready for `IPython.display.display(..., raw=True)`.
    """
    png = to_png(figure, dpi=_plotly_dpi(figure) if plotly is not None else None)
    png = fewer_colors(png) if len(png) > HEAVY else png
    content: dict[str, object] = {
        "image/png": base64.b64encode(png).decode(),
        "text/plain": text or "figure",
    }
    if plotly is not None:
        content[PLOTLY] = dict(plotly)
    return content


def png_size(figure: Figure, *, plotly: bool = False) -> dict[str, dict[str, int]]:
    """Output metadata that shows the PNG of a figure at its size on screen.

    Args:
        figure: the figure.
        plotly: whether an interactive version goes with it, see `bundle`.

    Returns:
        Width and height by mime type, pixels.
    """
    dpi = _plotly_dpi(figure) if plotly else SCREEN_DPI
    width, height = figure.get_size_inches()
    return {"image/png": {"width": round(width * dpi), "height": round(height * dpi)}}


def _plotly_dpi(figure: Figure) -> float:
    """JupyterLab's plotly renderer first shows the PNG as it is, and cuts off what is wider than the cell."""
    return min(SCREEN_DPI, CELL_WIDTH / figure.get_size_inches()[0])


def show(item: object, *, text: str = "", plotly: Mapping[str, object] | None = None) -> None:
    """Display a figure, a table, a page or an explorer; outside a kernel only log a line.

    Args:
        item: a matplotlib `Figure`, or any object that IPython can display.
        text: one line that goes beside the figure or the widget as `text/plain`: all that a saved notebook
            keeps of a widget.
        plotly: an interactive version of the figure, see `bundle`.
    """
    from IPython.display import display

    if not in_kernel():
        logger.info("not in a notebook, nothing drawn: %s", text or type(item).__name__)
    elif isinstance(item, Figure):
        display(
            bundle(item, text=text, plotly=plotly),
            raw=True,
            metadata=png_size(item, plotly=plotly is not None),
        )
    elif text and hasattr(item, "_repr_mimebundle_"):
        display({**item._repr_mimebundle_(), "text/plain": text}, raw=True)
    else:
        display(item)


@dataclass(frozen=True)
class Lines:
    """Lines to be copied, in letters of one width."""

    text: str
    """The lines."""

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        return {"text/html": self.html(), "text/plain": self.text}

    def html(self) -> str:
        """The lines as one self-contained HTML element."""
        look = f"background:{PAPER};color:{INK};border:1px solid {FAINT};font:13px monospace"
        layout = "padding:8px 10px;margin:2px 0;white-space:pre-wrap;line-height:1.4"
        return f"<pre style='{look};{layout}'>{html.escape(self.text)}</pre>"


class Table:
    """A small table that shows itself as clean HTML, and as aligned text where there is no HTML."""

    def __init__(self, rows: Sequence[Mapping[str, object]], caption: str = "") -> None:
        """Keep the rows; see `table`."""
        self.caption = caption
        self.columns = list(dict.fromkeys(name for row in rows for name in row))
        self.numeric = [any(_is_number(row.get(name)) for row in rows) for name in self.columns]
        columns = [[_cell(row.get(name)) for row in rows] for name in self.columns]
        aligned = zip(columns, self.numeric, strict=True)
        columns = [_at_the_point(cells) if number else cells for cells, number in aligned]
        self.cells = [list(cells) for cells in zip(*columns, strict=True)]

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        return {"text/html": self.html(), "text/plain": str(self)}

    def html(self) -> str:
        """The table as one self-contained HTML element."""
        side = ["right" if number else "left" for number in self.numeric]
        head = "".join(_td(name, align, "th") for name, align in zip(self.columns, side, strict=True))
        body = "".join(
            "<tr>"
            + "".join(_td(cell, align, "td") for cell, align in zip(cells, side, strict=True))
            + "</tr>"
            for cells in self.cells
        )
        paper = f"text-align:left;padding:4px 2px;background:{PAPER};color:{INK}"  # the table's ends below it
        caption = f"<caption style='{paper}'>{html.escape(self.caption)}</caption>"
        return (
            f"<table style='border-collapse:collapse;background:{PAPER};color:{INK};font-size:13px'>"
            f"{caption if self.caption else ''}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        )

    def __str__(self) -> str:
        """The table as aligned plain text."""
        lines = [self.columns, *self.cells]
        widths = [max(len(line[i]) for line in lines) for i in range(len(self.columns))]
        text = [
            "  ".join(
                cell.rjust(width) if number else cell.ljust(width)
                for cell, width, number in zip(line, widths, self.numeric, strict=True)
            )
            .replace(FIGURE_SPACE, " ")
            .rstrip()
            for line in lines
        ]
        text.insert(1, "  ".join("-" * width for width in widths))
        return "\n".join([self.caption, *text] if self.caption else text)


def table(rows: Sequence[Mapping[str, object]], *, caption: str = "") -> Table:
    """Make a table of a list of rows.

    Args:
        rows: one mapping per row; columns appear in the order they are first met.
        caption: a line above the table.

    Returns:
        An object that a notebook displays as HTML and `str()` turns into text.
    """
    return Table(rows, caption)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return "-" if math.isnan(value) else f"{value:.4g}"
    return str(value)


def _at_the_point(cells: Sequence[str]) -> list[str]:
    """Fill numbers up with spaces as wide as digits, so that their decimal points stand in line."""
    behind = [len(cell) - cell.find(".") if _PLAIN.fullmatch(cell) and "." in cell else 0 for cell in cells]
    most = max(behind, default=0)
    return [
        cell + FIGURE_SPACE * (most - digits) if _PLAIN.fullmatch(cell) else cell
        for cell, digits in zip(cells, behind, strict=True)
    ]


def _td(text: str, align: str, tag: str) -> str:
    look = f"padding:3px 14px 3px 2px;border-bottom:1px solid {FAINT};color:{INK};background:{PAPER}"
    style = f"text-align:{align};font-variant-numeric:tabular-nums;{look}"
    return f"<{tag} style='{style}'>{html.escape(text)}</{tag}>"
