"""The one setup call of a notebook: check everything, say what will run and on which weights, open the run.

session = start("03_structure_aligner", preset=preset, run_dir=run_dir, seed=seed, overrides=overrides)
store = session.store
session.finish({"heldout mse": 0.2}, artefacts=["aligner"])
"""

import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from jaxtyping import UInt8
from torch import Tensor

from semrepa.config import Config, configure, override
from semrepa.data.index import ClipRow, read_index
from semrepa.data.store import FeatureStore
from semrepa.data.video import read_clip
from semrepa.models.cogvideox import CogVideoX, Part
from semrepa.models.quiet import quiet
from semrepa.prepare import ensure_rows, prepare
from semrepa.provenance import Kind, Provenance, require_one_provenance, run_kind
from semrepa.runtime import RunFolder, pick_device, seed_everything, write_run_json
from semrepa.ui import workplace
from semrepa.ui.needs import check_needs
from semrepa.ui.overview import settings_table, short, weights_table
from semrepa.ui.progress import Progress
from semrepa.ui.show import show, table
from semrepa.weights import ROLES, Role, check_weights, counted_from, from_report, load_base, recorded_kind

BASIS: tuple[Role, ...] = ("model", "depth", "face", "people")
"""What almost every notebook needs: the video model, both teachers, and who finds people."""

ALL: tuple[Role, ...] = ROLES
"""Everything, the trained aligners included."""


def start(
    notebook: str,
    *,
    preset: str,
    run_dir: str | Path,
    seed: int,
    overrides: Mapping[str, Any] | Iterable[str] | None = None,
    headline: Mapping[str, Any] | None = None,
    needs: Iterable[Role] = BASIS,
    sections: Iterable[str] = ("video", "data", "model"),
) -> "Session":
    """Set a notebook up, or stop at once with one clear message.

    Args:
        notebook: its name, for example `03_structure_aligner`.
        preset: "mini" or "full".
        run_dir: folder of the results; a relative path counts from the folder that holds `notebooks/`.
        seed: seed of data order, noise and new weights.
        overrides: config values by dotted name.
        headline: the notebook's own knobs by dotted name; None means "as the config says".
        needs: weights that this notebook uses.
        sections: parts of the config to show; all of it goes to `config.json` in the run folder.

    Returns:
        The session.

    Raises:
        ValueError: unknown preset or name, value out of range, folder that cannot be written.
        TypeError: a value of the wrong type.
        FileNotFoundError: missing weights and packages; lists all of them.
    """
    quiet()
    began, home = time.perf_counter(), workplace.home()
    cfg = configure(preset, overrides, {"seed": seed, **(headline or {})})
    report, sections = (home / run_dir).parent, tuple(sections)
    cfg = from_report(counted_from(home, cfg), needs := tuple(needs), report)
    provenance = check_needs(cfg, needs, sections, report)
    run = RunFolder(home / run_dir)
    cfg.save(run.config_path)
    seed_everything(cfg.seed)
    cache = Path(os.environ.get("SEMREPA_CACHE", home / "runs" / "cache"))
    session = Session(
        notebook=notebook,
        cfg=override(cfg, {"data.index": str(home / cfg.data.index)}),
        run=run,
        cache=cache,
        provenance=provenance,
        began=began,
        home=home,
    )
    session.introduce(cfg, sections)
    return session


