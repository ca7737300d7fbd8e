"""One bar that fills while something long is done, and stays full as a record afterwards."""

import html
import logging
import time

from semrepa.ui.show import in_kernel
from semrepa.ui.style import BLUE, GREEN

logger = logging.getLogger(__name__)

EVERY = 0.5
"""Least seconds between two redraws."""

CELLS = 20
"""Length of the bar where there is only text."""


class Progress:
    """Counts in place in a notebook; one log line per ten seconds elsewhere."""

    def __init__(self, doing: str) -> None:
        """Begin.

        Args:
            doing: what is done, for example "preparing clips".
        """
        self.doing, self.began, self.drawn = doing, time.monotonic(), 0.0
        self.handle = None

    def __call__(self, done: int, total: int, name: str) -> None:
        """Tell how far it is; draws only now and then.

        Args:
            done: items done.
            total: items in all.
            name: the item just done.
        """
        now = time.monotonic()
        if done < total and now - self.drawn < (EVERY if in_kernel() else 20 * EVERY):
            return
        self.drawn = now
        last = "" if done == total else f" ({name})"
        line = f"{done} of {total} in {now - self.began:.0f} s{last}"
        if in_kernel():
            self._draw(line, done / total)
        else:
            logger.info("%s: %s", self.doing, line)

    def _draw(self, line: str, share: float) -> None:
        from IPython.display import display

        full = int(CELLS * share)
        text = f"{self.doing} [{'#' * full}{'.' * (CELLS - full)}] {share:.0%} · {line}"
        content = {"text/plain": text, "text/html": _bar(self.doing, line, share)}
        if self.handle is None:
            self.handle = display(content, raw=True, display_id=True)
        else:
            self.handle.update(content, raw=True)


def _bar(doing: str, line: str, share: float) -> str:
    """The bar as HTML; its words take the colour of the page, light or dark."""
    track = "display:inline-block;width:180px;height:9px;border-radius:5px;background:rgba(127,127,127,.3)"
    fill = f"width:{share:.1%};height:100%;border-radius:5px;background:{GREEN if share == 1 else BLUE}"
    words = f"<b>{html.escape(doing)}</b> <span style='{track}'><div style='{fill}'></div></span> {share:.0%}"
    return f"<div style='font-size:13px'>{words} · {html.escape(line)}</div>"
