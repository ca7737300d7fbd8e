"""The three trainings by name, started from files alone, as the command line does."""

from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

from semrepa.config import Config
from semrepa.data.index import read_index
from semrepa.data.packed import open_for_reading
from semrepa.data.store import FeatureStore
from semrepa.training.child import Stage
from semrepa.training.finetune import finetune
from semrepa.training.log import StepLog
from semrepa.training.pretrain import pretrain_identity, pretrain_structure

STAGES: dict[Stage, Callable[..., Iterator[StepLog]]] = {
    "structure": pretrain_structure,
    "identity": pretrain_identity,
    "finetune": finetune,
}
"""The section of the config that describes a stage has the name of its function."""


def start(
    stage: Stage,
    cfg: Config,
    store_folder: Path,
    run_dir: Path,
    *,
    index: Path | None = None,
    heldout: int | None = None,
    resume: bool | None = None,
    allow_change: Sequence[str] = (),
) -> tuple[Generator[StepLog, None, None], int]:
    """Make a training ready.

    Args:
        stage: name in `STAGES`.
        cfg: config of the run.
        store_folder: folder of the prepared features.
        run_dir: run folder.
        index: index of the clips with their split; None: the config's.
        heldout: held-out clips to evaluate on; None: all.
        resume: go on from the last checkpoint of the folder; None: as the config says.
        allow_change: settings that may differ from those of that checkpoint.

    Returns:
        Its steps, see `train`, and how many there are in the whole run.

    Raises:
        ValueError: no clip of the index is in the store, or as the stage raises.
        FileNotFoundError: a file is missing.
    """
    store = open_for_reading(store_folder)
    train_ids, heldout_ids = split_ids(store, index or cfg.data.index)
    inputs: dict[str, Any] = {"train_ids": train_ids, "heldout_ids": heldout_ids[:heldout]}
    inputs |= {"resume": resume, "allow_change": allow_change}
    run = STAGES[stage](cfg, store, run_dir, **inputs)
    return cast(Generator[StepLog, None, None], run), getattr(cfg, STAGES[stage].__name__).steps


def split_ids(store: FeatureStore, index: str | Path) -> tuple[list[str], list[str]]:
    """Divide the clips of a store as the index says.

    Args:
        store: prepared features.
        index: index file.

    Returns:
        Names of the training clips and of the held-out clips, in the order of the index.

    Raises:
        ValueError: no clip of the index is in the store.
    """
    rows = [row for row in read_index(index) if store.has(row.id)]
    if not rows:
        raise ValueError(
            f"got index {index} without a clip of {store.folder}; expected some; run prepare with it"
        )
    return [r.id for r in rows if r.split == "train"], [r.id for r in rows if r.split == "heldout"]
