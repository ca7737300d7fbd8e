"""SVD and I2VGen-XL: loaded from safetensors alone, sampled as the stock pipelines do, noise by the seed."""

import shutil

import PIL.Image
import pytest
import torch
from diffusers import StableVideoDiffusionPipeline
from safetensors.torch import load_file, save_file
from transformers import CLIPTextModel

from semrepa.models.baselines import BASELINES, _text_features, load_baseline, sample_window, window_length
from tests.tiny_baselines import SVD_FRAMES

SHORT = {"fps": 8.0, "num_inference_steps": 2}
EVERY = pytest.mark.parametrize("name", list(BASELINES))


@pytest.fixture(scope="module")
def folders(svd_folder, i2vgen_xl_folder):
    return {"svd": svd_folder, "i2vgen-xl": i2vgen_xl_folder}


@pytest.fixture(scope="module")
def pipes(folders):
    return {name: load_baseline(name, folder) for name, folder in folders.items()}


@pytest.fixture
def first_frame():
    return torch.randint(0, 256, (3, 32, 48), dtype=torch.uint8)


def apart(one, other):
    """Mean difference of two videos, 0 to 255."""
    return (one.float() - other.float()).abs().mean()


@EVERY
def test_window_has_the_models_length_and_the_size_of_the_first_frame(pipes, first_frame, name):
    video = sample_window(name, pipes[name], first_frame, "a person", seed=1, **SHORT)
    assert video.dtype == torch.uint8
    assert video.shape == (window_length(name, pipes[name]), 3, 32, 48)
    assert window_length(name, pipes[name]) == {"svd": SVD_FRAMES, "i2vgen-xl": 16}[name]


@EVERY
def test_noise_depends_on_the_seed_alone_and_leaves_other_noise_alone(pipes, first_frame, name):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    one = sample_window(name, pipes[name], first_frame, "a person", seed=1, **SHORT)
    assert torch.equal(torch.rand(3), expected), "the global generator has moved"
    again = sample_window(name, pipes[name], first_frame, "a person", seed=1, **SHORT)
    assert torch.equal(one, again)
    other = sample_window(name, pipes[name], first_frame, "a person", seed=2, **SHORT)
    assert apart(one, other) > 1


def test_svd_gives_the_frames_of_the_stock_pipeline(folders, pipes, first_frame):
    stock = StableVideoDiffusionPipeline.from_pretrained(folders["svd"])
    stock.set_progress_bar_config(disable=True)
    picture = PIL.Image.fromarray(first_frame.permute(1, 2, 0).numpy())
    video = stock(
        picture,
        height=32,
        width=48,
        num_inference_steps=2,
        fps=8,
        max_guidance_scale=3.0,
        decode_chunk_size=8,
        generator=torch.Generator().manual_seed(4),
        output_type="pt",
    ).frames[0]
    made = sample_window("svd", pipes["svd"], first_frame, "", seed=4, **SHORT)
    assert (made.float() - video * 255).abs().max() <= 1


def test_captions_matter_to_i2vgen_xl_only(pipes, first_frame):
    for name, is_read in (("svd", False), ("i2vgen-xl", True)):
        one, other = (
            sample_window(name, pipes[name], first_frame, text, seed=1, **SHORT)
            for text in ("a red shirt", "an empty room at night")
        )
        assert (apart(one, other) > 0) == is_read


def test_text_is_read_from_the_last_layer_but_one(folders, pipes):
    pipe = pipes["i2vgen-xl"]
    config = pipe.text_encoder.config.to_dict() | {"num_hidden_layers": 1}
    shorter = CLIPTextModel(type(pipe.text_encoder.config)(**config)).eval()
    shorter.load_state_dict(pipe.text_encoder.state_dict(), strict=False)
    tokens = pipe.tokenizer("a cat", padding="max_length", max_length=16, return_tensors="pt").input_ids
    assert tokens.unique().numel() > 4, "letters are known words"
    with torch.no_grad():
        expected, got = shorter(tokens)[0], _text_features(pipe, "a cat")
    assert torch.allclose(got, expected, atol=1e-5)


