r"""Look into fine-tuned models from the command line.

    python -m semrepa.analysis diagnostics --run-dir runs/lab/06_dit_finetuning/aligned
    python -m semrepa.analysis diagnostics --run-dir runs/demo/06_dit_finetuning/aligned \
        --against runs/demo/06_dit_finetuning/plain

It compares the base model with a fine-tuned one, and with another one where --against names it, on held-out
clips: error of both aligners by noise level, whether the real teachers agree with the aligners, and what the
layers hold before and after. Written to `diagnostics` in the run folder: diagnostics.json and three pictures.
"""

import argparse
import logging
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from semrepa.analysis.diagnostics import (
    Diagnostics,
    exploit_rows,
    exploits,
    failing,
    in_batches,
    judges,
    layer_rows,
    probe_layers,
    write,
)
from semrepa.analysis.errors import error_by_timestep
from semrepa.analysis.runs import load_models
from semrepa.commands import described
from semrepa.config import Config, override
from semrepa.data.index import ClipRow
from semrepa.data.store import FeatureStore
from semrepa.files import write_whole
from semrepa.prepare import ensure_rows, prepare
from semrepa.prepare.teachers import load_teachers
from semrepa.provenance import run_kind
from semrepa.runtime import seed_everything
from semrepa.training.combined import CombinedObjective
from semrepa.training.floors import floors
from semrepa.training.probe import probe_levels
from semrepa.ui.diagnostics import error_curves, exploit_scatter, layer_curves
from semrepa.ui.show import table
from semrepa.ui.style import to_png
from semrepa.weights import ROLES, check_weights

log = logging.getLogger("semrepa.analysis")


SHOWN = (
    ("id_loss", "face_error"),
    ("id_loss", "id_again"),
    ("struct_mse", "depth_error"),
    ("struct_mse", "struct_again"),
)
"""Questions that are drawn: an aligner's number and the judge of it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the diagnostics of a run.

    Args:
        arguments: command line; None takes the real one.

    Returns:
        Exit code 0.
    """
    options = parser().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("semrepa.analysis").setLevel(logging.INFO)
    began = time.perf_counter()
    cfg = load_config(options)
    seed_everything(cfg.seed)
    store, rows = open_data(cfg, options.cache)
    runs = named([run for run in (options.against, options.run_dir) if run is not None])
    found, about = diagnose(cfg, store, rows, load_models(cfg, runs), options)
    folder = options.out or options.run_dir / "diagnostics"
    about |= {"runs": {name: str(run) for name, run in runs.items()}, "seconds": time.perf_counter() - began}
    write(folder / "diagnostics.json", found, about)
    draw(folder, found, about["floors"])
    for number, clips in found.failing.items():
        for clip, error in clips.items():
            print(
                f"not judged: {clip}, where the aligner of {number} fails on true latents (error {error:.3g})"
            )
    print(table(exploit_rows(found.exploits), caption="Do the judges agree with the aligners?"), end="\n\n")
    print(table(layer_rows(found.layers), caption=f"What the layers hold, timestep {options.probe_level}"))
    print(f"\nwritten to {folder} in {about['seconds']:.0f} s; networks: {about['weights']}")
    return 0


def parser() -> argparse.ArgumentParser:
    """Options of the command line.

    Returns:
        The parser.
    """
    made = described("semrepa.analysis", __doc__)
    made.add_argument("what", choices=("diagnostics",), help="what to make")
    made.add_argument("--run-dir", type=Path, required=True, help="run folder of a fine-tuning")
    made.add_argument("--against", type=Path, help="run folder of another one, such as the plain control")
    made.add_argument("--out", type=Path, help="where to write; default: diagnostics in the run folder")
    made.add_argument("--cache", type=Path, default=Path("runs/cache"), help="rendered clips and features")
    made.add_argument("--index", type=Path, help="index of the clips; default: the run's")
    made.add_argument("--seed", type=int, help="seed of the noise; default: the run's")
    made.add_argument("--clips", type=int, default=8, help="held-out clips to judge (8)")
    made.add_argument("--levels", type=int, nargs="+", help="timesteps to judge at (100 300 500 700 900)")
    made.add_argument("--probe-level", type=int, default=300, help="timestep of the layer probes (300)")
    made.add_argument(
        "--probe-clips", type=int, default=64, help="most clips to fit and to score probes (64)"
    )
    made.add_argument("--batch-size", type=int, default=2, help="clips at a time (2)")
    return made


