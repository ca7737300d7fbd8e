"""The training loop: a generator that yields after each optimiser step.

Whoever iterates may plot, stop or test; closing the generator or Ctrl-C saves a checkpoint first. The random
numbers of a step are seeded with its number and the places of its clips (see `portion`), so a run that goes
on from a checkpoint repeats exactly what an uninterrupted run would have done.
"""

import dataclasses
import logging
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from accelerate.tracking import GeneralTracker
from diffusers.training_utils import EMAModel
from torch import Tensor, nn

from semrepa.config import TrainConfig
from semrepa.data.dataset import Batch
from semrepa.training.checkpoint import (
    FREE_TO_CHANGE,
    Trained,
    latest_checkpoint,
    load_checkpoint,
    save_checkpoint,
)
from semrepa.training.guards import BadSteps, check_unchanged, checksums
from semrepa.training.interrupts import HeldBack
from semrepa.training.log import StepLog, append_line, cut_log, measured, numbers, set_aside
from semrepa.training.optimizer import describe, make_optimizer, set_rate
from semrepa.training.parallel import Processes
from semrepa.training.portion import UPDATE, Portion, own_random_numbers, portions
from semrepa.training.processes import agreed_checkpoint, agreed_signal, summed
from semrepa.training.schedules import learning_rate
from semrepa.training.sharding import trained_weights, whole_states
from semrepa.training.task import Task
from semrepa.training.trackers import open_trackers

logger = logging.getLogger(__name__)


def train(
    task: Task,
    config: TrainConfig,
    run_dir: Path | str,
    *,
    seed: int,
    resume: bool | None = None,
    allow_change: Sequence[str] = (),
) -> Iterator[StepLog]:
    """Train, yielding after each optimiser step.

    With several processes each calls this, and goes on with its logs in step with the others.

    Args:
        task: what is trained, on what.
        config: steps, rates, intervals.
        run_dir: run folder; made where missing.
        seed: seed of the run.
        resume: go on from the last checkpoint of the folder where there is one; None: as `config` says. When
            False, an earlier run of the folder is moved to `previous/` (one is kept).
        allow_change: settings that may differ from those of the checkpoint, see `load_checkpoint`.

    Yields:
        One log per step, after the weights have moved; or were left alone, where the step was skipped because
        its loss or gradient was not finite.

    Raises:
        ValueError: the checkpoint to go on from is damaged or was made with other settings; settings that do
            not go with sharded weights.
        FloatingPointError: `config.max_bad_steps` steps in a row were skipped; saved, and the clips of the
            last one are in `bad_batch.json`.
        RuntimeError: a network that must stay as it is has changed.
        GeneratorExit: closed from outside, after the last step was saved.
        KeyboardInterrupt: Ctrl-C, after the step in progress was finished (or, the second time, left out) and
            the last one saved.
        SystemExit: raised by the program's own handler of SIGTERM; the same.
    """
    run = _Run(task, config, Path(run_dir), seed)
    with HeldBack(agreed_signal if run.processes.count > 1 else None) as held:
        run.start(config.resume if resume is None else resume, allow_change)
        shares = task.batches(run.step)
        try:
            while run.step < config.steps:
                with held.step():
                    log = run.advance(shares, held)
                yield log
        except (KeyboardInterrupt, SystemExit, GeneratorExit):
            run.stop()
            raise
        run.stop()


