"""Pictures and times of a run, for the documentation: python -m semrepa.showcase runs/demo."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from semrepa.showcase.gallery import write_gallery
from semrepa.showcase.times import measured, merge, read_times, write_lines, write_times


def parser() -> argparse.ArgumentParser:
    """The command line.

    Returns:
        Its parser.
    """
    made = argparse.ArgumentParser(prog="python -m semrepa.showcase", description=(__doc__ or "").strip())
    made.add_argument("run_dir", type=Path, nargs="+", help="folder of a run: one folder per notebook")
    made.add_argument("--gallery", type=Path, default=Path("docs/gallery"), help="folder of the pictures")
    made.add_argument("--notebooks", type=Path, default=Path("notebooks"), help="folder of the notebooks")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; see the module.

    Args:
        arguments: what follows the program's name; None: this process's.

    Returns:
        0, or 2 where the folder holds no finished notebook.
    """
    options = parser().parse_args(arguments)
    try:
        for run_dir in options.run_dir:
            times = merge(read_times(options.notebooks), measured(run_dir))
            write_times(options.notebooks, times)
            for path in write_gallery(run_dir, options.gallery, options.notebooks):
                print(path)
        for path in write_lines(options.notebooks):
            print(path)
    except (ValueError, FileNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
