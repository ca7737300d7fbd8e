"""Checkpoints in the official format: every version loads whole and computes what the stock pipeline does."""

import shutil
from contextlib import nullcontext

import huggingface_hub
import pytest
import torch
from diffusers import CogVideoXImageToVideoPipeline

from semrepa.models import latents
from semrepa.models.cogvideox import image_condition, load_cogvideox, predict_v
from semrepa.models.latents import to_pixels
from tests.official import Version, official_folder, version_transformer
from tests.tiny import TEXT_LENGTH, tiny_pipeline, tiny_text

CAPTIONS = ["a person walks in a red shirt", ""]


@pytest.fixture(scope="module")
def official(tmp_path_factory):
    """A function that gives the folder of an official checkpoint, made once; read only."""
    made = {}

    def folder(version: Version):
        if version not in made:
            made[version] = official_folder(tmp_path_factory.mktemp("official"), version)
        return made[version]

    return folder


@pytest.mark.parametrize("version", ["1.0", "1.5", "2b"])
def test_official_checkpoint_loads_as_published(official, version):
    parts = load_cogvideox(official(version))
    known = version_transformer(version).to(torch.bfloat16).state_dict()
    loaded = parts.transformer.state_dict()
    assert loaded.keys() == known.keys()
    assert all(torch.equal(value, known[name].float()) for name, value in loaded.items())
    assert ("patch_embed.pos_embedding" in loaded) is (version == "1.0")
    assert parts.tokenizer(CAPTIONS).input_ids == tiny_text()[0](CAPTIONS).input_ids
    half = load_cogvideox(official(version), dtype=torch.bfloat16)
    kinds = {half.transformer.dtype, half.vae.dtype, half.text_encoder.dtype}
    assert kinds == {torch.bfloat16}


def test_hub_name_is_found_in_the_local_cache(official, tmp_path, monkeypatch):
    cached = tmp_path / "models--THUDM--CogVideoX-5b-I2V"
    shutil.copytree(official("1.0"), cached / "snapshots" / "abc123")
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text("abc123")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    parts = load_cogvideox("THUDM/CogVideoX-5b-I2V")
    assert parts.source == "THUDM/CogVideoX-5b-I2V"
    assert parts.transformer.config.use_learned_positional_embeddings
    gone = next((cached / "snapshots" / "abc123" / "transformer").glob("*-00002-of-*.safetensors"))
    gone.unlink()
    with pytest.raises(FileNotFoundError, match=f"transformer without {gone.name}"):
        load_cogvideox("THUDM/CogVideoX-5b-I2V")


def test_tokenizer_without_its_words_is_an_error(official, tmp_path):
    folder = shutil.copytree(official("1.0") / "tokenizer", tmp_path / "tokenizer").parent
    (folder / "tokenizer" / "spiece.model").unlink()
    with pytest.raises(
        FileNotFoundError, match=r"without tokenizer/spiece\.model or tokenizer/tokenizer\.json"
    ):
        load_cogvideox(folder, parts=("tokenizer",))


@pytest.mark.parametrize("version", ["1.0", "1.5", "2b"])
def test_condition_is_that_of_the_stock_pipeline_for_each_version(official, version, monkeypatch):
    first_frames = torch.randint(0, 256, (2, 3, 32, 48), dtype=torch.uint8)
    monkeypatch.setattr(latents, "autocast", lambda _: nullcontext())
    stock = CogVideoXImageToVideoPipeline.from_pretrained(official(version), torch_dtype=torch.float32)
    frames = 4 if version == "1.5" else 3
    image = to_pixels(first_frames[:, None])[:, 0]
    size = {"num_frames": 4 * (frames - 1) + 1, "height": 32, "width": 48}
    kind = {"dtype": torch.float32, "device": torch.device("cpu")}
    _, theirs = stock.prepare_latents(
        image, 2, 16, **size, **kind, generator=torch.Generator().manual_seed(1)
    )
    vae = load_cogvideox(official(version), parts=("vae",)).vae
    ours = image_condition(vae, first_frames, frames, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)


def stock_calls(pipe, monkeypatch):
    """Inputs and answers of the transformer in two steps of the stock pipeline."""
    calls = []
    forward = type(pipe.transformer).forward

    def spy(self, **inputs):
        answer = forward(self, **inputs)
        calls.append((inputs, answer[0]))
        return answer

    monkeypatch.setattr(type(pipe.transformer), "forward", spy)
    pipe.set_progress_bar_config(disable=True)
    pipe(
        image=torch.rand(1, 3, 32, 48),
        prompt=CAPTIONS[0],
        height=32,
        width=48,
        num_frames=9,
        num_inference_steps=2,
        guidance_scale=1.0,
        max_sequence_length=TEXT_LENGTH,
        output_type="latent",
    )
    monkeypatch.undo()
    return calls


def test_predicted_v_is_what_the_stock_pipeline_computes(monkeypatch):
    pipe = tiny_pipeline()
    check_same_v(pipe, pipe.transformer, monkeypatch, frames=3)


@pytest.mark.parametrize(("version", "frames"), [("1.0", 3), ("1.5", 4), ("2b", 3)])
def test_predicted_v_is_that_of_the_stock_pipeline_for_each_version(official, monkeypatch, version, frames):
    folder = official(version)
    stock = CogVideoXImageToVideoPipeline.from_pretrained(folder, torch_dtype=torch.float32)
    transformer = load_cogvideox(folder, parts=("transformer",)).transformer
    check_same_v(stock, transformer, monkeypatch, frames=frames)


def check_same_v(stock, transformer, monkeypatch, *, frames):
    calls = stock_calls(stock, monkeypatch)
    assert len(calls) == 2
    for inputs, answer in calls:
        noisy, image = inputs["hidden_states"].chunk(2, dim=2)
        assert noisy.shape == (1, frames, 16, 4, 6)
        with torch.no_grad():
            v = predict_v(transformer, noisy, image, inputs["encoder_hidden_states"], inputs["timestep"])
        assert torch.equal(v, answer.float())
