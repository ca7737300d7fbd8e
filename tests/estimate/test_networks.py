"""Networks that are counted, not described: against published figures and against what a store writes."""

from contextlib import contextmanager

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from semrepa.config import full, mini, override
from semrepa.data.store import FeatureStore
from semrepa.estimate.counting import count_flops, kept_bytes, peak_bytes, pretend
from semrepa.estimate.formulas import record_bytes
from semrepa.estimate.networks import (
    depth_flops,
    identity_aligner,
    identity_bytes,
    parameters,
    pixel_loss_bytes,
    structure_aligner,
    text_flops,
    vae_bytes,
    vae_flops,
)
from semrepa.models.blueprints import OFFICIAL, T5_XXL, VAE, blueprint, settings
from semrepa.provenance import mini_asset

GIB = 2**30


def test_peaks_count_what_lives_at_once_and_not_the_weights():
    with pretend(autocast=False):
        layer = torch.nn.Linear(100, 100, bias=False)
        rows = torch.empty(10, 100)

        def chain():
            once = rows + 1
            twice = once + 1
            del once
            return layer(twice) + 1

        assert peak_bytes(lambda: layer(rows), [layer]) == 4000
        assert peak_bytes(chain, [layer]) == 3 * 4000


@contextmanager
def as_on_cuda():
    """Tensors without content that are of a GPU for torch, under its own bfloat16 autocast."""
    before = torch.is_autocast_enabled("cuda"), torch.get_autocast_dtype("cuda")
    torch.set_autocast_enabled("cuda", True)
    torch.set_autocast_dtype("cuda", torch.bfloat16)
    try:
        with FakeTensorMode():
            yield
    finally:
        torch.clear_autocast_cache()
        torch.set_autocast_enabled("cuda", before[0])
        torch.set_autocast_dtype("cuda", before[1])


@pytest.mark.skipif(
    not torch.backends.cuda.is_built(), reason="torch without CUDA cannot pretend to be on a GPU"
)
def test_pretending_on_a_cpu_counts_what_pretending_on_a_gpu_does():
    given = VAE | {"block_out_channels": [8, 8, 8, 8], "layers_per_block": 1, "norm_num_groups": 4}
    cfg = override(mini(), {"video": {"num_frames": 5, "height": 64, "width": 96}})
    identity, video = cfg.identity, cfg.video
    with as_on_cuda():
        vae = blueprint("vae", given, device="cuda", dtype=torch.bfloat16)
        aligner = identity_aligner(identity, "cuda")
        latents = torch.empty(1, 2, 16, 8, 12, device="cuda")
        kept = kept_bytes(lambda: aligner(latents, latents), [aligner])
        flipped = latents.bfloat16().transpose(1, 2)
        with torch.no_grad():
            peak = peak_bytes(lambda: vae.decode(flipped, return_dict=False), [vae])
    assert vae_bytes(given, video, "decode", tiling=False, gpu=True) == pytest.approx(peak, rel=0.02)
    assert identity_bytes(identity, video, 1, gpu=True, trained=True) == pytest.approx(kept, rel=0.01)


