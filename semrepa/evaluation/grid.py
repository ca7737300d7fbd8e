"""A table of texts, written as Markdown, LaTeX or HTML."""

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "≈": r"$\approx$",
    "±": r"$\pm$",
    **{sign: "\\" + sign for sign in "&%$#_{}"},
}
TEX_HEAD = "% Needs \\usepackage{booktabs} and \\usepackage{graphicx}.\n"
"""Begins a file of tables for LaTeX."""
_INTERVAL = re.compile(r"^(\S+) (\[[^]]*\])(.*)$")


@dataclass(frozen=True, kw_only=True)
class Grid:
    """A table."""

    name: str
    """Short, in small letters: the label in LaTeX."""
    title: str
    """What it shows."""
    note: str = ""
    """How to read it."""
    head: tuple[str, ...]
    """Names of the columns; the first names the rows."""
    rows: tuple[tuple[str, ...], ...]
    """Texts, as many in each row as in the head."""
    rules: tuple[int, ...] = ()
    """Rows above which a line is drawn."""
    quoted: tuple[int, ...] = ()
    """Rows of others, which are set apart."""
    texts: tuple[int, ...] = (0,)
    """Columns of words, which are aligned to the left; numbers stand at the right."""

    def __post_init__(self) -> None:
        """Refuse a row of another length.

        Raises:
            ValueError: a row does not fit the head.
        """
        for row in self.rows:
            if len(row) != len(self.head):
                raise ValueError(f"got {len(row)} cells {row}; expected {len(self.head)}, as in the head")


def markdown(grid: Grid) -> str:
    """Write a table as aligned Markdown.

    Args:
        grid: the table.

    Returns:
        Title, note and table.
    """
    cells = [[_one_line(text).replace("|", r"\|") for text in row] for row in (grid.head, *grid.rows)]
    widths = [max(3, *(len(row[k]) for row in cells)) for k in range(len(grid.head))]
    lines = [
        "| "
        + " | ".join(
            cell.ljust(width) if k in grid.texts else cell.rjust(width)
            for k, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        + " |"
        for row in cells
    ]
    marks = ("-" * width if k in grid.texts else "-" * (width - 1) + ":" for k, width in enumerate(widths))
    lines.insert(1, "| " + " | ".join(marks) + " |")
    note = f"{grid.note}\n\n" if grid.note else ""
    return f"## {grid.title}\n\n{note}" + "\n".join(lines) + "\n"


def latex(grid: Grid) -> str:
    """Write a table for LaTeX with the packages booktabs and graphicx.

    Args:
        grid: the table.

    Returns:
        A float as wide as the page.
    """
    body = []
    for place, row in enumerate(grid.rows):
        if place in grid.rules and place:
            body.append(r"\midrule")
        body.append(" & ".join(map(_tex_cell, row)) + r" \\")
    sides = "".join("l" if k in grid.texts else "r" for k in range(len(grid.head)))
    caption = escape(f"{grid.title}. {grid.note}".strip())
    return "\n".join(
        [
            r"\begin{table*}[t]",
            r"\centering",
            rf"\caption{{{caption}}}",
            rf"\label{{tab:{grid.name}}}",
            r"\resizebox{\linewidth}{!}{%",
            rf"\begin{{tabular}}{{{sides}}}",
            r"\toprule",
            " & ".join(map(escape, grid.head)) + r" \\",
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}}",
            r"\end{table*}",
            "",
        ]
    )


def page_table(grid: Grid) -> str:
    """Write a table as HTML without looks of its own.

    Args:
        grid: the table.

    Returns:
        A heading, the note and a table element.
    """

    def line(tag: str, cells: Sequence[str], look: str) -> str:
        kinds = (' class="text"' if k in grid.texts else "" for k in range(len(cells)))
        inner = "".join(
            f"<{tag}{kind}>{_html_cell(cell)}</{tag}>" for kind, cell in zip(kinds, cells, strict=True)
        )
        return f"<tr{look}>{inner}</tr>"

    looks = ({"rule": k in grid.rules and k > 0, "quoted": k in grid.quoted} for k in range(len(grid.rows)))
    named = (" ".join(name for name, is_so in look.items() if is_so) for look in looks)
    rows = "".join(
        line("td", row, f' class="{look}"' if look else "")
        for row, look in zip(grid.rows, named, strict=True)
    )
    note = f'<p class="note">{html.escape(grid.note)}</p>' if grid.note else ""
    return (
        f'<h2 id="{grid.name}">{html.escape(grid.title)}</h2>{note}<div class="wide"><table><thead>'
        f"{line('th', grid.head, '')}</thead><tbody>{rows}</tbody></table></div>"
    )


def escape(text: str) -> str:
    """Write a text so that LaTeX prints it as it is.

    Args:
        text: any text.

    Returns:
        The text with its special signs escaped.
    """
    return "".join(_SPECIAL.get(sign, sign) for sign in _one_line(text))


def _tex_cell(text: str) -> str:
    """A cell; its interval in small print."""
    found = _INTERVAL.match(text)
    if found is None:
        return escape(text)
    return rf"{escape(found[1])} {{\scriptsize {escape(found[2])}}}{' ' * bool(found[3])}{escape(found[3])}"


def _html_cell(text: str) -> str:
    found = _INTERVAL.match(text)
    if found is None:
        return html.escape(text)
    number, interval, rest = (html.escape(part) for part in found.groups())
    return f"{number} <small>{interval}</small>{rest}"


def _one_line(text: str) -> str:
    return " ".join(text.split())
