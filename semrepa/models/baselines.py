"""Image-to-video models that the paper compares with and diffusers can run: SVD and I2VGen-XL.

Both make a few frames at their own size; `semrepa.sliding` makes them longer. Source: Sec. 5.2.2.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import PIL.Image
import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderKLTemporalDecoder,
    DDIMScheduler,
    DiffusionPipeline,
    EulerDiscreteScheduler,
    I2VGenXLPipeline,
    I2VGenXLUNet,
    StableVideoDiffusionPipeline,
    UNetSpatioTemporalConditionModel,
)
from jaxtyping import Float, UInt8
from torch import Tensor
from transformers import CLIPImageProcessor, CLIPTextModel, CLIPTokenizer, CLIPVisionModelWithProjection

from semrepa.models.freeze import freeze
from semrepa.models.shards import read_shapes, weight_files
from semrepa.models.variants import read_settings

BaselineName = Literal["svd", "i2vgen-xl"]

_STEMS = {"image_encoder": "model", "text_encoder": "model"}
"""Names of weight files, where they are not those of diffusers."""
_SETTINGS = {
    "scheduler": "scheduler_config.json",
    "feature_extractor": "preprocessor_config.json",
    "tokenizer": "tokenizer_config.json",
}
"""Names of the settings of parts without weights."""
_DECODED_AT_ONCE = 8
"""Frames that SVD's decoder takes at a time, which decides memory and, slightly, the pictures."""


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """What is known about a model without having loaded it; numbers are those of its authors."""

    pipeline: type[DiffusionPipeline]
    """Pipeline of diffusers."""
    networks: Mapping[str, Any]
    """Class of each part with weights, by folder."""
    others: Mapping[str, Any]
    """Class of each part without weights, by folder."""
    sample: Callable[..., Tensor]
    """Makes one window; see `sample_window`."""
    num_frames: int
    """Frames that it makes in one go, where its checkpoint does not say."""
    size: tuple[int, int]
    """Height and width of its pictures, pixels."""
    num_inference_steps: int
    """Sampler steps."""
    guidance_scale: float
    """Classifier-free guidance; for SVD that of the last frame."""


