"""Train from a notebook: in its kernel, or in a child process with a small panel to follow and stop it."""

import gc
import html
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import cast

import torch

from semrepa.config import Config
from semrepa.training.alignment import Aligners
from semrepa.training.child import MODULE, Child, NotFinishedError, Stage
from semrepa.training.launch import attach, launch, release
from semrepa.training.log import StepLog
from semrepa.training.stopping import ECHO
from semrepa.ui.live import View, live, open_view
from semrepa.ui.session import Session
from semrepa.ui.show import Lines, is_headless, show


def train(
    stage: Callable[..., Iterator[StepLog]],
    session: Session,
    cfg: Config,
    run_dir: Path,
    *,
    train_ids: Sequence[str],
    heldout_ids: Sequence[str] = (),
    title: str = "",
    aligners: Aligners | None = None,
) -> None:
    """Train where `cfg.launch` says, and show the losses while it goes on.

    In the kernel the cell is busy until the end. A child lets the cell return at once and goes on when the
    kernel ends; `wait(run_dir)` in a later cell waits for it. In a headless run the cell waits itself.

    Args:
        stage: `finetune`, `pretrain_structure` or `pretrain_identity`.
        session: the notebook's session, for its clips.
        cfg: config of the run.
        run_dir: run folder.
        train_ids: training clips.
        heldout_ids: clips for evaluation.
        title: headline of the plot.
        aligners: loaded aligners for `finetune` in the kernel; a child loads those that `cfg` names.

    Raises:
        ValueError: a child still trains in this folder.
        NotFinishedError: headless, the child failed, was stopped or died.
        KeyboardInterrupt: interrupted in a headless run, after everything was saved.
    """
    total = getattr(cfg, stage.__name__).steps
    if cfg.launch.where == "kernel":
        release(run_dir)
        more = {"aligners": aligners} if stage.__name__ == "finetune" else {}
        stream = stage(cfg, session.store, run_dir, train_ids=train_ids, heldout_ids=heldout_ids, **more)
        live(stream, run_dir, title=title, total=total)
        return
    gc.collect()
    torch.cuda.empty_cache()  # what the kernel no longer uses is for the child
    wanted = {*train_ids, *heldout_ids}
    child = launch(
        cast(Stage, stage.__name__.removeprefix("pretrain_")),
        cfg,
        session.store.folder,
        run_dir,
        rows=[row for row in session.all_rows if row.id in wanted],
    )
    if is_headless():
        live(child.steps(), run_dir, title=title, total=total)
    else:
        Panel(child, title=title, total=total).open(past=0)


def watch(run_dir: Path | str, *, title: str = "") -> None:
    """Attach to a child from any notebook: one that runs, has ended or has died.

    The cell returns at once. In a headless run it waits for the end, since nothing is drawn after the last
    cell; Ctrl-C ends the waiting, not the training.

    Args:
        run_dir: run folder.
        title: headline of the plot.

    Raises:
        FileNotFoundError: no child was started in this folder.
        NotFinishedError: headless, the child failed, was stopped or died.
    """
    child = attach(run_dir)
    if is_headless():
        live(child.follow(past=1), child.run_dir, title=title, total=_total(child))
    else:
        Panel(child, title=title, total=_total(child)).open(past=1)


def _total(child: Child) -> int | None:
    """Steps of the whole run, from what the child was asked to do; None where nobody wrote that down."""
    asked = child.run_dir / "launch" / "config.json"
    if not asked.is_file():
        return None
    stage = child.command[child.command.index(MODULE) + 1]
    return getattr(Config.load(asked), stage if stage == "finetune" else f"pretrain_{stage}").steps


class Panel:
    """A child in a cell: a button to stop it, one to ask how it is, a line of state, and its live picture.

    Attributes:
        box: the widgets.
        stop: button that saves and ends the training, and then one that ends it at once.
        look: button that brings the state up to date and shows the end of the log.
        state: what was last seen.
        follower: thread that draws until the child ends.
    """

    def __init__(self, child: Child, *, title: str = "", total: int | None = None) -> None:
        """Build the widgets.

        Args:
            child: the training.
            title: headline of the plot.
            total: steps in the whole run, for the time left.
        """
        import ipywidgets

        self.child, self.title, self.total = child, title, total
        self._asked: float | None = None
        self.stop = ipywidgets.Button(description="Stop", tooltip="Finish the step, save, end")
        self.look = ipywidgets.Button(description="Status", tooltip="State and end of the log")
        self.state = ipywidgets.HTML()
        self.box = ipywidgets.VBox([ipywidgets.HBox([self.stop, self.look]), self.state])
        self.stop.on_click(lambda _: self._stop())
        self.look.on_click(lambda _: self._look(with_log=True))
        self.follower = threading.Thread(target=lambda: None)

    def open(self, past: int) -> None:
        """Show the panel and follow the child in the background.

        Args:
            past: how many of the steps that are logged already are drawn first.
        """
        self._look()
        again = f"watch({str(self.child.run_dir)!r}) brings them back"
        show(self.box, text=f"{self.title}: buttons while its kernel lives; {again}".removeprefix(": "))
        view = open_view(self.child.run_dir, self.title)  # a thread can redraw what a cell has shown, no more
        self.follower = threading.Thread(target=self._follow, args=(past, view), daemon=True)
        self.follower.start()

    def _follow(self, past: int, view: View) -> None:
        stream = self.child.follow(past=past)
        try:
            live(stream, self.child.run_dir, title=self.title, total=self.total, view=view)
            self._look()
        except NotFinishedError:
            self._look(with_log=self.child.status in ("failed", "crashed"))

    def _look(self, *, with_log: bool = False) -> None:
        """Bring the line of state up to date."""
        self.stop.disabled = self.child.status != "running"
        log = Lines(self.child.tail()).html() if with_log else ""
        self.state.value = f"<div>{html.escape(self.child.describe())}</div>{log}"

    def _stop(self) -> None:
        now = time.monotonic()
        if self._asked is not None and now - self._asked < ECHO:
            return  # a double click
        self.child.stop(at_once=self._asked is not None)
        self._asked = now
        self.stop.description, self.stop.tooltip = "Stop at once", "Lose the steps since the last checkpoint"
        self.state.value = "<div>stopping: the step in progress is finished and saved</div>"
