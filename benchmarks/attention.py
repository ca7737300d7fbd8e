"""Fused against written-out attention in a training step of the mini transformer, on the CPU.

`python -m benchmarks.attention` prints medians of CPU seconds for forward and backward, and how far the
gradients are from float64; then the same for a whole training step of the transformer.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from contextlib import nullcontext
from unittest import mock

import torch
from diffusers import CogVideoXTransformer3DModel
from torch import Tensor
from torch.nn import functional

from semrepa.miniature.networks import new_transformer
from semrepa.models import transformer
from semrepa.models.attention import attention, training_attention
from semrepa.models.cogvideox import predict_v

SHAPE = (8, 6, 520, 32)
"""Samples, heads, tokens and head width of the mini transformer at batch 8."""


def fused(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """The kernel of torch."""
    return functional.scaled_dot_product_attention(query, key, value)


def gradients(function: Callable[..., Tensor], inputs: list[Tensor], pull: Tensor) -> list[Tensor]:
    """Gradients of the three inputs."""
    leaves = [x.clone().requires_grad_() for x in inputs]
    function(*leaves).backward(pull.to(leaves[0].dtype))
    return [leaf.grad.double() for leaf in leaves if leaf.grad is not None]


def training_step(model: CogVideoXTransformer3DModel) -> Callable[[], None]:
    """Forward and backward of the mini transformer on random numbers, batch 8."""
    samples, length = SHAPE[0], model.config.max_text_seq_length
    noisy, image = torch.randn(2, samples, 5, 16, 16, 24)
    prompts = torch.randn(samples, length, model.config.text_embed_dim)
    timesteps = torch.randint(0, 1000, (samples,))

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16):
            v_pred = predict_v(model, noisy, image, prompts, timesteps)
        v_pred.square().mean().backward()

    return step


def steps(rounds: int) -> dict[str, float]:
    """Median CPU seconds of a training step with either attention, taken in turns."""
    step = training_step(new_transformer(0))
    seconds: dict[str, list[float]] = {"fused": [], "written out": []}
    for _ in range(rounds + 1):
        for name, context in (("fused", lambda _: nullcontext()), ("written out", training_attention)):
            with mock.patch.object(transformer, "training_attention", context):
                began = time.process_time()
                step()
                seconds[name].append(time.process_time() - began)
    return {name: statistics.median(values[1:]) for name, values in seconds.items()}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    exact = [functional.layer_norm(torch.randn(SHAPE), SHAPE[-1:]).double() for _ in range(3)]
    pull = torch.randn(SHAPE).double()
    truth = gradients(fused, exact, pull)
    inputs = [x.bfloat16() for x in exact]
    seconds: dict[str, list[float]] = {"fused": [], "written out": []}
    error: dict[str, float] = {}
    for _ in range(arguments.rounds):
        for name, function in (("fused", fused), ("written out", attention)):
            began = time.process_time()
            found = gradients(function, inputs, pull)
            seconds[name].append(time.process_time() - began)
            error[name] = max(((a - b).norm() / b.norm()).item() for a, b in zip(found, truth, strict=True))
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    print(f"bfloat16, (samples, heads, tokens, width) = {SHAPE}, {arguments.rounds} rounds, medians")
    print(f"{'attention':<12} {'CPU s':>8} {'ratio':>7} {'gradient error':>15}")
    for name, median in medians.items():
        print(f"{name:<12} {median:8.4f} {median / medians['fused']:7.2f} {error[name]:15.1e}")
    whole = steps(arguments.rounds)
    print(f"\n{'whole step':<12} {'CPU s':>8} {'ratio':>7}")
    for name, median in whole.items():
        print(f"{name:<12} {median:8.4f} {median / whole['fused']:7.2f}")


if __name__ == "__main__":
    main()
