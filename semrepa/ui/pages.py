"""Turn executed notebooks into HTML pages that open offline, and a folder of them into one index page."""

import html
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from nbconvert import HTMLExporter
from nbformat import NotebookNode

logger = logging.getLogger(__name__)
logger.setLevel(logging.ERROR)  # nbconvert asks for alternative texts, which plain figures do not have

_SCRIPT_FROM_NETWORK = re.compile(r"<script[^>]*\bsrc=[\"'](?:https?:)?//[^>]*>\s*</script>", re.IGNORECASE)
_MERMAID = re.compile(r"<script type=\"module\">.{0,400}?mermaid.*?</script>", re.IGNORECASE | re.DOTALL)
_NOTEBOOK_LINK = re.compile(r'href="(\w+)\.(?:ipynb|html)"')
"""A link from one notebook to another; in a report each has its own folder."""

_STYLE = """
:root{color-scheme:light}
body{margin:0;font:15px/1.5 system-ui,sans-serif;color:#1f2328;background:#f6f8fa}
main{max-width:1180px;margin:0 auto;padding:28px 20px 60px}
h1{font-size:26px;margin:0 0 4px} p{margin:0 0 8px}
.grid{display:grid;grid-template-columns:repeat(auto-fill,minmax(340px,1fr));gap:18px;margin-top:22px}
article{background:#fff;border:1px solid #d8dee4;border-radius:8px;overflow:hidden;
 display:flex;flex-direction:column}
article img{width:100%;height:190px;object-fit:contain;background:#fff;border-bottom:1px solid #d8dee4}
.text{padding:12px 16px 16px;display:flex;flex-direction:column;gap:6px;flex:1}
h2{font-size:16px;margin:0} h2 a{color:#0550ae;text-decoration:none} h2 a:hover{text-decoration:underline}
.note{color:#57606a;font-size:13.5px}
.pill{border-radius:10px;padding:1px 9px;font-size:12px;color:#fff;background:#1a7f37}
.bad{background:#cf222e} table{border-collapse:collapse;font-size:13px;margin-top:auto}
td{padding:2px 14px 2px 0;border-bottom:1px solid #eaeef2}
td+td{text-align:right;font-variant-numeric:tabular-nums}
pre{white-space:pre-wrap;font-size:12.5px;background:#fff5f5;padding:8px;margin:0;max-height:220px;overflow:auto}
"""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One notebook on the index page."""

    name: str
    """File stem, for example `03_structure_aligner`."""
    title: str
    """First heading of the notebook."""
    question: str = ""
    """First paragraph of the notebook."""
    status: str
    """`ok`, `failed` or `interrupted`."""
    seconds: float
    """Wall time."""
    metrics: Mapping[str, object] = field(default_factory=dict)
    """Metrics of its run.json, most important first."""
    message: str = ""
    """What went wrong, if anything."""
    cover: str = ""
    """A PNG of the notebook, base64."""
    link: str = ""
    """Address of its page, relative to the index."""
    kept: bool = False
    """Whether it ran in an earlier command, and still holds."""


def notebook_page(notebook: NotebookNode, title: str) -> str:
    """Render an executed notebook as one HTML file, all figures inside, nothing fetched from a network.

    Args:
        notebook: the executed notebook; PNG outputs become data URLs, scripts of explorers stay inline.
        title: title of the browser tab.

    Returns:
        HTML text.
    """
    urls = [
        name
        for name in HTMLExporter.class_trait_names()
        if name.endswith(("_js_url", "mathjax_url", "jquery_url"))
    ]
    exporter = HTMLExporter(
        exclude_input_prompt=True, exclude_output_prompt=True, log=logger, **dict.fromkeys(urls, "")
    )
    page, _ = exporter.from_notebook_node(notebook, resources={"metadata": {"name": title}})
    page = _MERMAID.sub("", _SCRIPT_FROM_NETWORK.sub("", page))
    return _NOTEBOOK_LINK.sub(r'href="../\1/\1.html"', page)


def opening(notebook: NotebookNode) -> tuple[str, str]:
    """First heading and first paragraph of a notebook.

    Args:
        notebook: any notebook.

    Returns:
        The heading without `#`, and the paragraph as plain text on one line; empty where there is none.
    """
    texts = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    blocks = [block.strip() for block in "\n\n".join(texts[:2]).split("\n\n") if block.strip()]
    heading = next((block.lstrip("# ") for block in blocks if block.startswith("#")), "")
    paragraph = next((block for block in blocks if not block.startswith(("#", "|", "-", "`"))), "")
    return heading, re.sub(r"[*_`]|\]\([^)]*\)|\[", "", " ".join(paragraph.split()))


def pictures(notebook: NotebookNode, tag: str = "") -> list[str]:
    """PNG outputs of a notebook as base64 text, in order.

    Args:
        notebook: an executed notebook.
        tag: only of cells with this tag; empty: of all cells.

    Returns:
        Base64 texts.
    """
    return [
        output.data["image/png"]
        for cell in notebook.cells
        if cell.cell_type == "code" and (not tag or tag in cell.metadata.get("tags", []))
        for output in cell.outputs
        if "image/png" in output.get("data", {})
    ]


def index_page(entries: Sequence[Entry], *, title: str, note: str) -> str:
    """One page that links every notebook of a report, with a picture and key metrics of each.

    Args:
        entries: the notebooks in order.
        title: heading.
        note: one line under it, for example preset and total time.

    Returns:
        HTML text that needs no network.
    """
    cards = "\n".join(_card(entry) for entry in entries)
    return (
        f"<!doctype html><html lang='en'><meta charset='utf-8'><title>{html.escape(title)}</title>"
        f"<meta name='viewport' content='width=device-width'><style>{_STYLE}</style>"
        f"<main><h1>{html.escape(title)}</h1><p class='note'>{html.escape(note)}</p>"
        f"<div class='grid'>{cards}</div></main></html>"
    )


def _card(entry: Entry) -> str:
    picture = (
        f"<a href='{entry.link}'><img alt='' src='data:image/png;base64,{entry.cover}'></a>"
        if entry.cover
        else ""
    )
    rows = "".join(
        f"<tr><td>{html.escape(name)}</td><td>{html.escape(value)}</td></tr>"
        for name, value in key_metrics(entry.metrics)
    )
    problem = f"<pre>{html.escape(entry.message)}</pre>" if entry.message else ""
    bad = "" if entry.status == "ok" else " bad"
    kept = ", of an earlier command" if entry.kept else ""
    return (
        f"<article>{picture}<div class='text'><h2>"
        f"<a href='{entry.link}'>{html.escape(entry.title or entry.name)}</a></h2>"
        f"<p class='note'><span class='pill{bad}'>{entry.status}</span> {entry.seconds:.0f} s{kept}</p>"
        f"<p class='note'>{html.escape(entry.question)}</p>{problem}<table>{rows}</table></div></article>"
    )


def key_metrics(metrics: Mapping[str, object]) -> list[tuple[str, str]]:
    """Pick the first four numbers of a run, as name and short text.

    Args:
        metrics: metrics of a run.json, most important first; only numbers are shown.

    Returns:
        Name and value, for example `("AbsRel", "0.0712")`.
    """
    numbers = [
        (name, value) for name, value in metrics.items() if type(value) in (int, float) and name != "seconds"
    ]
    return [(name.replace("_", " "), f"{value:.4g}") for name, value in numbers[:4]]
