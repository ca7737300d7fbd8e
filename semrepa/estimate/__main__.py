"""Print what a run will cost.

    python -m semrepa.estimate --preset full --gpu H100 --gpus 8 --clips 730000 -o finetune.batch_size=8

What does not fit is a warning below the tables and does not change the exit code; a wrong name or value ends
with one line and exit code 2.
"""

import argparse
from collections.abc import Sequence

from semrepa.config import configure
from semrepa.estimate.gpus import GPUS
from semrepa.estimate.plan import estimate
from semrepa.estimate.tables import summary


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the estimate.

    Args:
        arguments: command line; None takes the real one.
    """
    made = parser()
    options = made.parse_args(arguments)
    try:
        cfg = configure(options.preset, options.override)
        found = estimate(cfg, clips=options.clips, gpu=options.gpu, gpus=options.gpus)
    except (TypeError, ValueError) as error:
        made.error(str(error))
    print(summary(found))


def parser() -> argparse.ArgumentParser:
    """Options of the command line.

    Returns:
        The parser.
    """
    made = argparse.ArgumentParser(
        prog="python -m semrepa.estimate",
        description="Parameters, work, memory, disk and days of a run, before it starts.",
        epilog="What does not fit is printed as a warning; the exit code stays 0. Wrong names give 2.",
    )
    made.add_argument("--preset", default="mini", help="mini or full")
    known = ", ".join(GPUS)
    made.add_argument("--gpu", help=f"one of {known}, cpu; default: what is here, else H100 for full")
    made.add_argument("--gpus", type=int, default=1, help="how many share the work")
    made.add_argument("--clips", type=int, help="clips to prepare; default: 730,000 for full")
    made.add_argument(
        "-o", "--override", action="append", default=[], metavar="NAME=VALUE", help="config value, repeatable"
    )
    return made


if __name__ == "__main__":
    main()
