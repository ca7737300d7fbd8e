"""How ZeRO-2 would be driven, against a stand-in for DeepSpeed: order of calls, and form of the states."""

import sys
from types import ModuleType

import torch
from torch import nn

from semrepa.config import TrainConfig
from semrepa.training import zero
from semrepa.training.parallel import Processes

CONFIG = TrainConfig(steps=1, batch_size=2, lr=0.1, warmup=0, checkpoint_every=1, eval_every=1)


class Engine:
    """Writes down what it is asked for."""

    def __init__(self):
        self.calls = []

    def set_gradient_accumulation_boundary(self, *, is_boundary):
        self.calls.append(("boundary", is_boundary))

    def backward(self, loss):
        self.calls.append(("backward", loss.item()))

    def step(self):
        self.calls.append("step")

    def get_global_grad_norm(self):
        self.calls.append("norm")
        return torch.tensor(3.0)


def test_weights_move_when_the_loop_says_so():
    processes, engine = Processes(CONFIG), Engine()
    processes._engine = engine
    processes.backward(torch.tensor(1.0), last=False)
    processes.backward(torch.tensor(2.0), last=True)
    assert processes.clip([], 1.0) == 0
    assert engine.calls == [("boundary", False), ("backward", 1.0), ("boundary", True), ("backward", 2.0)]
    assert processes.move(Optimizer({}), 0.0) == 3.0
    assert engine.calls[4:] == ["step", "norm"]


class Optimizer(torch.optim.Optimizer):
    """State by shard, as DeepSpeed's: all weights in one flat tensor."""

    def __init__(self, group):
        self.state = {"flat": {"step": 1}}
        self.param_groups = [{**group, "params": [torch.zeros(3)]}]


def stand_in(whole):
    """DeepSpeed's functions for tensors that are kept whole in a dictionary."""
    made = ModuleType("deepspeed.utils")
    made.safe_get_full_fp32_param = lambda weight: whole[weight]["weight"]
    made.safe_get_full_optimizer_state = lambda weight, name: whole[weight][name]
    made.safe_set_full_fp32_param = lambda weight, value: whole[weight].update(weight=value)
    made.safe_set_full_optimizer_state = lambda weight, value, name: whole[weight].update({name: value})
    return made


def test_states_have_the_form_of_adamw_in_one_process(monkeypatch):
    torch.manual_seed(0)
    model = nn.BatchNorm1d(3)
    model.bias.requires_grad_(False)
    adamw = torch.optim.AdamW([model.weight], lr=0.1)
    model(torch.randn(4, 3)).square().sum().backward()
    adamw.step()
    expected, exact = adamw.state_dict(), model.weight.detach().clone()
    model.bfloat16()
    whole = {model.weight: {"weight": exact, **{name: expected["state"][0][name] for name in zero.STATES}}}
    monkeypatch.setitem(sys.modules, "deepspeed.utils", stand_in(whole))
    kept = zero.weights(model)
    assert set(kept) == {"weight", "running_mean", "running_var", "num_batches_tracked"}
    assert torch.equal(kept["weight"], exact)
    group = {name: value for name, value in expected["param_groups"][0].items() if name != "params"}
    optimizer = Optimizer(group)
    state = zero.optimizer_state(model, optimizer)
    assert state["param_groups"] == expected["param_groups"]
    adamw.load_state_dict(state)
    for name in ("step", *zero.STATES):
        assert torch.equal(torch.as_tensor(state["state"][0][name]), expected["state"][0][name])

    state["state"][0] = {"step": torch.tensor(7.0), **{name: torch.ones(3) for name in zero.STATES}}
    zero.load_optimizer(model, optimizer, state)
    zero.load_weights(model, {"weight": 2 * exact})
    assert optimizer.state["flat"]["step"] == 7
    assert torch.equal(whole[model.weight]["weight"], 2 * exact)
    assert all(torch.equal(whole[model.weight][name], torch.ones(3)) for name in zero.STATES)
