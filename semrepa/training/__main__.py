"""Train from the command line, on one process or many.

    python -m semrepa.training structure --config config.json --store cache/store --run-dir runs/structure
    accelerate launch --config_file FILE -m semrepa.training finetune --config config.json --store ...

FILE says how many processes there are and what each holds; those of `semrepa/training/accelerate` are ready,
and docs/TRAINING.md tells more. The clips are those of the store; `--index` says which of them are held out
(its field `split`).

SIGTERM or Ctrl-C ends the training gently: it finishes its step, saves, exports and exits with code 75, and
the same command goes on from there. A second signal, more than 2 s later, ends it at once. How it ended is
in `outcome.json` of the run folder, since launchers turn every code but 0 into 1.
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from semrepa.commands import described
from semrepa.training.child import Stage
from semrepa.training.log import StepLog
from semrepa.training.outcome import OutcomeRecord
from semrepa.training.stopping import StopRequests, anywhere, everyone


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one training stage to its end, or until it is asked to stop.

    Args:
        arguments: command line; None takes the real one.

    Returns:
        Exit code: 0, or `outcome.SAVED_AND_STOPPED`.
    """
    options = parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")
    with StopRequests() as requests, OutcomeRecord(options.run_dir, everyone) as record:
        _train(options, requests, record)
    return record.exit_code


def _train(options: argparse.Namespace, requests: StopRequests, record: OutcomeRecord) -> None:
    # Imported late: signals are heard from the first moment on, and --help is instant.
    from semrepa.config import Config
    from semrepa.training.stages import start

    steps, total = start(
        options.stage,
        Config.load(options.config),
        options.store,
        options.run_dir,
        index=options.index,
        heldout=options.heldout,
        resume=False if options.fresh else None,
        allow_change=options.allow_change,
    )
    requests.hold()
    for log in steps:
        record.step = log.step
        if record.is_main:
            print(line(log), flush=True)
        if anywhere(requests.asked) and log.step < total:
            steps.close()
            record.stopped = True


def parser() -> argparse.ArgumentParser:
    """Options of the command line.

    Returns:
        The parser.
    """
    made = described("semrepa.training", __doc__)
    made.add_argument(
        "stage",
        choices=get_args(Stage),
        help="which network: the structure aligner, the identity aligner, the DiT",
    )
    made.add_argument("--config", type=Path, required=True, help="config.json, as Config.save writes it")
    made.add_argument("--store", type=Path, required=True, help="folder of the prepared features")
    made.add_argument("--run-dir", type=Path, required=True, help="folder of the results")
    made.add_argument("--index", type=Path, help="index of the clips with their split; default: the config's")
    made.add_argument(
        "--heldout", type=int, metavar="N", help="held-out clips to evaluate on; default: all of them"
    )
    made.add_argument("--fresh", action="store_true", help="start anew even where a checkpoint is")
    made.add_argument(
        "--allow-change", action="append", default=[], metavar="NAME", help="may differ from the checkpoint's"
    )
    return made


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


if __name__ == "__main__":
    sys.exit(main())