@dataclass(frozen=True, kw_only=True)
class Session:
    """A notebook that has been set up; make one with `start`."""

    notebook: str
    """Name of the notebook."""
    cfg: Config
    """The resolved config."""
    run: RunFolder
    """Where this notebook writes."""
    cache: Path
    """What notebooks share: rendered clips and prepared features. `SEMREPA_CACHE` moves it."""
    provenance: tuple[Provenance, ...]
    """The weights behind every number of this notebook."""
    began: float
    """Clock at the start, seconds."""
    home: Path
    """Folder that relative paths count from."""
    more: dict[str, Provenance] = field(default_factory=dict)
    """Networks that were noted with `uses`, by name."""
    looked_at: set[str] = field(default_factory=set)
    """Other notebooks of the report whose results this one asked for."""

    def introduce(self, cfg: Config, sections: Iterable[str]) -> None:
        """Show what will run: the chosen parts of the config, and where the weights come from.

        Args:
            cfg: the config as the user gave it.
            sections: names of config sections.
        """
        where = f"preset {cfg.preset}, seed {cfg.seed}, on {pick_device()}"
        where = f"{where}, results in {short(self.run.path, self.home)}"
        show(settings_table(cfg, sections, where=where))
        if self.provenance:
            show(weights_table(cfg, self.provenance, self.home))

    @property
    def kind(self) -> Kind:
        """What the numbers of this run count as: real, mini or random."""
        return run_kind(self.provenance)

    def uses(self, name: str, path: Path, kind: Kind | None = None) -> None:
        """Note one more network behind the numbers of this run, for its `run.json`.

        Args:
            name: what it is.
            path: its file or folder.
            kind: what its numbers count as; None: as the record of the run that made it says.

        Raises:
            ValueError: it is of another kind than this run, so that their numbers cannot be compared.
        """
        record = Provenance.of(name, path, kind=kind or recorded_kind(path) or self.kind)
        this = Provenance(name=self.notebook, source=str(self.run.path), kind=self.kind)
        require_one_provenance([this, record])
        self.more[name] = record

    def variant(self, changes: Mapping[str, Any], needs: Iterable[Role]) -> Config:
        """This run's config with other settings, for comparisons within a notebook.

        Args:
            changes: values by dotted name, as `override` takes them.
            needs: weights that these settings use beside those of the start.

        Returns:
            The config; aligners that other notebooks of this report have trained are found anew.

        Raises:
            FileNotFoundError: missing weights; lists all of them.
        """
        needs = tuple(needs)
        cfg = from_report(override(self.cfg, changes), needs, self.run.path.parent)
        for record in check_weights(cfg, needs):
            self.more[f"{record.name}, {changes}"] = record
        return cfg

    def samples(self, split: str | None = None) -> list[ClipRow]:
        """Clips of the index alone, at hand without rendering anything.

        Args:
            split: "train" or "heldout"; None: both.

        Returns:
            Rows in the order of the index.
        """
        return [row for row in read_index(self.cfg.data.index) if split in (None, row.split)]

    def clip(self, split: str, place: int) -> ClipRow:
        """One clip of the index.

        Args:
            split: "train" or "heldout".
            place: 0 is the first.

        Returns:
            Its row.

        Raises:
            ValueError: there is no such clip.
        """
        rows = self.samples(split)
        if not 0 <= place < len(rows):
            known = f"expected 0 to {len(rows) - 1}" if rows else "expected an index with such clips"
            raise ValueError(
                f"clip: got {place} of the {len(rows)} {split} clips in {self.cfg.data.index}; {known}; "
                f'the field "split" of a line says "train" (usual) or "heldout"'
            )
        return rows[place]

    @property
    def device(self) -> torch.device:
        """Where networks run."""
        return pick_device()

    @cached_property
    def all_rows(self) -> list[ClipRow]:
        """Every clip of the index and the rendered extra ones."""
        return ensure_rows(self.cfg, self.cache)

    def rows(self, split: str | None = None) -> list[ClipRow]:
        """Clips of this run.

        Args:
            split: "train" or "heldout"; None: both.

        Returns:
            Rows in the order of the index.
        """
        return [row for row in self.all_rows if split in (None, row.split)]

    @cached_property
    def store(self) -> FeatureStore:
        """Teachers, VAE and text encoder on every clip; from the cache where they have been run before."""
        return prepare(self.cfg, self.all_rows, self.cache, progress=Progress("preparing clips"))

    def ids(self, split: str) -> list[str]:
        """Names of the clips that can be trained on or evaluated.

        Args:
            split: "train" or "heldout".

        Returns:
            Names, in the order of the index; clips that were rejected are left out.
        """
        return [row.id for row in self.rows(split) if self.store.has(row.id)]

    def frames(self, row: ClipRow) -> UInt8[Tensor, "n 3 H W"]:
        """Read a clip at the size, length and frame rate of this run.

        Args:
            row: one of `rows()`.

        Returns:
            RGB, 0 to 255.
        """
        return read_clip(row.path, start=row.start, **self.cfg.video.shape).frames

    def parts(self, *names: Part) -> CogVideoX:
        """Load parts of the base model for looking at things; training loads its own.

        Args:
            *names: "vae", "transformer", "text_encoder", "tokenizer" or "noise_scheduler".

        Returns:
            The parts on the device of the run; the others are None.
        """
        return load_base(self.cfg, names)

    def sibling(self, notebook: str, *parts: str) -> Path:
        """A place in the run folder of another notebook of the same report.

        Args:
            notebook: name of the other notebook.
            *parts: names below its folder.

        Returns:
            The path, whether or not it exists.
        """
        self.looked_at.add(notebook)
        return self.run.path.parent.joinpath(notebook, *parts)

    def finish(self, metrics: Mapping[str, Any], artefacts: Iterable[str | Path] = ()) -> None:
        """Write `run.json` with status ok and show the metrics.

        Args:
            metrics: numbers by name, most important first.
            artefacts: files and folders made, named relative to the run folder or in full.

        Raises:
            FileNotFoundError: an artefact is not there.
        """
        values = {**metrics, "seconds": round(time.perf_counter() - self.began, 1)}
        paths = [self.run.path / path for path in artefacts]
        path = write_run_json(
            self.run,
            status="ok",
            config=asdict(self.cfg),
            provenance=[*self.provenance, *self.more.values()],
            metrics=values,
            artefacts=paths,
            upstream=self.looked_at - {self.notebook},
        )
        rows = [{"metric": name.replace("_", " "), "value": value} for name, value in values.items()]
        show(table(rows, caption=f"{self.notebook}: done, written to {short(path, self.home)}"))
