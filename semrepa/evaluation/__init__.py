"""Scores of videos against the true clips, and the report that compares models.

    python -m semrepa.evaluation base=runs/base ours=runs/ours --index data_samples/index.jsonl --out report/

A run is a folder of videos as `semrepa.runs` defines it.
"""

from semrepa.evaluation.scoring import ALL, CORE, ArmScores, Group, Scorer

__all__ = ["ALL", "CORE", "ArmScores", "Group", "Scorer"]
