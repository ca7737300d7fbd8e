from contextlib import nullcontext

import pytest
import torch
import torch.utils.flop_counter
from diffusers.video_processor import VideoProcessor

from semrepa.models.latents import decode, encode, encode_image, repeat_first, to_frames, to_pixels
from semrepa.models.single_frame import single_frames
from semrepa.runtime import autocast
from tests.tiny import tiny_vae


@pytest.fixture(scope="module")
def vae():
    return tiny_vae()


def video(frames=9, height=32, width=48, batch=2):
    return torch.randint(0, 256, (batch, frames, 3, height, width), dtype=torch.uint8)


def test_pixels_are_those_of_the_stock_processor():
    frames = torch.arange(256, dtype=torch.uint8).view(1, 1, 1, 16, 16).expand(1, 1, 3, 16, 16)
    image = frames[0, 0].permute(1, 2, 0).numpy() / 255
    theirs = VideoProcessor(vae_scale_factor=8).preprocess(image, height=16, width=16)
    torch.testing.assert_close(to_pixels(frames)[0], theirs.float(), rtol=0, atol=1e-6)


def test_every_stored_value_survives_pixels():
    frames = torch.arange(256, dtype=torch.uint8).view(1, 1, 1, 16, 16).expand(1, 1, 3, 16, 16)
    assert torch.equal(to_frames(to_pixels(frames)), frames)


def test_pixels_out_of_range_are_clipped():
    pixels = torch.tensor([-1.5, 1.5]).view(1, 2, 1, 1, 1).expand(1, 2, 3, 1, 1)
    assert to_frames(pixels)[0, :, 0, 0, 0].tolist() == [0, 255]


@pytest.mark.parametrize(("frames", "latents"), [(1, 1), (9, 3), (17, 5)])
def test_axes_of_a_round_trip(vae, frames, latents):
    encoded = encode(vae, video(frames, 32, 48, batch=2))
    assert encoded.shape == (2, latents, 16, 4, 6)
    assert encoded.dtype == torch.float32
    decoded = decode(vae, encoded)
    assert decoded.shape == (2, frames, 3, 32, 48)
    assert decoded.dtype == torch.float32


def test_encode_is_the_scaled_mode_of_the_vae(vae):
    frames = video()
    with autocast(vae.device):
        mode = vae.encode(to_pixels(frames).transpose(1, 2)).latent_dist.mode()
    assert torch.equal(encode(vae, frames), 0.7 * mode.transpose(1, 2).float())


def test_encode_with_a_generator_samples_repeatably(vae):
    frames = video()
    first, again = (encode(vae, frames, generator=torch.Generator().manual_seed(1)) for _ in range(2))
    assert torch.equal(first, again)
    assert not torch.equal(first, encode(vae, frames))


def test_decode_undoes_the_scale_as_the_stock_pipeline_does(vae):
    latents = torch.randn(2, 3, 16, 4, 6)
    with autocast(vae.device):
        theirs = vae.decode(latents.transpose(1, 2) / 0.7).sample
    assert torch.equal(decode(vae, latents), theirs.transpose(1, 2).float())


@pytest.mark.parametrize(("inverted", "factor"), [(False, 0.7), (True, 1 / 0.7)])
def test_image_latents_are_scaled_as_the_checkpoint_says(inverted, factor):
    vae = tiny_vae()
    vae.register_to_config(invert_scale_latents=inverted)
    frame = video(frames=1)
    expected = encode(vae, frame) / 0.7 * factor
    torch.testing.assert_close(encode_image(vae, to_pixels(frame)), expected, rtol=1e-6, atol=0)


def test_nothing_here_keeps_a_graph():
    vae = tiny_vae().requires_grad_(True)
    latents = encode(vae, video())
    assert not latents.requires_grad
    assert not decode(vae, latents.requires_grad_(True)).requires_grad


@pytest.mark.parametrize(
    ("frames", "height", "message"),
    [(8, 32, "got num_frames=8.*use 5 or 9"), (9, 36, "got frames of 36x48.*multiples of 8")],
)
def test_frames_that_do_not_fit_are_errors(vae, frames, height, message):
    with pytest.raises(ValueError, match=message):
        encode(vae, video(frames, height))


def test_even_number_of_latent_frames_is_an_error(vae):
    with pytest.raises(ValueError, match=r"got 2 latent frames; expected an odd number.*1 or 9"):
        decode(vae, torch.zeros(1, 2, 16, 4, 6))


def test_tiling_that_changes_the_size_is_an_error():
    vae = tiny_vae()
    vae.enable_tiling(tile_sample_min_height=32, tile_sample_min_width=32)
    with pytest.raises(ValueError, match="disable_tiling"):
        encode(vae, video(frames=1, height=64, width=96))


def test_tiles_give_latents_of_the_right_size_where_they_fit():
    """Tiles of half the frame, as in the official settings: 240x360 of 480x720."""
    vae = tiny_vae(sample_height=96, sample_width=160)
    frames = video(frames=9, height=96, width=160, batch=1)
    whole = encode(vae, frames)
    vae.enable_tiling()
    calls, tiled_encode = [], vae.tiled_encode
    vae.tiled_encode = lambda pixels: calls.append(pixels.shape) or tiled_encode(pixels)
    tiled = encode(vae, frames)
    assert calls == [(1, 3, 9, 96, 160)]
    assert tiled.shape == whole.shape == (1, 3, 16, 12, 20)
    assert not torch.equal(tiled, whole)
    assert decode(vae, tiled).shape == frames.shape


def test_first_latent_frame_is_repeated_in_front():
    latents = torch.randn(2, 3, 16, 4, 6)
    assert repeat_first(latents, 3) is latents
    padded = repeat_first(latents, 5)
    assert torch.equal(padded[:, 2:], latents)
    assert torch.equal(padded[:, :2], latents[:, :1].expand(-1, 2, -1, -1, -1))


def test_single_frames_take_the_short_way_to_the_same_latents(monkeypatch) -> None:
    monkeypatch.setattr("semrepa.models.latents.autocast", lambda _: nullcontext())
    vae = tiny_vae()
    pixels = torch.rand(2, 1, 3, 32, 48) * 2 - 1
    usual = encode_image(vae, pixels)
    with torch.utils.flop_counter.FlopCounterMode(display=False) as whole:
        encode_image(vae, pixels)
    with single_frames(vae), torch.utils.flop_counter.FlopCounterMode(display=False) as third:
        short = encode_image(vae, pixels)
    assert third.get_total_flops() < 0.4 * whole.get_total_flops()
    torch.testing.assert_close(short, usual, rtol=1e-4, atol=1e-5)
    assert torch.equal(encode_image(vae, pixels), usual)
    with single_frames(vae), single_frames(vae):
        assert torch.equal(encode_image(vae, pixels), short)
    assert torch.equal(encode_image(vae, pixels), usual)
