"""Text features of captions: each caption is encoded once, whatever stores it goes into.

The encoder of the full model has five billion parameters; it is loaded only for captions that are new, before
any other network, and freed again.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors.torch import load_file, save
from torch import Tensor

from semrepa.config import Config
from semrepa.data.store import FeatureStore
from semrepa.files import clear_unfinished, write_whole
from semrepa.models.cogvideox import encode_prompts, token_counts
from semrepa.prepare.stores import text_hash
from semrepa.weights import load_base

BATCH = 32
"""Captions encoded at a time."""


def text_folder(store: FeatureStore, cache_dir: str | Path) -> Path:
    """Where text features are kept; stores with other pictures share them.

    Args:
        store: the store they go into.
        cache_dir: folder for stores and text features.

    Returns:
        The folder.
    """
    return Path(cache_dir) / f"text-{text_hash(store.fingerprint)}"


def encode_captions(
    cfg: Config, store: FeatureStore, captions: Iterable[str], cache_dir: str | Path
) -> Callable[[str], Float[Tensor, "l e"]]:
    """Encode captions that are new to the cache.

    Args:
        cfg: names the checkpoint with tokenizer and text encoder.
        store: the store to fill.
        captions: of the clips to come.
        cache_dir: see `text_folder`.

    Returns:
        What gives the features of a caption, as records hold them.
    """
    folder, trim = text_folder(store, cache_dir), cfg.data.trim_text
    embed_captions(cfg, [*captions, *([""] if trim else [])], store.fingerprint["text_length"], folder)
    if trim:
        store.set_padding(read_caption(folder, ""))
    return partial(read_caption, folder, trim=trim)


def embed_captions(cfg: Config, captions: Sequence[str], length: int, folder: str | Path) -> None:
    """Encode the captions that have not been encoded before, and keep their features.

    Args:
        cfg: names the checkpoint with tokenizer and text encoder.
        captions: texts, in any order; equal ones are encoded once.
        length: tokens in all, padding included.
        folder: where features are kept, for one text encoder and length.
    """
    clear_unfinished(Path(folder))
    if new := new_captions(folder, captions):
        _encode(cfg, new, length, folder)


def new_captions(folder: str | Path, captions: Iterable[str]) -> list[str]:
    """The captions that have not been encoded before.

    Args:
        folder: where features are kept.
        captions: texts.

    Returns:
        Those without features, each once, sorted.
    """
    return [caption for caption in sorted(set(captions)) if not _place(folder, caption).is_file()]


def read_caption(folder: str | Path, caption: str, *, trim: bool = False) -> Float[Tensor, "l e"]:
    """Features of a caption that has been encoded.

    Args:
        folder: where features are kept.
        caption: the text.
        trim: leave out those of the padding behind the caption.

    Returns:
        float16 features of all tokens, or of the caption's own.

    Raises:
        FileNotFoundError: it has not been encoded.
    """
    features = load_file(_place(folder, caption))
    return features["embeds"][: int(features["tokens"])] if trim else features["embeds"]


def _encode(cfg: Config, captions: Sequence[str], length: int, folder: str | Path) -> None:
    parts = load_base(cfg, ("tokenizer", "text_encoder"))
    for first in range(0, len(captions), BATCH):
        some = captions[first : first + BATCH]
        embeds = encode_prompts(some, parts.tokenizer, parts.text_encoder, length).half().cpu()
        counts = token_counts(some, parts.tokenizer, length)
        for caption, features, tokens in zip(some, embeds, counts, strict=True):
            kept = {"embeds": features.contiguous(), "tokens": torch.tensor(tokens)}
            write_whole(_place(folder, caption), save(kept), room=Path(folder))


def _place(folder: str | Path, caption: str) -> Path:
    return Path(folder) / f"{hashlib.sha256(caption.encode()).hexdigest()[:24]}.safetensors"
