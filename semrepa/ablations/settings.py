"""What decides the numbers of a cell, as plain values whose hash says whether it is done."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from semrepa.ablations.aligner import aligner_folder
from semrepa.ablations.grid import QUICK, Arm, chosen
from semrepa.ablations.scores import groups_of
from semrepa.config import Config, override
from semrepa.data.index import ClipRow
from semrepa.data.store import FeatureStore
from semrepa.evaluation import Scorer
from semrepa.provenance import Kind, Provenance, run_kind
from semrepa.weights import JUDGES, ROLES, check_weights

PROTOCOL = 1
"""To be raised when the same settings would give other numbers than before."""
PLACES = ("store", "index", "weights", "pack", "folder", "allow_download", "sha256")
"""Settings that say where something lies; what lies there is in the hashes of weights and store."""
HARMLESS = ("launch", "baselines", "metrics", "weights")
"""Sections that change nothing of a training, its losses and its videos."""
UNSEEN = ("checkpoint_every", "keep", "eval_every", "resume", "balance_every", "probe_every", "sample_every")
"""Settings of a training that do not change what is trained."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Which cells a notebook runs."""

    arms: tuple[Arm, ...]
    """Lines of the table."""
    seeds: tuple[int, ...]
    """Seeds."""
    steps: int | None
    """Optimiser steps; None: as the config says."""
    clips: int | None
    """Held-out clips; None: all."""

    @classmethod
    def of(
        cls,
        preset: str,
        *,
        arms: Sequence[str] | None = None,
        seeds: Sequence[int] | None = None,
        steps: int | None = None,
        seed: int = 0,
    ) -> "Plan":
        """Fill in what is not said: in mini a quick look, in full the whole table.

        Args:
            preset: "mini" or "full".
            arms: names; None: in mini three of them, trained briefly, in full all.
            seeds: seeds; None: in mini `seed` alone, in full it and the two after it.
            steps: optimiser steps; None: as the config says, but for the quick look.
            seed: seed of the notebook.

        Returns:
            The plan.

        Raises:
            ValueError: a name of no arm, or no seeds.
        """
        quick = arms is None and preset == "mini"
        if seeds is not None and not seeds:
            raise ValueError("seeds: got none; expected one or more, such as [0, 1, 2]; or leave it at None")
        usual = (seed,) if preset == "mini" else (seed, seed + 1, seed + 2)
        return cls(
            arms=chosen(QUICK if quick else arms),
            seeds=usual if seeds is None else tuple(seeds),
            steps=10 if quick and steps is None else steps,
            clips=4 if quick else None,
        )


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What all cells of some ablations share."""

    cfg: Config
    """Config of the arms before they change it."""
    store: FeatureStore
    """Prepared features."""
    train: tuple[ClipRow, ...]
    """Training clips."""
    heldout: tuple[ClipRow, ...]
    """Clips that losses and videos are of."""
    folder: Path
    """Folder of the ablations."""
    noisy: Path | None = None
    """Structure aligner for noisy latents; None: that of `folder`, see `train_noisy_aligner`."""

    @classmethod
    def of(
        cls,
        cfg: Config,
        store: FeatureStore,
        rows: Sequence[ClipRow],
        folder: Path,
        *,
        clips: int | None = None,
        noisy: Path | None = None,
    ) -> "Setting":
        """Share clips out.

        Args:
            cfg: config.
            store: prepared features.
            rows: clips that the store has.
            folder: folder of the ablations.
            clips: how many held-out clips; None: all.
            noisy: folder of a noisy aligner.

        Returns:
            What the cells share.
        """
        train, heldout = (tuple(row for row in rows if row.split == part) for part in ("train", "heldout"))
        return cls(
            cfg=cfg, store=store, train=train, heldout=heldout[:clips], folder=Path(folder), noisy=noisy
        )

    @property
    def train_ids(self) -> list[str]:
        """Names of the training clips."""
        return [row.id for row in self.train]

    @property
    def heldout_ids(self) -> list[str]:
        """Names of the held-out clips."""
        return [row.id for row in self.heldout]

    @cached_property
    def scorer(self) -> Scorer:
        """Scores videos of the held-out clips; loaded once, since it keeps what it finds out about them."""
        return Scorer(self.cfg, self.heldout, groups_of(self.cfg))

    @property
    def noisy_aligner(self) -> Path:
        """Where the noisy aligner lies, or would."""
        return self.noisy or aligner_folder(self.folder)

    def config(self, arm: Arm, seed: int) -> Config:
        """Config of one cell.

        Args:
            arm: a line of the table.
            seed: of data order, noise and videos.

        Returns:
            The config; training goes on where it was.

        Raises:
            FileNotFoundError: the arm needs a noisy aligner, and there is none.
        """
        changes = {**arm.overrides, "seed": seed, "generate.seeds": [seed], "finetune.resume": True}
        if arm.noisy:
            changes["structure.weights"] = str(self._known_noisy(arm))
        return override(self.cfg, changes)

    def judging(self, seed: int) -> Config:
        """Config by which every arm is judged, however it was trained: that of the clean formulation.

        Args:
            seed: of the noise.

        Returns:
            The config.
        """
        return override(self.cfg, {"seed": seed, "structure.input": "clean"})

    def cell(self, arm: Arm, seed: int) -> Path:
        """Folder of a cell."""
        return self.folder / f"seed-{seed}" / arm.name

    def _known_noisy(self, arm: Arm) -> Path:
        folder = self.noisy_aligner
        if not (folder / "config.json").is_file():
            raise FileNotFoundError(
                f"{arm.name}: got no noisy structure aligner at {folder}; expected one (Eq. 4 and 5; none is "
                f"shipped); train it with python -m semrepa.ablations aligner --run-dir {self.folder}, name "
                "one with --noisy-aligner, or leave the noisy arms out"
            )
        return folder


def check_arms(setting: Setting, arms: Sequence[Arm], *, scored: bool = True) -> None:
    """Refuse arms that cannot be run, before the first is trained.

    Args:
        setting: what they share.
        arms: the arms.
        scored: whether their videos are scored, which in full needs networks that judge.

    Raises:
        FileNotFoundError: weights that are missing.
        ValueError: no clips.
    """
    if not setting.train or not setting.heldout:
        raise ValueError(
            f"got {len(setting.train)} training and {len(setting.heldout)} held-out clips; expected some "
            "of each; see the field split of the index"
        )
    for arm in arms:
        check_weights(setting.config(arm, 0), ROLES)
    if scored and setting.cfg.preset == "full":
        check_weights(setting.cfg, JUDGES)


def describe(setting: Setting, arm: Arm, seed: int) -> tuple[dict[str, Any], Kind]:
    """Say what decides the numbers of a cell.

    Args:
        setting: what the cells share.
        arm: the arm.
        seed: the seed.

    Returns:
        Plain values, without paths, so that folders may move; and what the numbers count as.
    """
    cfg = setting.config(arm, seed)
    records: list[Provenance] = check_weights(cfg, ROLES)
    values = {
        "protocol": PROTOCOL,
        "arm": arm.name,
        "config": _deciding(asdict(cfg), arm),
        "weights": {record.name: record.sha256 for record in records},
        "store": setting.store.fingerprint,
        "train": setting.train_ids,
        "heldout": [[row.id, row.caption] for row in setting.heldout],
    }
    return json.loads(json.dumps(values)), run_kind(records)


def fingerprint(values: Mapping[str, Any]) -> str:
    """Hash of the values of `describe`, 16 hexadecimal digits."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


def _deciding(config: dict[str, Any], arm: Arm) -> dict[str, Any]:
    """The settings that change numbers: without places, and for the base model without those of training."""
    gone = (*HARMLESS, "pretrain_structure", "pretrain_identity", *(("finetune",) if arm.is_base else ()))
    found = {name: value for name, value in config.items() if name not in gone}
    return {name: _without(value) if isinstance(value, dict) else value for name, value in found.items()}


def _without(section: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in section.items() if name not in (*PLACES, *UNSEEN)}
