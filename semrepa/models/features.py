"""What the blocks of a CogVideoX transformer hold about each patch of a video while it is called."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, TypeVar

from diffusers import CogVideoXTransformer3DModel
from jaxtyping import Float
from torch import Tensor

K = TypeVar("K")

Tokens = Float[Tensor, "b tokens dim"]
"""Features of each patch of the video, frame by frame and row by row."""
Grid = Float[Tensor, "b f y x dim"]
"""The same by place: f frames of patches, y by x patches each."""


@contextmanager
def block_features(
    transformer: CogVideoXTransformer3DModel, keep: Callable[[Tokens], K]
) -> Iterator[list[K]]:
    """Record what goes into the first block for the video, and what comes out of each block.

    Args:
        transformer: any CogVideoX transformer; it is left as it was.
        keep: makes something smaller of the tokens of a block as soon as they are there, since those of all
            blocks of a large model need gigabytes.

    Yields:
        A list that holds, after each call of the transformer, what was kept: first of the blocks' input, then
        of each block. Text tokens are left out.
    """
    found: list[K] = []

    def begin(_module: object, inputs: Sequence[Tensor], given: dict[str, Any]) -> None:
        tokens = given["hidden_states"] if "hidden_states" in given else inputs[0]
        found[:] = [keep(tokens.detach())]

    def go_on(_module: object, _inputs: object, output: Sequence[Tensor]) -> None:
        found.append(keep(output[0].detach()))

    blocks = transformer.transformer_blocks
    with ExitStack() as hooks:
        hooks.callback(blocks[0].register_forward_pre_hook(begin, with_kwargs=True).remove)
        for block in blocks:
            hooks.callback(block.register_forward_hook(go_on).remove)
        yield found


def patches(transformer: CogVideoXTransformer3DModel) -> tuple[int, int, int]:
    """Latent frames, rows and columns of a patch: (1, 2, 2), and (2, 2, 2) for CogVideoX 1.5."""
    config = transformer.config
    return config.patch_size_t or 1, config.patch_size, config.patch_size


def to_grid(tokens: Tokens, latents: Sequence[int], patch: tuple[int, int, int]) -> Grid:
    """Put tokens where their patches are.

    Args:
        tokens: of a call with these latents.
        latents: shape (b, f, c, h, w) of the latents that the transformer worked on.
        patch: from `patches`.

    Returns:
        Tokens by frame, row and column.

    Raises:
        ValueError: the counts do not agree.
    """
    _, frames, _, height, width = latents
    places = frames // patch[0], height // patch[1], width // patch[2]
    if tokens.shape[1] != places[0] * places[1] * places[2]:
        raise ValueError(
            f"got {tokens.shape[1]} tokens; expected {places[0]} x {places[1]} x {places[2]} for latents "
            f"{tuple(latents)} in patches of {patch}"
        )
    return tokens.unflatten(1, places)
