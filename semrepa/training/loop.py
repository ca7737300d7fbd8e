"""The training loop: a generator that yields after each optimiser step.

Whoever iterates may plot, stop or test; closing the generator or Ctrl-C saves a checkpoint first. All
randomness of step k comes from a generator seeded with (seed, k), so a run that goes on from a checkpoint
repeats exactly what an uninterrupted run would have done.
"""

import dataclasses
import logging
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from diffusers.training_utils import EMAModel
from torch import nn

from semrepa.config import TrainConfig
from semrepa.data.dataset import Batch
from semrepa.runtime import pick_device
from semrepa.shapes import Scalar
from semrepa.training.checkpoint import (
    FREE_TO_CHANGE,
    Trained,
    latest_checkpoint,
    load_checkpoint,
    save_checkpoint,
)
from semrepa.training.log import StepLog, append_line, cut_log, set_aside

logger = logging.getLogger(__name__)


def _nothing() -> Mapping[str, float]:
    return {}


@dataclass(frozen=True, kw_only=True)
class Task:
    """What the loop trains, as plain functions."""

    objective: nn.Module
    """`objective(batch, generator)` gives the loss and its detached parts; holds only what is trained."""
    batches: Callable[[int], Iterator[Batch]]
    """Endless stream of batches from a given step (0 is the first) on."""
    export: Callable[[], object]
    """Writes the trained weights for use outside training; called when the run ends or stops."""
    begin: Callable[[], object] = _nothing
    """Writes what belongs into the run folder; called when the run starts or its checkpoint was accepted."""
    evaluate: Callable[[], Mapping[str, float]] = _nothing
    """Held-out losses by name."""
    inspect: Callable[[int, Batch, torch.Generator], Mapping[str, float]] | None = None
    """Extra parts to log, measured before the step on the same batch and random numbers."""
    floors: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Losses of trivial answers by loss and answer, see `floors`."""
    recipe: Mapping[str, Any] = field(default_factory=dict)
    """Plain values that decide the outcome; a checkpoint is only taken up by a run with the same ones."""


def step_generator(seed: int, *place: int) -> torch.Generator:
    """Make the random generator of one place in a run.

    Args:
        seed: seed of the run.
        *place: whole numbers that name the place, such as the step and the process.

    Returns:
        A CPU generator that depends on these numbers alone.
    """
    state = np.random.SeedSequence((seed, *place)).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0]))


def learning_rate(config: TrainConfig, step: int) -> float:
    """Learning rate of a step: linear warm-up, then constant or a half cosine that ends at zero.

    Args:
        config: peak rate, warm-up, schedule and length of the run.
        step: step from 1 on.

    Returns:
        Rate for the optimiser.
    """
    if step <= config.warmup:
        return config.lr * step / config.warmup
    if config.schedule == "constant":
        return config.lr
    done = (step - 1 - config.warmup) / max(1, config.steps - config.warmup)
    return config.lr * 0.5 * (1 + math.cos(math.pi * done))


def train(
    task: Task, config: TrainConfig, run_dir: Path | str, *, seed: int, resume: bool | None = None
) -> Iterator[StepLog]:
    """Train, yielding after each optimiser step.

    Args:
        task: what is trained, on what.
        config: steps, rates, intervals.
        run_dir: run folder; made where missing.
        seed: seed of the run.
        resume: go on from the last checkpoint of the folder where there is one; None: as `config` says. When
            False, an earlier run of the folder is moved to `previous/` (one is kept).

    Yields:
        One log per step, after the weights have moved.

    Raises:
        ValueError: the checkpoint to go on from is damaged or was made with other settings.
        FloatingPointError: the loss or its gradient is not finite; nothing is saved.
        GeneratorExit: closed from outside, after the last step was saved.
        KeyboardInterrupt: Ctrl-C, after the step in progress was finished and saved.
    """
    run = _Run(task, config, Path(run_dir), seed)
    run.start(config.resume if resume is None else resume)
    batches = task.batches(run.step)
    try:
        while run.step < config.steps:
            with _finish_first():
                log = run.advance(next(batches))
            yield log
    except (KeyboardInterrupt, GeneratorExit):
        run.stop()
        raise
    run.stop()


class _Run:
    """State of one call of `train`."""

    def __init__(self, task: Task, config: TrainConfig, run_dir: Path, seed: int) -> None:
        self.task, self.config, self.run_dir, self.seed = task, config, run_dir, seed
        self.accelerator = Accelerator(mixed_precision="no", cpu=pick_device().type == "cpu")
        self.parameters = [p for p in task.objective.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(
            self.parameters, lr=config.lr, betas=config.betas, weight_decay=config.weight_decay
        )
        self.objective, self.optimizer = self.accelerator.prepare(task.objective, optimizer)
        self.ema = EMAModel(self.parameters, decay=config.ema) if config.ema is not None else None
        self.trained = Trained(model=task.objective, optimizer=self.optimizer, ema=self.ema)
        self.step = 0
        self.saved: int | None = None
        values = dataclasses.asdict(config)
        free = FREE_TO_CHANGE | ({"steps"} if config.schedule == "constant" else set())
        self.recipe = {
            **task.recipe,
            "train": {k: v for k, v in values.items() if k not in free},
            "seed": seed,
        }

    def start(self, resume: bool) -> None:
        """Take up the run of the folder, or start a new one with an evaluation of the untrained model."""
        self.run_dir.mkdir(parents=True, exist_ok=True)
        folder = latest_checkpoint(self.run_dir) if resume else None
        if folder:
            self._go_on(folder)
        elif self.accelerator.is_main_process:
            set_aside(self.run_dir)
        if self.accelerator.is_main_process:
            self.task.begin()
        self.accelerator.wait_for_everyone()
        if not folder:
            self._write({"step": 0, "eval": self._evaluate(), "floors": dict(self.task.floors)})

    def _go_on(self, folder: Path) -> None:
        self.step = self.saved = load_checkpoint(folder, self.trained, self.recipe)
        if self.ema:
            self.ema.to(self.accelerator.device)
        if self.accelerator.is_main_process:
            cut_log(self.run_dir, self.step)
        logger.info("going on from %s", folder)

    def advance(self, batch: Batch) -> StepLog:
        """Do one optimiser step, with whatever is due after it."""
        began, step = time.perf_counter(), self.step + 1
        place = (self.seed, step, self.accelerator.process_index)
        batch = batch.to(self.accelerator.device)
        extra = self.task.inspect(step, batch, step_generator(*place)) if self.task.inspect else {}
        rate = learning_rate(self.config, step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        loss, parts = self.objective(batch, step_generator(*place))
        self.accelerator.backward(loss)
        grad_norm = self.accelerator.clip_grad_norm_(self.parameters, self.config.clip_norm)
        values = self._numbers({"loss": loss.detach(), **parts, "grad_norm": grad_norm})
        if not all(map(math.isfinite, values.values())):
            raise FloatingPointError(
                f"step {step}: got {values}; expected finite numbers; lower the learning rate "
                f"or look at the clips {', '.join(batch.ids)}"
            )
        self.optimizer.step()
        self.optimizer.zero_grad()
        if self.ema:
            self.ema.step(self.parameters)
        self.step = step
        return self._finish(values, extra, rate, time.perf_counter() - began)

    def _finish(
        self, values: dict[str, float], extra: Mapping[str, float], rate: float, seconds: float
    ) -> StepLog:
        """Evaluate, log and save what is due after a step."""
        last = self.step == self.config.steps
        log = StepLog(
            step=self.step,
            loss=values.pop("loss"),
            grad_norm=values.pop("grad_norm"),
            parts={**values, **extra},
            lr=rate,
            seconds=seconds,
            samples=self.step * self.config.batch_size,
            eval=self._evaluate() if last or self.step % self.config.eval_every == 0 else {},
        )
        if last or log.eval or self.step % self.config.log_every == 0:
            self._write(log)
        if self.step % self.config.checkpoint_every == 0:
            self._save()
        return log

    def stop(self) -> None:
        """Save the last step and export the weights."""
        self._save()
        with self._averaged():
            if self.accelerator.is_main_process:
                self.task.export()

    def _save(self) -> None:
        if self.saved != self.step and self.accelerator.is_main_process:
            save_checkpoint(self.run_dir, self.step, self.trained, self.recipe)
        self.saved = self.step
        self.accelerator.wait_for_everyone()

    def _evaluate(self) -> dict[str, float]:
        with self._averaged(), torch.no_grad():
            self.objective.eval()
            values = dict(self.task.evaluate())
            self.objective.train()
        return values

    @contextmanager
    def _averaged(self) -> Iterator[None]:
        """Put the averaged weights in place for a while, where the run keeps them."""
        if not self.ema:
            yield
            return
        self.ema.store(self.parameters)
        self.ema.copy_to(self.parameters)
        try:
            yield
        finally:
            self.ema.restore(self.parameters)

    def _numbers(self, values: Mapping[str, Scalar]) -> dict[str, float]:
        """Means over processes as plain numbers, with one transfer from the device."""
        stacked = torch.stack([value.float() for value in values.values()])
        return dict(zip(values, self.accelerator.reduce(stacked, "mean").tolist(), strict=True))

    def _write(self, line: Mapping[str, Any] | StepLog) -> None:
        if self.accelerator.is_main_process:
            append_line(self.run_dir, line)


@contextmanager
def _finish_first() -> Iterator[None]:
    """Hold back Ctrl-C to the end of a step, so that weights are never half updated; twice stops at once."""
    # A program with an answer of its own, such as the command line, keeps it.
    is_ours = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if threading.current_thread() is not threading.main_thread() or not is_ours:
        yield
        return
    asked = False

    def remember(*_: object) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True

    before = signal.signal(signal.SIGINT, remember)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if asked:
        raise KeyboardInterrupt
