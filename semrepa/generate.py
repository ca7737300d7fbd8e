"""Image and caption to video, through the stock `CogVideoXImageToVideoPipeline` (Sec. 5.2).

Every compared transformer gets the same first frames, captions and noise: the noise of a video depends only
on the seed and the clip's name, not on the batch it is made in.
"""

import copy
import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from diffusers import CogVideoXImageToVideoPipeline, CogVideoXTransformer3DModel
from torch import Tensor

from semrepa.config import Config
from semrepa.data.index import ClipRow
from semrepa.data.video import read_clip, write_video
from semrepa.models.cogvideox import CogVideoX, load_cogvideox, pipeline
from semrepa.models.lora import load_lora
from semrepa.models.variants import check_size
from semrepa.runtime import autocast
from semrepa.shapes import Frames, Images, PromptEmbeds, num_latent_frames
from semrepa.weights import load_base

logger = logging.getLogger(__name__)

BATCH = 4
"""Videos made at a time, where nothing else is said."""


@dataclass(frozen=True, kw_only=True)
class Generated:
    """One generated video."""

    id: str
    """Name of the clip whose first frame and caption were used."""
    seed: int
    """Seed of the run that it belongs to, one of `cfg.generate.seeds`."""
    frames: Tensor
    """RGB (n, 3, H, W), uint8, on the CPU."""
    path: Path | None
    """The mp4, where one was written."""


def generate(
    cfg: Config,
    transformer: CogVideoXTransformer3DModel | str | Path | None,
    rows: Sequence[ClipRow],
    *,
    out_dir: str | Path | None = None,
    parts: CogVideoX | None = None,
    batch_size: int = BATCH,
) -> list[Generated]:
    """Make one video for each clip and seed, from the clip's first frame and caption.

    Args:
        cfg: size, sampler steps, guidance, seeds, and the base model.
        transformer: a transformer, a folder written by `finetune` (the run folder, or its `transformer` or
            `lora`), or None for the base model.
        rows: clips.
        out_dir: where `<clip>-seed<seed>.mp4` are written; None writes none.
        parts: the loaded base model; None loads the one that `cfg` names.
        batch_size: videos made at a time.

    Returns:
        The videos, seed after seed, in the order of the clips.

    Raises:
        ValueError: no clips, or an unreadable one.
        FileNotFoundError: weights or a video are not there.
    """
    if not rows:
        raise ValueError("got no clips; expected at least one; check the split of the index")
    frames = read_first_frames(cfg, rows)
    parts = with_transformer(parts or load_base(cfg), transformer)
    jobs = [(seed, place) for seed in cfg.generate.seeds for place in range(len(rows))]
    made = []
    for first in range(0, len(jobs), batch_size):
        chosen = jobs[first : first + batch_size]
        videos = sample_frames(
            parts,
            frames[[place for _, place in chosen]],
            [rows[place].caption for _, place in chosen],
            [clip_seed(seed, rows[place].id) for seed, place in chosen],
            num_frames=cfg.video.num_frames,
            num_inference_steps=cfg.generate.num_inference_steps,
            guidance_scale=cfg.generate.guidance_scale,
        )
        made += [
            _keep(cfg, rows[i], seed, video, out_dir) for (seed, i), video in zip(chosen, videos, strict=True)
        ]
        logger.info("generated %d of %d videos", len(made), len(jobs))
    return made


def sample_frames(
    parts: CogVideoX,
    first_frames: Images,
    captions: Sequence[str],
    seeds: Sequence[int],
    *,
    num_frames: int,
    num_inference_steps: int,
    guidance_scale: float = 1.0,
) -> Frames:
    """Sample videos.

    Args:
        parts: a complete model.
        first_frames: first frame of each video, RGB, 0 to 255.
        captions: one for each video.
        seeds: seed of the generator of each video.
        num_frames: frames of each video, 8 k + 1.
        num_inference_steps: sampler steps.
        guidance_scale: classifier-free guidance; 1 turns it off.

    Returns:
        The videos, RGB, 0 to 255, on the CPU.

    Raises:
        ValueError: the counts do not agree, or the model has no positions for this size.
    """
    if not len(first_frames) == len(captions) == len(seeds):
        raise ValueError(
            f"got {len(first_frames)} first frames, {len(captions)} captions and {len(seeds)} seeds; "
            "expected one of each for every video"
        )
    text = {"prompt": list(captions)}
    steps = {"num_inference_steps": num_inference_steps, "guidance_scale": guidance_scale}
    return _sample(parts, pipeline(parts), first_frames, seeds, num_frames=num_frames, **text, **steps)


