"""Tokenizer and text encoder of the sample world's captions, on sixty of them."""

import pytest
import torch
from transformers import AutoTokenizer, T5EncoderModel

from semrepa.miniature import text
from semrepa.miniature.fit import Recipe
from semrepa.miniature.text import MAX_LENGTH, new_tokenizer, train_text
from semrepa.world import sample_spec


@pytest.fixture(scope="module")
def specs():
    return {seed: sample_spec(seed, empty=seed % 50 == 0) for seed in range(60)}


@pytest.fixture(scope="module")
def captions(specs):
    return [spec.caption for spec in specs.values()]


@pytest.fixture
def train(specs, monkeypatch, tmp_path):
    """A function that trains on the sixty captions; runs of one name share a checkpoint."""
    monkeypatch.setattr(text, "sample_spec", lambda seed, empty: specs[seed])
    monkeypatch.setattr(text, "CAPTIONS", len(specs))
    monkeypatch.setattr(text, "HELDOUT", 20)

    def start(name, *, seed=0, steps=2):
        recipe = Recipe(steps=steps, lr=1e-2, warmup=1, ema=0.9, save_every=steps)
        monkeypatch.setattr(text, "RECIPE", recipe)
        return train_text(seed=seed, work=tmp_path / name, log=tmp_path / name)

    return start


def test_every_caption_fits_and_comes_back(captions):
    tokenizer = new_tokenizer(captions)
    for caption in captions:
        tokens = tokenizer(caption).input_ids
        assert len(tokens) <= MAX_LENGTH
        assert tokenizer.unk_token_id not in tokens
        assert tokens[-1] == tokenizer.eos_token_id
        assert tokenizer.decode(tokens, skip_special_tokens=True) == caption
    assert len(tokenizer("a man walks slowly").input_ids) == 5, "one token for each word, and the end"


def test_other_words_are_spelled(captions):
    tokenizer = new_tokenizer(captions)
    tokens = tokenizer("a zebra juggles").input_ids
    assert tokenizer.unk_token_id not in tokens
    assert tokenizer.decode(tokens, skip_special_tokens=True) == "a zebra juggles"


def test_saved_tokenizer_and_encoder_answer_the_same(train, captions, tmp_path):
    tokenizer, encoder, _ = train("run")
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    encoder.save_pretrained(tmp_path / "encoder")
    reader = AutoTokenizer.from_pretrained(tmp_path / "tokenizer")
    twin = T5EncoderModel.from_pretrained(tmp_path / "encoder")
    padded = {"padding": "max_length", "return_tensors": "pt"}
    tokens = tokenizer(captions[:3], **padded).input_ids
    assert torch.equal(reader(captions[:3], **padded).input_ids, tokens)
    assert tokens.shape == (3, MAX_LENGTH), "the length is kept with the tokenizer"
    with torch.no_grad():
        answer = encoder(tokens)[0]
        torch.testing.assert_close(twin(tokens)[0], answer)
    assert answer.shape == (3, MAX_LENGTH, 64)
    assert not torch.allclose(answer[0], answer[1])


def test_training_depends_on_the_seed_alone(train):
    once, again, other = (train(name, seed=seed)[1] for name, seed in (("a", 0), ("b", 0), ("c", 1)))
    assert all(map(torch.equal, once.parameters(), again.parameters()))
    assert not torch.equal(once.shared.weight, other.shared.weight)


def test_training_names_parts_of_captions_it_has_not_seen(train, tmp_path):
    *_, guessed = train("short", steps=1)
    *_, learned = train("long", steps=20)
    assert learned > guessed + 0.15
    assert f'"accuracy": {learned:.5f}'.rstrip("0") in (tmp_path / "long" / "text.jsonl").read_text()
