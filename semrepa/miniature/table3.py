r"""Table 3 in miniature: train identity aligners with and without depth from several seeds, and compare them.

    python -m semrepa.miniature.table3 --seeds 0 1 2 3 4 --run-dir runs/table3

Trainings that are finished are left as they are, stopped ones go on. Written to the run folder: table3.json,
table3.md and table3.png.
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from semrepa.analysis import focus, table3
from semrepa.analysis.table3 import Cell
from semrepa.commands import described
from semrepa.data.dataset import Batch
from semrepa.files import write_whole
from semrepa.miniature.pairs import (
    ASSETS,
    VARIANTS,
    Clips,
    Protocol,
    cell_config,
    cell_folder,
    prepare_clips,
    prepare_portraits,
    train_cell,
    training_seconds,
)
from semrepa.models.identity import IdentityAligner
from semrepa.runtime import write_json
from semrepa.training.objectives import IdentityObjective
from semrepa.ui.seeds import seed_figure
from semrepa.ui.style import to_png

SHIPPED = {"shipped, with depth": "identity_aligner", "shipped, without depth": "identity_aligner_no_depth"}
"""The pair that is shipped, one training each, which saw more people and steps."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Train what is missing, and collate everything.

    Args:
        arguments: command line; None takes the real one.

    Returns:
        Exit code 0.
    """
    options = parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(options.threads)
    protocol = Protocol(**{field.name: getattr(options, field.name) for field in fields(Protocol)})
    clips = train(protocol, options.seeds, options.run_dir, workers=options.workers)
    found = collate(protocol, options.seeds, options.run_dir, clips)
    write_json(options.run_dir / "table3.json", found)
    text = table3.markdown(found)
    write_whole(options.run_dir / "table3.md", text.encode(), durable=False)
    write_whole(options.run_dir / "table3.png", to_png(seed_figure(found), 110), durable=False)
    print(text)
    return 0


def parser() -> argparse.ArgumentParser:
    """Options of the command line.

    Returns:
        The parser.
    """
    made = described("semrepa.miniature.table3", __doc__)
    made.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4], help="seeds (0 to 4)")
    made.add_argument("--run-dir", type=Path, default=Path("runs/table3"), help="folder of everything")
    made.add_argument("--workers", type=int, default=1, help="processes that render (1)")
    made.add_argument("--threads", type=int, default=1, help="threads that train (1)")
    for name, default in asdict(Protocol()).items():
        option = f"--{name.replace('_', '-')}"
        made.add_argument(option, type=int, default=default, help=f"see semrepa.miniature.pairs ({default})")
    return made


def train(protocol: Protocol, seeds: Sequence[int], run_dir: Path, *, workers: int = 1) -> Clips:
    """Train both variants of every seed, one seed after the other.

    Args:
        protocol: how much they see.
        seeds: which seeds.
        run_dir: folder of everything.
        workers: processes that render.

    Returns:
        The clips, held-out ones among them.
    """
    clips = prepare_clips(protocol, run_dir / "material", workers=workers)
    portraits = prepare_portraits(protocol, run_dir / "material", workers=workers)
    for seed in seeds:
        for variant in VARIANTS:
            cfg = cell_config(protocol, seed, variant)
            train_cell(cfg, protocol, portraits, clips, cell_folder(run_dir, seed, variant))
    return clips


def collate(protocol: Protocol, seeds: Sequence[int], run_dir: Path, clips: Clips) -> dict[str, Any]:
    """Judge all aligners on the held-out people.

    Args:
        protocol: what they saw.
        seeds: which seeds.
        run_dir: folder of everything.
        clips: from `train`.

    Returns:
        The record.
    """
    batch, people = clips.heldout(), clips.people
    cells = focus.face_cells(clips.heldout_boxes(), batch.latents)
    trained = [
        judge(cell_folder(run_dir, seed, variant), seed, variant, batch, people, cells)
        for seed in seeds
        for variant in VARIANTS
    ]
    teacher = table3.scores(batch.id_embeds, batch.id_embeds, batch.face_mask, people)
    aligners = {name: load(ASSETS / folder) for name, folder in SHIPPED.items()}
    shipped = {name: look(each, embed(each, batch), batch, people, cells) for name, each in aligners.items()}
    about = {
        "protocol": asdict(protocol),
        "seeds": list(seeds),
        "heldout": {"people": protocol.heldout, "clips": len(people), "faces": int(batch.face_mask.sum())},
        "weights": "mini",
    }
    return table3.record(trained, {"face teacher": teacher, **shipped}, about)


def judge(folder: Path, seed: int, variant: str, batch: Batch, people: Sequence[str], cells: Tensor) -> Cell:
    """Measure one training.

    Args:
        folder: of the cell.
        seed: its seed.
        variant: its variant.
        batch: held-out clips.
        people: who is in each.
        cells: cells of their faces.

    Returns:
        The cell.
    """
    aligner = load(folder / "identity_aligner")
    embeds = embed(aligner, batch)
    return Cell(
        seed=seed,
        variant=variant,
        scores=look(aligner, embeds, batch, people, cells),
        curves=table3.curves(embeds, batch.face_mask, people),
        persons=table3.by_person(embeds, batch.id_embeds, batch.face_mask, people),
        seconds=training_seconds(folder),
    )


def look(
    aligner: IdentityAligner, embeds: Tensor, batch: Batch, people: Sequence[str], cells: Tensor
) -> dict[str, float]:
    """All numbers of one aligner.

    Args:
        aligner: the aligner.
        embeds: what it says of the clips, see `embed`.
        batch: held-out clips.
        people: who is in each.
        cells: cells of their faces.

    Returns:
        Numbers by name.
    """
    found = table3.scores(embeds, batch.id_embeds, batch.face_mask, people)
    found |= focus.focus(aligner, batch, cells) | focus.by_face_size(embeds, batch, cells)
    return found | (focus.borrowed_depth(aligner, batch, people) if aligner.config.use_depth else {})


def load(folder: Path) -> IdentityAligner:
    """Load an aligner for looking at.

    Args:
        folder: its weights.

    Returns:
        The aligner in single precision.
    """
    return IdentityAligner.from_pretrained(folder, torch_dtype=torch.float32).eval()


@torch.no_grad()
def embed(aligner: IdentityAligner, batch: Batch) -> Tensor:
    """What an aligner says of clips.

    Args:
        aligner: the aligner.
        batch: the clips.

    Returns:
        Embeddings (v, n, d).
    """
    return IdentityObjective(aligner).predict(batch)


if __name__ == "__main__":
    sys.exit(main())
