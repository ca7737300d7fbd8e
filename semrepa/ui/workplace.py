"""Where notebooks run: the folder their paths count from."""

from pathlib import Path


def home() -> Path:
    """The nearest folder above (or at) the working directory that holds `notebooks/`."""
    here = Path.cwd()
    return next((folder for folder in (here, *here.parents) if (folder / "notebooks").is_dir()), here)