class _Run:
    """State of one call of `train`."""

    def __init__(self, task: Task, config: TrainConfig, run_dir: Path, seed: int) -> None:
        self.task, self.config, self.run_dir, self.seed = task, config, run_dir, seed
        self.processes = Processes(config)
        if self.processes.is_sharded and (task.inspect or any(monitor.every for monitor in task.monitors)):
            raise ValueError(
                "balance_every, probe_every, sample_every: got a measurement with "
                f"{self.processes.kind}, where no process holds whole weights and gradients; expected 0; "
                "set all three to 0, or launch with ddp.yaml"
            )
        optimizer = make_optimizer(_trained(task.objective), config)
        self.optimizer = self.processes.prepare(task.objective, optimizer, config)
        self.parameters = _trained(task.objective)
        self.ema = EMAModel(self.parameters, decay=config.ema) if config.ema is not None else None
        self.bad = BadSteps(run_dir, 1 if self.processes.kind == "ZeRO-2" else config.max_bad_steps)
        others = {**task.state, "bad_steps": self.bad}
        self.trained = Trained(model=task.objective, optimizer=self.optimizer, ema=self.ema, others=others)
        self.frozen = checksums(task.frozen)
        self.step, self.saved, self.saved_at = 0, None, time.monotonic()
        self.unread = (0, 0.0)  # clips and seconds of the steps since the speed was last read
        self.trackers: list[GeneralTracker] = []
        free = FREE_TO_CHANGE | ({"steps"} if config.schedule == "constant" else set())
        values = {name: value for name, value in dataclasses.asdict(config).items() if name not in free}
        self.recipe = {**task.recipe, "train": values, "seed": seed}

    def start(self, resume: bool, allow_change: Sequence[str]) -> None:
        """Take up the run of the folder, or start a new one with an evaluation of the untrained model."""
        found = latest_checkpoint(self.run_dir) if resume else None
        folder = agreed_checkpoint(self.run_dir, found)
        if folder:
            self._go_on(folder, allow_change)
        if self.processes.is_main:
            self.run_dir.mkdir(parents=True, exist_ok=True)
            cut_log(self.run_dir, self.step) if folder else set_aside(self.run_dir)
            self.task.begin()
            self.trackers = open_trackers(self.config.trackers, self.run_dir, self.recipe, step=self.step)
        self.processes.wait()
        if not folder:
            start = {"eval": self._evaluate(), "floors": dict(self.task.floors)}
            start |= {"monitors": self._monitor(), "optimizer": describe(self.config)}
            self._write({"step": 0, **start})

    def _go_on(self, folder: Path, allow_change: Sequence[str]) -> None:
        checked = {"check_files": self.processes.is_first_here}
        self.step = self.saved = load_checkpoint(folder, self.trained, self.recipe, allow_change, **checked)
        if self.ema:
            self.ema.to(self.processes.device)
        logger.info("going on from %s", folder)

    def advance(self, shares: Iterator[Sequence[Batch]], held: HeldBack) -> StepLog:
        """Do one optimiser step, and what is due after it; interrupted before, it leaves no trace."""
        began, step = time.perf_counter(), self.step + 1
        divided = self._divide(next(shares), step)
        paused = time.perf_counter()
        extra = self.task.inspect(divided) if self.task.inspect else {}
        began += time.perf_counter() - paused
        rate = learning_rate(self.config, step)
        set_rate(self.optimizer, rate)
        try:
            values = self._gradients(divided)
            good = all(map(math.isfinite, values.values()))
            with held.unbroken():
                self._move(step, values) if good else self.bad.add(step, divided, values)
                self.step = step
        finally:
            self.optimizer.zero_grad()
        parts = {**measured(values), **extra}
        if good:
            self.bad.in_row = 0
            parts |= self.task.observe(step, parts)
        log = self._finish(parts, rate, time.perf_counter() - began, skipped=not good)
        if self.bad.too_many:
            self._save()
            self.bad.give_up()
        return log

    def _divide(self, share: Sequence[Batch], step: int) -> list[Portion]:
        divided = portions(
            share,
            self.task.objective.count,
            seed=self.seed,
            step=step,
            process=self.processes.index,
            processes=self.processes.count,
            add=summed,
        )
        return [portion.to(self.processes.device) for portion in divided]

    def _gradients(self, divided: Sequence[Portion]) -> dict[str, float]:
        """Add up the gradients of a step; gives the loss, its parts and the gradient's norm."""
        sums: dict[str, Tensor] = {}
        for portion in divided:
            last = portion is divided[-1]
            with self.processes.apart(last=last), portion.repeatable():
                loss, parts = self.processes.loss(portion)
                self.processes.backward(loss, last=last)
            for name, value in {"loss": loss.detach(), **parts}.items():
                sums[name] = sums[name] + value if name in sums else value
        norm = self.processes.clip(self.parameters, self.config.clip_norm)
        stacked = summed(torch.stack([value.float() for value in sums.values()]))
        together = torch.cat([stacked, norm.detach().to(stacked).reshape(1)]).tolist()
        return dict(zip((*sums, "grad_norm"), together, strict=True))

    def _move(self, step: int, values: dict[str, float]) -> None:
        """Move the weights along their gradients."""
        with own_random_numbers(self.seed, step, 0, UPDATE):
            values["grad_norm"] = self.processes.move(self.optimizer, values["grad_norm"])
        if self.ema:
            self.ema.step(self.parameters)

    def _finish(self, parts: dict[str, float], rate: float, seconds: float, *, skipped: bool) -> StepLog:
        """Evaluate, log and save what is due after a step."""
        last = self.step == self.config.steps
        evaluated = self._evaluate() if last or self.step % self.config.eval_every == 0 else {}
        monitors = self._monitor()
        self.unread = (self.unread[0] + self.config.batch_size, self.unread[1] + seconds)
        due = last or evaluated or monitors or skipped or self.step % self.config.log_every == 0
        log = StepLog(
            step=self.step,
            loss=parts.pop("loss"),
            grad_norm=parts.pop("grad_norm"),
            parts=parts,
            lr=rate,
            seconds=seconds,
            samples=self.step * self.config.batch_size,
            eval=evaluated,
            monitors=monitors,
            speed=self._speed() if due else {},
            skipped=skipped,
        )
        if due:
            self._write(log)
        if self.step % self.config.checkpoint_every == 0 or self._overdue():
            self._save()
        return log

    def _overdue(self) -> bool:
        """Whether the last checkpoint is too old; the main process's clock decides for all."""
        minutes = self.config.checkpoint_minutes
        if minutes is None:
            return False
        late = time.monotonic() - self.saved_at > 60 * minutes and self.processes.is_main
        return bool(summed(torch.tensor([float(late)])).item())

    def stop(self) -> None:
        """Save the last step and export the weights."""
        self._save()
        check_unchanged(self.task.frozen, self.frozen)
        with self._averaged():
            self._export()
        for tracker in self.trackers:
            tracker.finish()
        self.processes.wait()

    def _export(self) -> None:
        """Have the main process write the weights, put together where they are sharded."""
        main, objective = self.processes.is_main, self.task.objective
        weights = trained_weights(objective, self.optimizer, keep=main) if self.processes.is_sharded else None
        if main:
            with whole_states(objective, weights) if weights is not None else nullcontext():
                self.task.export()

    def _save(self) -> None:
        if self.saved != self.step:
            wanted = {"keep": self.config.keep, "write": self.processes.is_main}
            save_checkpoint(self.run_dir, self.step, self.trained, self.recipe, **wanted)
        self.saved, self.saved_at = self.step, time.monotonic()
        self.processes.wait()

    def _evaluate(self) -> dict[str, float]:
        with self._averaged(), torch.no_grad():
            self.task.objective.eval()
            values = dict(self.task.evaluate())
            self.task.objective.train()
            self.processes.put_away()
        return values

    def _monitor(self) -> dict[str, float]:
        """Measure what is due beside the losses."""
        values: dict[str, float] = {}
        for monitor in self.task.monitors:
            if monitor.is_due(self.step, self.step == self.config.steps):
                with self._averaged() if monitor.averaged else nullcontext():
                    self.task.objective.eval()
                    values |= monitor.measure(self.step)
                    self.task.objective.train()
        return values

    def _speed(self) -> dict[str, float]:
        """Speed of the steps since the last reading."""
        values, self.unread = dict(self.task.speed(*self.unread)), (0, 0.0)
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

    def _write(self, line: Mapping[str, Any] | StepLog) -> None:
        if self.processes.is_main:
            append_line(self.run_dir, line)
            values = dataclasses.asdict(line) if isinstance(line, StepLog) else line
            for tracker in self.trackers:
                tracker.log(numbers(values), step=values["step"])


def _trained(objective: nn.Module) -> list[nn.Parameter]:
    return [parameter for parameter in objective.parameters() if parameter.requires_grad]
