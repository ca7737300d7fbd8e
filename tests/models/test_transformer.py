import pytest
import torch
from diffusers import CogVideoXTransformer3DModel

from semrepa.models.transformer import call_transformer, rotary
from tests.tiny import TEXT_LENGTH, TEXT_WIDTH, tiny_pipeline, tiny_transformer

TIMESTEPS = torch.tensor([3, 999])


def prompt(batch=2, tokens=TEXT_LENGTH, features=TEXT_WIDTH):
    return torch.randn(batch, tokens, features)


@pytest.mark.parametrize(("frames", "height", "width"), [(3, 32, 48), (5, 64, 48), (3, 16, 96)])
def test_positions_are_those_of_the_stock_pipeline(frames, height, width):
    pipe = tiny_pipeline()
    theirs = pipe._prepare_rotary_positional_embeddings(height, width, frames, torch.device("cpu"))
    ours = rotary(pipe.transformer, frames, height // 8, width // 8)
    for mine, other in zip(ours, theirs, strict=True):
        assert torch.equal(mine, other)


def version_1_5():
    """A tiny transformer with the geometry of CogVideoX 1.5: patches of two latent frames and `ofs`."""
    return CogVideoXTransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=16,
        in_channels=32,
        time_embed_dim=16,
        text_embed_dim=TEXT_WIDTH,
        num_layers=1,
        sample_width=6,
        sample_height=4,
        patch_size_t=2,
        patch_bias=False,
        ofs_embed_dim=16,
        max_text_seq_length=TEXT_LENGTH,
        use_rotary_positional_embeddings=True,
    )


def test_version_1_5_gets_its_positions_and_offset():
    pipe = tiny_pipeline()
    pipe.register_modules(transformer=version_1_5())
    theirs = pipe._prepare_rotary_positional_embeddings(32, 48, 4, torch.device("cpu"))
    for mine, other in zip(rotary(pipe.transformer, 4, 4, 6), theirs, strict=True):
        assert torch.equal(mine, other)
    latents, text = torch.randn(2, 4, 32, 4, 6), prompt()
    answer = pipe.transformer(
        latents, text, TIMESTEPS, ofs=torch.full((1,), 2.0), image_rotary_emb=theirs, return_dict=False
    )[0]
    assert torch.equal(call_transformer(pipe.transformer, latents, text, TIMESTEPS), answer)


def test_transformer_without_rotary_positions_gets_none():
    transformer = CogVideoXTransformer3DModel(
        num_attention_heads=2, attention_head_dim=16, num_layers=1, sample_width=6, sample_height=4
    )
    assert rotary(transformer, 3, 4, 6) is None


def test_half_precision_transformer_answers_in_float32():
    transformer = tiny_transformer().to(torch.bfloat16)
    answer = call_transformer(transformer, torch.randn(2, 3, 32, 4, 6), prompt(), TIMESTEPS)
    assert answer.dtype == torch.float32


@pytest.mark.parametrize(
    ("shape", "features", "message"),
    [
        ((2, 3, 16, 4, 6), TEXT_WIDTH, "got 16 channels in all; expected 32"),
        ((2, 3, 32, 4, 6), 5, "text features of size 5; expected 16"),
        ((2, 3, 32, 5, 6), TEXT_WIDTH, "got latents of 3x5x6 .*multiples of 1x2x2"),
    ],
)
def test_inputs_that_do_not_fit_are_errors(shape, features, message):
    with pytest.raises(ValueError, match=message):
        call_transformer(tiny_transformer(), torch.zeros(shape), prompt(features=features), TIMESTEPS)


def test_text_of_the_wrong_length_is_an_error_where_positions_are_a_table():
    transformer = CogVideoXTransformer3DModel(
        num_attention_heads=2, attention_head_dim=16, num_layers=1, text_embed_dim=16, max_text_seq_length=8
    )
    latents = torch.zeros(2, 3, 16, 4, 6)
    with pytest.raises(ValueError, match="got 5 text tokens; expected 8; pad the captions"):
        call_transformer(transformer, latents, prompt(tokens=5), TIMESTEPS)
