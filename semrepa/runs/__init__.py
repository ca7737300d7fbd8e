"""Videos of any model, for scoring: a run is a folder with one mp4 for each clip of an index and each seed.

    python -m semrepa.runs generate --model svd --index data_samples/index.jsonl --out runs/svd
    python -m semrepa.runs check runs/svd --index data_samples/index.jsonl

What a folder must look like is in `semrepa.runs.folder` and docs/EVALUATION.md.
"""

from semrepa.runs.folder import check_run, read_run, read_videos, wanted_pairs
from semrepa.runs.making import MODELS, Model, Sampling, made_from, make_run, read_record
from semrepa.runs.report import Finding, Pair, RunError, RunReport

__all__ = [
    "MODELS",
    "Finding",
    "Model",
    "Pair",
    "RunError",
    "RunReport",
    "Sampling",
    "check_run",
    "made_from",
    "make_run",
    "read_record",
    "read_run",
    "read_videos",
    "wanted_pairs",
]