def load_config(options: argparse.Namespace) -> Config:
    """Config of the run, with what the command line changes.

    Args:
        options: of the command line.

    Returns:
        The config.
    """
    changes = {"seed": options.seed, "data.index": str(options.index) if options.index else None}
    cfg = Config.load(options.run_dir / "config.json")
    return override(cfg, {name: value for name, value in changes.items() if value is not None})


def open_data(cfg: Config, cache: Path) -> tuple[FeatureStore, list[ClipRow]]:
    """Features of all clips of a run, prepared where they are missing.

    Args:
        cfg: config of the run.
        cache: folder for rendered clips and features.

    Returns:
        The store, and the rows of the clips that it has.
    """
    rows = ensure_rows(cfg, cache)
    store = prepare(cfg, rows, cache)
    return store, [row for row in rows if store.has(row.id)]


def named(runs: Sequence[Path]) -> dict[str, Path]:
    """Name runs after their folders, and where these are called alike, after those above too."""
    short, long = (
        {run.resolve().name: run for run in runs},
        {"/".join(r.resolve().parts[-2:]): r for r in runs},
    )
    return short if len(short) == len(runs) else long


def diagnose(
    cfg: Config,
    store: FeatureStore,
    rows: Sequence[ClipRow],
    models: Mapping[str, CombinedObjective],
    options: argparse.Namespace,
) -> tuple[Diagnostics, dict[str, Any]]:
    """Measure everything.

    Args:
        cfg: config of the run.
        store: prepared features.
        rows: clips of the store.
        models: by name, the base first.
        options: of the command line.

    Returns:
        What was found, and what is behind it.
    """
    train, heldout = ([row.id for row in rows if row.split == split] for split in ("train", "heldout"))
    teachers, first = load_teachers(cfg), next(iter(models.values()))
    judged, levels = (
        heldout[: options.clips],
        options.levels or probe_levels(len(first.frozen.alphas_cumprod)),
    )
    every = {"face": teachers.face, "depth": teachers.depth, "rows": rows}
    answers, videos = judges(cfg, first, store, judged, **every)
    log.info("judging %d clips at timesteps %s", len(judged), levels)
    batches = in_batches(store, judged, options.batch_size)
    how = {"seed": cfg.seed, "judges": answers, "video_judges": videos}
    readings = error_by_timestep(models, batches, levels, **how)
    known, scored = train[: options.probe_clips], heldout[: options.probe_clips]
    people = {row.id: row.person for row in rows}
    settings = {"seed": cfg.seed, "people": people, "batch_size": options.batch_size}
    layers = probe_layers(models, store, known, scored, options.probe_level, **settings)
    level = floors(store, judged, train)
    about = {
        "seed": cfg.seed,
        "levels": levels,
        "probe_level": options.probe_level,
        "clips": {"judged": judged, "probes fitted": len(known), "probes scored": len(scored)},
        "floors": {"struct_mse": level["loss_struct"], "id_l1": level["loss_id"]},
        "weights": run_kind(check_weights(cfg, ROLES)),
    }
    bad = failing(readings, about["floors"])
    asked = exploits(readings, list(models), bad)
    return Diagnostics(readings=readings, exploits=asked, layers=layers, failing=bad), about


def draw(folder: Path, found: Diagnostics, levels: Mapping[str, Mapping[str, float]]) -> None:
    """Draw the pictures.

    Args:
        folder: where they are written.
        found: what to draw.
        levels: floors of the errors.
    """
    last = list(found.layers)[-1]
    shown = {key: each for key, each in found.exploits.items() if key[1] == last and key[2:] in SHOWN}
    figures = {
        "errors": error_curves(found.readings, floors=levels),
        "layers": layer_curves(found.layers),
        **({"exploitability": exploit_scatter(shown)} if shown else {}),
    }
    for name, figure in figures.items():
        write_whole(folder / f"{name}.png", to_png(figure), durable=False)


if __name__ == "__main__":
    sys.exit(main())
