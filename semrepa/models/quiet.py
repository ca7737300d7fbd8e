"""Libraries that load networks without a word, so that reports and logs are not full of half-drawn lines."""

import diffusers
import huggingface_hub.utils
import transformers


def quiet() -> None:
    """Turn off progress bars and notes of the loaders, for this process."""
    huggingface_hub.utils.disable_progress_bars()
    diffusers.utils.logging.disable_progress_bar()
    diffusers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
