"""Tiny random checkpoints in the very format of the official CogVideoX repositories.

Shards with an index, half-precision weights, a sentencepiece file as the only tokenizer file, the settings of
the schedulers, and for each version what differs in its maths.
"""

import json
from pathlib import Path
from typing import Literal

import torch
from sentencepiece import sentencepiece_model_pb2 as sentencepiece
from tiny import TEXT_LENGTH, tiny_text, tiny_transformer, tiny_vae

Version = Literal["1.0", "1.5", "2b"]

TRANSFORMER = {
    "1.0": {"use_learned_positional_embeddings": True},
    "1.5": {
        "patch_size_t": 2,
        "patch_bias": False,
        "ofs_embed_dim": 16,
        "sample_height": 20,
        "sample_width": 20,
        "sample_frames": 81,
    },
    "2b": {"use_rotary_positional_embeddings": False},
}
VAE = {"1.0": {}, "1.5": {"invert_scale_latents": True}, "2b": {"scaling_factor": 1.15258426}}
SCHEDULER = {
    "1.0": {"_class_name": "CogVideoXDPMScheduler", "snr_shift_scale": 1.0},
    "1.5": {"_class_name": "CogVideoXDPMScheduler", "snr_shift_scale": 1.0},
    "2b": {"_class_name": "CogVideoXDDIMScheduler", "snr_shift_scale": 3.0},
}
_COMMON = {
    "_diffusers_version": "0.31.0.dev0",
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "clip_sample": False,
    "clip_sample_range": 1.0,
    "num_train_timesteps": 1000,
    "prediction_type": "v_prediction",
    "rescale_betas_zero_snr": True,
    "sample_max_value": 1.0,
    "set_alpha_to_one": True,
    "steps_offset": 0,
    "timestep_spacing": "trailing",
    "trained_betas": None,
}


def version_transformer(version: Version, seed: int = 0, **settings):
    """Tiny transformer of a version; learned positions are not zero, so that leaving them out shows."""
    transformer = tiny_transformer(seed, **TRANSFORMER[version] | settings)
    if version == "1.0":
        transformer.patch_embed.pos_embedding.normal_(std=0.1)
    return transformer


def official_folder(
    folder: Path, version: Version = "1.0", *, dtype: torch.dtype = torch.bfloat16, seed: int = 0
) -> Path:
    """A complete checkpoint as its authors publish it; returns the folder."""
    tokenizer, text_encoder = tiny_text(seed)
    parts = {
        "transformer": version_transformer(version, seed),
        "vae": tiny_vae(seed, **VAE[version]),
        "text_encoder": text_encoder,
    }
    sizes = {"transformer": "60KB", "vae": "1GB", "text_encoder": "3KB"}
    for name, part in parts.items():
        part.to(dtype).save_pretrained(folder / name, max_shard_size=sizes[name])
    _write(folder / "scheduler" / "scheduler_config.json", _COMMON | SCHEDULER[version])
    _write_tokenizer(folder / "tokenizer", [(piece, score) for piece, score in tokenizer._vocab_scores])
    classes = {
        "scheduler": ["diffusers", SCHEDULER[version]["_class_name"]],
        "text_encoder": ["transformers", "T5EncoderModel"],
        "tokenizer": ["transformers", "T5Tokenizer"],
        "transformer": ["diffusers", "CogVideoXTransformer3DModel"],
        "vae": ["diffusers", "AutoencoderKLCogVideoX"],
    }
    _write(folder / "model_index.json", {"_class_name": "CogVideoXImageToVideoPipeline", **classes})
    return folder


def edit_json(file: Path, **changes) -> None:
    """Change some values of a JSON file."""
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def _write(file: Path, values: dict) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(values, indent=2))


def _write_tokenizer(folder: Path, pieces: list[tuple[str, float]]) -> None:
    model = sentencepiece.ModelProto()
    kinds = {"<unk>": 2, "<pad>": 3, "</s>": 3}
    for piece, score in pieces:
        model.pieces.add(piece=piece, score=score, type=kinds.get(piece, 1))
    model.trainer_spec.model_type, model.trainer_spec.unk_id = 1, 2
    folder.mkdir(parents=True)
    (folder / "spiece.model").write_bytes(model.SerializeToString())
    specials = {"eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    _write(folder / "special_tokens_map.json", specials)
    _write(folder / "added_tokens.json", {})
    settings = {"extra_ids": 0, "model_max_length": TEXT_LENGTH, "tokenizer_class": "T5Tokenizer"}
    _write(folder / "tokenizer_config.json", specials | settings)
