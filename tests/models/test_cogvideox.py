import json
import shutil
from contextlib import nullcontext
from inspect import unwrap

import pytest
import torch
from diffusers import CogVideoXDDIMScheduler, CogVideoXImageToVideoPipeline

from semrepa.models import cogvideox, latents
from semrepa.models.cogvideox import (
    CogVideoX,
    encode_prompts,
    image_condition,
    load_cogvideox,
    token_counts,
)
from semrepa.models.latents import encode, to_pixels
from tests.tiny import TEXT_LENGTH, TEXT_WIDTH, tiny_pipeline, tiny_text, tiny_vae

CAPTIONS = ["a person walks in a red shirt", ""]


@pytest.fixture(scope="module")
def pipe():
    return tiny_pipeline()


@pytest.fixture
def first_frames():
    return torch.randint(0, 256, (2, 3, 32, 48), dtype=torch.uint8)


def seeded(seed=1):
    return torch.Generator().manual_seed(seed)


def test_folder_gives_all_parts_frozen_but_the_transformer(tiny_folder):
    parts = load_cogvideox(tiny_folder)
    assert parts.source == str(tiny_folder)
    assert isinstance(parts.noise_scheduler, CogVideoXDDIMScheduler)
    assert parts.noise_scheduler.config.prediction_type == "v_prediction"
    assert parts.tokenizer(CAPTIONS[0]).input_ids
    trainable = {
        name: any(p.requires_grad for p in getattr(parts, name).parameters())
        for name in ("vae", "text_encoder", "transformer")
    }
    assert trainable == {"vae": False, "text_encoder": False, "transformer": True}
    assert not parts.transformer.training
    assert parts.transformer.dtype == parts.vae.dtype == torch.float32


def test_only_the_parts_asked_for_are_loaded(tiny_folder):
    parts = load_cogvideox(tiny_folder, parts=("noise_scheduler",))
    assert parts.noise_scheduler is not None
    assert (parts.vae, parts.transformer, parts.text_encoder, parts.tokenizer) == (None,) * 4


def test_weights_stored_in_half_precision_are_widened(tmp_path):
    tiny_pipeline().to(torch.float16).save_pretrained(tmp_path)
    parts = load_cogvideox(tmp_path)
    assert {parts.vae.dtype, parts.transformer.dtype, parts.text_encoder.dtype} == {torch.float32}


def test_scheduler_of_another_kind_is_read_by_its_settings(tiny_folder, tmp_path):
    shutil.copytree(tiny_folder / "scheduler", tmp_path / "scheduler")
    config = tmp_path / "scheduler" / "scheduler_config.json"
    changed = {"_class_name": "CogVideoXDPMScheduler", "snr_shift_scale": 3.0}
    config.write_text(json.dumps(json.loads(config.read_text()) | changed))
    noise_scheduler = load_cogvideox(tmp_path, parts=("noise_scheduler",)).noise_scheduler
    assert isinstance(noise_scheduler, CogVideoXDDIMScheduler)
    assert noise_scheduler.alphas_cumprod[195] == pytest.approx(0.5, abs=2e-3)


def test_all_missing_parts_are_listed(tiny_folder, tmp_path):
    shutil.copytree(tiny_folder / "scheduler", tmp_path / "scheduler")
    shutil.copytree(tiny_folder / "vae", tmp_path / "vae")
    with pytest.raises(FileNotFoundError) as error:
        load_cogvideox(tmp_path)
    for file in (
        "transformer/config.json",
        "text_encoder/config.json",
        "tokenizer/spiece.model or tokenizer/tokenizer.json",
    ):
        assert file in str(error.value)
    assert "vae/config.json" not in str(error.value)


@pytest.mark.parametrize("source", ["no/such-checkpoint", "/no/such/folder"])
def test_missing_source_says_how_to_get_it(source):
    with pytest.raises(FileNotFoundError, match=f"got '{source}'.*neither a folder.*hf download"):
        load_cogvideox(source)


def test_unknown_part_is_an_error(tiny_folder):
    with pytest.raises(ValueError, match="got unknown parts unet; expected some of vae"):
        unwrap(load_cogvideox)(tiny_folder, parts=("vae", "unet"))


def test_assembled_pipeline_samples(tiny_folder):
    parts = load_cogvideox(tiny_folder)
    stock = cogvideox.pipeline(parts)
    assert isinstance(stock, CogVideoXImageToVideoPipeline)
    assert stock.transformer is parts.transformer
    stock.set_progress_bar_config(disable=True)
    video = stock(
        image=torch.zeros(1, 3, 32, 48),
        prompt="a person walks",
        height=32,
        width=48,
        num_frames=9,
        num_inference_steps=1,
        guidance_scale=1.0,
        max_sequence_length=TEXT_LENGTH,
        output_type="pt",
    ).frames
    assert video.shape == (1, 9, 3, 32, 48)


def test_pipeline_of_missing_parts_is_an_error():
    everything = "vae, transformer, text_encoder, tokenizer, noise_scheduler"
    with pytest.raises(
        ValueError, match=f"got a checkpoint without {everything}; expected {everything}; call"
    ):
        cogvideox.pipeline(CogVideoX(source="somewhere"))


