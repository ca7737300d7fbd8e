"""Generation: the stock pipeline's own frames, the same noise for every transformer and batch."""

import dataclasses

import pytest
import torch
from diffusers import CogVideoXImageToVideoPipeline, CogVideoXTransformer3DModel
from tiny import TEXT_LENGTH, tiny_transformer

from semrepa.config import override
from semrepa.data.index import ClipRow
from semrepa.data.video import probe, write_video
from semrepa.generate import clip_seed, generate, sample_encoded, sample_frames, with_transformer
from semrepa.models.cogvideox import encode_prompts, load_cogvideox
from semrepa.runtime import autocast


@pytest.fixture(scope="module")
def parts(tiny_folder):
    return load_cogvideox(tiny_folder)


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    made = []
    for place, caption in enumerate(("a person walks", "a person waves in red shirt")):
        frames = torch.randint(0, 256, (9, 3, 32, 48), dtype=torch.uint8)
        path = write_video(folder / f"clip{place}.mp4", frames)
        made.append(ClipRow(id=f"clip{place}", path=path, caption=caption))
    return made


@pytest.fixture(scope="module")
def cfg(small_config, tiny_folder):
    return override(small_config, {"model.weights": str(tiny_folder), "generate.seeds": [3, 4]})


@pytest.fixture(scope="module")
def finetuned(tmp_path_factory):
    """A run folder as fine-tuning leaves it."""
    folder = tmp_path_factory.mktemp("run")
    tiny_transformer(seed=7).save_pretrained(folder / "transformer")
    return folder


def apart(one, other):
    """Mean difference of two videos, 0 to 255."""
    return (one.float() - other.float()).abs().mean()


def test_finetuned_folder_gives_the_frames_of_the_stock_pipeline(cfg, rows, parts, finetuned, tiny_folder):
    made = generate(cfg, finetuned, rows, parts=parts)
    trained = CogVideoXTransformer3DModel.from_pretrained(finetuned / "transformer")
    stock = CogVideoXImageToVideoPipeline.from_pretrained(tiny_folder, transformer=trained)
    stock.set_progress_bar_config(disable=True)
    first = torch.stack([video.frames for video in generate(cfg, None, rows, parts=parts)])
    from semrepa.generate import read_first_frames

    with autocast(torch.device("cpu")):
        video = stock(
            image=read_first_frames(cfg, rows[:1]).float() / 255,
            prompt=rows[0].caption,
            num_frames=9,
            height=32,
            width=48,
            num_inference_steps=2,
            guidance_scale=1.0,
            max_sequence_length=TEXT_LENGTH,
            generator=torch.Generator().manual_seed(clip_seed(3, "clip0")),
            output_type="pt",
        ).frames[0]
    expected = (video.float() * 255).round().to(torch.uint8)
    assert (made[0].frames.int() - expected.int()).abs().max() <= 1
    assert not torch.equal(made[0].frames, first[0])


def test_videos_are_written_and_named_by_clip_and_seed(cfg, rows, parts, tmp_path):
    made = generate(cfg, None, rows, parts=parts, out_dir=tmp_path, batch_size=3)
    assert [(video.id, video.seed) for video in made] == [
        ("clip0", 3),
        ("clip1", 3),
        ("clip0", 4),
        ("clip1", 4),
    ]
    assert made[1].path == tmp_path / "clip1-seed3.mp4"
    info = probe(made[1].path)
    assert (info.width, info.height) == (48, 32)
    assert made[0].frames.shape == (9, 3, 32, 48)
    assert made[0].frames.dtype == torch.uint8
    assert not torch.equal(made[0].frames, made[2].frames)


def test_noise_does_not_depend_on_the_batch(cfg, rows, parts):
    settings = {"num_frames": 9, "num_inference_steps": 2}
    first = torch.randint(0, 256, (2, 3, 32, 48), dtype=torch.uint8)
    both = sample_frames(parts, first, ["a person", "a room"], [1, 2], **settings)
    alone = sample_frames(parts, first[1:], ["a room"], [2], **settings)
    other = sample_frames(parts, first[1:], ["a room"], [5], **settings)
    assert both.shape == (2, 9, 3, 32, 48)
    assert apart(both[1:], alone) < 1 < apart(other, alone)


def test_guidance_changes_the_video(parts):
    settings = {"num_frames": 9, "num_inference_steps": 2}
    first = torch.randint(0, 256, (1, 3, 32, 48), dtype=torch.uint8)
    plain, guided = (
        sample_frames(parts, first, ["a person"], [1], guidance_scale=scale, **settings)
        for scale in (1.0, 6.0)
    )
    assert apart(plain, guided) > 1


@pytest.mark.parametrize("guidance", [1.0, 6.0])
def test_text_features_give_the_video_of_their_caption_without_a_text_encoder(parts, guidance):
    settings = {"num_frames": 9, "num_inference_steps": 2, "guidance_scale": guidance}
    first = torch.randint(0, 256, (1, 3, 32, 48), dtype=torch.uint8)
    expected = sample_frames(parts, first, ["a person walks"], [1], **settings)
    text = (parts.tokenizer, parts.text_encoder, TEXT_LENGTH)
    with autocast(torch.device("cpu")):
        prompt, empty = (encode_prompts([caption], *text) for caption in ("a person walks", ""))
    mute = dataclasses.replace(parts, tokenizer=None, text_encoder=None)
    assert apart(sample_encoded(mute, first, prompt, empty, [1], **settings), expected) < 0.01
    assert apart(sample_encoded(mute, first, empty, prompt, [1], **settings), expected) > 0.1
    with pytest.raises(ValueError, match="without transformer"):
        sample_encoded(dataclasses.replace(mute, transformer=None), first, prompt, empty, [1], **settings)


def test_seed_of_a_clip_is_stable():
    assert clip_seed(0, "a") == clip_seed(0, "a") != clip_seed(1, "a")
    assert clip_seed(0, "a") != clip_seed(0, "b")


def test_transformer_is_exchanged_in_a_copy(parts, finetuned):
    changed = with_transformer(parts, finetuned / "transformer")
    assert changed.transformer is not parts.transformer
    assert changed.vae is parts.vae
    assert with_transformer(parts, None) is parts


def test_bad_input_is_named(cfg, rows, parts, tmp_path):
    with pytest.raises(ValueError, match="got no clips"):
        generate(cfg, None, [], parts=parts)
    with pytest.raises(FileNotFoundError, match="transformer"):
        generate(cfg, tmp_path, rows, parts=parts)
    first = torch.zeros(2, 3, 32, 48, dtype=torch.uint8)
    with pytest.raises(ValueError, match="2 first frames, 1 captions and 2 seeds"):
        sample_frames(parts, first, ["a"], [1, 2], num_frames=9, num_inference_steps=1)
