"""What a stage of the pipeline was made from, kept beside its results, to tell later what still holds.

`stage.json` in the folder of a stage has its notebook, settings and versions when it starts, and when it is
done also the weights it used and what earlier stages had made.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import nbformat

from semrepa.config import Config, configure
from semrepa.hashes import sha256_of
from semrepa.runtime import RunFolder, versions, write_json
from semrepa.ui import workplace

FILE = "stage.json"
_TRAININGS = ("pretrain_structure", "pretrain_identity", "finetune")
_NEUTRAL_SECTIONS = ("launch", "weights")
"""How trainings are started, and where weights are looked for; which ones are found is compared by hash."""
_FREE = (
    "accumulate checkpoint_every checkpoint_minutes compile gradient_checkpointing keep log_every "
    "max_bad_steps resume trackers"
)
_NEUTRAL = frozenset(f"{training}.{name}" for training in _TRAININGS for name in _FREE.split())
"""Settings that change the numbers of a training by rounding, or not."""
_CONFIGURED = ("preset", "overrides", "seed")
"""Parameters that the config is made from."""
_NOT_COMPARED = ("commit",)
"""Versions that are no reason to run a stage again."""


@dataclass(frozen=True)
class Stage:
    """One notebook of a pipeline with its settings, and the folder of its results."""

    notebook: Path
    """The notebook."""
    folder: Path
    """Its folder in the report."""
    parameters: Mapping[str, Any]
    """Values for its parameters cell, `run_dir` left out."""

    @property
    def cfg(self) -> Config:
        """The config that its preset, overrides and seed give."""
        given = self.parameters
        seed = {"seed": given.get("seed")}
        return configure(given.get("preset", "mini"), given.get("overrides"), seed)

    def going_on(self) -> dict[str, Any]:
        """Parameters with which its trainings go on from their last checkpoints."""
        overrides = dict(self.parameters.get("overrides", {})) | {
            f"{training}.resume": True for training in _TRAININGS
        }
        return {**self.parameters, "overrides": overrides}

    def begin(self) -> None:
        """Write down what the stage is about to be made from."""
        write_json(
            RunFolder(self.folder).path / FILE, {**self._known(), "finished": False, "made": self._made()}
        )

    def finish(self, seconds: float) -> None:
        """Write down that the stage is done.

        Args:
            seconds: how long it took.
        """
        run = read_record(self.folder / "run.json")
        upstream = {name: outputs(self.folder.parent / name) for name in run.get("upstream", [])}
        used = {record["name"]: record["sha256"] for record in run.get("provenance", [])}
        done = {"finished": True, "seconds": seconds, "weights": used, "upstream": upstream}
        write_json(self.folder / FILE, {**self._known(), **done})

    @property
    def seconds(self) -> float:
        """How long it took when it was done."""
        return read_record(self.folder / FILE)["seconds"]

    def is_finished(self) -> bool:
        """Whether it was done, and all that it made is still there as it was."""
        run, kept = read_record(self.folder / "run.json"), read_record(self.folder / FILE)
        pages = (self.folder / f"{self.notebook.stem}{suffix}" for suffix in (".ipynb", ".html"))
        is_done = kept.get("finished") is True and run.get("status") == "ok"
        return is_done and all(page.is_file() for page in pages) and _are_there(self.folder, run)

    def changes(self) -> list[str]:
        """What is different now from what the folder was made from, for a person to read; empty: nothing."""
        kept, now = read_record(self.folder / FILE), self._known()
        if not kept:
            return []
        found = [_differences(name, kept.get(name, {}), now[name]) for name in ("settings", "versions")]
        if kept.get("finished"):
            found.append(_differences("upstream", kept["upstream"], self._upstream(kept["upstream"])))
            found.append(_differences("weights", kept["weights"], self._weights(kept["weights"])))
        else:
            made = self._made()
            before = {name: digest for name, digest in kept["made"].items() if digest or made.get(name)}
            found.append(_differences("upstream", before, {name: made.get(name) for name in before}))
        return [text for text in found if text]

    def code_has_changed(self) -> bool:
        """Whether the code of the notebook is another one than that which the folder was made by."""
        return read_record(self.folder / FILE).get("notebook") != self._known()["notebook"]

    def _known(self) -> dict[str, Any]:
        """What is known before the notebook runs, as JSON gives it back."""
        cells = nbformat.read(self.notebook, as_version=4).cells
        code = "\0".join(cell.source for cell in cells if cell.cell_type == "code")
        cfg = self.cfg
        sections = {name: part for name, part in asdict(cfg).items() if name not in _NEUTRAL_SECTIONS}
        settings = {name: value for name, value in _flat(sections) if name not in _NEUTRAL}
        own = {name: value for name, value in self.parameters.items() if name not in _CONFIGURED}
        settings |= {f"parameter {name}": value for name, value in own.items()}
        index = workplace.home() / cfg.data.index
        settings["content of data.index"] = sha256_of(index) if index.is_file() else None
        known = {
            "notebook": hashlib.sha256(code.encode()).hexdigest(),
            "settings": settings,
            "versions": {name: value for name, value in versions().items() if name not in _NOT_COMPARED},
        }
        return json.loads(json.dumps(known, default=str))

    def _made(self) -> dict[str, str | None]:
        """What the other stages of the report have made, by name."""
        others = [path.parent for path in self.folder.parent.glob(f"*/{FILE}") if path.parent != self.folder]
        return {folder.name: outputs(folder) for folder in sorted(others)}

    def _upstream(self, kept: Mapping[str, Any]) -> dict[str, str | None]:
        return {name: outputs(self.folder.parent / name) for name in kept}

    def _weights(self, kept: Mapping[str, Any]) -> dict[str, str | None]:
        """Hashes of the weights that the stage would use now, by the names under which they were recorded."""
        from semrepa.weights import ROLES, WeightsError, check_weights, counted_from, from_report

        records = {
            record["name"]: record for record in read_record(self.folder / "run.json").get("provenance", [])
        }
        roles = [role for role in ROLES if role in kept]
        cfg = from_report(counted_from(workplace.home(), self.cfg), roles, self.folder.parent)
        try:
            now = {record.name: record.sha256 for record in check_weights(cfg, roles)}
        except WeightsError:
            now = {}
        others = {name: Path(record["source"]) for name, record in records.items() if name not in roles}
        return now | {name: sha256_of(path) if path.exists() else None for name, path in others.items()}


def outputs(folder: Path) -> str | None:
    """Digits that stand for what a stage has made.

    Args:
        folder: its folder.

    Returns:
        The digest of the artefacts in its `run.json`; None where there are none.
    """
    made = read_record(folder / "run.json").get("artefacts")
    return hashlib.sha256(json.dumps(made, sort_keys=True).encode()).hexdigest() if made else None


def set_aside(folder: Path) -> Path:
    """Move the results of a stage away, so that it can be made anew; nothing is deleted.

    Args:
        folder: folder of the stage.

    Returns:
        Where they are now: in `previous/` beside the folder, with a number.
    """
    home = folder.parent / "previous"
    home.mkdir(exist_ok=True)
    number = 1 + sum(1 for _ in home.glob(f"{folder.name}-*"))
    return folder.rename(home / f"{folder.name}-{number}")


def _differences(name: str, kept: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Say what differs; empty: nothing."""
    other = [key for key in {**kept, **now} if kept.get(key) != now.get(key)]
    if name in ("weights", "upstream"):
        return f"other {name}: {', '.join(other)}" if other else ""
    told = [f"{key} {kept.get(key)!r} -> {now.get(key)!r}" for key in other[:3]]
    more = [f"{len(other) - 3} more"] if len(other) > 3 else []
    return f"other {name}: {', '.join(told + more)}" if other else ""


def _flat(values: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """Values of a config by dotted name."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{path}{name}.")
        else:
            yield f"{path}{name}", value


def _are_there(folder: Path, run: Mapping[str, Any]) -> bool:
    paths = {folder / name: digest for name, digest in run.get("artefacts", {}).items()}
    return all(path.exists() and sha256_of(path) == digest for path, digest in paths.items())


def read_record(file: Path) -> dict[str, Any]:
    """Read a JSON object.

    Args:
        file: path of it.

    Returns:
        The object; empty where there is no such file or it is damaged.
    """
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
