"""Which clips workers have begun, so that one that kills its worker is not tried for ever.

A process that is killed cannot say what it was at; a file that it left behind can.
"""

import shutil
from pathlib import Path

from semrepa.data.store import BEGUN


class Attempts:
    """How often each clip of a store has been begun; all workers on it share one count.

    Args:
        folder: the store's folder.
    """

    def __init__(self, folder: str | Path) -> None:
        self._folder = Path(folder) / BEGUN

    def of(self, clip_id: str) -> int:
        """How often a clip has been begun since it was let go.

        Args:
            clip_id: name of the clip.

        Returns:
            The number; 0 for one that nobody has begun.
        """
        try:
            return (self._folder / clip_id).stat().st_size
        except FileNotFoundError:
            return 0

    def begin(self, clip_id: str) -> None:
        """Note that work on a clip begins.

        Args:
            clip_id: name of the clip.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / clip_id).open("ab") as file:
            file.write(b"x")

    def let_go(self, clip_id: str) -> None:
        """Forget a clip: its work has come to an end.

        Args:
            clip_id: name of the clip.
        """
        (self._folder / clip_id).unlink(missing_ok=True)

    def clear(self) -> None:
        """Forget all clips."""
        shutil.rmtree(self._folder, ignore_errors=True)
