"""The mini text encoder: a T5 of the sample world's captions, trained to name the parts of a caption."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from transformers import T5Config, T5EncoderModel, T5Tokenizer

from semrepa.miniature.fit import Recipe, fit
from semrepa.world import captions, sample_spec

MAX_LENGTH = 40
"""Text tokens of the mini models; the longest caption has 36."""
CAPTIONS, HELDOUT = 4000, 500
"""Captions in all, and those of them that are not trained on."""
RECIPE = Recipe(steps=600, lr=2e-3)


def new_tokenizer(texts: list[str]) -> T5Tokenizer:
    """Builds a T5 tokenizer whose pieces are the words of the captions, then their letters for anything else.

    Args:
        texts: captions that contain every word of the world.

    Returns:
        The tokenizer.
    """
    words = sorted({word.strip(",") for text in texts for word in text.split()})
    letters = sorted({*"abcdefghijklmnopqrstuvwxyz0123456789,.'-"})
    special = [(token, 0.0) for token in ("<pad>", "</s>", "<unk>")]
    pieces = [(f"▁{word}", -1.0) for word in words if len(word) > 1]
    pieces += (
        [(f"▁{letter}", -2.0) for letter in letters] + [(letter, -5.0) for letter in letters] + [("▁", -5.0)]
    )
    return T5Tokenizer(
        vocab=special + pieces, extra_ids=0, additional_special_tokens=[], model_max_length=MAX_LENGTH
    )


class CaptionReader(nn.Module):
    """T5 encoder with one classifier per attribute of a caption; only the encoder is kept."""

    def __init__(self, vocabulary: int, classes: dict[str, list[str]]) -> None:
        super().__init__()
        config = T5Config(
            vocab_size=vocabulary,
            d_model=64,
            d_kv=16,
            d_ff=128,
            num_layers=2,
            num_heads=4,
            feed_forward_proj="gated-gelu",
            dropout_rate=0.0,
            tie_word_embeddings=False,
        )
        self.encoder = T5EncoderModel(config)
        self.heads = nn.ModuleDict({name: nn.Linear(64, len(words)) for name, words in classes.items()})

    def forward(self, tokens: Tensor) -> dict[str, Tensor]:
        """Scores of the classes of each attribute, from the mean over all tokens, padding included."""
        pooled = self.encoder(tokens)[0].mean(dim=1)
        return {name: head(pooled) for name, head in self.heads.items()}


def train_text(*, seed: int, work: Path, log: Path) -> tuple[T5Tokenizer, T5EncoderModel, float]:
    """Trains tokenizer and encoder on captions of the world.

    Args:
        seed: of the weights and the order of captions.
        work: folder of the checkpoint.
        log: folder of the log.

    Returns:
        Tokenizer, encoder, and the share of attributes named correctly on captions that were not trained on.
    """
    specs = [sample_spec(s, empty=s % 50 == 0) for s in range(CAPTIONS)]
    labels = [captions.attributes(spec) for spec in specs]
    classes = {name: sorted({label[name] for label in labels}) for name in labels[0]}
    tokenizer = new_tokenizer([spec.caption for spec in specs])
    tokens = tokenizer(
        [spec.caption for spec in specs], padding="max_length", max_length=MAX_LENGTH, return_tensors="pt"
    ).input_ids
    targets = {n: torch.tensor([words.index(label[n]) for label in labels]) for n, words in classes.items()}
    torch.manual_seed(seed)
    model = CaptionReader(len(tokenizer), classes)
    train = CAPTIONS - HELDOUT

    def loss_of_step(step: int) -> Tensor:
        picked = torch.from_numpy(np.random.default_rng([seed, step]).integers(train, size=64))
        scores = model(tokens[picked])
        return torch.stack(
            [nn.functional.cross_entropy(scores[n], targets[n][picked]) for n in classes]
        ).mean()

    @torch.no_grad()
    def accuracy() -> dict[str, float]:
        scores = model(tokens[train:])
        right = [(scores[n].argmax(-1) == targets[n][train:]).float().mean() for n in classes]
        return {"accuracy": torch.stack(right).mean().item()}

    fit(model, loss_of_step, RECIPE, checkpoint=work / "text.pt", log=log / "text.jsonl", evaluate=accuracy)
    return tokenizer, model.encoder, accuracy()["accuracy"]
