"""The temporal modules: the only parts in which frames see each other, each pixel position for itself."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from semrepa.models.video_depth_anything.layers import apply, attend
from semrepa.models.video_depth_anything.sizes import MAX_FRAMES

HEADS = 8
GROUPS = 32
SEQUENCES = 65535 // HEADS // 2
"""Pixel positions at a time. Kernels of attention take at most 65535 sequences x heads; half of it also
halves the memory of the widest layer."""


def position_table(frames: int, channels: int) -> Tensor:
    """Sines (even channels) and cosines (odd channels) of the frame number at falling frequencies.

    Args:
        frames: number of positions.
        channels: number of channels, even.

    Returns:
        (1, frames, channels), between -1 and 1.
    """
    frequency = 10000 ** (-torch.arange(0, channels, 2, dtype=torch.float32) / channels)
    angle = torch.arange(frames, dtype=torch.float32)[:, None] * frequency
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)[None]


class PositionTable(nn.Module):
    """Adds the position of the frame; the table is stored with the weights.

    Args:
        channels: channels of the tokens.
    """

    pe: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("pe", position_table(MAX_FRAMES, channels))

    def forward(self, tokens: Tensor) -> Tensor:
        """Add positions.

        Args:
            tokens: (sequences, frames, channels).

        Returns:
            Tokens of the same shape.
        """
        return tokens + self.pe[:, : tokens.shape[1]]


class TemporalAttention(nn.Module):
    """Attention of all frames to all at one pixel position, forward and backward in time.

    Args:
        channels: channels of the tokens.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.to_q, self.to_k, self.to_v = (nn.Linear(channels, channels, bias=False) for _ in range(3))
        self.to_out = nn.ModuleList([nn.Linear(channels, channels)])
        self.pos_encoder = PositionTable(channels)

    def forward(self, tokens: Tensor) -> Tensor:
        """Attend.

        Args:
            tokens: (sequences, frames, channels), normalised.

        Returns:
            What is added to the tokens, of the same shape.
        """
        tokens = self.pos_encoder(tokens)
        query, key, value = (apply(layer, tokens) for layer in (self.to_q, self.to_k, self.to_v))
        return self.to_out[0](attend(query, key, value, HEADS))


class GatedGelu(nn.Module):
    """A linear layer whose first half is multiplied by the exact GELU of its second half.

    Args:
        inputs: channels in.
        outputs: channels out.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.proj = nn.Linear(inputs, 2 * outputs)

    def forward(self, tokens: Tensor) -> Tensor:
        """Transform each token.

        Args:
            tokens: (sequences, frames, inputs).

        Returns:
            Tokens (sequences, frames, outputs).
        """
        value, gate = apply(self.proj, tokens).chunk(2, dim=-1)
        return value * functional.gelu(gate)


class FeedForward(nn.Module):
    """A gated layer four times as wide, and back.

    Args:
        channels: channels of the tokens.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        wide = 4 * channels
        self.net = nn.Sequential(GatedGelu(channels, wide), nn.Identity(), nn.Linear(wide, channels))

    def forward(self, tokens: Tensor) -> Tensor:
        """Transform each token.

        Args:
            tokens: (sequences, frames, channels).

        Returns:
            What is added to the tokens, of the same shape.
        """
        return self.net(tokens)


class TemporalBlock(nn.Module):
    """Two attentions over time and a feed-forward layer, each normalised before and added after.

    Args:
        channels: channels of the tokens.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.attention_blocks = nn.ModuleList(TemporalAttention(channels) for _ in range(2))
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for _ in range(2))
        self.ff = FeedForward(channels)
        self.ff_norm = nn.LayerNorm(channels)

    def forward(self, tokens: Tensor) -> Tensor:
        """Refine tokens.

        Args:
            tokens: (sequences, frames, channels).

        Returns:
            Tokens of the same shape.
        """
        for attention, norm in zip(self.attention_blocks, self.norms, strict=True):
            tokens = tokens + attention(apply(norm, tokens))
        return tokens + self.ff(apply(self.ff_norm, tokens))


class TemporalTransformer(nn.Module):
    """Takes maps apart into one sequence over time for each pixel position, and back.

    Args:
        channels: channels of the maps, a multiple of 32.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(GROUPS, channels, eps=1e-6)
        self.proj_in = nn.Linear(channels, channels)
        self.transformer_blocks = nn.ModuleList([TemporalBlock(channels)])
        self.proj_out = nn.Linear(channels, channels)

    def forward(self, maps: Tensor, frames: int) -> Tensor:
        """Let frames see each other.

        Args:
            maps: (clips x frames, channels, h, w); statistics of the norm are those of each frame.
            frames: frames of each clip, at most 32.

        Returns:
            What is added to the maps, of the same shape.
        """
        normal = apply(self.norm, maps).unflatten(0, (-1, frames)).flatten(3)
        clips, _, channels, places = normal.shape
        tokens = normal.permute(0, 3, 1, 2).reshape(clips * places, frames, channels)
        mixed = torch.cat([self.mix(some) for some in tokens.split(SEQUENCES)])
        return mixed.view(clips, places, frames, channels).permute(0, 2, 3, 1).reshape(maps.shape)

    def mix(self, tokens: Tensor) -> Tensor:
        """Mix the frames of some pixel positions.

        Args:
            tokens: (sequences, frames, channels).

        Returns:
            Tokens of the same shape.
        """
        tokens = apply(self.proj_in, tokens)
        for block in self.transformer_blocks:
            tokens = block(tokens)
        return apply(self.proj_out, tokens)


class TemporalModule(nn.Module):
    """A temporal transformer added to its input; untrained it changes nothing.

    Args:
        channels: channels of the maps, a multiple of 32.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.temporal_transformer = TemporalTransformer(channels)
        nn.init.zeros_(self.temporal_transformer.proj_out.weight)
        nn.init.zeros_(self.temporal_transformer.proj_out.bias)

    def forward(self, maps: Tensor, frames: int) -> Tensor:
        """Let frames see each other.

        Args:
            maps: (clips x frames, channels, h, w).
            frames: frames of each clip, at most 32.

        Returns:
            Maps of the same shape.
        """
        return maps + self.temporal_transformer(maps, frames)
