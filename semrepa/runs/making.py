"""Making runs: CogVideoX as it is or fine-tuned, SVD and I2VGen-XL. Source: Sec. 5.2.2.

All get the same first frames and captions, and noise that depends only on the seed and the clip.
"""

import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from jaxtyping import UInt8
from torch import Tensor
from torch.nn import functional

from semrepa.config import Config, override
from semrepa.data.index import ClipRow
from semrepa.data.video import write_video
from semrepa.generate import (
    BATCH,
    clip_seed,
    finetuned_folder,
    generate,
    read_first_frames,
    with_transformer,
)
from semrepa.models.baselines import BASELINES, BaselineName, load_baseline, sample_window, window_length
from semrepa.models.cogvideox import CogVideoX
from semrepa.provenance import Provenance, run_kind
from semrepa.runs.folder import VIDEOS, wanted_pairs
from semrepa.runs.report import Pair
from semrepa.runtime import compute_dtype, pick_device, write_json
from semrepa.sliding import Window, slide, widest_overlap
from semrepa.weights import check_weights, load_base, recorded_kind

logger = logging.getLogger(__name__)

Model = Literal["base", "finetuned", BaselineName]
MODELS: tuple[Model, ...] = get_args(Model)

RECORD = "made_from.json"
"""File of a run that says what made it."""


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How a model is sampled; None: as the config says for CogVideoX, as their authors do for the others."""

    num_inference_steps: int | None = None
    """Sampler steps."""
    guidance_scale: float | None = None
    """Classifier-free guidance."""
    size: tuple[int, int] | None = None
    """Height and width at which SVD and I2VGen-XL work, pixels."""
    overlap: int | None = None
    """Frames that their windows share; None: the most that takes no more windows than one frame would."""


def make_run(
    cfg: Config,
    model: Model,
    rows: Sequence[ClipRow],
    folder: str | Path,
    *,
    transformer: str | Path | None = None,
    sampling: Sampling | None = None,
    parts: CogVideoX | None = None,
) -> Iterator[Pair]:
    """Make the videos of a run that are not there yet, with a record of what made them.

    Args:
        cfg: size of the videos, seeds, sampling of CogVideoX, and where weights are.
        model: base: CogVideoX; finetuned: CogVideoX with a fine-tuned transformer, with or without alignment.
        rows: clips.
        folder: the run; made if missing.
        transformer: folder that `finetune` wrote, for `finetuned` and no other model.
        sampling: how to sample, where it is not as usual.
        parts: the loaded base model; None loads the one that `cfg` names where it is needed.

    Yields:
        Each video when its file is there: first those found, then those made.

    Raises:
        ValueError: no clips, settings that do not fit the model, or a folder with videos of other settings.
        FileNotFoundError: weights or videos are not there.
    """
    folder, sampling = Path(folder), sampling or Sampling()
    pairs = wanted_pairs(rows, cfg.generate.seeds)
    record, source = _record(cfg, model, transformer, sampling)
    _claim(folder, record)
    todo = [pair for pair in pairs if not (folder / pair.file).is_file()]
    yield from (pair for pair in pairs if pair not in todo)
    if not todo:
        return
    named = {row.id: row for row in rows}
    if model in BASELINES:
        yield from _slide_through(cfg, model, source, named, todo, folder, sampling)
        return
    parts = with_transformer(parts or load_base(cfg), transformer)
    for seed in dict.fromkeys(pair.seed for pair in todo):
        chosen = [pair for pair in todo if pair.seed == seed]
        for batch in (chosen[k : k + BATCH] for k in range(0, len(chosen), BATCH)):
            clips = [named[pair.clip] for pair in batch]
            generate(_sampled(cfg, sampling, seed), None, clips, out_dir=folder, parts=parts)
            yield from batch


def _sampled(cfg: Config, sampling: Sampling, seed: int) -> Config:
    """The config for one seed of CogVideoX."""
    given = {name: getattr(sampling, name) for name in ("num_inference_steps", "guidance_scale")}
    changes = {f"generate.{name}": value for name, value in given.items() if value is not None}
    return override(cfg, {**changes, "generate.seeds": [seed]})


def _slide_through(
    cfg: Config,
    model: BaselineName,
    source: str,
    rows: dict[str, ClipRow],
    pairs: Sequence[Pair],
    folder: Path,
    sampling: Sampling,
) -> Iterator[Pair]:
    """Videos of a model that makes short ones of another size, brought to length and size of the clips."""
    device, video = pick_device(), cfg.video
    pipe = load_baseline(model, source, device=device, dtype=compute_dtype(device, cfg.model.dtype))
    longest = window_length(model, pipe)
    overlap = widest_overlap(video.num_frames, longest) if sampling.overlap is None else sampling.overlap
    settings = {
        "num_inference_steps": sampling.num_inference_steps,
        "guidance_scale": sampling.guidance_scale,
    }
    for pair in pairs:
        row = rows[pair.clip]

        def make(known: Tensor, window: Window, row: ClipRow = row, pair: Pair = pair) -> Tensor:
            seed = clip_seed(pair.seed, f"{row.id}/{window.start}")
            return sample_window(model, pipe, known[0], row.caption, seed=seed, fps=video.fps, **settings)

        first = resized(read_first_frames(cfg, [row]), sampling.size or BASELINES[model].size)[0]
        frames = slide(make, first, video.num_frames, longest=longest, overlap=overlap)
        write_video(folder / pair.file, resized(frames, (video.height, video.width)), fps=video.fps)
        yield pair


def resized(frames: UInt8[Tensor, "n 3 H W"], size: tuple[int, int]) -> UInt8[Tensor, "n 3 A B"]:
    """Stretch whole pictures to a size: no part is cut off and none is added.

    Args:
        frames: RGB, 0 to 255.
        size: height and width, pixels.

    Returns:
        RGB, 0 to 255.
    """
    if tuple(frames.shape[2:]) == tuple(size):
        return frames
    made = functional.interpolate(frames.float(), size=size, mode="bilinear", antialias=True)
    return made.round().clamp(0, 255).to(torch.uint8)


def _check_request(model: Model, transformer: str | Path | None, sampling: Sampling) -> None:
    if model not in MODELS:
        raise ValueError(
            f"got model {model!r}; expected one of {', '.join(MODELS)}; others give a folder of mp4"
        )
    if (model == "finetuned") != (transformer is not None):
        raise ValueError(
            f"got model {model!r} {'with' if transformer else 'without'} a transformer; expected one for "
            "'finetuned' and none for the others; give the folder that finetune wrote"
        )
    if model not in BASELINES and (sampling.size or sampling.overlap is not None):
        raise ValueError(
            f"got a size or an overlap for {model!r}; expected them for {' and '.join(BASELINES)} only; "
            "set the size of CogVideoX with video.height and video.width"
        )


def _provenance(cfg: Config, model: Model, transformer: str | Path | None) -> list[Provenance]:
    """What the videos rest on."""
    if model in BASELINES:
        return check_weights(cfg, [model])
    records = check_weights(cfg, ["model"])
    if transformer is None:
        return records
    folder = finetuned_folder(transformer)
    if not folder.is_dir():
        raise FileNotFoundError(
            f"got transformer {transformer}; expected a folder with transformer/ or lora/; give one of "
            "finetune"
        )
    return [*records, Provenance.of("transformer", folder, kind=recorded_kind(folder) or records[0].kind)]


def made_from(
    cfg: Config,
    model: Model,
    *,
    transformer: str | Path | None = None,
    sampling: Sampling | None = None,
) -> dict[str, Any]:
    """What decides the pictures of a run, besides clip and seed; no paths, so that folders may move.

    Args:
        cfg: as for `make_run`.
        model: as for `make_run`.
        transformer: as for `make_run`.
        sampling: as for `make_run`.

    Returns:
        What `make_run` would write as the record of the run.

    Raises:
        ValueError: settings that do not fit the model.
        FileNotFoundError: weights are not there.
    """
    return _record(cfg, model, transformer, sampling or Sampling())[0]


def read_record(folder: str | Path) -> dict[str, Any] | None:
    """Read what made a run.

    Args:
        folder: the run.

    Returns:
        Its record; None for a folder of another program.

    Raises:
        ValueError: the record is no JSON object.
    """
    file = Path(folder) / RECORD
    if not file.is_file():
        return None
    found = json.loads(file.read_text(encoding="utf-8"))
    if not isinstance(found, dict):
        raise ValueError(
            f"got {file} without a JSON object; expected the record of a run; make the run again"
        )
    return found


def _record(
    cfg: Config, model: Model, transformer: str | Path | None, sampling: Sampling
) -> tuple[dict[str, Any], str]:
    """The record, and where the weights of the model lie."""
    _check_request(model, transformer, sampling)
    records = _provenance(cfg, model, transformer)
    known = BASELINES.get(model)
    usual = asdict(cfg.generate) if known is None else vars(known)
    names = ("num_inference_steps", "guidance_scale", *(("size", "overlap") if known else ()))
    given = asdict(sampling)
    settings = {name: usual.get(name) if given[name] is None else given[name] for name in names}
    record = {
        "model": model,
        "kind": run_kind(records),
        "weights": {record.name: record.sha256 for record in records},
        "sampling": settings,
        "video": asdict(cfg.video),
    }
    return json.loads(json.dumps(record)), records[0].source


def _claim(folder: Path, record: dict[str, Any]) -> None:
    """Write what makes a run, or refuse a folder whose videos were made by something else."""
    before = read_record(folder)
    if before is not None:
        if other := [name for name in record if before.get(name) != record[name]]:
            raise ValueError(
                f"got folder {folder}, whose videos were made with another {', '.join(other)} ({RECORD}); "
                "expected the same; give a new folder"
            )
        return
    if folder.is_dir() and any(path.suffix.lower() in VIDEOS for path in folder.iterdir()):
        raise ValueError(
            f"got folder {folder} with videos and no {RECORD}; expected an empty folder, or one that this "
            "command has begun; give a new folder"
        )
    write_json(folder / RECORD, record)
