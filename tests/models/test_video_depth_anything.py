"""The network of Video Depth Anything: names and shapes of its weights, and its arithmetic."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from semrepa.models.video_depth_anything import SIZES, VideoDepthAnything, temporal
from semrepa.models.video_depth_anything.model import check_clips
from semrepa.models.video_depth_anything.sizes import size_of
from tests.models.vda_oracle import listed_keys, picture_network, randomised, video_network

HERE = Path(__file__).parent
PARTS = ("pretrained", "head", "head.motion_modules")
PARAMETERS = {
    "vits": (29_035_137, 22_056_576, 6_978_561, 4_250_048),
    "vitb": (114_441_409, 86_580_480, 27_860_929, 16_970_624),
    "vitl": (384_390_337, 304_368_640, 80_021_697, 49_074_688),
}


def empty(variant: str) -> VideoDepthAnything:
    with torch.device("meta"):
        return VideoDepthAnything(variant)


def shapes(variant: str) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in empty(variant).state_dict().items()}


def clip(frames: int = 5, height: int = 42, width: int = 70) -> Tensor:
    return torch.randn(1, frames, 3, height, width)


def exactly(frames: Tensor) -> tuple[VideoDepthAnything, Tensor]:
    """A network and its frames in float64, where what should be the same is the same on every machine.

    Norms over the few pixels of small maps blow rounding up: in float32 to 4e-4 at 28 pixels.
    """
    return randomised().double(), frames.double()


@pytest.mark.parametrize("variant", ["vits", "vitl"])
def test_names_and_shapes_equal_the_published_list(variant: str) -> None:
    wanted = listed_keys(HERE / f"vda_{variant}_keys.txt")
    assert len(wanted) == {"vits": 351, "vitl": 519}[variant]
    assert shapes(variant) == wanted


def test_vitb_has_the_names_of_vits_at_twice_the_width() -> None:
    fixed = {1, 3, 32, 1370}  # of a picture, of the positions, of the last convolution
    doubled = {
        name: tuple(side if side in fixed else 2 * side for side in shape[: 2 if len(shape) == 4 else 3])
        + (shape[2:] if len(shape) == 4 else ())
        for name, shape in shapes("vits").items()
    }
    doubled |= {
        "head.scratch.output_conv1.weight": (64, 128, 3, 3),
        "head.scratch.output_conv1.bias": (64,),
        "head.scratch.output_conv2.0.weight": (32, 64, 3, 3),
    }
    assert shapes("vitb") == doubled


@pytest.mark.parametrize("variant", PARAMETERS)
def test_parameters_are_as_many_as_published(variant: str) -> None:
    model = empty(variant)
    counts = [sum(p.numel() for p in model.get_submodule(part).parameters()) for part in ("", *PARTS)]
    assert tuple(counts) == PARAMETERS[variant]
    tables = sum(b.numel() for name, b in model.named_buffers() if name.endswith("pos_encoder.pe"))
    assert tables == {"vits": 45_056, "vitb": 90_112, "vitl": 163_840}[variant]


@pytest.mark.parametrize(
    ("variant", "heads", "taps"),
    [("vits", 6, (2, 5, 8, 11)), ("vitb", 12, (2, 5, 8, 11)), ("vitl", 16, (4, 11, 17, 23))],
)
def test_what_shapes_do_not_tell(variant: str, heads: int, taps: tuple[int, ...]) -> None:
    encoder = empty(variant).pretrained
    assert {block.attn.heads for block in encoder.blocks} == {heads}
    assert encoder.taps == taps
    assert temporal.HEADS == 8


@pytest.mark.parametrize("variant", SIZES)
def test_norms_have_the_published_epsilons(variant: str) -> None:
    norms = {n: m for n, m in empty(variant).named_modules() if isinstance(m, nn.LayerNorm | nn.GroupNorm)}
    kinds = {(name.split(".")[0], type(norm)): set() for name, norm in norms.items()}
    for name, norm in norms.items():
        kinds[name.split(".")[0], type(norm)].add(norm.eps)
    assert kinds == {
        ("pretrained", nn.LayerNorm): {1e-6},
        ("head", nn.GroupNorm): {1e-6},
        ("head", nn.LayerNorm): {1e-5},
    }
    assert len(norms) == 2 * SIZES[variant].depth + 1 + 4 * 4


def test_network_equals_one_built_from_other_parts() -> None:
    model, frames = randomised(), clip()
    depth = model(frames)[0]
    assert depth.shape == (5, 42, 70)
    assert (depth > 0).float().mean() > 0.9
    assert depth.std() > 0.1
    torch.testing.assert_close(depth, video_network(model, frames[0]), atol=2e-5, rtol=1e-5)


def test_vits_equals_one_built_from_other_parts() -> None:
    model, frames = randomised("vits"), clip(2, 28, 42)
    torch.testing.assert_close(model(frames)[0], video_network(model, frames[0]), atol=5e-5, rtol=1e-5)


def test_encoder_and_head_equal_depth_anything_of_transformers_at_518_pixels() -> None:
    model, frames = randomised(), clip(1, 518, 518)
    for module in model.head.motion_modules:
        nn.init.zeros_(module.temporal_transformer.proj_out.weight)
        nn.init.zeros_(module.temporal_transformer.proj_out.bias)
    theirs = picture_network(model)
    seen = theirs.backbone(frames[0]).feature_maps
    for ours, wanted in zip(model.pretrained(frames[0]), seen, strict=True):
        torch.testing.assert_close(ours.flatten(2).transpose(1, 2), wanted[:, 1:], atol=2e-5, rtol=1e-5)
    torch.testing.assert_close(model(frames)[0], theirs(frames[0]).predicted_depth, atol=5e-5, rtol=1e-5)


def test_two_clips_do_not_see_each_other() -> None:
    # In float32 the kernels that two clips are given to differ by more than 1e-5 on some processors.
    generator = torch.Generator().manual_seed(0)
    model, frames = randomised().double(), torch.randn(2, 3, 3, 28, 28, generator=generator).double()
    alone = torch.cat([model(frames[:1]), model(frames[1:])])
    torch.testing.assert_close(model(frames), alone, atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("batch", [1, 2, 3, 100])
def test_frames_at_a_time_change_nothing(batch: int) -> None:
    model, frames = exactly(clip())
    torch.testing.assert_close(model(frames, frame_batch=batch), model(frames), atol=1e-9, rtol=0)


def test_frames_meet_in_the_temporal_modules_only() -> None:
    (model, frames), order = exactly(clip()), torch.tensor([3, 0, 4, 1, 2])
    assert (model(frames[:, order]) - model(frames)[:, order]).abs().max() > 0.01
    for module in model.head.motion_modules:
        nn.init.zeros_(module.temporal_transformer.proj_out.weight)
        nn.init.zeros_(module.temporal_transformer.proj_out.bias)
    torch.testing.assert_close(model(frames[:, order]), model(frames)[:, order], atol=1e-9, rtol=0)


def test_unused_weights_have_no_effect_and_all_others_have_one() -> None:
    model, frames = randomised(), clip(3, 28, 28)
    before, idle = model(frames), set()
    for name, value in model.named_parameters():
        kept = value.clone()
        value.add_(0.5 * torch.randn_like(value))
        idle |= {name} if torch.equal(model(frames), before) else set()
        value.copy_(kept)
    unused = [name for name, _ in model.named_parameters() if "refinenet4.resConfUnit1" in name]
    assert idle == {"pretrained.mask_token", *unused}
    assert len(unused) == 4


def test_stored_position_tables_are_used() -> None:
    model, frames = randomised(), clip(3, 28, 28)
    before = model(frames)
    for name, table in model.named_buffers():
        table.neg_()
        assert not torch.equal(model(frames), before), name
        table.neg_()


def test_attention_over_time_is_split_by_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    model, frames = exactly(clip())
    whole, most, attend = model(frames), [], temporal.attend

    def watched(query: Tensor, *rest: Any) -> Tensor:
        most.append(len(query))
        return attend(query, *rest)

    assert temporal.SEQUENCES * temporal.HEADS <= 65535
    monkeypatch.setattr(temporal, "SEQUENCES", 7)
    monkeypatch.setattr(temporal, "attend", watched)
    torch.testing.assert_close(model(frames), whole, atol=1e-9, rtol=0)
    assert max(most) == 7


def test_it_is_differentiable_in_the_frames() -> None:
    frames = clip(2, 28, 28).requires_grad_()
    randomised()(frames).sum().backward()
    assert frames.grad is not None
    assert (frames.grad != 0).float().mean() > 0.9


def test_32_frames_are_the_most() -> None:
    model = randomised()
    assert model(clip(32, 14, 14)).shape == (1, 32, 14, 14)
    with pytest.raises(ValueError, match="got clips of 33 frames; expected 1 to 32; use infer_video_depth"):
        model(clip(33, 14, 14))


@pytest.mark.parametrize(
    ("frames", "error", "message"),
    [
        (torch.zeros(1, 2, 3, 28, 30), ValueError, "28 x 30 pixels; expected multiples of 14"),
        (torch.zeros(1, 2, 3, 27, 28), ValueError, "27 x 28 pixels; expected multiples of 14"),
        (torch.zeros(1, 0, 3, 28, 28), ValueError, "0 frames; expected 1 to 32"),
        (torch.zeros(2, 3, 28, 28), ValueError, r"expected \(b, t, 3, H, W\)"),
        (torch.zeros(1, 2, 4, 28, 28), ValueError, r"expected \(b, t, 3, H, W\)"),
        (torch.zeros(1, 2, 3, 28, 28, dtype=torch.uint8), TypeError, "expected normalised colours"),
    ],
)
def test_frames_that_do_not_fit_are_refused(frames: Tensor, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        check_clips(frames)


def test_unknown_variants_and_batches_are_refused() -> None:
    with pytest.raises(ValueError, match="got 'vitg'; expected one of mini, vits, vitb, vitl"):
        size_of("vitg")
    with pytest.raises(ValueError, match="frame_batch: got 0"):
        randomised()(clip(1, 14, 14), frame_batch=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_keeps_norms_and_the_last_convolutions(dtype: torch.dtype) -> None:
    model, frames = randomised(), clip(3, 28, 28)
    exact = model(frames)
    types = {name: value.dtype for name, value in model.set_precision(dtype).named_parameters()}
    assert model.precision is dtype
    full = [name for name, found in types.items() if found is torch.float32]
    assert all(
        any(part in name for part in ("norm", "embed", "token", "gamma", "output_conv2")) for name in full
    )
    assert types["pretrained.pos_embed"] is types["head.scratch.output_conv2.2.weight"] is torch.float32
    assert types["pretrained.blocks.0.attn.qkv.weight"] is types["head.projects.0.weight"] is dtype
    rough = model(frames)
    assert rough.dtype is torch.float32
    error = (rough - exact).abs().mean() / exact.std()
    assert 1e-5 < error < (0.01 if dtype is torch.float16 else 0.05)
    assert model.to(dtype)(frames).dtype is dtype  # all of it in half precision: not advised, but it runs
    model.set_precision(torch.float32)
    assert {value.dtype for value in model.state_dict().values()} == {torch.float32}
