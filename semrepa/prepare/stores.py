"""Which store a config fills: one folder for each way of making records."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from semrepa.config import Config
from semrepa.data.store import LIMITS, FeatureStore, fingerprint_hash
from semrepa.data.video import reader_versions
from semrepa.prepare.clips import world_hash
from semrepa.provenance import Provenance, sha256_of
from semrepa.runtime import compute_dtype, pick_device, write_json
from semrepa.weights import check_weights

SCHEMA = 3
"""Raised when records change their meaning, so that older stores are not mistaken for new ones."""
POLICY = {"static": "min_change", "too_many_duplicate_frames": "max_repeats", "cut": "max_jump"}
"""Reasons that are matters of choice, and the limit in the `data` section behind each. Limits change no
number of a record, so they are not in the fingerprint: one store goes on when they change."""


def fingerprint(cfg: Config, weights: Sequence[Provenance]) -> dict[str, Any]:
    """Collect everything that changes the numbers of a record.

    Args:
        cfg: resolved config.
        weights: of the model and the teachers, each named by its role.

    Returns:
        JSON values by name.
    """
    by_role = {record.name: record for record in weights}
    hashes = {role: record.sha256 for role, record in by_role.items()}
    folder = Path(by_role["model"].source)
    transformer = json.loads((folder / "transformer" / "config.json").read_text())
    return {
        "schema": SCHEMA,
        "readers": reader_versions(),
        "video": asdict(cfg.video),
        "picture_side": cfg.data.picture_side,
        "vae": sha256_of(folder / "vae"),
        "text_encoder": sha256_of(folder / "text_encoder"),
        "tokenizer": sha256_of(folder / "tokenizer"),
        "text_length": transformer["max_text_seq_length"],
        "trim_text": cfg.data.trim_text,
        "dtype": str(compute_dtype(pick_device(), cfg.model.dtype)),
        "vae_tiling": cfg.model.vae_tiling,
        "depth": _depth_settings(cfg, hashes["depth"]),
        "colormap": cfg.depth.colormap,
        "face": [hashes["face"], *_without(cfg.face, "pack", "sha256", "providers")],
        "people": [
            cfg.people.detector,
            hashes.get("people"),
            cfg.data.min_person_score,
            cfg.data.min_person_area,
        ],
    }


def _depth_settings(cfg: Config, sha256: str | None) -> list[object]:
    """What changes the depth teacher's answer."""
    if cfg.depth.teacher == "exact":
        return ["exact", world_hash()]
    return [sha256, *_without(cfg.depth, "weights", "sha256", "colormap", "frame_batch")]


def _without(section: Any, *names: str) -> list[object]:
    """Values of a config section but for some that do not change numbers."""
    return [value for name, value in asdict(section).items() if name not in names]


def open_store(cfg: Config, cache_dir: str | Path) -> FeatureStore:
    """The feature store of a config, begun where there is none.

    Args:
        cfg: resolved config.
        cache_dir: folder for stores; `data.store` overrides it. Other settings get another folder there.

    Returns:
        The store, with everything that changes its numbers as its fingerprint.

    Raises:
        FileNotFoundError: when weights are missing; lists all of them.
        ValueError: when `data.store` was made with other settings.
    """
    made_from = fingerprint(cfg, check_weights(cfg, ("model", "depth", "face", "people")))
    folder = Path(cfg.data.store or Path(cache_dir) / f"store-{fingerprint_hash(made_from)}")
    store = FeatureStore(folder, made_from)
    _reconsider(store, {name: getattr(cfg.data, name) for name in POLICY.values()})
    return store


def _reconsider(store: FeatureStore, limits: dict[str, object]) -> None:
    """Have clips that were left out for other limits tried again by the next run."""
    file = store.folder / LIMITS
    before = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    if before == limits:
        return
    changed = [reason for reason, name in POLICY.items() if before.get(name) != limits[name]]
    for reject in store.rejects().values():
        if reject.reason in changed:
            store.reject(replace(reject, source=""))
    write_json(file, limits)


def text_hash(made_from: Mapping[str, object]) -> str:
    """Digits that stand for what text features depend on, so that stores with other pictures share them."""
    names = ("text_encoder", "tokenizer", "text_length", "dtype")
    return fingerprint_hash({name: made_from[name] for name in names})
