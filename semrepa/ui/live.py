"""Follow a training run while it runs: a plot that grows in a notebook, a few log lines anywhere else."""

import logging
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Literal, Protocol, TypeVar, cast, runtime_checkable

import numpy as np

from semrepa.training.child import NotFinishedError
from semrepa.training.log import METRICS
from semrepa.ui.history import Floors, History, panels, read_floors, read_history, smooth, to_history
from semrepa.ui.losses import losses, losses_plotly
from semrepa.ui.monitors import speed
from semrepa.ui.show import bundle, in_kernel, is_headless, png_size
from semrepa.ui.style import BLUE, GREEN, ORANGE, RED, label_name

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

End = Literal["done", "stopped", "failed", "crashed"]
_COLORS: dict[End, str] = {"done": GREEN, "stopped": ORANGE, "failed": RED, "crashed": RED}


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
    and replaced at the end by one that plotly-aware front ends make interactive; its bar along the upper edge
    is then full, or says where a run was stopped or failed. The Stop button, or Ctrl-C, ends the training
    gently: the picture stays and what was logged is returned. In a headless run it still interrupts.

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
        NotFinishedError: the stream follows a child that failed, was stopped or died; likewise.
    """
    logs: list[LogType] = []
    view = view or _new_view(run_dir, title)
    clock, end = _Clock(total, view.every), cast(End, "failed")
    try:
        for log in stream:
            logs.append(log)
            if clock.due(log.step):
                view.update(_history(logs, run_dir), clock.note(log.step), clock.bar(log.step))
                clock.drawn()
        end = "done"
    except KeyboardInterrupt:
        end = "stopped"
        if close := getattr(stream, "close", None):
            close()
    except NotFinishedError as error:
        end = cast(End, error.status)
        raise
    finally:  # an error of the run goes on its way, but first the picture says where it happened
        _close(view, clock, end, logs, run_dir)
    if end == "stopped" and is_headless():
        raise KeyboardInterrupt
    return logs


def _close(view: "View", clock: "_Clock", end: End, logs: list[LogType], run_dir: Path | str | None) -> None:
    """Show the last picture; also of a run that had been done before, so that nothing was left to do."""
    if not logs and not (end == "done" and _is_logged(run_dir)):
        view.say(f"{end} before the first step")
        return
    history = _history(logs, run_dir)
    step = logs[-1].step if logs else int(max(steps[-1] for steps, _ in history.values()))
    view.update(history, clock.closing(step, end), clock.bar(step, end), final=True)


def open_view(run_dir: Path | str, title: str) -> "View":
    """Show a place in this cell that `live` can draw into later from another thread.

    Args:
        run_dir: the run folder.
        title: headline of the plot.

    Returns:
        The place.
    """
    view = _new_view(run_dir, title)
    view.open()
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
        """Where the run is, how fast, and how long it will take."""
        rate = (step - (self.first_step or 0)) / max(time.monotonic() - self.start, 1e-9)
        fast = f"{rate:.3g} steps/s" if rate else ""
        left = f"{duration((self.total - step) / rate)} left" if rate and self.total else ""
        return " · ".join(filter(None, (self._where(step), fast, left)))

    def closing(self, step: int, end: End) -> str:
        """How the run ended; the time only of a run that was seen to begin."""
        seen = self.first_step not in (None, step)
        spent = duration(time.monotonic() - self.start) if seen else ""
        return " · ".join(filter(None, (f"{end}: {self._where(step)}", spent)))

    def bar(self, step: int, end: End | None = None) -> tuple[float, str] | None:
        """Share of the run that is done, and its colour; None where it is not known how long the run is."""
        if not self.total and end != "done":
            return None
        share = min(1.0, step / self.total) if self.total else 1.0
        return share, BLUE if end is None else _COLORS[end]

    def _where(self, step: int) -> str:
        return f"step {step} of {self.total} · {step / self.total:.0%}" if self.total else f"step {step}"


class _Plot:
    """Sink in a notebook: one display that is redrawn in place."""

    every = REDRAW_SECONDS

    def __init__(self, run_dir: Path | str | None, title: str) -> None:
        self.run_dir, self.title = run_dir, title
        self.floors: Floors | None = None
        self.handle = None

    def open(self) -> None:
        from IPython.display import display

        self.handle = display({"text/plain": ""}, raw=True, display_id=True)
        self.say("waiting for the first step")

    def say(self, note: str) -> None:
        """Words where there is no picture; nothing where no place was opened."""
        if self.handle is not None:
            self.handle.update({"text/plain": f"{self.title} {note}".strip()}, raw=True)

    def update(
        self, history: History, note: str, bar: tuple[float, str] | None, *, final: bool = False
    ) -> None:
        from IPython.display import display

        if self.floors is None and _is_logged(self.run_dir):
            self.floors = read_floors(self.run_dir)
        note = _with_speed(note, history)
        figure = losses(history, floors=self.floors, title=self.title, note=note, bar=bar)
        plotly = losses_plotly(history, floors=self.floors, title=self.title) if final else None
        content = bundle(figure, text=f"{self.title} {note} · {summary(history)}".strip(), plotly=plotly)
        size = png_size(figure, plotly=plotly is not None)
        if self.handle is None:
            self.handle = display(content, raw=True, metadata=size, display_id=True)
        else:
            self.handle.update(content, raw=True, metadata=size)


class _Lines:
    """Sink outside a notebook: one log line now and then."""

    every = LINE_SECONDS

    def __init__(self, title: str) -> None:
        self.title = title

    def open(self) -> None:
        self.say("waiting for the first step")

    def say(self, note: str) -> None:
        logger.info("%s %s", self.title, note)

    def update(
        self, history: History, note: str, bar: tuple[float, str] | None, *, final: bool = False
    ) -> None:
        del bar, final  # words say it
        logger.info("%s %s · %s", self.title, _with_speed(note, history), summary(history))


View = _Plot | _Lines
"""Where a run is shown while it goes on."""


def _with_speed(note: str, history: History) -> str:
    return " · ".join(filter(None, (note, speed(history))))


def summary(history: History) -> str:
    """The newest smoothed value of each panel, and how many steps were not finite, as one line of text."""
    newest = {name: smooth(history[name][1])[-1] for name in panels(history)}
    words = [f"{label_name(name)} {value:.4g}" for name, value in newest.items()]
    bad = int(np.sum(~np.isfinite(history["loss"][1]))) if "loss" in history else 0
    return " · ".join([*words, f"{bad} steps not finite"] if bad else words)


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
