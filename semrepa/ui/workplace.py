"""Where notebooks run: the folder their paths count from, and libraries that keep quiet there."""

from pathlib import Path

import diffusers
import huggingface_hub.utils
import transformers


def home() -> Path:
    """The nearest folder above (or at) the working directory that holds `notebooks/`."""
    here = Path.cwd()
    return next((folder for folder in (here, *here.parents) if (folder / "notebooks").is_dir()), here)


def quiet() -> None:
    """Turn off the progress bars of loaders, which would fill a report with half-drawn lines."""
    huggingface_hub.utils.disable_progress_bars()
    diffusers.utils.logging.disable_progress_bar()
    diffusers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
