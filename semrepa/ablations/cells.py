"""Running cells: train, measure losses, make videos, score them; no step is done twice."""

import json
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from semrepa.ablations.grid import Arm
from semrepa.ablations.losses import heldout_losses
from semrepa.ablations.scores import groups_of, to_plain
from semrepa.ablations.settings import Setting, check_arms, describe, fingerprint
from semrepa.provenance import sha256_of
from semrepa.runs import make_run, read_run
from semrepa.runtime import write_json
from semrepa.training.finetune import finetune
from semrepa.training.launch import launch
from semrepa.weights import check_weights

log = logging.getLogger(__name__)

Step = Literal["training", "losses", "videos", "scores"]
STEPS: tuple[Step, ...] = get_args(Step)
"""What is done for a cell, in this order."""
RECORD, LOSSES, VIDEOS, SCORES = "cell.json", "losses.json", "videos", "scores.json"
"""In the folder of a cell: what it is of and how far it is, held-out losses, videos and their scores."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One arm with one seed."""

    arm: Arm
    """Line of the table."""
    seed: int
    """Of data order, noise and videos."""
    folder: Path
    """Where it lies."""

    @property
    def training(self) -> Path:
        """Run folder of its training."""
        return self.folder / "training"


def run_cells(
    setting: Setting, arms: Sequence[Arm], seeds: Sequence[int], steps: Sequence[Step] = STEPS
) -> Iterator[Cell]:
    """Run the cells that are not done yet, seed after seed, so that what is there is always a whole table.

    Killed at any time, the same call goes on: cells that are done are passed over, a training goes on from
    its last checkpoint to the same weights, and videos that are there are kept.

    Args:
        setting: what the cells share.
        arms: lines of the table.
        seeds: seeds.
        steps: what is done for each.

    Yields:
        Each cell when it is done.

    Raises:
        FileNotFoundError: weights or the noisy aligner are missing; nothing is begun then.
        ValueError: a folder holds a cell of other settings.
    """
    check_arms(setting, arms, scored="scores" in steps)
    for seed in seeds:
        for arm in arms:
            yield run_cell(setting, arm, seed, steps)


def run_cell(setting: Setting, arm: Arm, seed: int, steps: Sequence[Step] = STEPS) -> Cell:
    """Run what one cell still lacks.

    Args:
        setting: what the cells share.
        arm: line of the table.
        seed: its seed.
        steps: what is done for it.

    Returns:
        The cell.

    Raises:
        ValueError: its folder holds a cell of other settings.
    """
    cell = Cell(arm=arm, seed=seed, folder=setting.cell(arm, seed))
    record = _claim(setting, cell)
    work: dict[Step, Callable[[Setting, Cell], None]] = {
        "training": _train,
        "losses": _losses,
        "videos": _videos,
        "scores": _scores,
    }
    for step in (step for step in STEPS if step in steps and step not in record["seconds"]):
        began = time.perf_counter()
        work[step](setting, cell)
        record["seconds"][step] = round(time.perf_counter() - began, 1)
        write_json(cell.folder / RECORD, record)
        log.info("seed %d, %s: %s done in %.0f s", seed, arm.name, step, record["seconds"][step])
    return cell


def read_record(folder: Path) -> dict[str, Any] | None:
    """Read what a cell's folder says of itself.

    Args:
        folder: folder of a cell.

    Returns:
        `fingerprint`, `kind`, `made_from`, and `seconds` of each step that is done; None: no cell.
    """
    file = folder / RECORD
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None


def _claim(setting: Setting, cell: Cell) -> dict[str, Any]:
    """Begin the record of a cell, or refuse a folder with a cell of other settings."""
    values, kind = describe(setting, cell.arm, cell.seed)
    record = read_record(cell.folder)
    if record is None:
        record = {"fingerprint": fingerprint(values), "kind": kind, "made_from": values, "seconds": {}}
        write_json(cell.folder / RECORD, record)
    elif record["fingerprint"] != fingerprint(values):
        other = ", ".join(_differences(record["made_from"], values)) or "something"
        raise ValueError(
            f"got folder {cell.folder}, whose cell was made with another {other}; expected the same "
            "settings, clips and weights in all cells of a table; give a new --run-dir, or set them back"
        )
    return record


def _differences(before: Any, now: Any, path: str = "") -> list[str]:
    """Dotted names of what differs; lists are not looked into."""
    if not (isinstance(before, dict) and isinstance(now, dict)):
        return [] if before == now else [path]
    names = dict.fromkeys([*before, *now])
    found = [_differences(before.get(n), now.get(n), f"{path}.{n}".strip(".")) for n in names]
    return [name for part in found for name in part]


def _train(setting: Setting, cell: Cell) -> None:
    if cell.arm.is_base:
        return
    cfg = setting.config(cell.arm, cell.seed)
    if cfg.launch.where == "child":
        child = launch("finetune", cfg, setting.store.folder, cell.training, rows=setting.train)
        steps = child.steps()
    else:
        steps = finetune(cfg, setting.store, cell.training, train_ids=setting.train_ids)
    for step in steps:
        log.debug("step %d: loss %.4f", step.step, step.loss)


def _losses(setting: Setting, cell: Cell) -> None:
    """Judge every arm alike: by the clean aligners, and where there is one, by the noisy aligner too."""
    cfg, noisy = setting.judging(cell.seed), setting.noisy_aligner
    run, noisy = None if cell.arm.is_base else cell.training, noisy if noisy.is_dir() else None
    found = heldout_losses(cfg, setting.store, setting.heldout_ids, run=run, noisy=noisy)
    judges = {record.name: record.sha256 for record in check_weights(cfg, ("structure", "identity"))}
    judges["noisy structure"] = None if noisy is None else sha256_of(noisy)
    write_json(cell.folder / LOSSES, {"judges": judges, "clips": found})


def _videos(setting: Setting, cell: Cell) -> None:
    cfg, base = setting.config(cell.arm, cell.seed), cell.arm.is_base
    model, transformer = ("base", None) if base else ("finetuned", cell.training)
    for pair in make_run(cfg, model, setting.heldout, cell.folder / VIDEOS, transformer=transformer):
        log.debug("made %s", pair.file)


def _scores(setting: Setting, cell: Cell) -> None:
    cfg = setting.config(cell.arm, cell.seed)
    videos = read_run(cell.folder / VIDEOS, setting.heldout, cfg.video, seeds=cfg.generate.seeds)
    found = setting.scorer.score(cell.arm.name, videos)
    write_json(cell.folder / SCORES, to_plain(found, groups_of(cfg)))
