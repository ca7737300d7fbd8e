"""The training loop of the weight builder: AdamW, warm-up, cool-down, averaged weights, log and resume."""

import json
import logging
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from semrepa.files import whole_file
from semrepa.runtime import autocast

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Settings of one training phase."""

    steps: int
    """Optimiser steps."""
    lr: float
    """Peak learning rate of AdamW."""
    warmup: int = 50
    """Steps of linear warm-up."""
    cooldown: float = 0.25
    """Share of the steps, at the end, over which the rate falls linearly to 2 %."""
    ema: float = 0.998
    """Decay of the averaged weights, which are the ones that are kept."""
    clip_norm: float = 1.0
    """Largest gradient norm."""
    save_every: int = 200
    """Steps between checkpoints and evaluations."""


def learning_rate(recipe: Recipe, step: int) -> float:
    """Trapezoid schedule: linear warm-up, constant, linear cool-down to 2 % of the peak.

    Args:
        recipe: settings.
        step: optimiser step, from 0.

    Returns:
        Learning rate of that step.
    """
    down = max(1.0, recipe.cooldown * recipe.steps)
    left = (recipe.steps - step) / down
    return recipe.lr * min((step + 1) / recipe.warmup, max(0.02, min(1.0, left)))


def fit(
    model: nn.Module,
    loss_of_step: Callable[[int], Tensor],
    recipe: Recipe,
    *,
    checkpoint: Path,
    log: Path,
    evaluate: Callable[[], dict[str, float]] | None = None,
) -> None:
    """Trains `model` in place; it ends with the averaged weights. Interrupted, it resumes exactly.

    Args:
        model: network; parameters that require a gradient are trained.
        loss_of_step: loss of a step; draws its batch from the step number alone, so that resuming is exact.
        recipe: settings.
        checkpoint: file with weights, average, optimiser and step.
        log: JSON lines: step, loss, seconds, and the evaluation where there is one.
        evaluate: measures the model, which holds the averaged weights while it runs.
    """
    trained = [p for p in model.parameters() if p.requires_grad]
    average = [p.detach().clone() for p in trained]
    optimizer = torch.optim.AdamW(trained, lr=recipe.lr, betas=(0.9, 0.99), weight_decay=1e-4)
    first = _resume(checkpoint, model, average, optimizer)
    started, running = time.perf_counter(), None
    for step in range(first, recipe.steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(recipe, step)
        with autocast(trained[0].device):
            loss = loss_of_step(step)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, recipe.clip_norm)
        optimizer.step()
        optimizer.zero_grad()
        _follow_average(average, trained, max(1 - recipe.ema, 1 / (step + 2)))
        running = loss.item() if running is None else 0.98 * running + 0.02 * loss.item()
        if (step + 1) % recipe.save_every == 0 or step + 1 == recipe.steps:
            _save(checkpoint, model, average, optimizer, step + 1)
            row = {"step": step + 1, "loss": running, "seconds": time.perf_counter() - started}
            if evaluate is not None:
                with swapped(trained, average):
                    row |= evaluate()
            _append(log, row)
    with torch.no_grad():
        for parameter, value in zip(trained, average, strict=True):
            parameter.copy_(value)


@contextmanager
def swapped(parameters: Iterable[Tensor], values: Iterable[Tensor]) -> Iterator[None]:
    """Puts other values into parameters for the time of a `with` block.

    Args:
        parameters: what is exchanged.
        values: what they hold meanwhile.
    """
    pairs = list(zip(parameters, values, strict=True))
    _exchange(pairs)
    try:
        yield
    finally:
        _exchange(pairs)


@torch.no_grad()
def _exchange(pairs: list[tuple[Tensor, Tensor]]) -> None:
    for parameter, value in pairs:
        kept = parameter.clone()
        parameter.copy_(value)
        value.copy_(kept)


@torch.no_grad()
def _follow_average(average: list[Tensor], trained: list[Tensor], rate: float) -> None:
    for mean, parameter in zip(average, trained, strict=True):
        mean.lerp_(parameter, rate)


def _save(
    path: Path, model: nn.Module, average: list[Tensor], optimizer: torch.optim.Optimizer, step: int
) -> None:
    state = {
        "model": model.state_dict(),
        "average": average,
        "optimizer": optimizer.state_dict(),
        "step": step,
    }
    with whole_file(path, durable=False) as growing, growing.open("wb") as file:
        torch.save(state, file)


def _resume(path: Path, model: nn.Module, average: list[Tensor], optimizer: torch.optim.Optimizer) -> int:
    if not path.exists():
        return 0
    state = torch.load(path, weights_only=True)
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    for mine, saved in zip(average, state["average"], strict=True):
        mine.copy_(saved)
    _log.info("resumed %s at step %d", path.name, state["step"])
    return state["step"]


def _append(log: Path, row: dict[str, float]) -> None:
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a") as file:
        file.write(json.dumps({k: round(v, 5) for k, v in row.items()}) + "\n")
    _log.info("%s %s", log.stem, row)
