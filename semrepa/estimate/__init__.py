"""What a run will cost, before it starts: parameters, work, memory, disk and days.

    print(summary(estimate(preset("full"), gpu="H100", gpus=8)))

From a shell: `python -m semrepa.estimate --preset full --gpu H100 --gpus 8 --clips 730000`.
"""

from semrepa.estimate.gpus import GPUS, Gpu, find_gpu, visible_gpu
from semrepa.estimate.memory import Memory
from semrepa.estimate.plan import Estimate, StageTime, estimate
from semrepa.estimate.tables import summary, tables
from semrepa.estimate.work import Work, sizes_of, useful_flops

__all__ = [
    "GPUS",
    "Estimate",
    "Gpu",
    "Memory",
    "StageTime",
    "Work",
    "estimate",
    "find_gpu",
    "sizes_of",
    "summary",
    "tables",
    "useful_flops",
    "visible_gpu",
]
