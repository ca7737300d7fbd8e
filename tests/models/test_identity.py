from inspect import unwrap

import pytest
import torch

from semrepa.models.freeze import freeze
from semrepa.models.identity import AttentionPool, IdentityAligner
from semrepa.shapes import num_frames


def small(**settings):
    return IdentityAligner(**{"width": 8, "num_blocks": 1, "embed_dim": 12} | settings)


def latents(frames=3, batch=2):
    return torch.randn(batch, frames, 16, 8, 12)


@pytest.mark.parametrize("frames", [1, 3, 5, 13])
def test_every_video_frame_gets_an_embedding(frames):
    embeds = small()(latents(frames), latents(frames))
    assert embeds.shape == (2, num_frames(frames), 12)
    assert embeds.dtype == torch.float32


def test_embeddings_belong_to_the_frames_of_their_latent():
    aligner, inputs = small(), latents(13).requires_grad_()
    depth = latents(13)
    for frame in (0, 1, 4, 5, 24, 45, 48):
        (gradient,) = torch.autograd.grad(aligner(inputs, depth)[:, frame].sum(), inputs)
        reached = gradient.abs().sum(dim=(0, 2, 3, 4)).nonzero().flatten().tolist()
        assert reached == [-(-frame // 4)], frame


def test_the_four_frames_of_a_latent_differ():
    embeds = small()(latents(2), latents(2))[0]
    for first in range(1, 5):
        for second in range(first + 1, 5):
            assert not torch.allclose(embeds[first], embeds[second], atol=1e-4)


def test_neighbours_are_heard_once_the_exchange_is_trained():
    aligner = small()
    torch.nn.init.ones_(aligner.exchange.weight)
    inputs = latents(5).requires_grad_()
    (gradient,) = torch.autograd.grad(aligner(inputs, latents(5))[:, 8].sum(), inputs)
    assert gradient.abs().sum(dim=(0, 2, 3, 4)).nonzero().flatten().tolist() == [1, 2, 3]


def test_starts_with_embeddings_of_about_unit_length():
    embeds = IdentityAligner(width=16, num_blocks=1)(latents(), latents())
    assert embeds.norm(dim=-1).mean().item() == pytest.approx(1.0, abs=0.3)


def test_pooling_is_a_weighted_mean_over_the_picture():
    pool = AttentionPool(4, 2, 3)
    features = torch.randn(1, 4, 5, 6)
    pixels = features[0].flatten(1)
    values = pool.what.weight[:, :, 0, 0] @ pixels + pool.what.bias[:, None]
    scores = pool.where.weight[:, :, 0, 0] @ pixels + pool.where.bias[:, None]
    expected = torch.cat([values @ score.softmax(0) for score in scores])
    torch.testing.assert_close(pool(features)[0], expected)


def test_inputs_are_normalised_by_channel():
    aligner = small()
    first, depth = latents(5, batch=8), latents(5, batch=8)
    before = aligner(first, depth)
    scale = torch.linspace(0.5, 4, 16).view(1, 1, -1, 1, 1)
    aligner.set_normalization(first, depth)
    plain = aligner(first, depth)
    aligner.set_normalization(scale * first + 3, 0.1 * depth - scale)
    scaled = aligner(scale * first + 3, 0.1 * depth - scale)
    torch.testing.assert_close(scaled, plain, rtol=0, atol=1e-4)
    assert not torch.allclose(plain, before, atol=1e-4)


def test_gradient_passes_through_both_inputs_and_not_into_the_aligner():
    aligner = freeze(small())
    inputs = latents().requires_grad_(), latents().requires_grad_()
    aligner(*inputs).abs().mean().backward()
    assert all(each.grad.abs().max() > 0 for each in inputs)
    assert all(parameter.grad is None for parameter in aligner.parameters())


def test_works_without_depth():
    assert small(use_depth=False)(latents()).shape == (2, 9, 12)


@pytest.mark.parametrize(
    ("use_depth", "depth", "message"),
    [
        (True, None, "got depth_latents: none; expected some.*use_depth=True"),
        (False, latents(), "got depth_latents: some; expected none.*use_depth=False"),
        (True, latents(frames=1), r"got latents \(2, 3, 16, 8, 12\) and depth latents \(2, 1, 16, 8, 12\)"),
    ],
)
def test_wrong_depth_is_an_error(use_depth, depth, message):
    aligner = small(use_depth=use_depth)
    with pytest.raises(ValueError, match=message):
        unwrap(IdentityAligner._join)(aligner, latents(), depth)


def test_width_must_fit_the_group_norm():
    with pytest.raises(ValueError, match="got width=20; expected a multiple of 8"):
        small(width=20)


def test_saved_aligner_comes_back_with_its_statistics(tmp_path):
    aligner = small()
    aligner.set_normalization(2 * latents() + 1, latents())
    aligner.save_pretrained(tmp_path)
    loaded = IdentityAligner.from_pretrained(tmp_path)
    inputs = latents(), latents()
    assert torch.equal(loaded.mean, aligner.mean)
    assert torch.equal(loaded.eval()(*inputs), aligner.eval()(*inputs))


def test_half_precision_storage_is_loaded_wide_and_answers_nearly_alike(tmp_path):
    aligner, inputs = small(), (latents(), latents())
    wide = aligner(*inputs)
    aligner.half().save_pretrained(tmp_path)
    loaded = IdentityAligner.from_pretrained(tmp_path, torch_dtype=torch.float32)
    assert loaded.dtype == loaded.mean.dtype == torch.float32
    torch.testing.assert_close(loaded(*inputs), wide, rtol=0, atol=5e-3)


def test_sizes_of_the_two_presets():
    def millions(aligner):
        return sum(parameter.numel() for parameter in aligner.parameters()) / 1e6

    assert 0.6 < millions(IdentityAligner(width=32, num_blocks=1)) < 1.1
    with torch.device("meta"):
        assert 10 < millions(IdentityAligner()) < 25


def test_answer_is_float32_and_about_the_same_under_autocast():
    aligner, inputs = small(), (latents(), latents())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        embeds = aligner(*inputs)
    assert embeds.dtype == torch.float32
    torch.testing.assert_close(embeds, aligner(*inputs), rtol=0, atol=0.03)
