"""What a CogVideoX transformer costs, as formulas of its size.

A FLOP is one multiplication or one addition. In a block of width D on S tokens, the linear layers take
24 S D^2 and attention takes 4 S^2 D. A backward pass takes the linear layers twice (gradients of inputs and
of weights; frozen: inputs only) and fused attention 2.5 times. Memory is counted in units of S D numbers of
two bytes; how many of them a block keeps for its backward pass was counted on the real class, see
`tests/estimate/test_formulas.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Precision = Literal["float32", "autocast", "bfloat16"]
"""How a network computes: in float32; with float32 weights under bfloat16 autocast; in bfloat16."""

_KEPT: dict[tuple[Precision, bool], int] = {
    ("bfloat16", True): 23,
    ("bfloat16", False): 12,
    ("autocast", True): 31,
    ("autocast", False): 16,
    ("float32", True): 46,
    ("float32", False): 24,
}
"""Units that a trained (True) or frozen block keeps, without the statistics of norms and attention."""
_SCRATCH: dict[Precision, int] = {"bfloat16": 6, "autocast": 8, "float32": 12}
"""Units that a step takes at its peak beyond what blocks keep: embedding, output, gradients on their way."""
_PASSING: dict[Precision, int] = {"bfloat16": 13, "autocast": 18, "float32": 26}
"""Units that a forward pass without gradients takes at its peak, however many blocks there are."""


@dataclass(frozen=True, kw_only=True)
class Stack:
    """A CogVideoX transformer at work on one clip: the sizes that decide what it costs."""

    layers: int
    """Transformer blocks."""
    heads: int
    """Attention heads."""
    head_dim: int
    """Numbers per head."""
    video_tokens: int
    """Patches of the video."""
    text_tokens: int
    """Tokens of the caption."""
    patch_inputs: int
    """Numbers in a patch that go in."""
    patch_outputs: int
    """Numbers in a patch that come out."""
    text_features: int
    """Numbers per text token that go in."""

    @property
    def width(self) -> int:
        """Numbers per token."""
        return self.heads * self.head_dim

    @property
    def tokens(self) -> int:
        """Tokens in all."""
        return self.video_tokens + self.text_tokens

    @property
    def unit(self) -> int:
        """Bytes of one number of two bytes for each token and channel."""
        return 2 * self.tokens * self.width


def linear_flops(stack: Stack) -> float:
    """Forward FLOP of the linear layers of all blocks, for one clip."""
    return stack.layers * 24 * stack.tokens * stack.width**2


def attention_flops(stack: Stack) -> float:
    """Forward FLOP of attention in all blocks, for one clip: scores and weighted sums."""
    return stack.layers * 4 * stack.tokens**2 * stack.width


def end_flops(stack: Stack) -> float:
    """Forward FLOP of what embeds patches and text and of what projects patches out, for one clip."""
    patches = stack.video_tokens * (stack.patch_inputs + stack.patch_outputs)
    return 2 * stack.width * (patches + stack.text_tokens * stack.text_features)


def forward_flops(stack: Stack) -> float:
    """FLOP of a forward pass for one clip."""
    return linear_flops(stack) + attention_flops(stack) + end_flops(stack)


def backward_flops(stack: Stack, *, trained: bool) -> float:
    """FLOP of a backward pass for one clip.

    Args:
        stack: the transformer.
        trained: gradients of weights as well; False: of the input only, through frozen weights.

    Returns:
        FLOP.
    """
    times = 2 if trained else 1
    return times * (linear_flops(stack) + end_flops(stack)) + 2.5 * attention_flops(stack)


def step_flops(stack: Stack, *, trained: bool, checkpointing: bool = False) -> float:
    """FLOP of a forward and a backward pass for one clip.

    Args:
        stack: the transformer.
        trained: see `backward_flops`.
        checkpointing: blocks are run a second time in the backward pass instead of kept.

    Returns:
        FLOP.
    """
    again = linear_flops(stack) + attention_flops(stack) if checkpointing else 0
    return forward_flops(stack) + backward_flops(stack, trained=trained) + again


def block_bytes(stack: Stack, *, trained: bool, precision: Precision) -> float:
    """Bytes that one block keeps of one clip for its backward pass.

    Args:
        stack: the transformer.
        trained: a frozen block keeps about half, since it needs no gradients of weights.
        precision: how it computes.

    Returns:
        Bytes; float32 statistics of six norms (two of them per head) and of attention are the last term.
    """
    statistics = stack.tokens * (20 * stack.heads + 16)
    return _KEPT[precision, trained] * stack.unit + statistics


def step_bytes(stack: Stack, *, trained: bool, precision: Precision, checkpointing: bool = False) -> float:
    """Bytes of activations at the peak of a training step, for one clip.

    Args:
        stack: the transformer.
        trained: see `block_bytes`.
        precision: how it computes.
        checkpointing: each block keeps its input only, and one at a time all it needs.

    Returns:
        Bytes, without weights, gradients of weights, and casts of weights.
    """
    block = block_bytes(stack, trained=trained, precision=precision)
    scratch = _SCRATCH[precision] * stack.unit
    if not checkpointing:
        return stack.layers * block + scratch
    kept = stack.unit * (2 if precision == "float32" else 1)
    return stack.layers * kept + block + scratch


def sample_bytes(stack: Stack, precision: Precision) -> float:
    """Bytes of activations at the peak of a forward pass without gradients, for one clip."""
    return _PASSING[precision] * stack.unit


def cast_bytes(stack: Stack, parameters: int, *, trained: bool) -> float:
    """Bytes of the bfloat16 copies that autocast makes of float32 weights and that live through a step.

    Args:
        stack: the transformer.
        parameters: its weights.
        trained: copies of trained weights are kept to the end of the forward pass; of frozen ones only those
            that gradients pass through, 12 D^2 numbers per block.

    Returns:
        Bytes.
    """
    return 2 * parameters if trained else 2 * stack.layers * 12 * stack.width**2


def state_bytes(
    parameters: int, *, weight: int = 4, gradient: int = 4, optimizer: int = 8, average: int = 0
) -> dict[str, float]:
    """Bytes that a trained network holds all the time.

    Args:
        parameters: its weights.
        weight: bytes per weight; float32: 4.
        gradient: bytes per gradient.
        optimizer: bytes of optimiser state per weight; AdamW in float32: two numbers, 8.
        average: bytes per averaged weight; 4 where the run keeps an average, else 0.

    Returns:
        Bytes by part.
    """
    parts = {"weights": weight, "gradients": gradient, "optimizer": optimizer, "average": average}
    return {name: float(size * parameters) for name, size in parts.items() if size}


def record_bytes(
    *,
    num_frames: int,
    height: int,
    width: int,
    channels: int = 16,
    text_tokens: int,
    text_features: int,
    embed_dim: int = 512,
) -> Mapping[str, int]:
    """Bytes of each tensor that the feature store keeps of a clip.

    Args:
        num_frames: video frames, 4 k + 1.
        height: pixels.
        width: pixels.
        channels: latent channels.
        text_tokens: tokens kept of the caption.
        text_features: numbers per token.
        embed_dim: numbers per face embedding.

    Returns:
        Bytes by tensor, as `semrepa.data.store.Record` lists them; small ones together.
    """
    latents = ((num_frames - 1) // 4 + 1) * channels * (height // 8) * (width // 8) * 2
    return {
        "latents": latents,
        "depth_latents": latents,
        "prompt_embeds": text_tokens * text_features * 2,
        "first_frame": 3 * height * width,
        "id_embeds": num_frames * embed_dim * 2,
        "face_mask and places": num_frames * (1 + 4 * (4 + 4)),
        "timestamps and ranges": num_frames * 4 + 4 * (2 + 5 + 4),
    }
