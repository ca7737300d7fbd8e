"""Calls that let one network hold weights of two precisions."""

from torch import Tensor, nn
from torch.nn import functional

Layer = nn.Linear | nn.Conv2d | nn.ConvTranspose2d | nn.LayerNorm | nn.GroupNorm


def apply(layer: Layer, features: Tensor) -> Tensor:
    """Call a layer in the precision of its weights.

    Args:
        layer: layer with weights.
        features: its input, in any precision.

    Returns:
        Its output, in the precision of the weights.
    """
    return layer(features.to(layer.weight.dtype))


def attend(query: Tensor, key: Tensor, value: Tensor, heads: int) -> Tensor:
    """Attention with several heads, all tokens of a sequence to all.

    Args:
        query: (sequences, tokens, channels), heads side by side in the channels.
        key: like the query.
        value: like the query.
        heads: number of heads, scores are divided by the root of their width.

    Returns:
        Attended values (sequences, tokens, channels).
    """
    split = [x.unflatten(2, (heads, -1)).transpose(1, 2) for x in (query, key, value)]
    return functional.scaled_dot_product_attention(*split).transpose(1, 2).flatten(2)
