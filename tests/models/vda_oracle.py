"""Video Depth Anything told a second time: slow, from other parts, for tests to compare with.

Encoder and spatial head are those of transformers' Depth Anything, positions are sampled by hand, the
temporal modules are loops over pixels and heads, long videos are lists of frames in numpy.
"""

import math
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import DepthAnythingConfig, DepthAnythingForDepthEstimation, Dinov2Config

from semrepa.models.video_depth_anything import SIZES, VideoDepthAnything

PICTURES = [
    (r"pretrained\.(cls_token|mask_token)", r"backbone.embeddings.\1"),
    (r"pretrained\.pos_embed", "backbone.embeddings.position_embeddings"),
    (r"pretrained\.patch_embed\.proj", "backbone.embeddings.patch_embeddings.projection"),
    (r"pretrained\.norm", "backbone.layernorm"),
    (r"pretrained\.blocks\.(\d+)\.attn\.proj", r"backbone.encoder.layer.\1.attention.o_proj"),
    (r"pretrained\.blocks\.(\d+)\.ls(\d)\.gamma", r"backbone.encoder.layer.\1.layer_scale\2.lambda1"),
    (r"pretrained\.blocks\.(\d+)\.(norm|mlp)", r"backbone.encoder.layer.\1.\2"),
    (r"head\.projects\.(\d)", r"neck.reassemble_stage.layers.\1.projection"),
    (r"head\.resize_layers\.(\d)", r"neck.reassemble_stage.layers.\1.resize"),
    (r"head\.scratch\.layer(\d)_rn", lambda m: f"neck.convs.{int(m[1]) - 1}"),
    (r"head\.scratch\.refinenet(\d)", lambda m: f"neck.fusion_stage.layers.{4 - int(m[1])}"),
    (r"resConfUnit(\d)\.conv(\d)", r"residual_layer\1.convolution\2"),
    (r"out_conv", "projection"),
    (r"head\.scratch\.output_conv1", "head.conv1"),
    (r"head\.scratch\.output_conv2\.0", "head.conv2"),
    (r"head\.scratch\.output_conv2\.2", "head.conv3"),
]
"""Names of the parts that look at single pictures, in transformers."""


def randomised(variant: str = "mini", *, metric: bool = False, bias: float = 3.0) -> VideoDepthAnything:
    """A network in which every parameter matters, and depth is mostly above zero."""
    model = VideoDepthAnything(variant, metric=metric)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, value in model.named_parameters():
            noise = torch.randn(value.shape, generator=generator)
            fans = math.prod(value.shape[1:]) if value.ndim > 1 else 1
            spread = 0.2 if value.ndim == 1 or "embed" in name or "token" in name else fans**-0.5
            is_scale = value.ndim == 1 and re.search(r"(norm\w*|norms\.\d)\.weight|gamma", name)
            value.copy_(noise * spread + (1.0 if is_scale else 0.0))
        model.head.scratch.output_conv2[2].bias.fill_(bias)
    return model.requires_grad_(False).eval()


def listed_keys(file: Path) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a list, in which [0-11] stands for each of these numbers."""
    found = {}
    for name, *shape in map(str.split, file.read_text().splitlines()):
        first, *others = re.split(r"\[(\d+)-(\d+)\]", name)
        names = [first]
        for low, high, rest in zip(others[::3], others[1::3], others[2::3], strict=True):
            names = [f"{start}{k}{rest}" for start in names for k in range(int(low), int(high) + 1)]
        found |= dict.fromkeys(names, tuple(map(int, shape)))
    return found


def picture_network(model: VideoDepthAnything) -> DepthAnythingForDepthEstimation:
    """The same weights in transformers' network for single pictures."""
    size = SIZES[model.variant]
    encoder = Dinov2Config(
        hidden_size=size.dim,
        num_hidden_layers=size.depth,
        num_attention_heads=size.heads,
        image_size=518,
        patch_size=14,
        out_indices=[tap + 1 for tap in size.taps],
        apply_layernorm=True,
        reshape_hidden_states=False,
    )
    config = DepthAnythingConfig(
        backbone_config=encoder,
        reassemble_hidden_size=size.dim,
        neck_hidden_sizes=list(size.channels),
        fusion_hidden_size=size.features,
    )
    theirs = DepthAnythingForDepthEstimation(config).eval()
    renamed = {}
    for name, value in model.state_dict().items():
        if (joint := re.fullmatch(r"pretrained\.blocks\.(\d+)\.attn\.qkv\.(\w+)", name)) is not None:
            for letter, part in zip("qkv", value.chunk(3), strict=True):
                renamed[f"backbone.encoder.layer.{joint[1]}.attention.{letter}_proj.{joint[2]}"] = part
        elif ".motion_modules." not in name:
            new_name = name
            for pattern, replacement in PICTURES:
                new_name = re.sub(pattern, replacement, new_name)
            renamed[new_name] = value
    theirs.load_state_dict(renamed, strict=True)
    return theirs.requires_grad_(False)


