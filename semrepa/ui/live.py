"""Follow a training run while it runs: a plot that grows in a notebook, a few log lines anywhere else."""

import logging
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol, TypeVar, runtime_checkable

from semrepa.training.log import METRICS
from semrepa.ui.history import Floors, History, panels, read_floors, read_history, smooth, to_history
from semrepa.ui.losses import losses, losses_plotly
from semrepa.ui.monitors import speed
from semrepa.ui.show import bundle, in_kernel, is_headless, png_size
from semrepa.ui.style import label_name

logger = logging.getLogger(__name__)


@runtime_checkable
class Log(Protocol):
    """What a stream must yield: anything with a step number."""

    step: int


LogType = TypeVar("LogType", bound=Log)

REDRAW_SECONDS = 1.0
"""Shortest time between two pictures; drawing never takes more than a tenth of the run."""

LINE_SECONDS = 10.0
"""Time between two log lines outside a notebook."""


def live(
    stream: Iterable[LogType],
    run_dir: Path | str | None = None,
    *,
    title: str = "",
    total: int | None = None,
    view: "View | None" = None,
) -> list[LogType]:
    """Run a training generator to its end and show its losses while it runs.

    The picture is redrawn in place from the run's `metrics.jsonl` (so a resumed run shows its whole past),
    and replaced at the end by one that plotly-aware front ends make interactive. The Stop button, or Ctrl-C,
    ends the training gently: the picture stays and what was logged is returned. In a headless run it still
    interrupts.

    Args:
        stream: the generator, such as `finetune(cfg, store, run_dir)`.
        run_dir: the run folder; without it only the stream itself is drawn.
        title: headline of the plot.
        total: steps in the whole run, for the time left.
        view: where to draw, from `open_view`; None: in the cell that calls this.

    Returns:
        Everything the stream yielded.

    Raises:
        KeyboardInterrupt: when interrupted in a headless run, after the last picture.
    """
    logs: list[LogType] = []
    view = view or _new_view(run_dir, title)
    clock = _Clock(total, view.every)
    stopped = False
    try:
        for log in stream:
            logs.append(log)
            if clock.due(log.step):
                history = _history(logs, run_dir)
                view.update(history, _with_speed(clock.note(log.step), history))
                clock.drawn()
    except KeyboardInterrupt:
        stopped = True
        close = getattr(stream, "close", None)
        if close:
            close()
    if logs:
        history = _history(logs, run_dir)
        view.finish(history, _with_speed(clock.closing(logs[-1].step, stopped), history))
    if stopped and is_headless():
        raise KeyboardInterrupt
    return logs


def _with_speed(note: str, history: History) -> str:
    return " · ".join(filter(None, (note, speed(history))))


def open_view(run_dir: Path | str, title: str) -> "View":
    """Show a place in this cell that `live` can draw into later from another thread.

    Args:
        run_dir: the run folder.
        title: headline of the plot.

    Returns:
        The place.
    """
    view = _new_view(run_dir, title)
    view.open("waiting for the first step")
    return view


def _new_view(run_dir: Path | str | None, title: str) -> "View":
    return _Plot(run_dir, title) if in_kernel() else _Lines(title)


class _Clock:
    """Decides when to redraw, and says how far the run is."""

    def __init__(self, total: int | None, every: float) -> None:
        self.total, self.every = total, every
        self.start = self.last = time.monotonic()
        self.first_step: int | None = None
        self.drawing = 0.0

    def due(self, step: int) -> bool:
        if self.first_step is None:
            self.first_step, self.start = step, time.monotonic()
            self.check = self.start
            return True
        self.check = time.monotonic()
        return self.check - self.last >= max(self.every, 10 * self.drawing)

    def drawn(self) -> None:
        self.last = time.monotonic()
        self.drawing = self.last - self.check

    def note(self, step: int) -> str:
        rate = (step - (self.first_step or 0)) / max(time.monotonic() - self.start, 1e-9)
        if not self.total:
            return f"step {step}" + (f" · {rate:.3g} steps/s" if rate else "")
        left = f" · {duration((self.total - step) / rate)} left" if rate else ""
        return f"step {step} of {self.total}" + (f" · {rate:.3g} steps/s{left}" if rate else "")

    def closing(self, step: int, stopped: bool) -> str:
        spent = duration(time.monotonic() - self.start)
        return f"stopped by hand at step {step} after {spent}" if stopped else f"done: step {step}, {spent}"


class _Plot:
    """Sink in a notebook: one display that is redrawn in place."""

    every = REDRAW_SECONDS

    def __init__(self, run_dir: Path | str | None, title: str) -> None:
        self.run_dir, self.title = run_dir, title
        self.floors: Floors | None = None
        self.handle = None

    def open(self, note: str) -> None:
        from IPython.display import display

        self.handle = display({"text/plain": f"{self.title} {note}".strip()}, raw=True, display_id=True)

    def update(self, history: History, note: str, *, final: bool = False) -> None:
        from IPython.display import display

        if self.floors is None and _is_logged(self.run_dir):
            self.floors = read_floors(self.run_dir)
        figure = losses(history, floors=self.floors, title=self.title, note=note)
        plotly = losses_plotly(history, floors=self.floors, title=self.title) if final else None
        content = bundle(figure, text=f"{self.title} {note} · {summary(history)}".strip(), plotly=plotly)
        if self.handle is None:
            self.handle = display(content, raw=True, metadata=png_size(figure), display_id=True)
        else:
            self.handle.update(content, raw=True, metadata=png_size(figure))

    def finish(self, history: History, note: str) -> None:
        self.update(history, note, final=True)


class _Lines:
    """Sink outside a notebook: one log line now and then."""

    every = LINE_SECONDS

    def __init__(self, title: str) -> None:
        self.title = title

    def open(self, note: str) -> None:
        logger.info("%s %s", self.title, note)

    def update(self, history: History, note: str) -> None:
        logger.info("%s %s · %s", self.title, note, summary(history))

    finish = update


View = _Plot | _Lines
"""Where a run is shown while it goes on."""


def summary(history: History) -> str:
    """The newest smoothed value of each panel, as one line of text."""
    newest = {name: smooth(history[name][1])[-1] for name in panels(history)}
    return " · ".join(f"{label_name(name)} {value:.4g}" for name, value in newest.items())


def duration(seconds: float) -> str:
    """Seconds as people say them: `42 s`, `3 min 20 s`, `2 h 05 min`."""
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60:02d} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60:02d} min"


def _is_logged(run_dir: Path | str | None) -> bool:
    return run_dir is not None and (Path(run_dir) / METRICS).is_file()


def _history(logs: list[LogType], run_dir: Path | str | None) -> History:
    return read_history(run_dir) if _is_logged(run_dir) else to_history(logs)
