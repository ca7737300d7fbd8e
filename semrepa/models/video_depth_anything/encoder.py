"""The picture encoder: a DINOv2 vision transformer, with the published names of its parameters."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from semrepa.models.video_depth_anything.layers import apply, attend
from semrepa.models.video_depth_anything.sizes import GRID, PATCH, Size

EPS = 1e-6


class PatchEmbed(nn.Module):
    """A linear picture of every patch.

    Args:
        dim: channels out.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, dim, PATCH, PATCH)

    def forward(self, frames: Tensor) -> Tensor:
        """Embed patches.

        Args:
            frames: (k, 3, H, W) normalised colours.

        Returns:
            Tokens (k, patches, dim), row by row.
        """
        return apply(self.proj, frames).flatten(2).transpose(1, 2)


class Attention(nn.Module):
    """Attention of all tokens of a frame to all, with one joint projection.

    Args:
        dim: channels.
        heads: attention heads.
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, tokens: Tensor) -> Tensor:
        """Attend.

        Args:
            tokens: (k, tokens, dim).

        Returns:
            What is added to the tokens, of the same shape.
        """
        query, key, value = apply(self.qkv, tokens).chunk(3, dim=-1)
        return self.proj(attend(query, key, value, self.heads))


class Mlp(nn.Module):
    """Two linear layers with an exact GELU between them.

    Args:
        dim: channels.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, 4 * dim)
        self.fc2 = nn.Linear(4 * dim, dim)

    def forward(self, tokens: Tensor) -> Tensor:
        """Transform each token.

        Args:
            tokens: (k, tokens, dim).

        Returns:
            What is added to the tokens, of the same shape.
        """
        return self.fc2(functional.gelu(apply(self.fc1, tokens)))


class LayerScale(nn.Module):
    """A learned factor for each channel.

    Args:
        dim: channels.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(dim))

    def forward(self, tokens: Tensor) -> Tensor:
        """Scale.

        Args:
            tokens: (k, tokens, dim).

        Returns:
            Tokens of the same shape.
        """
        return tokens * self.gamma


class Block(nn.Module):
    """One block: attention, then the two layers, each normalised before and added after.

    Args:
        dim: channels.
        heads: attention heads.
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=EPS)
        self.attn = Attention(dim, heads)
        self.ls1 = LayerScale(dim)
        self.norm2 = nn.LayerNorm(dim, eps=EPS)
        self.mlp = Mlp(dim)
        self.ls2 = LayerScale(dim)

    def forward(self, tokens: Tensor) -> Tensor:
        """Refine tokens.

        Args:
            tokens: (k, tokens, dim).

        Returns:
            Tokens of the same shape.
        """
        tokens = tokens + self.ls1(self.attn(apply(self.norm1, tokens)))
        return tokens + self.ls2(self.mlp(apply(self.norm2, tokens)))


class Encoder(nn.Module):
    """DINOv2 with patches of 14 and no register tokens, read after four of its blocks.

    `mask_token` belongs to the published weights and is never used.

    Args:
        size: widths and depths.
    """

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.taps = size.taps
        self.cls_token = nn.Parameter(torch.zeros(1, 1, size.dim))
        self.pos_embed = nn.Parameter(torch.randn(1, GRID**2 + 1, size.dim) * 0.02)
        self.mask_token = nn.Parameter(torch.zeros(1, size.dim))
        self.patch_embed = PatchEmbed(size.dim)
        self.blocks = nn.ModuleList(Block(size.dim, size.heads) for _ in range(size.depth))
        self.norm = nn.LayerNorm(size.dim, eps=EPS)

    def forward(self, frames: Tensor) -> list[Tensor]:
        """Encode each frame for itself.

        Args:
            frames: (k, 3, H, W) normalised colours, sides multiples of 14.

        Returns:
            Four maps (k, dim, H / 14, W / 14), from the earliest block to the last.
        """
        rows, columns = (side // PATCH for side in frames.shape[-2:])
        patches = self.patch_embed(frames)
        tokens = torch.cat([self.cls_token.expand(len(frames), -1, -1), patches], dim=1)
        tokens = tokens + self.positions(rows, columns)
        maps = []
        for number, block in enumerate(self.blocks):
            tokens = block(tokens)
            if number in self.taps:
                seen = apply(self.norm, tokens)[:, 1:]
                maps.append(seen.transpose(1, 2).unflatten(2, (rows, columns)))
        return maps

    def positions(self, rows: int, columns: int) -> Tensor:
        """Position embeddings for a grid of patches, bicubic between the trained ones.

        The published network asks for (grid + 0.1) / 37 as the scale, and that number, not the ratio of the
        sizes, decides where the trained embeddings are sampled.

        Args:
            rows: patches from top to bottom.
            columns: patches from left to right.

        Returns:
            (1, 1 + rows x columns, dim), that of the class token first.
        """
        if rows == columns == GRID:
            return self.pos_embed
        trained = self.pos_embed.float()
        grid = trained[:, 1:].unflatten(1, (GRID, GRID)).permute(0, 3, 1, 2)
        scale = ((rows + 0.1) / GRID, (columns + 0.1) / GRID)
        grid = functional.interpolate(grid, scale_factor=scale, mode="bicubic", align_corners=False)
        between = torch.cat([trained[:, :1], grid.flatten(2).transpose(1, 2)], dim=1)
        return between.to(self.pos_embed.dtype)
