"""The ablations of the paper's Table 2: the same fine-tuning with each loss, weight and input, and without.

    python -m semrepa.ablations aligner --run-dir runs/ablations
    python -m semrepa.ablations run --seeds 0 1 2 --run-dir runs/ablations
    python -m semrepa.ablations table --run-dir runs/ablations

An arm is a line of the table, a cell is one arm with one seed.
"""

from semrepa.ablations.grid import ARMS, BASE, PLAIN, Arm, chosen

__all__ = ["ARMS", "BASE", "PLAIN", "Arm", "chosen"]
