"""What a process has to know of the others: how many there are, their sums, and what they agree on."""

import os
from datetime import timedelta
from pathlib import Path

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list, is_deepspeed_available, reduce
from torch import Tensor

from semrepa.runtime import pick_device
from semrepa.training.interrupts import SIGNALS

PATIENCE = timedelta(hours=1)
"""How long processes wait for each other: as long as writing the largest checkpoint may take. Ours."""


def this_process() -> PartialState:
    """Find the place of this process among all; the first call connects them.

    Returns:
        Number of processes, own number and device.

    Raises:
        ModuleNotFoundError: started for DeepSpeed, which is not installed.
        ValueError: started for DeepSpeed without a GPU.
    """
    if os.environ.get("ACCELERATE_USE_DEEPSPEED", "false").lower() == "true":
        if not is_deepspeed_available():
            raise ModuleNotFoundError(
                "got a launch with DeepSpeed, which is not installed; expected the package deepspeed; run "
                "`pip install deepspeed`, or launch with fsdp2.yaml, which needs nothing and less memory"
            )
        if pick_device().type == "cpu":
            raise ValueError(
                "got a launch with DeepSpeed on CPUs; expected GPUs; launch with two_cpus.yaml or fsdp2.yaml"
            )
    return PartialState(cpu=pick_device().type == "cpu", timeout=PATIENCE)


def summed(numbers: Tensor) -> Tensor:
    """Add up numbers of all processes, each of which has to call this.

    Args:
        numbers: of the same shape in all of them.

    Returns:
        The sums, on the device of `numbers`; these themselves where there is only one process.
    """
    process = this_process()
    if process.num_processes == 1:
        return numbers
    return reduce(numbers.to(process.device), "sum").to(numbers.device)


def agreed_signal(number: int) -> int:
    """Make a request to stop that reached one process one to all.

    Args:
        number: number of the signal that this one got; 0: none.

    Returns:
        The number that all act on; 0: none got one.
    """
    asked = summed(torch.tensor([float(number == signal) for signal in SIGNALS]))
    return next((int(signal) for signal, count in zip(SIGNALS, asked.tolist(), strict=True) if count), 0)


def agreed_checkpoint(run_dir: Path, folder: Path | None) -> Path | None:
    """Have all processes take up the checkpoint that the main process has found.

    Args:
        run_dir: run folder.
        folder: checkpoint that this process has found.

    Returns:
        That of the main process, if any.

    Raises:
        ValueError: in all processes, where some do not see it.
    """
    count = this_process().num_processes
    if count == 1:
        return folder
    (name,) = broadcast_object_list([folder.name if folder else None])
    if name is None:
        return None
    chosen = run_dir / "checkpoints" / name
    blind = summed(torch.tensor([float(not (chosen / "checkpoint.json").is_file())])).item()
    if blind:
        raise ValueError(
            f"run_dir: {blind:.0f} of {count} processes do not see {chosen}; expected a folder that "
            "all machines share, since each process reads the checkpoint; put the run folder on a shared "
            "disk, or copy it to the same place on each machine before going on"
        )
    return chosen
