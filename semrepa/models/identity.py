"""The identity aligner: latents of a video (and of its depth) in, one face embedding per video frame out."""

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn
from torch.nn import functional

from semrepa.shapes import TEMPORAL_RATIO, Embeddings, JoinedLatents, Latents

STRIDES = (1, 2, 2)
GROUPS = 8


class ResNetBlock(nn.Module):
    """Two 3x3 convolutions with group norm and a skip connection.

    Args:
        inputs: channels in.
        outputs: channels out.
        stride: step of the first convolution.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(GROUPS, inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1)
        self.norm2 = nn.GroupNorm(GROUPS, outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        same = inputs == outputs and stride == 1
        self.skip = nn.Identity() if same else nn.Conv2d(inputs, outputs, 1, stride)

    def forward(self, features: Tensor) -> Tensor:
        """Refine features.

        Args:
            features: (images, inputs, h, w).

        Returns:
            Features (images, outputs, h / stride, w / stride).
        """
        hidden = self.conv1(functional.silu(self.norm1(features)))
        hidden = self.conv2(functional.silu(self.norm2(hidden)))
        return self.skip(features) + hidden


class AttentionPool(nn.Module):
    """Weighted means over the picture: each of a few learned maps looks at its own part of it.

    Args:
        channels: channels in.
        maps: learned maps.
        outputs: numbers kept per map.
    """

    def __init__(self, channels: int, maps: int, outputs: int) -> None:
        super().__init__()
        self.where = nn.Conv2d(channels, maps, 1)
        self.what = nn.Conv2d(channels, outputs, 1)

    def forward(self, features: Tensor) -> Tensor:
        """Pool features.

        Args:
            features: (images, channels, h, w).

        Returns:
            Pooled features (images, maps x outputs).
        """
        weights = self.where(features).flatten(2).softmax(dim=-1)
        return torch.einsum("imp,iop->imo", weights, self.what(features).flatten(2)).flatten(1)


class IdentityAligner(ModelMixin, ConfigMixin):
    """A convolutional network of ResNet blocks that predicts face embeddings from latents.

    Every latent frame is looked at as a picture, neighbouring latent frames exchange what was pooled from
    them, and each gives 4 embeddings, one for each video frame it stands for; latent frame 0 stands for one
    frame only, so that 13 latent frames give 49 embeddings. Inputs are normalised by channel with stored
    statistics.

    Args:
        width: channels of the first of three stages, a multiple of 8; each stage doubles it.
        num_blocks: ResNet blocks in each stage.
        channels: latent channels of the VAE.
        use_depth: whether depth latents are joined to the input (paper: yes).
        embed_dim: size of the teacher's embedding.
        num_maps: attention maps that pool each latent frame.
        colormap: depth colours it is trained on: a record; None: not known.
        depth_teacher: digits that stand for the depth teacher it is trained on: a record.
        face_teacher: digits that stand for the face teacher it is trained on: a record.

    Raises:
        ValueError: when the width is not a multiple of 8.

    Source: Eq. (6), Sec. 4.2.2.
    """

    mean: Tensor
    std: Tensor

    @register_to_config
    def __init__(
        self,
        width: int = 128,
        num_blocks: int = 2,
        channels: int = 16,
        use_depth: bool = True,
        embed_dim: int = 512,
        num_maps: int = 4,
        *,
        colormap: str | None = None,
        depth_teacher: str | None = None,
        face_teacher: str | None = None,
    ) -> None:
        del colormap, depth_teacher, face_teacher  # kept in the config
        super().__init__()
        if width % GROUPS:
            raise ValueError(f"got width={width}; expected a multiple of {GROUPS}")
        inputs = channels * (2 if use_depth else 1)
        self.register_buffer("mean", torch.zeros(inputs))
        self.register_buffer("std", torch.ones(inputs))
        widths = [width * 2**stage for stage in range(len(STRIDES))]
        pooled = num_maps * width * 2
        self.stem = nn.Conv2d(inputs, width, 3, padding=1)
        self.blocks = nn.Sequential(*_stages(width, widths, num_blocks))
        self.norm = nn.GroupNorm(GROUPS, widths[-1])
        self.pool = AttentionPool(widths[-1], num_maps, width * 2)
        self.exchange = nn.Conv1d(pooled, pooled, 3, padding=1, groups=pooled)
        linear = nn.Linear(pooled, TEMPORAL_RATIO * embed_dim)
        self.head = nn.Sequential(nn.LayerNorm(pooled), linear)
        _start_gently(self.exchange, linear, embed_dim)

    def set_normalization(self, latents: Latents, depth_latents: Latents | None = None) -> None:
        """Store mean and standard deviation of each input channel, so that both inputs weigh the same.

        Args:
            latents: latents of many clips.
            depth_latents: their depth latents, for an aligner that uses them.
        """
        joined = self._join(latents, depth_latents)
        self.mean.copy_(joined.mean(dim=(0, 1, 3, 4)))
        self.std.copy_(joined.std(dim=(0, 1, 3, 4)).clamp(min=1e-3))

    def forward(self, latents: Latents, depth_latents: Latents | None = None) -> Embeddings:
        """Predict the face embedding of each video frame.

        Args:
            latents: latents of videos.
            depth_latents: latents of their colorized depth, for an aligner that uses them.

        Returns:
            One embedding for each of the 4 (f - 1) + 1 video frames, float32, not normalised: a short one
            says that the face is unclear.

        Raises:
            ValueError: when depth latents are missing, not wanted, or of another shape.
        """
        batch, frames = latents.shape[:2]
        joined = self._join(latents, depth_latents)
        inputs = (joined - self.mean.view(1, 1, -1, 1, 1)) / self.std.view(1, 1, -1, 1, 1)
        features = self.blocks(self.stem(inputs.flatten(0, 1).to(self.dtype)))
        pooled = self.pool(functional.silu(self.norm(features))).unflatten(0, (batch, frames))
        pooled = pooled + self.exchange(pooled.transpose(1, 2)).transpose(1, 2)
        embeds = self.head(pooled).unflatten(2, (TEMPORAL_RATIO, -1)).flatten(1, 2)
        return embeds[:, TEMPORAL_RATIO - 1 :].float()

    def _join(self, latents: Latents, depth_latents: Latents | None) -> JoinedLatents:
        if (depth_latents is None) == self.config["use_depth"]:
            got, expected = ("none", "some") if depth_latents is None else ("some", "none")
            raise ValueError(
                f"got depth_latents: {got}; expected {expected}, "
                f"since this identity aligner was built with use_depth={self.config['use_depth']}"
            )
        if depth_latents is None:
            return latents.float()
        if depth_latents.shape != latents.shape:
            raise ValueError(
                f"got latents {tuple(latents.shape)} and depth latents {tuple(depth_latents.shape)}; "
                "expected equal shapes"
            )
        return torch.cat([latents.float(), depth_latents.float()], dim=2)


def _stages(inputs: int, widths: list[int], num_blocks: int) -> list[ResNetBlock]:
    blocks = []
    for outputs, stride in zip(widths, STRIDES, strict=True):
        for index in range(num_blocks):
            blocks.append(ResNetBlock(inputs, outputs, stride if index == 0 else 1))
            inputs = outputs
    return blocks


def _start_gently(exchange: nn.Conv1d, linear: nn.Linear, embed_dim: int) -> None:
    """Start with latent frames on their own and embeddings of about unit length."""
    for parameter in exchange.parameters():
        nn.init.zeros_(parameter)
    nn.init.normal_(linear.weight, std=(embed_dim * linear.in_features) ** -0.5)
    nn.init.zeros_(linear.bias)
