"""Run notebooks without a browser, strictly: wrong names stop before the start, and failure is failure.

    python -m semrepa.headless notebooks/06_dit_finetuning.ipynb --run-dir runs/x -o finetune.steps=20
    python -m semrepa.headless --all --run-dir runs/demo

Each notebook leaves its executed copy, an HTML page that opens offline and its `run.json` in its run folder.
Plain `papermill notebook out.ipynb -p preset mini` works too; it only lacks the checks and the pages.
"""

from semrepa.headless.execution import execute
from semrepa.headless.pipeline import run_all

__all__ = ["execute", "run_all"]
