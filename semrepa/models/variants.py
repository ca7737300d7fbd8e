"""Which CogVideoX checkpoints the kit runs, and at which sizes: read from their settings, before any weights.

| checkpoint   | what differs                                                                           |
|--------------|----------------------------------------------------------------------------------------|
| 5b-I2V (1.0) | rotary and learned positions: one size only, that of its training                      |
| 1.5-5B-I2V   | patches of two latent frames, `ofs`, image latents divided by the scaling factor       |
| like 2b      | positions as a sine table, other scaling factor and noise table; image-to-video only   |

All others, text-to-video among them, are refused.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from semrepa.shapes import num_frames, num_latent_frames

_KINDS = {"transformer": "CogVideoXTransformer3DModel", "vae": "AutoencoderKLCogVideoX"}
_RATIO = 8
"""Pixels per latent cell, on each side."""


def check_checkpoint(
    folder: Path, *, num_frames: int | None = None, height: int | None = None, width: int | None = None
) -> None:
    """Refuse a checkpoint that the kit cannot run, before its weights are read.

    Args:
        folder: diffusers folder; parts that are not there are passed over.
        num_frames: frames of the videos; None: any size.
        height: their height in pixels.
        width: their width in pixels.

    Raises:
        ValueError: another kind of model, or videos of a size that it has no positions for.
    """
    for part, kind in _KINDS.items():
        config = read_settings(folder / part / "config.json")
        if config and config.get("_class_name", kind) != kind:
            raise ValueError(
                f"got {folder / part} of class {config['_class_name']}; expected {kind}; "
                "give a CogVideoX image-to-video checkpoint, such as THUDM/CogVideoX-5b-I2V"
            )
    transformer = read_settings(folder / "transformer" / "config.json")
    if transformer:
        check_image_to_video(transformer, folder)
        if num_frames and height and width:
            check_size(transformer, num_latent_frames(num_frames), height // _RATIO, width // _RATIO)
    noise_scheduler = read_settings(folder / "scheduler" / "scheduler_config.json")
    prediction_type = noise_scheduler.get("prediction_type", "epsilon")
    if noise_scheduler and prediction_type != "v_prediction":
        raise ValueError(
            f"got {folder / 'scheduler'} with prediction_type={prediction_type!r}; expected 'v_prediction'; "
            "take the scheduler folder of a CogVideoX checkpoint"
        )


def check_image_to_video(config: Mapping[str, Any], source: str | Path) -> None:
    """Refuse a transformer that does not take the first frame beside the noisy latents.

    Args:
        config: settings of the transformer.
        source: where it came from, for the message.

    Raises:
        ValueError: a text-to-video or another transformer.
    """
    channels, latent = config.get("in_channels", 16), config.get("out_channels", 16)
    if channels != 2 * latent:
        kind = "a text-to-video transformer" if channels == latent else "a transformer"
        raise ValueError(
            f"got {kind} with in_channels={channels} in {source}; expected {2 * latent}: {latent} of noisy "
            f"latents and {latent} of the first frame; the kit trains and samples image-to-video models: "
            "take THUDM/CogVideoX-5b-I2V (2b and 5b have no first frame as input)"
        )


def check_size(config: Mapping[str, Any], frames: int, height: int, width: int) -> None:
    """Refuse latents of a size that a checkpoint has no positions for.

    Args:
        config: settings of the transformer.
        frames: latent frames of the video.
        height: latent height.
        width: latent width.

    Raises:
        ValueError: names the sizes. Learned positions exist for one size; for another number of frames
            diffusers would take other positions without a word. Version 1.5 has a largest size.
    """
    most = config.get("sample_height", 60), config.get("sample_width", 90)
    got = f"got latents of {frames}x{height}x{width} (frames x height x width)"
    if config.get("use_learned_positional_embeddings"):
        known = num_latent_frames(config.get("sample_frames", 49)), *most
        if (frames, height, width) != known:
            raise ValueError(
                f"{got}, videos of {_spoken(frames, height, width)}; expected {'x'.join(map(str, known))}: "
                f"the learned positions of this checkpoint are for {_spoken(*known)} alone; use that size"
            )
    elif config.get("patch_size_t") and (height > most[0] or width > most[1]):
        raise ValueError(
            f"{got}; expected at most {most[0]}x{most[1]} (height x width), where the positions of this "
            f"checkpoint end; use videos of at most {most[0] * _RATIO}x{most[1] * _RATIO}"
        )


def read_settings(file: Path) -> dict[str, Any]:
    """Read the settings of a part.

    Args:
        file: its JSON file.

    Returns:
        The settings; empty where there is no file.

    Raises:
        ValueError: the file holds no JSON object.
    """
    if not file.is_file():
        return {}
    try:
        settings = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{file}: got no JSON ({error}); expected settings; download it again") from error
    if not isinstance(settings, dict):
        raise ValueError(f"{file}: got {type(settings).__name__}; expected a JSON object; download it again")
    return settings


def _spoken(frames: int, height: int, width: int) -> str:
    return f"{num_frames(frames)} frames of {height * _RATIO}x{width * _RATIO} (height x width)"
