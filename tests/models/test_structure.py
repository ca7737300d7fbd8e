from inspect import unwrap

import pytest
import torch
from tiny import tiny_transformer

from semrepa.models.freeze import freeze
from semrepa.models.structure import StructureAligner
from tests.official import version_transformer

TIMESTEPS = torch.tensor([0, 700])


@pytest.fixture
def aligner():
    return StructureAligner(num_layers=1, num_heads=2, head_dim=16, sample_height=4, sample_width=6)


@pytest.fixture
def latents():
    return torch.randn(2, 3, 16, 4, 6)


def test_answer_has_the_shape_of_the_latents(aligner, latents):
    assert aligner(latents).shape == latents.shape
    assert aligner(latents).dtype == torch.float32


def test_clean_latents_are_timestep_zero(aligner, latents):
    assert torch.equal(aligner(latents), aligner(latents, torch.zeros(2, dtype=torch.long)))


def test_noisy_latents_are_answered_by_their_own_timestep(aligner, latents):
    both, clean = aligner(latents, TIMESTEPS), aligner(latents)
    torch.testing.assert_close(both[0], clean[0], rtol=0, atol=1e-6)
    assert not torch.allclose(both[1], clean[1], atol=1e-4)


def test_text_is_one_empty_token(aligner, latents, monkeypatch):
    seen = {}
    forward = type(aligner.transformer).forward

    def spy(self, **inputs):
        seen.update(inputs)
        return forward(self, **inputs)

    monkeypatch.setattr(type(aligner.transformer), "forward", spy)
    aligner(latents)
    assert seen["encoder_hidden_states"].shape == (2, 1, 1)
    assert seen["encoder_hidden_states"].abs().max() == 0
    assert seen["image_rotary_emb"] is not None


def test_gradient_passes_through_the_frozen_aligner_and_not_into_it(aligner, latents):
    freeze(aligner)
    latents.requires_grad_()
    aligner(latents).square().mean().backward()
    assert latents.grad.abs().max() > 0
    assert all(parameter.grad is None for parameter in aligner.parameters())


def test_gradient_checkpointing_changes_memory_only(aligner, latents):
    plain = torch.autograd.grad(aligner(latents).square().mean(), list(aligner.parameters()))
    aligner.enable_gradient_checkpointing()
    assert aligner.transformer.gradient_checkpointing
    again = torch.autograd.grad(aligner(latents).square().mean(), list(aligner.parameters()))
    for first, second in zip(plain, again, strict=True):
        assert torch.equal(first, second)


def test_saved_aligner_comes_back_with_its_record(latents, tmp_path):
    aligner = StructureAligner(1, 2, 16, structure_input="noisy", colormap="gray")
    aligner.save_pretrained(tmp_path)
    loaded = StructureAligner.from_pretrained(tmp_path)
    assert (loaded.config.structure_input, loaded.config.colormap) == ("noisy", "gray")
    assert torch.equal(loaded.eval()(latents, TIMESTEPS), aligner.eval()(latents, TIMESTEPS))


def test_half_precision_storage_is_loaded_wide_and_answers_nearly_alike(aligner, latents, tmp_path):
    wide = aligner(latents)
    aligner.half().save_pretrained(tmp_path)
    loaded = StructureAligner.from_pretrained(tmp_path, torch_dtype=torch.float32)
    assert loaded.dtype == torch.float32
    torch.testing.assert_close(loaded(latents), wide, rtol=0, atol=5e-3)


@pytest.mark.parametrize("wrong", [{"structure_input": "blurred"}, {"colormap": "jet"}])
def test_unknown_records_are_errors(wrong):
    name, value = next(iter(wrong.items()))
    with pytest.raises(ValueError, match=f"got {name}='{value}'; expected"):
        unwrap(StructureAligner.__init__)(StructureAligner.__new__(StructureAligner), 1, 2, 16, **wrong)


def test_answer_is_float32_and_about_the_same_under_autocast(aligner, latents):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        answer = aligner(latents)
    assert answer.dtype == torch.float32
    torch.testing.assert_close(answer, aligner(latents), rtol=0, atol=0.05)


def test_warm_start_takes_the_first_layers_of_the_backbone_and_nothing_else(latents):
    backbone = tiny_transformer(seed=5)
    aligner = StructureAligner(1, 2, 16, sample_height=4, sample_width=6, time_embed_dim=16)
    before = {name: value.clone() for name, value in aligner.transformer.state_dict().items()}
    cold = aligner(latents)
    aligner.warm_start(backbone)
    theirs = backbone.state_dict()
    for name, value in aligner.transformer.state_dict().items():
        if name == "patch_embed.proj.weight":
            assert torch.equal(value, theirs[name][:, :16])
        elif name.startswith(("patch_embed.proj.", "time_embedding.", "transformer_blocks.0.")):
            assert torch.equal(value, theirs[name])
        else:
            assert name.startswith(("patch_embed.text_proj.", "norm_final.", "norm_out.", "proj_out."))
            assert torch.equal(value, before[name])
    assert aligner(latents).isfinite().all()
    assert not torch.allclose(aligner(latents), cold)


@pytest.mark.parametrize(
    ("size", "message"),
    [
        (
            {"num_heads": 4},
            r"patch_embed.proj.weight: got shape \(32, 16, 2, 2\) .* expected shape \(64, 16, 2, 2\)",
        ),
        (
            {"time_embed_dim": 8},
            r"time_embedding.linear_1.weight: got shape \(16, 32\) .* expected shape \(8, 32\)",
        ),
        (
            {"num_heads": 1, "head_dim": 32},
            r"attn1.norm_q.weight: got shape \(16,\) .* expected shape \(32,\)",
        ),
        ({"num_layers": 3}, r"transformer_blocks.2.*: got no such layer"),
    ],
)
def test_warm_start_refuses_a_backbone_that_does_not_fit(size, message):
    sizes = {"num_layers": 1, "num_heads": 2, "head_dim": 16, "time_embed_dim": 16} | size
    aligner = StructureAligner(**sizes)
    before = [value.clone() for value in aligner.state_dict().values()]
    with pytest.raises(ValueError, match=message):
        aligner.warm_start(tiny_transformer())
    assert all(map(torch.equal, aligner.state_dict().values(), before))


def test_warm_start_refuses_version_1_5():
    aligner = StructureAligner(1, 2, 16, time_embed_dim=16)
    with pytest.raises(ValueError, match=r"patch_size_t=2 \(CogVideoX 1.5\); expected one that takes"):
        aligner.warm_start(version_transformer("1.5"))


def test_warm_start_leaves_learned_positions_behind():
    aligner = StructureAligner(1, 2, 16, time_embed_dim=16)
    aligner.warm_start(version_transformer("1.0"))
    assert "patch_embed.pos_embedding" not in aligner.transformer.state_dict()
