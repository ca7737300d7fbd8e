"""The arms of the experiment, chained between notebooks: fine-tuned transformers of 06, videos of 07.

A notebook that runs alone makes what it lacks; one of the same report takes what an earlier one made.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch

from semrepa.config import override
from semrepa.data.index import ClipRow
from semrepa.generate import finetuned_folder
from semrepa.models.cogvideox import CogVideoX
from semrepa.runs import Model, made_from, make_run, read_record, read_run, wanted_pairs
from semrepa.shapes import Frames
from semrepa.training.finetune import finetune
from semrepa.training.launch import wait
from semrepa.ui.session import Session
from semrepa.ui.train import train

Arm = Literal["base", "plain", "aligned"]
ARMS: tuple[Arm, ...] = ("base", "plain", "aligned")
"""Not fine-tuned; fine-tuned with the diffusion loss alone; fine-tuned with both alignment losses."""


def finetuned(session: Session, arm: Arm) -> Path | None:
    """Find the fine-tuned transformer of an arm, or train it with the settings of this session.

    Args:
        session: the notebook's session.
        arm: which one.

    Returns:
        A folder with `transformer/` or `lora/`: that of notebook 06 of the same report, else one of this
        notebook; None for the base model.

    Raises:
        ValueError: notebook 06 of the report ran on weights of another kind than this one.
    """
    if arm == "base":
        return None
    made = session.sibling("06_dit_finetuning", arm)
    if finetuned_folder(made).is_dir():
        session.uses(f"{arm} transformer", finetuned_folder(made))
        return made
    weights = {"loss.weight_struct": 0, "loss.weight_id": 0} if arm == "plain" else {}
    run_dir = session.run.path / arm
    train(finetune, session, override(session.cfg, weights), run_dir, train_ids=session.ids("train"))
    wait(run_dir)
    session.uses(f"{arm} transformer", finetuned_folder(run_dir), session.kind)
    return run_dir


def run(session: Session, arm: Arm, rows: Sequence[ClipRow], parts: CogVideoX) -> Path:
    """Give the run of an arm: one video for each clip and each seed of `cfg.generate`; makes those not there.

    Args:
        session: the notebook's session.
        arm: which transformer.
        rows: clips whose first frame and caption are used.
        parts: the loaded base model.

    Returns:
        A folder as `semrepa.runs` has them, with the record of what made it: that of notebook 07 of the same
        report where it has all of the videos, else one of this notebook, made anew where what is there was
        made from other weights or settings.
    """
    cfg, source = session.cfg, finetuned(session, arm)
    model: Model = "base" if source is None else "finetuned"
    record = made_from(cfg, model, transformer=source)
    names = [pair.file for pair in wanted_pairs(rows, cfg.generate.seeds)]
    made, own = (home / "videos" / arm for home in (session.sibling("07_generation"), session.run.path))
    if read_record(made) == record and all((made / name).is_file() for name in names):
        return made
    if read_record(own) not in (None, record):
        shutil.rmtree(own)
    for _ in make_run(cfg, model, rows, own, transformer=source, parts=parts):
        pass
    return own


def videos(session: Session, arm: Arm, rows: Sequence[ClipRow], parts: CogVideoX) -> Frames:
    """Give the videos of an arm as tensors.

    Args:
        session: the notebook's session.
        arm: which transformer.
        rows: as for `run`.
        parts: as for `run`.

    Returns:
        RGB, 0 to 255, seed after seed, read back from the files of the run as any reader would see them.
    """
    cfg, folder = session.cfg, run(session, arm, rows, parts)
    found = read_run(folder, rows, cfg.video, seeds=cfg.generate.seeds, allow={"extra"})
    return torch.stack([video.frames for video in found])
