"""One line that counts while something long is done, and stays as a record afterwards."""

import logging
import time

from semrepa.ui.show import in_kernel

logger = logging.getLogger(__name__)

EVERY = 0.5
"""Least seconds between two redraws."""


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
        line = f"{self.doing}: {done} of {total} in {now - self.began:.0f} s{last}"
        if in_kernel():
            self._draw(line)
        else:
            logger.info(line)

    def _draw(self, line: str) -> None:
        from IPython.display import display

        content = {"text/plain": line}
        if self.handle is None:
            self.handle = display(content, raw=True, display_id=True)
        else:
            self.handle.update(content, raw=True)
