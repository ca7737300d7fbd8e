"""The networks of CogVideoX at their size, without weights: for counting what they hold and compute.

Sizes come from a checkpoint's own settings where it is at hand, else from the official ones kept here.
"""

import json
from collections.abc import Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch
from diffusers import AutoencoderKLCogVideoX, CogVideoXTransformer3DModel
from torch import nn
from transformers import T5Config, T5EncoderModel

from semrepa.models.cogvideox import local_folder

Network = Literal["transformer", "vae", "text_encoder"]

_TRANSFORMER: dict[str, Any] = {
    "num_attention_heads": 48,
    "attention_head_dim": 64,
    "in_channels": 32,
    "out_channels": 16,
    "time_embed_dim": 512,
    "text_embed_dim": 4096,
    "num_layers": 42,
    "max_text_seq_length": 226,
    "patch_size": 2,
    "sample_height": 60,
    "sample_width": 90,
    "sample_frames": 49,
    "use_rotary_positional_embeddings": True,
}
_LATER: dict[str, Any] = {
    "sample_height": 300,
    "sample_width": 300,
    "sample_frames": 81,
    "patch_size_t": 2,
    "patch_bias": False,
    "ofs_embed_dim": 512,
}
_SMALL: dict[str, Any] = {
    "num_attention_heads": 30,
    "num_layers": 30,
    "in_channels": 16,
    "use_rotary_positional_embeddings": False,
}
OFFICIAL: dict[str, dict[str, Any]] = {
    "CogVideoX-2b": _TRANSFORMER | _SMALL,
    "CogVideoX-5b-I2V": _TRANSFORMER | {"use_learned_positional_embeddings": True},
    "CogVideoX1.5-5B-I2V": _TRANSFORMER | _LATER,
}
"""Settings of the official transformers, by the last part of their hub name."""
VAE: dict[str, Any] = {
    "block_out_channels": [128, 256, 256, 512],
    "layers_per_block": 3,
    "latent_channels": 16,
    "scaling_factor": 0.7,
    "sample_height": 480,
    "sample_width": 720,
}
"""Settings of the VAE, the same in all of them but for its scaling factor, which costs nothing."""
T5_XXL: dict[str, Any] = {
    "vocab_size": 32128,
    "d_model": 4096,
    "d_kv": 64,
    "d_ff": 10240,
    "num_layers": 24,
    "num_heads": 64,
    "feed_forward_proj": "gated-gelu",
}
"""Settings of the text encoder of T5 v1.1 XXL."""


def settings(source: str | Path) -> dict[Network, dict[str, Any]]:
    """Find the sizes of a checkpoint's networks: in its folder, in the hub cache, or among the official ones.

    Args:
        source: diffusers folder, or hub name.

    Returns:
        Settings by network.

    Raises:
        ValueError: no checkpoint is there and the name is none of the official ones.
    """
    folder = local_folder(source)
    if folder is not None and (folder / "transformer" / "config.json").is_file():
        return {
            "transformer": _read(folder / "transformer", {}),
            "vae": _read(folder / "vae", VAE),
            "text_encoder": _read(folder / "text_encoder", T5_XXL),
        }
    names = {name.lower(): name for name in OFFICIAL}
    name = names.get(str(source).replace("\\", "/").rstrip("/").rpartition("/")[2].lower())
    if name is None:
        raise ValueError(
            f"model.weights: got {str(source)!r}, which is not on this machine; expected a diffusers folder, "
            f"or a name whose sizes are known: {', '.join(OFFICIAL)}"
        )
    return {"transformer": OFFICIAL[name], "vae": VAE, "text_encoder": T5_XXL}


def blueprint(
    network: Network,
    given: Mapping[str, Any],
    *,
    device: torch.device | str = "meta",
    dtype: torch.dtype = torch.float32,
) -> nn.Module:
    """Make a network of a size; on the meta device it has shapes only and takes no memory.

    Args:
        network: which one.
        given: its settings, as `settings` gives them; names that the class does not know are passed over.
        device: where it is made; elsewhere than on meta its weights are random.
        dtype: number type of its weights.

    Returns:
        The network in evaluation mode.
    """
    with torch.device(device), _default_dtype(dtype):
        if network == "text_encoder":
            made: Any = T5EncoderModel(T5Config(**given))
        else:
            kind = AutoencoderKLCogVideoX if network == "vae" else CogVideoXTransformer3DModel
            made = kind.from_config(dict(given))
    return made.eval()


def _read(folder: Path, otherwise: dict[str, Any]) -> dict[str, Any]:
    file = folder / "config.json"
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else otherwise


@contextmanager
def _default_dtype(dtype: torch.dtype) -> Any:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