def test_prompts_are_encoded_as_the_stock_pipeline_does(pipe):
    theirs, _ = pipe.encode_prompt(
        CAPTIONS, do_classifier_free_guidance=False, max_sequence_length=TEXT_LENGTH
    )
    ours = encode_prompts(CAPTIONS, *tiny_text(), TEXT_LENGTH)
    assert ours.shape == (2, TEXT_LENGTH, TEXT_WIDTH)
    assert torch.equal(ours, theirs)


@pytest.mark.parametrize("inverted", [False, True])
def test_condition_is_that_of_the_stock_pipeline(pipe, first_frames, inverted, monkeypatch):
    monkeypatch.setattr(latents, "autocast", lambda _: nullcontext())
    pipe.vae.register_to_config(invert_scale_latents=inverted)
    image = to_pixels(first_frames[:, None])[:, 0]
    size = {"num_frames": 9, "height": 32, "width": 48}
    kind = {"dtype": torch.float32, "device": torch.device("cpu")}
    _, theirs = pipe.prepare_latents(image, 2, 16, **size, **kind, generator=seeded())
    ours = image_condition(pipe.vae, first_frames, 3, generator=seeded())
    pipe.vae.register_to_config(invert_scale_latents=False)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)


def test_condition_is_the_first_frame_and_then_zeros(pipe, first_frames):
    condition = image_condition(pipe.vae, first_frames, 5)
    assert condition.shape == (2, 5, 16, 4, 6)
    assert torch.equal(condition[:, :1], encode(pipe.vae, first_frames[:, None]))
    assert condition[:, 1:].abs().max() == 0


def test_noise_of_no_strength_changes_nothing(pipe, first_frames):
    silent = image_condition(pipe.vae, first_frames, 3, noise_mean=-100.0, noise_std=0.0)
    assert torch.equal(silent, image_condition(pipe.vae, first_frames, 3))


def test_noise_has_the_strength_of_the_recipe(monkeypatch):
    monkeypatch.setattr(cogvideox, "encode_image", lambda _, pixels, **__: pixels)
    gray = torch.full((200, 3, 32, 48), 128, dtype=torch.uint8)
    noised = image_condition(tiny_vae(), gray, 3, generator=seeded(), noise_mean=-3.0, noise_std=0.5)[:, :1]
    strength = (noised - to_pixels(gray[:, None])).flatten(1).std(dim=1).log()
    assert strength.mean().item() == pytest.approx(-3.0, abs=0.1)
    assert strength.std().item() == pytest.approx(0.5, abs=0.06)


def test_noise_is_new_each_time_and_repeats_with_its_seed(pipe, first_frames):
    def draw(generator):
        return image_condition(pipe.vae, first_frames, 3, generator=generator, noise_mean=-3.0, noise_std=0.5)

    generator = seeded()
    first, second = draw(generator), draw(generator)
    assert not torch.equal(first, second)
    assert torch.equal(first, draw(seeded()))


def test_dropout_removes_whole_conditions_at_its_rate(monkeypatch):
    monkeypatch.setattr(cogvideox, "encode_image", lambda _, pixels, **__: pixels)
    white = torch.full((400, 3, 8, 8), 255, dtype=torch.uint8)
    condition = image_condition(tiny_vae(), white, 3, generator=seeded(), dropout=0.25)[:, 0].flatten(1)
    assert torch.equal(condition.amin(dim=1), condition.amax(dim=1))
    assert condition.mean().item() == pytest.approx(0.75, abs=0.06)


def test_half_a_noise_setting_is_an_error(pipe, first_frames):
    with pytest.raises(ValueError, match=r"noise_mean=-3\.0 and noise_std=None; expected both or neither"):
        image_condition(pipe.vae, first_frames, 3, noise_mean=-3.0)


def test_tiling_is_off_unless_asked_for(tiny_folder):
    assert load_cogvideox(tiny_folder, parts=("vae",)).vae.use_tiling is False
    assert load_cogvideox(tiny_folder, parts=("vae",), vae_tiling=True).vae.use_tiling is True


def test_tokens_are_counted_up_to_what_is_kept():
    tokenizer, _ = tiny_text()
    assert token_counts(["a person", "", "a " * 20], tokenizer, 8) == [3, 1, 8]
    assert token_counts(["a person", "", "a " * 20], tokenizer) == [3, 1, 21]


def test_captions_that_are_cut_are_reported(caplog):
    captions = ["a person walks", *[f"{word} " * 9 for word in ("a", "red", "blue", "in")]]
    with caplog.at_level("WARNING", logger="semrepa"):
        embeds = encode_prompts(captions, *tiny_text(), TEXT_LENGTH)
        assert embeds.shape == (5, TEXT_LENGTH, TEXT_WIDTH)
        (record,) = caplog.records
        message = record.getMessage()
        assert message.startswith(
            "4 of 5 captions have more than 8 tokens and are cut, the first ones: 'a a a "
        )
        assert "'red red" in message and "'blue" in message and "'in" not in message
        encode_prompts(["a person walks", "a " * 7], *tiny_text(), TEXT_LENGTH)
        assert len(caplog.records) == 1
