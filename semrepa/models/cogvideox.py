"""CogVideoX image-to-video from a diffusers folder: loading, the first-frame condition, the prediction of v.

The model learns to turn noise, a first frame and a caption into a video; its sampler is the stock
`CogVideoXImageToVideoPipeline`, which `pipeline` assembles from the loaded parts.

Source: Eq. (1), Sec. 4.1.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from diffusers import (
    AutoencoderKLCogVideoX,
    CogVideoXDDIMScheduler,
    CogVideoXImageToVideoPipeline,
    CogVideoXTransformer3DModel,
)
from diffusers.utils.torch_utils import randn_tensor
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError
from torch import Tensor
from transformers import AutoTokenizer, PreTrainedTokenizerBase, T5Config, T5EncoderModel

from semrepa.models.freeze import freeze
from semrepa.models.latents import Generators, encode_image, to_pixels
from semrepa.models.shards import check_files, check_vocabulary
from semrepa.models.transformer import call_transformer
from semrepa.models.variants import check_checkpoint
from semrepa.shapes import Images, Latents, PromptEmbeds, Timesteps

logger = logging.getLogger(__name__)

Part = Literal["vae", "transformer", "text_encoder", "tokenizer", "noise_scheduler"]
PARTS: tuple[Part, ...] = get_args(Part)

_CONFIG_FILES: dict[Part, str] = {
    "vae": "vae/config.json",
    "transformer": "transformer/config.json",
    "text_encoder": "text_encoder/config.json",
    "tokenizer": "tokenizer/tokenizer_config.json",
    "noise_scheduler": "scheduler/scheduler_config.json",
}
_VOCABULARIES = ("tokenizer/spiece.model", "tokenizer/tokenizer.json")
"""Without one of them, transformers would make a tokenizer of three tokens."""


@dataclass(frozen=True, kw_only=True)
class CogVideoX:
    """The parts of a CogVideoX checkpoint; those that were not asked for are None."""

    source: str
    """Folder or hub name they came from."""
    vae: AutoencoderKLCogVideoX | None = None
    """Video autoencoder, frozen."""
    transformer: CogVideoXTransformer3DModel | None = None
    """The diffusion transformer, ready to be trained or frozen by the caller."""
    text_encoder: T5EncoderModel | None = None
    """Caption encoder, frozen."""
    tokenizer: PreTrainedTokenizerBase | None = None
    """Caption tokenizer."""
    noise_scheduler: CogVideoXDDIMScheduler | None = None
    """Noise table and sampler, read from the checkpoint's own settings."""


def load_cogvideox(
    source: str | Path,
    *,
    parts: Sequence[Part] = PARTS,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    vae_tiling: bool = False,
) -> CogVideoX:
    """Load a CogVideoX image-to-video checkpoint that is already on this machine.

    On a GPU the VAE takes one video of a batch after the other: the same numbers in less memory.

    Args:
        source: a diffusers folder, or a hub name whose files are in the local cache. Nothing is downloaded.
        parts: which parts are needed.
        device: where the networks go.
        dtype: precision of the networks' weights.
        vae_tiling: let the VAE work in overlapping tiles: less memory, more work and slightly other numbers.

    Returns:
        The parts, in evaluation mode; VAE and text encoder frozen.

    Raises:
        ValueError: when a part has an unknown name, the checkpoint is none that the kit can run, or its files
            are damaged.
        FileNotFoundError: when the folder or parts of it are missing; all missing parts are listed.
    """
    unknown = sorted(set(parts) - set(PARTS))
    if unknown:
        raise ValueError(f"got unknown parts {', '.join(unknown)}; expected some of {', '.join(PARTS)}")
    folder = local_folder(source)
    if folder is None:
        raise FileNotFoundError(
            f"got {str(source)!r}, which is neither a folder nor a checkpoint in the local hub cache; "
            f"give a diffusers folder, or download it first: hf download {source}"
        )
    missing = [_CONFIG_FILES[part] for part in parts if not (folder / _CONFIG_FILES[part]).is_file()]
    if "tokenizer" in parts and not any((folder / name).is_file() for name in _VOCABULARIES):
        missing.append(" or ".join(_VOCABULARIES))
    if missing:
        raise FileNotFoundError(
            f"got {folder} without {', '.join(missing)}; expected a complete diffusers folder; "
            "copy the missing parts there, or download the checkpoint again"
        )
    check_checkpoint(folder)
    loaded = {part: _load(part, folder, device, dtype) for part in parts}
    if "vae" in loaded:
        loaded["vae"].use_tiling = vae_tiling
        loaded["vae"].use_slicing = torch.device(device).type == "cuda"
    return CogVideoX(source=str(source), **loaded)


