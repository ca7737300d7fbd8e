"""CLIP (Radford et al., 2021) by transformers' classes, with pictures prepared as its authors do."""

from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn
from torch.nn import functional
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

from semrepa.models.judges.filling import fill, full_precision, randomised, record
from semrepa.provenance import Kind, Provenance

MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
FILES = ("model.safetensors", "pytorch_model.bin")
"""Weights of a folder, the first that is there counts."""
_BUFFERS = ("position_ids",)
"""Ends of names that older files hold and that are no weights."""
_SMALL = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2}
"""Size of the network with random weights."""


class Clip(nn.Module):
    """Pictures and captions in one space.

    Args:
        folder: transformers' folder, such as openai/clip-vit-base-patch32; None: a small one with random
            weights, and a tokenizer of letters.
        kind: what the folder counts as; None: mini inside the package, else real.

    Raises:
        FileNotFoundError: the folder lacks its weights.
        ValueError: they are damaged or of another network.

    Attributes:
        provenance: where the weights come from.
    """

    def __init__(self, folder: Path | None = None, *, kind: Kind | None = None) -> None:
        super().__init__()
        self.tokenizer = _letters() if folder is None else _read_tokenizer(folder)
        config = _small(self.tokenizer) if folder is None else _read_config(folder)
        self.network = randomised(lambda: CLIPModel(config))
        if folder is not None:
            fill(self.network, _weights(folder), "CLIP weights", rename=_without_buffers, optional=_BUFFERS)
        self.side = config.vision_config.image_size
        self.max_tokens = config.text_config.max_position_embeddings
        self.provenance = _record(config, folder, kind)

    @full_precision()
    def see(self, pictures: UInt8[Tensor, "k 3 H W"]) -> Float[Tensor, "k d"]:
        """Embed pictures: the shorter side is resized (bicubic), and the middle square is seen.

        Args:
            pictures: RGB, 0 to 255, of any size.

        Returns:
            Embeddings of any length.
        """
        colours = prepare(pictures.to(self.network.device), self.side)
        pooled = self.network.vision_model(pixel_values=colours).pooler_output
        return self.network.visual_projection(pooled)

    def read(self, captions: Sequence[str]) -> tuple[Float[Tensor, "b d"], Int[Tensor, " b"]]:
        """Embed captions.

        Args:
            captions: texts; what is too long is cut.

        Returns:
            Embeddings, and how many tokens each caption has uncut, with the marks at both ends.
        """
        uncut = self.tokenizer(list(captions), truncation=False, verbose=False)["input_ids"]
        cut = self.tokenizer(
            list(captions), truncation=True, max_length=self.max_tokens, padding=True, return_tensors="pt"
        )
        pooled = self.network.text_model(**cut.to(self.network.device)).pooler_output
        return self.network.text_projection(pooled), torch.tensor([len(ids) for ids in uncut])


def prepare(pictures: UInt8[Tensor, "k 3 H W"], side: int) -> Float[Tensor, "k 3 side side"]:
    """Resize, cut the middle out and normalise, as CLIP was trained.

    Args:
        pictures: RGB, 0 to 255.
        side: of the square, pixels.

    Returns:
        Normalised colours.
    """
    height, width = pictures.shape[-2:]
    shorter = min(height, width)
    size = (side * height // shorter, side * width // shorter)
    colours = functional.interpolate(pictures.float(), size, mode="bicubic", antialias=True)
    top, left = ((long - side) // 2 for long in size)
    colours = colours[..., top : top + side, left : left + side].round().clamp(0, 255) / 255
    mean, std = (torch.tensor(values, device=pictures.device)[:, None, None] for values in (MEAN, STD))
    return (colours - mean) / std


def _weights(folder: Path) -> Path:
    return next((folder / name for name in FILES if (folder / name).is_file()), folder / FILES[0])


def _without_buffers(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in tensors.items() if not name.endswith(_BUFFERS)}


def _record(config: CLIPConfig, folder: Path | None, kind: Kind | None) -> Provenance:
    vision = config.vision_config
    name = f"CLIP, {vision.num_hidden_layers} layers, patch {vision.patch_size}, {vision.image_size} pixels"
    return record(name, None if folder is None else _weights(folder), kind)


def _read_tokenizer(folder: Path) -> CLIPTokenizer:
    return CLIPTokenizer.from_pretrained(folder, local_files_only=True)


def _read_config(folder: Path) -> CLIPConfig:
    return CLIPConfig.from_pretrained(folder, local_files_only=True)


def _small(tokenizer: CLIPTokenizer) -> CLIPConfig:
    marks = {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    words = {"vocab_size": len(tokenizer), **marks}
    return CLIPConfig(text_config=_SMALL | words, vision_config=_SMALL, projection_dim=64)


def _letters() -> CLIPTokenizer:
    """A stand-in that reads letter by letter."""
    letters = [*map(chr, range(32, 127))]
    words = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(vocab={word: number for number, word in enumerate(words)}, merges=[])
