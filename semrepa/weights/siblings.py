"""Aligners that other notebooks of the same report have trained, for those that use them."""

from collections.abc import Iterable
from pathlib import Path

from semrepa.config import Config, override
from semrepa.weights.places import locate
from semrepa.weights.roles import Role


def from_report(cfg: Config, roles: Iterable[Role], report: Path) -> Config:
    """Name the aligners that notebooks 03 and 04 of a report have trained, where nothing else is at hand.

    Args:
        cfg: resolved config; what it names, and what is shipped for it, goes before the report.
        roles: what the run uses.
        report: folder with one run folder per notebook.

    Returns:
        The config with `structure.weights` and `identity.weights` set where they were found there.
    """
    depth = "with_depth" if cfg.identity.use_depth else "without_depth"
    places: dict[Role, Path] = {
        "structure": report / "03_structure_aligner" / cfg.structure.input / "structure_aligner",
        "identity": report / "04_id_aligner" / depth / "identity_aligner",
    }
    wanted = {role: places[role] for role in roles if role in places and locate(cfg, role).path is None}
    made = {role: place for role, place in wanted.items() if (place / "config.json").is_file()}
    return override(cfg, {f"{role}.weights": str(place) for role, place in made.items()})