def local_folder(source: str | Path) -> Path | None:
    """The folder itself, or where the local hub cache holds a checkpoint of that name; None: neither."""
    if Path(source).is_dir():
        return Path(source)
    try:
        return Path(snapshot_download(str(source), local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError):
        return None


def pipeline(parts: CogVideoX) -> CogVideoXImageToVideoPipeline:
    """Assemble the stock sampling pipeline.

    Args:
        parts: a checkpoint loaded with all parts.

    Returns:
        The diffusers pipeline, sharing the loaded networks.

    Raises:
        ValueError: when a part was not loaded.
    """
    loaded = {part: getattr(parts, part) for part in PARTS}
    missing = [part for part, value in loaded.items() if value is None]
    if missing:
        raise ValueError(
            f"got a checkpoint without {', '.join(missing)}; expected all parts; "
            f"call load_cogvideox({parts.source!r}) without `parts`"
        )
    return CogVideoXImageToVideoPipeline(scheduler=loaded.pop("noise_scheduler"), **loaded)


@torch.no_grad()
def encode_prompts(
    captions: Sequence[str], tokenizer: PreTrainedTokenizerBase, text_encoder: T5EncoderModel, max_length: int
) -> PromptEmbeds:
    """Turn captions into text features, padded to one length, as the stock pipeline does.

    Captions that are longer are cut, with a warning that says which.

    Args:
        captions: one text for each clip; "" stands for no caption.
        tokenizer: caption tokenizer.
        text_encoder: caption encoder.
        max_length: tokens kept, `transformer.config.max_text_seq_length`.

    Returns:
        Text features in the encoder's precision, without gradients.
    """
    lengths = token_counts(captions, tokenizer)
    cut = [caption for caption, length in zip(captions, lengths, strict=True) if length > max_length]
    if cut:
        found = f"{len(cut)} of {len(captions)} captions have more than {max_length} tokens"
        shown = "; ".join(f"{caption[:60]!r}" for caption in cut[:3])
        logger.warning("%s and are cut%s: %s", found, ", the first ones" if len(cut) > 3 else "", shown)
    tokens = tokenizer(
        list(captions),
        padding="max_length",
        max_length=max_length,
        truncation=True,
        add_special_tokens=True,
        return_tensors="pt",
    )
    return text_encoder(tokens.input_ids.to(text_encoder.device))[0]


def token_counts(
    captions: Sequence[str], tokenizer: PreTrainedTokenizerBase, max_length: int | None = None
) -> list[int]:
    """Count the text features of each caption that stand for its own tokens, the rest being padding.

    Args:
        captions: texts.
        tokenizer: caption tokenizer.
        max_length: tokens kept; None: all.

    Returns:
        For each caption a number from 1 (the end-of-text token alone) to `max_length`.
    """
    tokens = tokenizer(list(captions), truncation=False, verbose=False).input_ids
    return [min(len(ids), max_length or len(ids)) for ids in tokens]


def image_condition(
    vae: AutoencoderKLCogVideoX,
    first_frames: Images,
    num_latent_frames: int,
    *,
    generator: Generators = None,
    noise_mean: float | None = None,
    noise_std: float | None = None,
    dropout: float = 0.0,
) -> Latents:
    """Build the first-frame condition: the encoded frame at latent frame 0, zeros elsewhere.

    Without noise and dropout it is what the stock pipeline feeds when sampling. In training, pixel noise of
    strength exp(N(mean, std)), new in each step, keeps the model from copying the frame, and dropout of the
    whole condition lets it also work without one.

    Args:
        vae: frozen VAE.
        first_frames: first frame of each clip.
        num_latent_frames: latent frames that the transformer works on (`padded_frames`).
        generator: source of all randomness here, the sample of the posterior included, or one for each clip;
            None takes the posterior's mode and draws noise and dropout from the global source.
        noise_mean: mean of the logarithm of the noise strength (CogVideoX: -3); None adds no noise.
        noise_std: its standard deviation (CogVideoX: 0.5).
        dropout: probability that a clip loses its condition (CogVideoX: 0.05).

    Returns:
        Image latents of `num_latent_frames` frames in float32, without gradients.

    Raises:
        ValueError: when only one of the two noise settings is given.
    """
    if (noise_mean is None) != (noise_std is None):
        raise ValueError(f"got noise_mean={noise_mean} and noise_std={noise_std}; expected both or neither")
    pixels = to_pixels(first_frames[:, None].to(next(vae.parameters()).device))
    batch = len(pixels)
    if noise_mean is not None and noise_std is not None:
        strength = torch.exp(noise_mean + noise_std * _randn((batch, 1, 1, 1, 1), pixels, generator))
        pixels = pixels + strength * _randn(pixels.shape, pixels, generator)
    first = encode_image(vae, pixels, generator=generator)
    if dropout:
        kept = _rand(batch, first.device, generator) >= dropout
        first = first * kept.view(-1, 1, 1, 1, 1)
    padding = first.new_zeros(batch, num_latent_frames - 1, *first.shape[2:])
    return torch.cat([first, padding], dim=1)


def predict_v(
    transformer: CogVideoXTransformer3DModel,
    noisy_latents: Latents,
    image_latents: Latents,
    prompt_embeds: PromptEmbeds,
    timesteps: Timesteps,
) -> Latents:
    """Ask the diffusion transformer for v, as the stock pipeline does in each sampling step.

    Args:
        transformer: image-to-video transformer.
        noisy_latents: latents at `timesteps`.
        image_latents: first-frame condition of the same shape, joined on the channels.
        prompt_embeds: text features.
        timesteps: noise level of each clip.

    Returns:
        Predicted v in float32.

    Source: Eq. (1), Sec. 4.1.
    """
    joined = torch.cat([noisy_latents, image_latents.to(noisy_latents.dtype)], dim=2)
    return call_transformer(transformer, joined, prompt_embeds, timesteps)


def _load(part: Part, folder: Path, device: torch.device | str, dtype: torch.dtype) -> Any:
    if part == "tokenizer":
        check_vocabulary(folder / "tokenizer")
        return AutoTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True)
    if part == "noise_scheduler":
        return CogVideoXDDIMScheduler.from_pretrained(folder, subfolder="scheduler")
    if part == "text_encoder":
        with torch.device("meta"):
            empty: Any = T5EncoderModel(T5Config.from_pretrained(folder / part))
        check_files(folder / part, "model", empty)
        model: Any = T5EncoderModel.from_pretrained(folder / part, dtype=dtype, use_safetensors=True)
    else:
        kind = AutoencoderKLCogVideoX if part == "vae" else CogVideoXTransformer3DModel
        with torch.device("meta"):
            empty = kind.from_config(kind.load_config(folder, subfolder=part))
        check_files(folder / part, "diffusion_pytorch_model", empty)
        model = kind.from_pretrained(folder, subfolder=part, torch_dtype=dtype, use_safetensors=True)
    return model.to(device).eval() if part == "transformer" else freeze(model.to(device))


def _randn(shape: Sequence[int], like: Tensor, generator: Generators) -> Tensor:
    return randn_tensor(tuple(shape), generator=generator, device=like.device, dtype=like.dtype)


def _rand(count: int, device: torch.device, generator: Generators) -> Tensor:
    if isinstance(generator, list):
        return torch.cat([torch.rand(1, generator=each, device=each.device) for each in generator]).to(device)
    source = generator.device if generator else device
    return torch.rand(count, generator=generator, device=source).to(device)