def cubic_weights(offset: float) -> list[float]:
    """Weights of the four nearest samples, Keys' kernel with a = -0.75."""
    weights = []
    for distance in (1 + offset, offset, 1 - offset, 2 - offset):
        near = 1.25 * distance**3 - 2.25 * distance**2 + 1
        far = -0.75 * (distance**3 - 5 * distance**2 + 8 * distance - 4)
        weights.append(near if distance <= 1 else far)
    return weights


def cubic_matrix(samples: int, wanted: int, scale: float) -> np.ndarray:
    """Matrix (wanted, samples) of bicubic interpolation along one axis, edges repeated."""
    matrix = np.zeros((wanted, samples))
    for row in range(wanted):
        place = (row + 0.5) / scale - 0.5
        for k, weight in enumerate(cubic_weights(place - math.floor(place))):
            matrix[row, min(max(math.floor(place) - 1 + k, 0), samples - 1)] += weight
    return matrix


def positions(trained: Tensor, rows: int, columns: int) -> Tensor:
    """Position embeddings of a grid, sampled by hand in float64."""
    grid = trained[0, 1:].double().numpy().reshape(37, 37, -1)
    down = cubic_matrix(37, rows, (rows + 0.1) / 37)
    across = cubic_matrix(37, columns, (columns + 0.1) / 37)
    sampled = np.einsum("ri,ijc,kj->rkc", down, grid, across).reshape(1, rows * columns, -1)
    return torch.cat([trained[:, :1], torch.from_numpy(sampled).float()], dim=1)


def normalised(tokens: Tensor, norm: nn.LayerNorm) -> Tensor:
    """Layer norm written out, with its own epsilon."""
    centred = tokens - tokens.mean(dim=-1, keepdim=True)
    variance = centred.square().mean(dim=-1, keepdim=True)
    return centred / (variance + 1e-5).sqrt() * norm.weight + norm.bias


def temporal(module: nn.Module, maps: Tensor) -> Tensor:
    """A temporal module on one clip (t, channels, h, w), pixel by pixel and head by head."""
    part = module.temporal_transformer
    count, _, height, width = maps.shape
    groups = maps.reshape(count, 32, -1)
    groups = (groups - groups.mean(dim=2, keepdim=True)) / (
        groups.var(dim=2, keepdim=True, unbiased=False) + 1e-6
    ).sqrt()
    normal = groups.reshape(maps.shape) * part.norm.weight[:, None, None] + part.norm.bias[:, None, None]
    result = maps.clone()
    for row in range(height):
        for column in range(width):
            tokens = part.proj_in(normal[:, :, row, column])
            tokens = temporal_block(part.transformer_blocks[0], tokens)
            result[:, :, row, column] += part.proj_out(tokens)
    return result


