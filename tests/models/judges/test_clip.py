"""CLIP: a tiny random one, read from a folder, answers as transformers' own path does."""

from pathlib import Path

import pytest
import torch
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPTokenizer

from semrepa.metrics.text import TextNetwork, text_score
from semrepa.models.judges import clip
from semrepa.models.judges.clip import Clip
from tests.metrics.sketches import photo

SIZE = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
CAPTIONS = ["a man waves", "a woman in a red coat walks across the room and turns"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Weights, settings and tokenizer as a hub has them."""
    made = tmp_path_factory.mktemp("clip")
    tokenizer = clip._letters()
    words = {
        "vocab_size": len(tokenizer),
        "max_position_embeddings": 24,
        **{name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")},
    }
    torch.manual_seed(4)
    config = CLIPConfig(
        text_config=SIZE | words, vision_config=SIZE | {"image_size": 64, "patch_size": 16}, projection_dim=16
    )
    CLIPModel(config).save_pretrained(made)
    tokenizer.save_pretrained(made)
    return made


@torch.no_grad()
def test_captions_and_pictures_as_transformers_embeds_them(folder):
    ours, theirs = Clip(folder), CLIPModel.from_pretrained(folder).eval()
    tokenizer = CLIPTokenizer.from_pretrained(folder)
    ids = tokenizer(CAPTIONS, truncation=True, max_length=24, padding=True, return_tensors="pt")
    texts, tokens = ours.read(CAPTIONS)
    expected = theirs.text_projection(theirs.text_model(**ids).pooler_output)
    torch.testing.assert_close(texts, expected)
    assert tokens.tolist() == [11, 44] and ours.max_tokens == 24

    pictures = torch.stack([photo("coffee", 96, 144), photo("chelsea", 96, 144)])
    prepare = CLIPImageProcessor(size={"shortest_edge": 64}, crop_size=64)
    pixels = prepare(list(pictures), return_tensors="pt")["pixel_values"]
    torch.testing.assert_close(clip.prepare(pictures, 64), pixels, atol=0.03, rtol=0)
    expected = theirs.visual_projection(theirs.vision_model(pixel_values=pixels).pooler_output)
    alike = torch.nn.functional.cosine_similarity(ours.see(pictures), expected)
    assert alike.min() > 0.9999
    whole = theirs(**ids, pixel_values=pixels)
    found = text_score(pictures[:, None], CAPTIONS, ours)
    cosines = (whole.image_embeds * whole.text_embeds).sum(dim=1)
    torch.testing.assert_close(found.frames[:, 0], cosines, atol=1e-3, rtol=0)
    assert found.truncated.tolist() == [False, True]


@torch.no_grad()
def test_what_the_centre_crop_cuts_off_is_not_seen(folder):
    ours, pictures = Clip(folder), torch.randint(0, 256, (1, 3, 64, 128), dtype=torch.uint8)
    changed = pictures.clone()
    changed[..., :20] = 0
    torch.testing.assert_close(ours.see(pictures), ours.see(changed), atol=2e-3, rtol=0)
    changed[..., 50:70] = 0
    assert (ours.see(pictures) - ours.see(changed)).abs().max() > 2e-3


def test_random_one_runs_the_whole_path_and_says_so():
    ours = Clip()
    assert ours.provenance.kind == "random" and isinstance(ours, TextNetwork)
    frames = torch.randint(0, 256, (2, 3, 3, 40, 60), dtype=torch.uint8)
    found = text_score(frames, ["a man waves", "a " * 200], ours)
    assert found.frames.shape == (2, 3) and found.truncated.tolist() == [False, True]
    assert found.frames.abs().max() <= 1
    assert torch.equal(found.frames, text_score(frames, ["a man waves", "a " * 200], Clip()).frames)


def test_pickled_weights_are_read_as_tensors_only(folder, tmp_path):
    tensors = CLIPModel.from_pretrained(folder).state_dict()
    for file in folder.iterdir():
        if file.name != "model.safetensors":
            (tmp_path / file.name).write_bytes(file.read_bytes())
    buffers = {"text_model.embeddings.position_ids": torch.arange(24)}
    torch.save(tensors | buffers, tmp_path / "pytorch_model.bin")
    ours = Clip(tmp_path)
    assert torch.equal(ours.read(CAPTIONS)[0], Clip(folder).read(CAPTIONS)[0])
    assert ours.provenance.source == str(tmp_path / "pytorch_model.bin")
    torch.save({"model": CLIPConfig()}, tmp_path / "pytorch_model.bin")
    with pytest.raises(ValueError, match="code or objects in it"):
        Clip(tmp_path)
    (tmp_path / "pytorch_model.bin").unlink()
    with pytest.raises(FileNotFoundError, match=r"model\.safetensors"):
        Clip(tmp_path)
