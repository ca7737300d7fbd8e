"""Train from the command line, on one process or many.

    python -m semrepa.training structure --config config.json --store cache/store --run-dir runs/structure
    accelerate launch --config_file FILE -m semrepa.training finetune --config config.json --store ...

FILE says how many processes there are and what each holds; those of `semrepa/training/accelerate` are ready.
The clips are those of the store; `--index` says which of them are held out (its field `split`). SIGTERM ends
a run after the step in progress, with a checkpoint, as Ctrl-C does; docs/TRAINING.md tells more.
"""

import argparse
import logging
import signal
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from semrepa.config import Config
from semrepa.data.index import read_index
from semrepa.data.packed import open_for_reading
from semrepa.data.store import FeatureStore
from semrepa.training.finetune import finetune
from semrepa.training.log import StepLog
from semrepa.training.pretrain import pretrain_identity, pretrain_structure
from semrepa.training.processes import this_process

STAGES = {"structure": pretrain_structure, "identity": pretrain_identity, "finetune": finetune}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one training stage to its end.

    Args:
        arguments: command line; None takes the real one.
    """
    options = parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")
    cfg, store = Config.load(options.config), open_for_reading(options.store)
    train_ids, heldout_ids = split_ids(store, options.index or cfg.data.index)
    stage = STAGES[options.stage]
    run = stage(
        cfg,
        store,
        options.run_dir,
        train_ids=train_ids,
        heldout_ids=heldout_ids[: options.heldout],
        resume=False if options.fresh else None,
        allow_change=options.allow_change,
    )
    for log in run:
        if this_process().is_main_process:
            print(line(log), flush=True)


def parser() -> argparse.ArgumentParser:
    """Options of the command line.

    Returns:
        The parser.
    """
    made = argparse.ArgumentParser(prog="python -m semrepa.training", description="Train one stage.")
    made.add_argument("stage", choices=STAGES)
    made.add_argument("--config", type=Path, required=True, help="config.json, as Config.save writes it")
    made.add_argument("--store", type=Path, required=True, help="folder of the prepared features")
    made.add_argument("--run-dir", type=Path, required=True, help="folder of the results")
    made.add_argument("--index", type=Path, help="index of the clips with their split; default: the config's")
    made.add_argument("--heldout", type=int, help="held-out clips to evaluate on; default: all")
    made.add_argument("--fresh", action="store_true", help="start anew even where a checkpoint is")
    made.add_argument(
        "--allow-change", action="append", default=[], metavar="NAME", help="may differ from the checkpoint's"
    )
    return made


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


def line(log: StepLog) -> str:
    """One step as a line of text.

    Args:
        log: what happened.

    Returns:
        Step, loss, parts, evaluation and seconds.
    """
    numbers = {
        "loss": log.loss,
        **log.parts,
        **{f"held-out {name}": value for name, value in log.eval.items()},
    }
    shown = "  ".join(f"{name} {value:.4g}" for name, value in numbers.items() if "@" not in name)
    return f"step {log.step}  {shown}  ({log.seconds:.2f} s)"


def _stop(number: int, _: FrameType | None) -> None:
    raise SystemExit(128 + number)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _stop)
    main()
