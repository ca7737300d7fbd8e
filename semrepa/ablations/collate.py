"""From the folders of cells to one table: means, intervals, and differences from the control and the base."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from semrepa.ablations.cells import LOSSES, RECORD, SCORES, read_record
from semrepa.ablations.grid import ARMS
from semrepa.ablations.statistics import Estimate, OfSets, Values, estimate
from semrepa.provenance import Kind, Provenance, mini_asset, require_one_provenance
from semrepa.training.log import METRICS, read_metrics

CLIPS, RECORDED = "clips.json", "table.json"
"""In the folder of the ablations: clips on which the aligners fail, and all numbers collated."""


@dataclass(frozen=True, kw_only=True)
class Collated:
    """All numbers of some ablations: the same seeds and clips for each arm."""

    kind: Kind
    """What the numbers count as."""
    seeds: tuple[int, ...]
    """Seeds that every arm has."""
    clips: tuple[str, ...]
    """Held-out clips."""
    values: Mapping[str, Mapping[str, Values]]
    """By arm and measure, one number for each seed and clip."""
    sets: Mapping[str, Mapping[str, OfSets]]
    """By arm and measure of whole sets of videos, such as `fid`, one number for each seed."""
    unreadable: Mapping[str, tuple[str, ...]]
    """By loss, clips on whose true latents its aligner fails."""
    pulls: Mapping[str, Mapping[str, tuple[float, ...]]] = field(default_factory=dict)
    """By arm and loss (`diff`, `struct`, `id`), gradient norms of the weighted loss, where measured."""

    @property
    def arms(self) -> list[str]:
        """Names in the order of the table."""
        return [arm.name for arm in ARMS if arm.name in self.values]

    def means(self, arm: str, *, without: Collection[str] = ()) -> dict[str, Estimate]:
        """Means of one arm.

        Args:
            arm: its name.
            without: clips that do not count; measures of whole sets are then left out.

        Returns:
            By measure.
        """
        kept = [clip not in without for clip in self.clips]
        found = {name: estimate(values[:, kept]) for name, values in self.values[arm].items()}
        whole = {} if without else {name: estimate(each) for name, each in self.sets.get(arm, {}).items()}
        return found | whole

    def differences(self, arm: str, against: str, *, without: Collection[str] = ()) -> dict[str, Estimate]:
        """Mean of arm - against, paired by clip and seed.

        Args:
            arm: the one.
            against: the other.
            without: as for `means`.

        Returns:
            By measure that both have.
        """
        kept = [clip not in without for clip in self.clips]
        here, there = self.values[arm], self.values[against]
        found = {name: estimate((here[name] - there[name])[:, kept]) for name in here if name in there}
        if not without:
            one, other = self.sets.get(arm, {}), self.sets.get(against, {})
            found |= {name: estimate(one[name] - other[name]) for name in one if name in other}
        return found


def collate(folder: Path | str) -> Collated:
    """Read all cells of some ablations that are done.

    Args:
        folder: folder of the ablations.

    Returns:
        Their numbers, for the seeds that every arm has.

    Raises:
        FileNotFoundError: no cell is done.
        ValueError: cells of mixed weights, clips, judges or settings.
    """
    folder = Path(folder)
    cells = {
        (record["made_from"]["arm"], int(path.parent.parent.name.removeprefix("seed-"))): (
            path.parent,
            record,
        )
        for path in sorted(folder.glob(f"seed-*/*/{RECORD}"))
        if (record := read_record(path.parent)) and "losses" in record["seconds"]
    }
    if not cells:
        raise FileNotFoundError(
            f"got {folder} without a cell that is done; expected some; run python -m semrepa.ablations run"
        )
    kind = _check_alike(cells)
    arms = [arm.name for arm in ARMS if any(name == arm.name for name, _ in cells)]
    seeds = sorted(set.intersection(*({seed for name, seed in cells if name == arm} for arm in arms)))
    if not seeds:
        raise ValueError(f"got arms of {folder} that share no seed; expected one; run the missing cells")
    clips = [clip for clip, _ in next(iter(cells.values()))[1]["made_from"]["heldout"]]
    numbers = {(arm, seed): _numbers(cells[arm, seed][0], seed) for arm in arms for seed in seeds}
    return Collated(
        kind=kind,
        seeds=tuple(seeds),
        clips=tuple(clips),
        values={arm: _stack([numbers[arm, seed][0] for seed in seeds], clips) for arm in arms},
        sets={arm: _stack([{"": numbers[arm, seed][1]} for seed in seeds], [""]) for arm in arms},
        unreadable={name: tuple(found) for name, found in _read(folder / CLIPS, {}).items()},
        pulls={arm: _pulls([cells[arm, seed][0] for seed in seeds]) for arm in arms},
    )


def _check_alike(cells: Mapping[tuple[str, int], tuple[Path, dict[str, Any]]]) -> Kind:
    """Refuse cells that must not stand in one table; gives their kind."""
    named = {f"seed {seed}, {arm}": found for (arm, seed), found in cells.items()}
    records = [
        Provenance(name=name, source=str(path), kind=record["kind"]) for name, (path, record) in named.items()
    ]
    kind = require_one_provenance(records)
    looked_at: dict[str, tuple[str, Any]] = {}
    for name, (path, record) in named.items():
        made_from = record["made_from"]
        shared = {key: made_from[key] for key in ("protocol", "store", "train", "heldout")}
        shared["weights"] = {role: made_from["weights"][role] for role in ("model", "face", "identity")}
        shared["sampling"] = {k: v for k, v in made_from["config"]["generate"].items() if k != "seeds"}
        shared["judges of losses"] = _read(path / LOSSES, {})["judges"]
        if "scores" in record["seconds"]:
            scores = _read(path / SCORES, {})
            shared["judges of scores"] = scores["judges"], scores["groups"]
        if "finetune" in made_from["config"]:
            shared["finetune"] = made_from["config"]["finetune"]
        for key, value in shared.items():
            first, before = looked_at.setdefault(key, (name, value))
            if before != value:
                raise ValueError(
                    f"got another {key} in cell {name} than in cell {first}; expected the same in all cells "
                    "of a table; run the cells anew in a folder of their own"
                )
    return kind


def _numbers(folder: Path, seed: int) -> tuple[dict[str, dict[str, float]], dict[str, float]]:
    """Numbers of one cell by clip and measure, and those of all its videos together."""
    by_clip = {clip: dict(values) for clip, values in _read(folder / LOSSES, {})["clips"].items()}
    scores = _read(folder / SCORES, {"clips": {}, "sets": {}})
    for name, values in scores["clips"].items():
        by_clip[name.removesuffix(f"-seed{seed}")] |= values
    return by_clip, scores["sets"]


def _pulls(cells: Sequence[Path]) -> dict[str, tuple[float, ...]]:
    """Gradient norms that the trainings of an arm have measured, by loss."""
    runs = [cell / "training" for cell in cells if (cell / "training" / METRICS).is_file()]
    parts = [line.get("parts", {}) for run in runs for line in read_metrics(run)]
    names = dict.fromkeys(name for part in parts for name in part if name.startswith("grad_"))
    return {name.removeprefix("grad_"): tuple(part[name] for part in parts if name in part) for name in names}


def _stack(
    seeds: Sequence[Mapping[str, Mapping[str, float | None]]], clips: Sequence[str]
) -> dict[str, Values]:
    """By measure, one number for each seed and clip; a null or a missing number is NaN."""
    names = dict.fromkeys(name for found in seeds for values in found.values() for name in values)
    return {
        name: np.array(
            [[_number(found.get(clip, {}).get(name)) for clip in clips] for found in seeds], dtype=float
        )
        for name in names
    }


def _number(value: float | str | None) -> float:
    """A number as a file has it; "nan" and null stand for none."""
    return float("nan") if value is None else float(value)


def _read(file: Path, otherwise: Any) -> Any:
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else otherwise


def to_record(found: Collated, names: Collection[str] | None = None) -> dict[str, Any]:
    """Plain values for a file: every number by seed and clip, from which all tables can be made again.

    Args:
        found: the numbers.
        names: measures to keep; None: all.

    Returns:
        What `from_record` takes; numbers to five digits, noise levels left out.
    """

    def plain(values: Mapping[str, Values]) -> dict[str, Any]:
        return {
            name: [[None if np.isnan(v) else float(f"{v:.5g}") for v in row] for row in each]
            for name, each in values.items()
            if "@" not in name and (names is None or name in names)
        }

    whole = ("kind", "seeds", "clips", "unreadable", "pulls")
    return {
        **{name: value for name, value in asdict(found).items() if name in whole},
        "values": {arm: plain(values) for arm, values in found.values.items()},
        "sets": {arm: plain(values) for arm, values in found.sets.items()},
    }


def from_record(record: Mapping[str, Any]) -> Collated:
    """Numbers from plain values.

    Args:
        record: from `to_record`.

    Returns:
        The numbers.
    """

    def arrays(arms: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Values]]:
        return {
            arm: {name: np.array(rows, dtype=float) for name, rows in values.items()}
            for arm, values in arms.items()
        }

    return Collated(
        kind=record["kind"],
        seeds=tuple(record["seeds"]),
        clips=tuple(record["clips"]),
        values=arrays(record["values"]),
        sets=arrays(record["sets"]),
        unreadable={name: tuple(found) for name, found in record["unreadable"].items()},
        pulls={
            arm: {name: tuple(norms) for name, norms in found.items()}
            for arm, found in record["pulls"].items()
        },
    )


def recorded() -> Collated:
    """The miniature experiment that comes with the kit, see docs/RESULTS.md: a recording, nothing is run.

    Returns:
        Its numbers.

    Raises:
        FileNotFoundError: it is not there.
    """
    return from_record(json.loads(mini_asset("ablations.json").read_text(encoding="utf-8")))
