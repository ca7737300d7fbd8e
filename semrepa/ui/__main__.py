"""Copy the notebooks to a folder in which people may edit and run them; `make lab` opens it.

python -m semrepa.ui lab
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from semrepa.ui.copies import copy_notebooks
from semrepa.ui.workplace import home


def main(argv: Sequence[str] | None = None) -> None:
    """Command line; see the module.

    Args:
        argv: arguments, None: those of the process.
    """
    parser = argparse.ArgumentParser(prog="python -m semrepa.ui", description=str(__doc__).splitlines()[0])
    parser.add_argument("folder", type=Path, help="folder of the copies; made where missing")
    folder = parser.parse_args(argv).folder
    for name, outcome in copy_notebooks(home() / "notebooks", folder).items():
        if outcome == "outdated":
            print(f"{folder / name}: yours, since you have edited it; the kit's has changed since then.")
            print("  To have the kit's, rename yours, and run this again.")
    print(f"Copies in {folder}: edit them as you like; notebooks/ stays clean, results go to runs/lab.")


if __name__ == "__main__":
    main()