def temporal_block(block: nn.Module, tokens: Tensor) -> Tensor:
    """The transformer block of one pixel's (t, channels) tokens."""
    count, channels = tokens.shape
    table = torch.tensor(
        [
            [
                (math.cos if c % 2 else math.sin)(t / 10000 ** ((c - c % 2) / channels))
                for c in range(channels)
            ]
            for t in range(count)
        ]
    )
    for attention, norm in zip(block.attention_blocks, block.norms, strict=True):
        seen = normalised(tokens, norm) + table
        heads = []
        for part in range(8):
            rows = slice(part * channels // 8, (part + 1) * channels // 8)
            query, key, value = (
                seen @ layer.weight[rows].T for layer in (attention.to_q, attention.to_k, attention.to_v)
            )
            heads.append(((query @ key.T) / math.sqrt(channels // 8)).softmax(dim=1) @ value)
        tokens = tokens + attention.to_out[0](torch.cat(heads, dim=1))
    wide = block.ff.net[0].proj(normalised(tokens, block.ff_norm))
    value, gate = wide[:, : 4 * channels], wide[:, 4 * channels :]
    return tokens + block.ff.net[2](value * gate * 0.5 * (1 + torch.erf(gate / math.sqrt(2))))


def video_network(model: VideoDepthAnything, frames: Tensor) -> Tensor:
    """Depth (t, H, W) of one clip of normalised frames (t, 3, H, W)."""
    theirs, mix = picture_network(model), model.head.motion_modules
    rows, columns = (side // 14 for side in frames.shape[-2:])
    sampled = model.pretrained.pos_embed
    if (rows, columns) != (37, 37):
        sampled = positions(sampled, rows, columns)
    theirs.backbone.embeddings.interpolate_pos_encoding = lambda *_: sampled
    features = theirs.backbone(frames).feature_maps
    levels = theirs.neck.reassemble_stage(features, rows, columns)
    levels = [*levels[:2], temporal(mix[0], levels[2]), temporal(mix[1], levels[3])]
    levels = [conv(level) for conv, level in zip(theirs.neck.convs, levels, strict=True)]
    fusions = theirs.neck.fusion_stage.layers
    path = temporal(mix[2], fusions[0](levels[3], size=levels[2].shape[2:]))
    path = temporal(mix[3], fusions[1](path, levels[2], size=levels[1].shape[2:]))
    path = fusions[3](fusions[2](path, levels[1], size=levels[0].shape[2:]), levels[0])
    return theirs.head([path], rows, columns)


def long_video(frames: Tensor, network: Callable[[Tensor], Tensor], *, metric: bool) -> np.ndarray:
    """Long-video inference on lists of frames; `network` takes (32, 3, H, W) and gives (32, h, w)."""
    count, size = len(frames), tuple(frames.shape[-2:])
    padded = list(frames) + [frames[-1]] * ((22 - count % 22) % 22 + 10)
    answers, before = [], None
    for start in range(0, count, 22):
        now = padded[start : start + 32]
        if before is not None:
            now = [before[slot] for slot in (0, 12, 24, 25, 26, 27, 28, 29, 30, 31)] + now[10:]
        depth = network(torch.stack(now))[:, None]
        depth = functional.interpolate(depth, size, mode="bilinear", align_corners=True)[:, 0]
        answers.append(list(depth.numpy()))
        before = now
    video, reference = answers[0][:], [answers[0][0], answers[0][12]]
    for answer in answers[1:]:
        scale, shift = (1, 0) if metric else line_fit(answer[:2], reference)
        window = [np.maximum(scale * one + shift, 0).astype(np.float32) for one in answer]
        for k in range(8):
            old, new = video[len(video) - 8 + k], window[2 + k]
            video[len(video) - 8 + k] = old * (1 - k / 7) + new * (k / 7)
        video += window[10:]
        reference = [reference[0], window[12]]
    return np.stack(video[:count])


def line_fit(depth: list[np.ndarray], reference: list[np.ndarray]) -> tuple[float, float]:
    """Least squares by numpy's solver in float64."""
    x, y = (np.concatenate([one.ravel() for one in many]).astype(np.float64) for many in (depth, reference))
    (scale, shift), *_ = np.linalg.lstsq(np.stack([x, np.ones_like(x)], axis=1), y, rcond=None)
    return scale, shift