def sample_encoded(
    parts: CogVideoX,
    first_frames: Images,
    prompt_embeds: PromptEmbeds,
    empty_prompt: PromptEmbeds,
    seeds: Sequence[int],
    *,
    num_frames: int,
    num_inference_steps: int,
    guidance_scale: float = 1.0,
) -> Frames:
    """Sample videos as `sample_frames` does, from captions that are text features already.

    Args:
        parts: a model that may lack the text encoder and the tokenizer.
        first_frames: first frame of each video, RGB, 0 to 255.
        prompt_embeds: text features of each caption.
        empty_prompt: those of the empty caption, for guidance.
        seeds: seed of the generator of each video.
        num_frames: frames of each video, 8 k + 1.
        num_inference_steps: sampler steps.
        guidance_scale: classifier-free guidance; 1 turns it off.

    Returns:
        The videos, RGB, 0 to 255, on the CPU.

    Raises:
        ValueError: the model has no positions for this size, or lacks another part.
    """
    place = {"device": parts.vae.device, "dtype": parts.vae.dtype}
    text = {
        "prompt_embeds": prompt_embeds.to(**place),
        "negative_prompt_embeds": empty_prompt.to(**place).expand_as(prompt_embeds),
    }
    steps = {"num_inference_steps": num_inference_steps, "guidance_scale": guidance_scale}
    pipe = pipeline(parts, ("vae", "transformer", "noise_scheduler"))
    return _sample(parts, pipe, first_frames, seeds, num_frames=num_frames, **text, **steps)


def _sample(
    parts: CogVideoX,
    pipe: CogVideoXImageToVideoPipeline,
    first_frames: Images,
    seeds: Sequence[int],
    *,
    num_frames: int,
    **how: Any,
) -> Frames:
    pipe.set_progress_bar_config(disable=True)
    height, width = first_frames.shape[2:]
    check_size(parts.transformer.config, num_latent_frames(num_frames), height // 8, width // 8)
    with autocast(parts.vae.device):
        video = pipe(
            image=first_frames.float() / 255,
            height=height,
            width=width,
            num_frames=num_frames,
            generator=[torch.Generator().manual_seed(seed) for seed in seeds],
            max_sequence_length=parts.transformer.config.max_text_seq_length,
            output_type="pt",
            **how,
        ).frames
    return (video.float() * 255).round().to(torch.uint8).cpu()


def clip_seed(seed: int, clip_id: str) -> int:
    """Seed of the generator of one video, the same in every batch and for every transformer.

    Args:
        seed: seed of the run.
        clip_id: name of the clip.

    Returns:
        A number below 2**32: `torch.Generator().manual_seed` of it repeats the video in the stock pipeline.
    """
    return int.from_bytes(hashlib.sha256(f"{seed} {clip_id}".encode()).digest()[:4], "big")


def read_first_frames(cfg: Config, rows: Sequence[ClipRow]) -> Images:
    """Read the first frame of each clip.

    Args:
        cfg: size and rate of the clips.
        rows: clips.

    Returns:
        RGB, 0 to 255.

    Raises:
        FileNotFoundError: a video is not there.
        ValueError: a video cannot be read.
    """
    one = {**cfg.video.shape, "num_frames": 1}
    clips = [read_clip(row.path, start=row.start, **one) for row in rows]
    return torch.stack([clip.frames[0] for clip in clips])


def with_transformer(
    parts: CogVideoX, transformer: CogVideoXTransformer3DModel | str | Path | None
) -> CogVideoX:
    """Put another transformer into a loaded model, which stays as it is.

    Args:
        parts: loaded model.
        transformer: a transformer, a folder written by `finetune`, or None to change nothing.

    Returns:
        The model with that transformer, in evaluation mode on the device and in the precision of the VAE.

    Raises:
        FileNotFoundError: the folder holds no transformer and no LoRA.
    """
    if transformer is None:
        return parts
    if isinstance(transformer, str | Path):
        folder, device, dtype = finetuned_folder(transformer), parts.vae.device, parts.vae.dtype
        if folder.name == "lora":
            transformer = load_lora(copy.deepcopy(parts.transformer).to(device), folder)
        else:
            known = load_cogvideox(folder.parent, parts=("transformer",), device=device, dtype=dtype)
            transformer = known.transformer
    return replace(parts, transformer=transformer.eval())


def finetuned_folder(folder: str | Path) -> Path:
    """Find what a fine-tuning wrote.

    Args:
        folder: its run folder, or the folder inside it.

    Returns:
        The folder `transformer` or `lora` in the run folder; `transformer` where neither is there.
    """
    folder = Path(folder)
    if folder.name in ("transformer", "lora"):
        return folder
    return folder / ("lora" if (folder / "lora").is_dir() else "transformer")


def _keep(cfg: Config, row: ClipRow, seed: int, frames: Tensor, out_dir: str | Path | None) -> Generated:
    path = None
    if out_dir is not None:
        path = write_video(Path(out_dir) / f"{row.id}-seed{seed}.mp4", frames, fps=cfg.video.fps)
    return Generated(id=row.id, seed=seed, frames=frames, path=path)