def test_text_weights_may_have_the_names_of_the_official_checkpoint(folders, pipes, tmp_path):
    folder = shutil.copytree(folders["i2vgen-xl"], tmp_path / "named")
    file = folder / "text_encoder" / "model.safetensors"
    weights = {
        f"text_model.{name.removeprefix('text_model.')}": value for name, value in load_file(file).items()
    }
    weights["text_model.embeddings.position_ids"] = torch.arange(16)[None]
    save_file(weights, file, metadata={"format": "pt"})
    pipe = load_baseline("i2vgen-xl", folder)
    with torch.no_grad():
        assert torch.equal(_text_features(pipe, "a cat"), _text_features(pipes["i2vgen-xl"], "a cat"))


@EVERY
def test_guidance_and_half_precision(folders, first_frame, name):
    pipe = load_baseline(name, folders[name], dtype=torch.bfloat16)
    assert {pipe.unet.dtype, pipe.vae.dtype, pipe.image_encoder.dtype} == {torch.bfloat16}
    weak, strong = (
        sample_window(name, pipe, first_frame, "a person", seed=1, guidance_scale=scale, **SHORT)
        for scale in (1.5, 12.0)
    )
    assert apart(weak, strong) > 0.1


@EVERY
def test_networks_are_frozen(pipes, name):
    for part in BASELINES[name].networks:
        network = getattr(pipes[name], part)
        assert not network.training
        assert not any(weight.requires_grad for weight in network.parameters())


def test_a_size_that_cannot_be_halved_is_refused(pipes):
    with pytest.raises(
        ValueError, match=r"got pictures of 40x48 for svd; expected multiples of 16; use 576x1024"
    ):
        sample_window("svd", pipes["svd"], torch.zeros(3, 40, 48, dtype=torch.uint8), "", seed=0, **SHORT)


@pytest.fixture
def damaged(folders, tmp_path):
    """A copy of a checkpoint that a test may damage."""
    return lambda name: shutil.copytree(folders[name], tmp_path / name)


def test_pickles_are_never_loaded(damaged):
    folder = damaged("svd")
    file = folder / "unet" / "diffusion_pytorch_model.safetensors"
    torch.save(load_file(file), folder / "unet" / "diffusion_pytorch_model.bin")
    file.unlink()
    with pytest.raises(FileNotFoundError, match=r"pickles, which can hold code and are never loaded"):
        load_baseline("svd", folder)


@pytest.mark.parametrize("part", ["unet", "image_encoder", "text_encoder"])
def test_weights_that_do_not_fill_a_network_are_refused(damaged, part):
    folder = damaged("i2vgen-xl")
    (file,) = (folder / part).glob("*.safetensors")
    weights = load_file(file)
    weights.pop(sorted(weights)[0])
    save_file(weights, file, metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"without 1 weights of .*; expected all of them"):
        load_baseline("i2vgen-xl", folder)


def test_what_is_missing_damaged_or_another_model_is_named(damaged, folders, tmp_path):
    with pytest.raises(FileNotFoundError, match="expected a folder in the layout of diffusers"):
        load_baseline("svd", tmp_path / "none")
    with pytest.raises(ValueError, match="of class I2VGenXLPipeline; expected StableVideoDiffusionPipeline"):
        load_baseline("svd", folders["i2vgen-xl"])
    folder = damaged("i2vgen-xl")
    (folder / "tokenizer" / "merges.txt").unlink()
    (folder / "scheduler" / "scheduler_config.json").unlink()
    with pytest.raises(
        FileNotFoundError, match=r"without scheduler/scheduler_config.json, tokenizer/vocab.json"
    ):
        load_baseline("i2vgen-xl", folder)
    folder = damaged("svd")
    file = folder / "vae" / "diffusion_pytorch_model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(ValueError, match="cut short"):
        load_baseline("svd", folder)