def test_pretending_leaves_autocast_as_it_was():
    before = torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu")
    with pretend(autocast=True):
        layer = torch.nn.Linear(2, 2)
        assert layer(torch.empty(1, 2)).dtype is torch.bfloat16
    assert (torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu")) == before


@pytest.mark.parametrize(
    ("name", "billions"),
    [("CogVideoX-2b", 1.694), ("CogVideoX-5b-I2V", 5.571), ("CogVideoX1.5-5B-I2V", 5.572)],
)
def test_published_weights_of_the_transformers(name, billions):
    assert parameters(blueprint("transformer", OFFICIAL[name])) == pytest.approx(billions * 1e9, rel=5e-4)


def test_published_sizes_of_the_other_networks():
    assert parameters(blueprint("vae", VAE)) == pytest.approx(215.6e6, rel=1e-3)
    assert parameters(blueprint("text_encoder", T5_XXL)) == pytest.approx(4.76e9, rel=1e-3)
    assert parameters(structure_aligner(full())) == pytest.approx(
        0.547e9, rel=0.03
    )  # theirs: 4096 text features
    assert 10e6 < parameters(identity_aligner(full().identity)) < 25e6


def test_published_work_of_the_other_networks():
    def vae(direction, num_frames, tiling=False):
        return vae_flops(VAE, full().video, direction, tiling=tiling, num_frames=num_frames)

    assert vae("encode", 49) == pytest.approx(149e12, rel=0.01)
    assert vae("encode", 1) == pytest.approx(4.8e12, rel=0.01)
    assert vae("decode", 49) == pytest.approx(315e12, rel=0.01)
    assert vae("encode", 9, tiling=True) == pytest.approx(209 / 149 * vae("encode", 9), rel=0.01)
    assert text_flops(T5_XXL, 226) == pytest.approx(2.2e12, rel=0.05)


def test_published_work_of_the_depth_teacher():
    """72.6 TFLOP in a window of 32 frames, of which the encoder 1.67 per frame: three windows, 49 frames."""
    assert depth_flops("vitl", full().video, input_size=518) == pytest.approx(
        (49 * 1.67 + 3 * (72.6 - 32 * 1.67)) * 1e12, rel=0.03
    )
    one = override(full(), {"video.num_frames": 21}).video
    encoder, head = 5.38e12 / 32, 6.73e12 - 5.38e12
    assert depth_flops("vits", one, input_size=518) == pytest.approx(21 * encoder + head, rel=0.03)


def test_published_memory_of_a_loss_on_pixels():
    assert pixel_loss_bytes(VAE, full().video) / GIB == pytest.approx(338.8, rel=0.03)


def test_tiling_takes_less_memory():
    video = override(full(), {"video.num_frames": 5}).video
    plain, tiled = (vae_bytes(VAE, video, "encode", tiling=tiling, gpu=True) for tiling in (False, True))
    assert tiled < 0.5 * plain


def test_short_clips_tell_the_work_of_long_ones():
    given, video = settings(mini_asset("cogvideox"))["vae"], override(mini(), {"video.num_frames": 33}).video
    foretold = vae_flops(given, video, "encode", tiling=False, num_frames=33)
    vae, clip = blueprint("vae", given), torch.empty(1, 3, 33, video.height, video.width, device="meta")
    with torch.no_grad():
        assert foretold == count_flops(lambda: vae.encode(clip))


def test_published_size_of_a_record():
    sizes = record_bytes(num_frames=49, height=480, width=720, text_tokens=226, text_features=4096)
    # The published record holds latents of the first frame (172,800 bytes) in place of its pixels.
    assert sum(sizes.values()) - sizes["first_frame"] + 172_800 == pytest.approx(6.57e6, rel=0.01)


def test_a_record_on_disk_has_the_bytes_that_are_foretold(tmp_path):
    f, h, w, n = 3, 4, 6, 9
    record = {
        "latents": torch.zeros(f, 16, h, w, dtype=torch.float16),
        "depth_latents": torch.zeros(f, 16, h, w, dtype=torch.float16),
        "depth_range": torch.zeros(2),
        "first_frame": torch.zeros(3, 8 * h, 8 * w, dtype=torch.uint8),
        "prompt_embeds": torch.zeros(8, 16, dtype=torch.float16),
        "id_embeds": torch.zeros(n, 512, dtype=torch.float16),
        "face_mask": torch.zeros(n, dtype=torch.bool),
        "face_boxes": torch.zeros(n, 4),
        **{f"face_{name}": torch.zeros(n) for name in ("scores", "sizes", "cuts", "yaws")},
        "person_box": torch.zeros(5),
        "content": torch.zeros(4, dtype=torch.int32),
        "timestamps": torch.zeros(n),
    }
    store = FeatureStore(tmp_path, {"schema": 0})
    store.write("clip", record)
    foretold = record_bytes(num_frames=n, height=8 * h, width=8 * w, text_tokens=8, text_features=16)
    assert sum(foretold.values()) == sum(tensor.nbytes for tensor in record.values())
    (file,) = tmp_path.rglob("*.safetensors")
    assert 0 < file.stat().st_size - sum(foretold.values()) < 2000  # names and shapes
