"""The arms of the experiment, chained between notebooks: fine-tuned transformers of 06, videos of 07.

A notebook that runs alone makes what it lacks; one of the same report takes what an earlier one made.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Literal

import torch

from semrepa.config import override
from semrepa.data.index import ClipRow
from semrepa.data.video import read_clip
from semrepa.generate import finetuned_folder, generate
from semrepa.models.cogvideox import CogVideoX
from semrepa.provenance import sha256_of
from semrepa.runtime import write_json
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


def videos(session: Session, arm: Arm, rows: Sequence[ClipRow], parts: CogVideoX) -> Frames:
    """Give the videos that an arm makes of clips, one for each seed of `cfg.generate`; makes those not there.

    Args:
        session: the notebook's session.
        arm: which transformer.
        rows: clips whose first frame and caption are used.
        parts: the loaded base model.

    Returns:
        RGB, 0 to 255, seed after seed, read back from mp4 files as any reader of the files would see them.
    """
    cfg, source = session.cfg, finetuned(session, arm)
    made_from = {
        "generate": asdict(cfg.generate),
        "video": asdict(cfg.video),
        "clips": [[row.id, row.caption] for row in rows],
        "base": next(record.sha256 for record in session.provenance if record.name == "model"),
        "transformer": sha256_of(finetuned_folder(source)) if source else None,
    }
    made_from = json.loads(json.dumps(made_from))
    folders = [home / "videos" / arm for home in (session.sibling("07_generation"), session.run.path)]
    folder = next((folder for folder in folders if _record(folder) == made_from), folders[-1])
    if _record(folder) != made_from:
        generate(cfg, source, rows, out_dir=folder, parts=parts)
        write_json(folder / "made_from.json", made_from)
    names = [f"{row.id}-seed{seed}.mp4" for seed in cfg.generate.seeds for row in rows]
    return torch.stack([read_clip(folder / name, **cfg.video.shape).frames for name in names])


def _record(folder: Path) -> object:
    file = folder / "made_from.json"
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None
