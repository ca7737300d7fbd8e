"""Features of blocks: they are the real ones, in the right places, and recording leaves no trace."""

import pytest
import torch
from tiny import TEXT_LENGTH, TEXT_WIDTH, tiny_transformer

from semrepa.models.features import block_features, patches, to_grid
from semrepa.models.transformer import call_transformer


@pytest.fixture
def inputs():
    draw = torch.Generator().manual_seed(0)
    latents = torch.randn(2, 3, 32, 4, 6, generator=draw)
    return latents, torch.randn(2, TEXT_LENGTH, TEXT_WIDTH, generator=draw), torch.tensor([100, 700])


def test_they_are_the_input_and_the_output_of_each_block(inputs):
    transformer = tiny_transformer().eval()
    with torch.no_grad(), block_features(transformer, torch.clone) as found:
        recorded = call_transformer(transformer, *inputs)
        latents, text, _ = inputs
        embedded = transformer.patch_embed(text, latents)[:, TEXT_LENGTH:]
        last = transformer.norm_final(torch.cat([text.new_zeros(2, TEXT_LENGTH, 32), found[-1]], dim=1))
        emb = transformer.time_embedding(transformer.time_proj(inputs[2]))
        answer = transformer.proj_out(transformer.norm_out(last[:, TEXT_LENGTH:], temb=emb))
    assert [tokens.shape for tokens in found] == 3 * [(2, 3 * 2 * 3, 32)]
    torch.testing.assert_close(found[0], embedded)
    expected = answer.view(2, 3, 2, 3, -1, 2, 2).permute(0, 1, 4, 2, 5, 3, 6).flatten(5, 6).flatten(3, 4)
    torch.testing.assert_close(recorded, expected)


def test_each_call_begins_anew_and_afterwards_nothing_is_recorded(inputs):
    transformer = tiny_transformer().eval()
    with torch.no_grad():
        with block_features(transformer, lambda tokens: tokens.mean().item()) as found:
            call_transformer(transformer, *inputs)
            first = list(found)
            call_transformer(transformer, *inputs)
        assert found == first
        call_transformer(transformer, inputs[0] * 2, *inputs[1:])
    assert found == first
    assert not any(
        block._forward_hooks or block._forward_pre_hooks for block in transformer.transformer_blocks
    )


def test_tokens_lie_frame_by_frame_and_row_by_row():
    places = torch.arange(3 * 2 * 3).view(1, -1, 1).float()
    grid = to_grid(places, (1, 3, 16, 4, 6), (1, 2, 2))
    assert grid[0, 1, 1, 2] == 6 + 3 + 2
    assert to_grid(places, (1, 6, 16, 4, 6), (2, 2, 2)).shape == (1, 3, 2, 3, 1)
    with pytest.raises(ValueError, match="got 18 tokens; expected 2 x 2 x 3"):
        to_grid(places, (1, 2, 16, 4, 6), (1, 2, 2))


def test_patches_of_both_versions():
    assert patches(tiny_transformer()) == (1, 2, 2)
    assert patches(tiny_transformer(patch_size_t=2, ofs_embed_dim=16)) == (2, 2, 2)
