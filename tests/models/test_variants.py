"""Checkpoints that the kit cannot run, and sizes without positions, are refused at once."""

import json
import shutil

import pytest
import torch
from diffusers import CogVideoXDPMScheduler

from semrepa.models.cogvideox import load_cogvideox
from semrepa.models.transformer import call_transformer
from semrepa.models.variants import check_checkpoint, check_size, read_settings
from tests.official import edit_json, official_folder, version_transformer
from tests.tiny import TEXT_LENGTH, TEXT_WIDTH, tiny_transformer


@pytest.mark.parametrize("version", ["1.0", "1.5", "2b"])
def test_known_versions_pass(tmp_path, version):
    folder = official_folder(tmp_path, version)
    check_checkpoint(folder, num_frames=9, height=32, width=48)
    assert load_cogvideox(folder, parts=("transformer",)).transformer.config.in_channels == 32


def test_text_to_video_is_refused_before_its_weights_are_read(folder):
    shutil.rmtree(folder / "transformer")
    tiny_transformer(in_channels=16).save_pretrained(folder / "transformer")
    (folder / "transformer" / "diffusion_pytorch_model.safetensors").write_bytes(b"")
    message = (
        r"text-to-video transformer with in_channels=16 .*expected 32: 16 of noisy latents and 16 of the"
    )
    with pytest.raises(ValueError, match=message):
        load_cogvideox(folder)


def test_other_inputs_are_refused(folder):
    edit_json(folder / "transformer" / "config.json", in_channels=33)
    with pytest.raises(ValueError, match="got a transformer with in_channels=33 .*expected 32"):
        load_cogvideox(folder, parts=("transformer",))


@pytest.mark.parametrize(
    ("part", "other"), [("transformer", "WanTransformer3DModel"), ("vae", "AutoencoderKL")]
)
def test_other_classes_are_refused(folder, part, other):
    edit_json(folder / part / "config.json", _class_name=other)
    with pytest.raises(ValueError, match=f"{part} of class {other}; expected .*CogVideoX"):
        load_cogvideox(folder, parts=(part,))


@pytest.mark.parametrize("prediction_type", ["epsilon", "sample", None])
def test_models_that_do_not_predict_v_are_refused(folder, prediction_type):
    file = folder / "scheduler" / "scheduler_config.json"
    edit_json(file, prediction_type=prediction_type)
    with pytest.raises(ValueError, match="scheduler with prediction_type=.*expected 'v_prediction'"):
        load_cogvideox(folder, parts=("noise_scheduler",))
    settings = json.loads(file.read_text())
    del settings["prediction_type"]
    file.write_text(json.dumps(settings))
    with pytest.raises(ValueError, match="prediction_type='epsilon'"):
        load_cogvideox(folder, parts=("noise_scheduler",))


@pytest.mark.parametrize(
    ("content", "message"), [("{", "got no JSON"), ("[1]", "got list; expected a JSON object")]
)
def test_unreadable_settings_are_named(folder, content, message):
    (folder / "transformer" / "config.json").write_text(content)
    with pytest.raises(ValueError, match=rf"config\.json: {message}"):
        load_cogvideox(folder, parts=("transformer",))


@pytest.mark.parametrize(("version", "shift"), [("1.0", 1.0), ("1.5", 1.0), ("2b", 3.0)])
def test_noise_table_is_that_of_the_official_settings(tmp_path, version, shift):
    """Their scheduler is of another class; ours is read from the same settings."""
    folder = official_folder(tmp_path, version)
    ours = load_cogvideox(folder, parts=("noise_scheduler",)).noise_scheduler
    theirs = CogVideoXDPMScheduler.from_pretrained(folder, subfolder="scheduler")
    assert torch.equal(ours.alphas_cumprod, theirs.alphas_cumprod)
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    share = torch.cumprod(1 - betas, dim=0)
    roots = (share / (shift + (1 - shift) * share)).sqrt()
    expected = ((roots - roots[-1]) * roots[0] / (roots[0] - roots[-1])).square()
    torch.testing.assert_close(ours.alphas_cumprod, expected, rtol=0, atol=1e-12)
    ours.set_timesteps(50)
    assert ours.timesteps[0] == 999
    assert ours.final_alpha_cumprod == 1


@pytest.mark.parametrize("size", [(5, 4, 6), (3, 4, 8), (3, 6, 6), (2, 4, 6)])
def test_learned_positions_are_for_one_size(size):
    transformer = version_transformer("1.0")
    check_size(transformer.config, 3, 4, 6)
    message = rf"got latents of {'x'.join(map(str, size))} .*expected 3x4x6: .*9 frames of 32x48 .*alone"
    with pytest.raises(ValueError, match=message):
        call_transformer(
            transformer,
            torch.zeros(1, size[0], 32, *size[1:]),
            torch.zeros(1, TEXT_LENGTH, TEXT_WIDTH),
            torch.tensor([5]),
        )


def test_size_is_checked_with_the_folder(folder):
    check_checkpoint(folder, num_frames=9, height=32, width=48)
    with pytest.raises(
        ValueError, match=r"videos of 49 frames of 480x720 \(height x width\); expected 3x4x6"
    ):
        check_checkpoint(folder, num_frames=49, height=480, width=720)


def test_official_size_is_the_papers():
    """Settings of the official 5b-I2V 1.0, where three of them are defaults."""
    config = {"use_learned_positional_embeddings": True, "sample_height": 60, "sample_width": 90}
    check_size(config, 13, 60, 90)
    with pytest.raises(ValueError, match="expected 13x60x90: .* 49 frames of 480x720"):
        check_size(config, 13, 30, 46)


def test_positions_of_version_1_5_end_somewhere():
    config = version_transformer("1.5").config
    check_size(config, 3, 20, 20)
    with pytest.raises(ValueError, match=r"got latents of 4x22x20 .*at most 20x20 .*at most 160x160"):
        check_size(config, 4, 22, 20)


def test_other_versions_take_any_size():
    for version in ("1.5", "2b"):
        check_size(version_transformer(version).config, 7, 6, 12)
    check_size(tiny_transformer().config, 7, 60, 90)


def test_settings_of_a_missing_part_are_empty(tmp_path):
    assert read_settings(tmp_path / "config.json") == {}
    check_checkpoint(tmp_path)
