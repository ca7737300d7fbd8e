"""A run that is stopped anywhere goes on bit for bit; a checkpoint is whole, whenever its process dies."""

import random

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from training.clips import TRAIN

from semrepa.config import override
from semrepa.training.checkpoint import Trained, latest_checkpoint, load_checkpoint, save_checkpoint
from semrepa.training.combined import CombinedObjective
from semrepa.training.finetune import finetune
from semrepa.training.log import read_metrics
from tests.data.killing import killed_after

STEPS, PORTIONS, BATCH = 6, 2, 4
RUN = {
    "finetune": {
        "steps": STEPS,
        "batch_size": BATCH,
        "accumulate": PORTIONS,
        "warmup": 2,
        "schedule": "cosine",
        "ema": 0.9,
        "timesteps": "stratified",
    },
    "loss.gate": "snr",
    "struct_schedule": {"warmup": 2, "until_similarity": 0.99},
    "id_schedule": {"decay": "linear", "decay_until": 5},
}
STOPS = sorted(
    random.Random(5).sample([(s, p) for s in range(1, STEPS + 1) for p in range(PORTIONS + 1)], 10)
)
"""Step, and the portion of it in which the run is interrupted; the last number: after the step."""


def numbers(logs):
    return [(log.step, log.loss, log.grad_norm, dict(log.parts), log.lr) for log in logs]


@pytest.fixture
def start(cfg, store, parts, aligners):
    """A function that starts the run in a folder."""
    torch.manual_seed(11)

    def begin(folder):
        changed = override(cfg, RUN)
        return finetune(changed, store, folder, train_ids=TRAIN, parts=parts, aligners=aligners)

    return begin


def interrupt_in(monkeypatch, portion):
    """From now on, the given portion of the next step is interrupted."""
    forward, seen = CombinedObjective.forward, []

    def broken(self, clips):
        seen.append(clips)
        if len(seen) == portion + 1:
            raise KeyboardInterrupt
        return forward(self, clips)

    monkeypatch.setattr(CombinedObjective, "forward", broken)


def saved(folder):
    """Weights and states of the last checkpoint, and the weights that were exported."""
    last = latest_checkpoint(folder)
    state = torch.load(last / "state.pt", weights_only=True)
    exported = load_file(folder / "transformer" / "diffusion_pytorch_model.safetensors")
    return last.name, load_file(last / "model.safetensors"), state, exported


def assert_same(a, b):
    if isinstance(a, dict):
        assert a.keys() == b.keys()
        for key, value in a.items():
            assert_same(value, b[key])
    elif isinstance(a, list | tuple):
        assert len(a) == len(b)
        for one, other in zip(a, b, strict=True):
            assert_same(one, other)
    elif isinstance(a, torch.Tensor):
        assert torch.equal(a, b)
    else:
        assert a == b


def test_stopped_anywhere_a_run_goes_on_bit_for_bit(start, tmp_path, monkeypatch):
    """Ten places of a seeded list: in a portion and between steps, all amid a pass over the clips."""
    expected = numbers(start(tmp_path / "whole"))
    assert len(expected) == STEPS and BATCH * STEPS % len(TRAIN)
    assert {portion for _, portion in STOPS} == set(range(PORTIONS + 1))
    for step, portion in STOPS:
        folder = tmp_path / f"stopped-{step}-{portion}"
        stream, done = start(folder), []
        while len(done) < step - 1:
            done += numbers([next(stream)])
        with monkeypatch.context() as patch:
            if portion < PORTIONS:
                interrupt_in(patch, portion)
                with pytest.raises(KeyboardInterrupt):
                    next(stream)
            else:
                done += numbers([next(stream)])
                stream.close()
        torch.manual_seed(step)
        assert done + numbers(start(folder)) == expected, (step, portion)
        assert_same(saved(folder), saved(tmp_path / "whole"))
        lines = [{**line, "seconds": 0, "speed": {}} for line in read_metrics(folder)]
        assert lines == [{**line, "seconds": 0, "speed": {}} for line in read_metrics(tmp_path / "whole")]


def write_for_ever(folder, tell):
    """Checkpoint after checkpoint, all numbers of each being its step."""
    model = nn.Linear(300, 300)
    optimizer = torch.optim.AdamW(model.parameters())
    sum(p.sum() for p in model.parameters()).backward()
    optimizer.step()
    for step in range(1, 100_000):
        for value in (*model.parameters(), *(v for s in optimizer.state.values() for v in s.values())):
            value.data.fill_(step)
        save_checkpoint(folder, step, Trained(model=model, optimizer=optimizer), {"seed": 1}, keep=2)
        tell(step)


def test_ten_kills_while_checkpoints_are_written_leave_whole_ones_only(tmp_path):
    """Every checkpoint that is found loads, with the weights of its own step throughout; none is lost."""
    clock, ends = random.Random(3), set()
    for kill in range(10):
        folder = tmp_path / str(kill)
        told = killed_after(clock.uniform(0.2, 0.4), lambda tell, folder=folder: write_for_ever(folder, tell))
        found = sorted((folder / "checkpoints").glob("step-*"))
        assert max(told, default=0) <= max((check(path) for path in found), default=0)
        assert len(found) <= 3
        ends.add(len(list((folder / "checkpoints").glob(".*"))))
    assert 1 in ends, "no kill came in the middle of a checkpoint"


def check(path):
    """Load a checkpoint; gives its step."""
    model = nn.Linear(300, 300)
    optimizer = torch.optim.AdamW(model.parameters())
    step = load_checkpoint(path, Trained(model=model, optimizer=optimizer), {"seed": 1})
    assert path.name == f"step-{step:06d}"
    assert all((value == step).all() for value in model.parameters())
    assert all((s["exp_avg"] == step).all() for s in optimizer.state_dict()["state"].values())
    return step