def load_baseline(
    name: BaselineName,
    folder: str | Path,
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> DiffusionPipeline:
    """Load a model from a folder of the official diffusers layout. Nothing is downloaded, no pickle is read.

    Args:
        name: which model.
        folder: the checkpoint.
        device: where the networks go.
        dtype: precision of the weights.

    Returns:
        The stock pipeline; all networks frozen and in evaluation mode.

    Raises:
        FileNotFoundError: parts or weight files are not there.
        ValueError: another model, damaged files, or weights that do not fill the networks.
    """
    folder, known = Path(folder), BASELINES[name]
    check_baseline(name, folder)
    parts = {
        part: kind.from_pretrained(folder / part, local_files_only=True)
        for part, kind in known.others.items()
    }
    for part, kind in known.networks.items():
        given = {"dtype" if part in _STEMS else "torch_dtype": dtype}
        network, info = kind.from_pretrained(
            folder / part, local_files_only=True, use_safetensors=True, output_loading_info=True, **given
        )
        if wrong := sorted(map(str, [*info["missing_keys"], *info["mismatched_keys"]])):
            raise ValueError(
                f"got {folder / part} without {len(wrong)} weights of {kind.__name__}, such as {wrong[0]}; "
                "expected all of them; download this part of the checkpoint again"
            )
        parts[part] = freeze(network.to(device))
    pipe = known.pipeline(**parts)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def check_baseline(name: BaselineName, folder: Path) -> None:
    """Refuse a folder that is plainly no complete checkpoint; only headers of weights are read.

    Args:
        name: which model.
        folder: the checkpoint.

    Raises:
        FileNotFoundError: parts or weight files are not there, or are pickles only.
        ValueError: another model, or damaged files.
    """
    known = BASELINES[name]
    if not folder.is_dir():
        raise FileNotFoundError(f"got {folder}; expected a folder in the layout of diffusers; download it")
    index = read_settings(folder / "model_index.json")
    kind, wanted = index.get("_class_name", known.pipeline.__name__), known.pipeline.__name__
    if kind != wanted:
        raise ValueError(f"got {folder} of class {kind}; expected {wanted}; give a checkpoint of {name}")
    files = [f"{part}/config.json" for part in known.networks]
    files += [f"{part}/{_SETTINGS[part]}" for part in known.others]
    gone = [file for file in files if not (folder / file).is_file()]
    words = folder / "tokenizer"
    if "tokenizer" in known.others and not (
        (words / "tokenizer.json").is_file()
        or all((words / file).is_file() for file in ("vocab.json", "merges.txt"))
    ):
        gone.append("tokenizer/vocab.json and merges.txt")
    if gone:
        raise FileNotFoundError(
            f"got {folder} without {', '.join(gone)}; expected a complete checkpoint; download them"
        )
    for part in known.networks:
        for file in weight_files(folder / part, _STEMS.get(part, "diffusion_pytorch_model")):
            read_shapes(file)


def window_length(name: BaselineName, pipe: DiffusionPipeline) -> int:
    """Frames that a loaded model makes in one go, as it was trained.

    Args:
        name: which model.
        pipe: the loaded model.

    Returns:
        Frames: 14 or 25 of SVD, by its checkpoint; 16 of I2VGen-XL.
    """
    return pipe.unet.config.get("num_frames", BASELINES[name].num_frames)


@torch.no_grad()
def sample_window(
    name: BaselineName,
    pipe: DiffusionPipeline,
    first_frame: UInt8[Tensor, "3 H W"],
    caption: str,
    *,
    seed: int,
    fps: float,
    num_inference_steps: int | None = None,
    guidance_scale: float | None = None,
) -> UInt8[Tensor, "n 3 H W"]:
    """Make the frames of one window, at the size of the first frame.

    Args:
        name: which model.
        pipe: the loaded model.
        first_frame: RGB, 0 to 255; sides are multiples of 64 pixels for the official checkpoints.
        caption: what the video shows; SVD does not read it.
        seed: decides all noise.
        fps: frames per second that the model is told.
        num_inference_steps: sampler steps; None: as its authors.
        guidance_scale: classifier-free guidance; None: as its authors.

    Returns:
        RGB, 0 to 255, on the CPU; `window_length` frames.

    Raises:
        ValueError: a size that the network cannot halve as often as it must.
    """
    known = BASELINES[name]
    height, width = first_frame.shape[1:]
    step = 8 * 2 ** (len(pipe.unet.config.block_out_channels) - 1)
    if height % step or width % step:
        raise ValueError(
            f"got pictures of {height}x{width} for {name}; expected multiples of {step}; "
            f"use {known.size[0]}x{known.size[1]}"
        )
    # Pipelines treat pictures and tensors differently: only pictures are brought to the size of CLIP.
    picture = PIL.Image.fromarray(first_frame.permute(1, 2, 0).cpu().numpy())
    video = known.sample(
        pipe,
        caption,
        seed,
        image=[picture],
        height=height,
        width=width,
        num_frames=window_length(name, pipe),
        fps=round(fps),
        num_inference_steps=num_inference_steps or known.num_inference_steps,
        guidance_scale=guidance_scale or known.guidance_scale,
    )
    return (video[0].float() * 255).round().to(torch.uint8).cpu()


def _sample_svd(pipe: Any, _: str, seed: int, *, guidance_scale: float, **settings: Any) -> Tensor:
    return pipe(
        max_guidance_scale=guidance_scale,
        decode_chunk_size=_DECODED_AT_ONCE,
        generator=torch.Generator().manual_seed(seed),
        output_type="pt",
        **settings,
    ).frames


def _sample_i2vgen_xl(pipe: Any, caption: str, seed: int, *, fps: int, **settings: Any) -> Tensor:
    devices = [pipe.device] if pipe.device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(seed)  # the pipeline encodes the picture with the global source of noise
        return pipe(
            prompt_embeds=_text_features(pipe, caption),
            negative_prompt_embeds=_text_features(pipe, ""),
            target_fps=fps,
            generator=torch.Generator().manual_seed(seed),
            output_type="pt",
            **settings,
        ).frames


def _text_features(pipe: Any, text: str) -> Float[Tensor, "1 l e"]:
    """What I2VGen-XL reads of a text: the last but one layer, normalised; longer texts are cut.

    The pipeline does the same, but looks for the norm where transformers 4 had it.

    Args:
        pipe: the loaded model.
        text: caption, or "" for none.

    Returns:
        Text features, of as many tokens as the tokenizer's longest text.
    """
    tokens = pipe.tokenizer(
        text,
        padding="max_length",
        max_length=pipe.tokenizer.model_max_length,
        truncation=True,
        return_tensors="pt",
    )
    encoder = pipe.text_encoder
    layers = encoder(tokens.input_ids.to(pipe.device), output_hidden_states=True).hidden_states
    return getattr(encoder, "text_model", encoder).final_layer_norm(layers[-2])


BASELINES: Mapping[BaselineName, Baseline] = {
    "svd": Baseline(
        pipeline=StableVideoDiffusionPipeline,
        networks={
            "vae": AutoencoderKLTemporalDecoder,
            "unet": UNetSpatioTemporalConditionModel,
            "image_encoder": CLIPVisionModelWithProjection,
        },
        others={"scheduler": EulerDiscreteScheduler, "feature_extractor": CLIPImageProcessor},
        sample=_sample_svd,
        num_frames=25,
        size=(576, 1024),
        num_inference_steps=25,
        guidance_scale=3.0,
    ),
    "i2vgen-xl": Baseline(
        pipeline=I2VGenXLPipeline,
        networks={
            "vae": AutoencoderKL,
            "unet": I2VGenXLUNet,
            "image_encoder": CLIPVisionModelWithProjection,
            "text_encoder": CLIPTextModel,
        },
        others={
            "scheduler": DDIMScheduler,
            "feature_extractor": CLIPImageProcessor,
            "tokenizer": CLIPTokenizer,
        },
        sample=_sample_i2vgen_xl,
        num_frames=16,
        size=(704, 1280),
        num_inference_steps=50,
        guidance_scale=9.0,
    ),
}
