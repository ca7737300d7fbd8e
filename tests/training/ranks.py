"""What two processes do for the tests beside this file; started by `accelerate launch`.

    ranks.py INPUTS OUT JOB...

Each process writes what came of a job to `OUT/JOB.<number>.json`. Tests run the same functions alone, too.
"""

import json
import os
import signal
import sys
from contextlib import nullcontext
from itertools import islice
from pathlib import Path

import torch
from torch.distributed.fsdp import FSDPModule
from training.clips import HELDOUT, TRAIN

from semrepa.config import Config, override
from semrepa.data.store import FeatureStore
from semrepa.training import alignment, combined, objectives
from semrepa.training.finetune import finetune
from semrepa.training.objectives import IdentityObjective, StructureObjective
from semrepa.training.optimizer import make_optimizer
from semrepa.training.parallel import Processes
from semrepa.training.pretrain import new_structure_aligner, pretrain_identity, pretrain_structure
from semrepa.training.processes import this_process
from semrepa.training.sharding import local

SMALL = {"steps": 3, "batch_size": 4, "lr": 1e-4, "eval_every": 2, "checkpoint_every": 2}
THREE = (*HELDOUT, "a")
"""Held-out clips that two processes cannot share evenly."""


def small(inputs, changes=None):
    """Config of the jobs, computed in float32 also where the processor has bfloat16."""
    for module in (alignment, combined, objectives):
        module.autocast = lambda _: nullcontext()
    stages = dict.fromkeys(("finetune", "pretrain_identity", "pretrain_structure"), SMALL)
    cfg = override(Config.load(inputs / "config.json"), {**stages, "loss.gate": "snr"})
    return override(override(cfg, {"finetune.timesteps": "stratified"}), changes or {})


def training(stage, inputs, folder, changes=None, steps=None, **options):
    """Logs of a run, as plain values."""
    store = FeatureStore(inputs / "store", {"vae": "tiny", "size": [9, 32, 48]})
    ids = {"train_ids": (*TRAIN, "faceless"), "heldout_ids": THREE}
    stream = stage(small(inputs, changes), store, folder, **ids, **options)
    kept = [{**vars(log), "seconds": 0, "speed": {}} for log in islice(stream, steps)]
    stream.close()
    return kept


def finetuning(inputs, folder, changes=None, **options):
    return training(finetune, inputs, folder, changes, **options)


def identity(inputs, folder, changes=None, **options):
    return training(pretrain_identity, inputs, folder, changes, **options)


def structure(inputs, folder, changes=None, **options):
    return training(pretrain_structure, inputs, folder, changes, **options)


def refused(run, *args):
    """The error that a run ends with."""
    try:
        run(*args)
    except (ValueError, FloatingPointError, SystemExit) as error:
        return f"{type(error).__name__}: {error}"
    return "no error"


def number():
    return this_process().process_index


def told(inputs, folder):
    """The second process is told to stop, twice, in the middle of a step."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    forward = IdentityObjective.forward

    def asked(self, portion):
        if number() == 1 and portion.step == 2:
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGTERM)
        return forward(self, portion)

    IdentityObjective.forward = asked
    try:
        return refused(identity, inputs, folder, {"pretrain_identity.steps": 5})
    finally:
        IdentityObjective.forward = forward


def broken(inputs, folder):
    """The second process has a loss that is no number, in two steps."""
    forward = IdentityObjective.forward

    def spoiled(self, portion):
        loss, parts = forward(self, portion)
        return (loss * float("nan") if number() == 1 and portion.step in (2, 3) else loss), parts

    IdentityObjective.forward = spoiled
    changes = {"pretrain_identity": {"steps": 5, "max_bad_steps": 2}}
    try:
        return refused(identity, inputs, folder, changes)
    finally:
        IdentityObjective.forward = forward


def shards(inputs, folder):
    """Numbers that this process holds of a network, those of the whole network, and its sharded parts."""
    cfg = small(inputs)
    objective = StructureObjective(new_structure_aligner(cfg))
    optimizer = make_optimizer(list(objective.parameters()), cfg.pretrain_structure)
    optimizer = Processes(cfg.pretrain_structure).prepare(objective, optimizer, cfg.pretrain_structure)
    held = [local(weight).numel() for group in optimizer.param_groups for weight in group["params"]]
    parts = sum(isinstance(module, FSDPModule) for module in objective.modules())
    return [sum(held), sum(weight.numel() for weight in objective.parameters()), parts]


MEASURED = {"finetune": {"balance_every": 1, "probe_every": 1, "probe_clips": 3}}
"""Three clips again, so that two processes cannot share them evenly."""
DDP_JOBS = {
    "whole": finetuning,
    "portions": lambda *places: finetuning(*places, {"finetune.accumulate": 2}),
    "identity": identity,
    "noisy": lambda *places: structure(*places, {"structure.input": "noisy"}),
    "told": told,
    "went_on": lambda inputs, folder: identity(
        inputs, folder.with_name("told"), {"pretrain_identity.steps": 5}
    ),
    "broken": broken,
    "blind": lambda inputs, folder: refused(
        identity, inputs, folder.with_name("identity" if number() == 0 else "elsewhere")
    ),
    "balance": lambda *places: finetuning(*places, MEASURED, steps=1),
}
CHECKPOINTED = {"finetune": {"gradient_checkpointing": True, "accumulate": 2}}
LORA = {"finetune": {"mode": "lora", "lora_rank": 2, "lora_alpha": 2.0}}
FSDP_JOBS = {
    "shards": shards,
    "noisy": lambda *places: structure(*places, {"structure.input": "noisy"}),
    "sharded": lambda *places: finetuning(*places, CHECKPOINTED),
    "stopped": lambda *places: finetuning(*places, steps=2),
    "sharded_on": lambda inputs, folder: finetuning(inputs, folder.with_name("stopped"), resume=True),
    "from_one": lambda inputs, folder: finetuning(inputs, folder.with_name("one"), resume=True),
    "lora": lambda *places: finetuning(*places, LORA),
    "averaged": lambda *places: refused(finetuning, *places, {"finetune.ema": 0.9}),
    "rounded": lambda *places: refused(finetuning, *places, {"finetune.weights_dtype": "bfloat16"}),
    "no_blocks": lambda *places: refused(identity, *places),
    "unbalanced": lambda *places: refused(finetuning, *places, {"finetune.balance_every": 1}),
    "unprobed": lambda *places: refused(finetuning, *places, {"finetune.probe_every": 1}),
}
JOBS = DDP_JOBS | FSDP_JOBS


def main(inputs, out, *jobs):
    torch.set_num_threads(1)
    written = []

    def watch(event, args):
        changes = (event == "open" and set(args[1] or "") & set("wax+")) or event in ("os.mkdir", "os.rename")
        if changes and str(args[0]).startswith(str(out)):
            written.append(f"{event} {args[0]}")

    sys.addaudithook(watch)
    for job in jobs:
        written.clear()
        made = JOBS[job](Path(inputs), Path(out) / job)
        result = {"made": made, "written": sorted(written)}
        Path(out, f"{job}.{number()}.json").write_text(json.dumps(result))


if __name__ == "__main__":
    main(*sys.argv[1:])
