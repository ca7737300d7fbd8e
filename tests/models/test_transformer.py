import pytest
import torch
from diffusers import CogVideoXTransformer3DModel

from semrepa.models.transformer import call_transformer, padded_frames, rotary
from tests.official import version_transformer
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


def test_version_1_5_gets_its_positions_and_offset():
    pipe = tiny_pipeline()
    pipe.register_modules(transformer=version_transformer("1.5"))
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


@pytest.mark.parametrize(
    ("version", "frames", "padded"),
    [("1.0", 3, 3), ("1.5", 3, 4), ("1.5", 4, 4), ("1.5", 13, 14), ("2b", 13, 13)],
)
def test_version_1_5_works_on_pairs_of_latent_frames(version, frames, padded):
    assert padded_frames(version_transformer(version), frames) == padded


def test_version_1_5_refuses_an_odd_number_of_latent_frames():
    with pytest.raises(ValueError, match="got latents of 3x4x6 .*multiples of 2x2x2"):
        call_transformer(version_transformer("1.5"), torch.zeros(2, 3, 32, 4, 6), prompt(), TIMESTEPS)


@pytest.mark.parametrize("version", ["1.0", "1.5", "2b"])
@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_gradient_checkpointing_changes_memory_only(version, kind):
    """Also under autocast on a CPU, where the attention of a plain forward pass is another one."""
    transformer, inputs = version_transformer(version), torch.randn(2, 4, 32, 4, 6)
    if version == "1.0":
        inputs = inputs[:, :3]
    text = prompt()

    def gradients():
        with torch.autocast("cpu", dtype=kind, enabled=kind is not torch.float32):
            answer = call_transformer(transformer, inputs, text, TIMESTEPS)
        return torch.autograd.grad(answer.square().mean(), list(transformer.parameters()))

    kept = gradients()
    transformer.enable_gradient_checkpointing()
    runs = []
    transformer.transformer_blocks[0].register_forward_pre_hook(lambda *_: runs.append(1))
    again = gradients()
    assert len(runs) == 2, "each block runs again in the backward pass"
    if kind is torch.float32:
        assert all(map(torch.equal, kept, again))
    first, second = (torch.cat([part.flatten() for part in parts]) for parts in (kept, again))
    assert torch.cosine_similarity(first, second, dim=0) > 0.999
