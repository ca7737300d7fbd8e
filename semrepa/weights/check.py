"""The check at the start of a run, and the base model that it has found."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from semrepa.config import Config
from semrepa.hashes import sha256_of, sha256_of_files
from semrepa.models.cogvideox import PARTS, CogVideoX, Part, load_cogvideox
from semrepa.models.variants import check_checkpoint
from semrepa.provenance import Provenance, mini_asset
from semrepa.runtime import compute_dtype, pick_device
from semrepa.weights.fetch import fetch
from semrepa.weights.kinds import kind_of
from semrepa.weights.look import FOLDERS, pack_at
from semrepa.weights.message import WeightsError, complaint
from semrepa.weights.places import Finding, locate
from semrepa.weights.roles import FACES, ROLES, Role

_EXACT = Provenance(name="depth", source="exact depth of the sample world", kind="mini")


def check_weights(cfg: Config, roles: Iterable[Role] = ROLES) -> list[Provenance]:
    """Locate all weights of a run, and fetch what is missing if `cfg.weights.allow_download` says so.

    Args:
        cfg: resolved config; in `mini`, fields left at None mean the shipped mini weights.
        roles: what this run uses.

    Returns:
        The provenance of each set of weights, named by its role and in the order of the roles; `source` is
        the file or folder. Where faces stand for people, "people" repeats the record of the face pack.

    Raises:
        WeightsError: some are missing, plainly damaged, or have another hash than the user has pinned; lists
            every one with the places searched, its licence, its size and the way to get it. It is a
            FileNotFoundError and a ValueError.
    """
    roles = list(roles)
    findings = survey(cfg, roles)
    if not all(finding.is_fine for finding in findings.values()):
        raise WeightsError(complaint(cfg, findings))
    records = {role: _record(cfg, finding) for role, finding in findings.items()}
    return [replace(records[on], name=role) if (on := _rests_on(cfg, role)) else _EXACT for role in roles]


def survey(cfg: Config, roles: Iterable[Role] = ROLES) -> dict[Role, Finding]:
    """Look for all weights of a run, and fetch what is missing if `cfg.weights.allow_download` says so.

    Args:
        cfg: resolved config.
        roles: what the run uses.

    Returns:
        What came of it by role, without roles that need no weights of their own.
    """
    needed: list[Role] = [stand_in for role in roles if (stand_in := _rests_on(cfg, role))]
    findings: dict[Role, Finding] = {}
    for role in dict.fromkeys(needed):
        found = locate(cfg, role)
        found = fetch(cfg, found) if cfg.weights.allow_download else found
        findings[role] = _check_hash(_check_size(cfg, found))
    return findings


def load_base(cfg: Config, parts: Sequence[Part] = PARTS, *, dtype: torch.dtype | None = None) -> CogVideoX:
    """Load the base model that a config names, or parts of it, onto the device of the run.

    Args:
        cfg: names the checkpoint and the precision.
        parts: which parts are needed.
        dtype: precision of the weights; None: as `cfg.model.dtype` says.

    Returns:
        The parts; the others are None.

    Raises:
        FileNotFoundError: the checkpoint or parts of it are not on this machine.
    """
    device = pick_device()
    source = locate(cfg, "model").path or cfg.model.weights or mini_asset("cogvideox")
    dtype = dtype or compute_dtype(device, cfg.model.dtype)
    return load_cogvideox(source, parts=parts, device=device, dtype=dtype, vae_tiling=cfg.model.vae_tiling)


def sha256_of_weights(role: Role, path: Path, *, trust_names: bool = True) -> str:
    """Hash by which weights are pinned and recorded.

    Args:
        role: what they do.
        path: file or folder.
        trust_names: take the hash that a hub cache has given to a file as its name; False reads the file.

    Returns:
        64 digits: of a file as sha256sum has it, of a face pack those of its two models together, of the
        folder of a pipeline those of its parts, without what else lies there.
    """
    if role in FACES:
        return str(pack_at(path).provenance.sha256)
    if role not in FOLDERS:
        return sha256_of(path, trust_names=trust_names)
    files = [file for part in FOLDERS[role] for file in (path / part).rglob("*") if file.is_file()]
    return sha256_of_files(path, files, trust_names=trust_names)


def _rests_on(cfg: Config, role: Role) -> Role | None:
    """Whose weights answer in a role; None: nobody's, the answer is exact."""
    if role == "people" and cfg.people.detector == "face":
        return "face"
    return None if role == "depth" and cfg.depth.teacher == "exact" else role


def _check_size(cfg: Config, finding: Finding) -> Finding:
    """The finding, with a problem where it is a model that has no positions for the videos of this run."""
    if not finding.is_fine or finding.network.role != "model":
        return finding
    size = {name: getattr(cfg.video, name) for name in ("num_frames", "height", "width")}
    try:
        check_checkpoint(finding.path, **size)
    except ValueError as error:
        return replace(finding, problem=str(error))
    return finding


def _check_hash(finding: Finding) -> Finding:
    """The finding, with a problem where the user has pinned another hash."""
    pinned, network = finding.network.pinned, finding.network
    if not pinned or not finding.is_fine or finding.path is None:
        return finding
    got = sha256_of_weights(network.role, finding.path, trust_names=False)
    field = f"{network.field.partition('.')[0]}.sha256"
    return finding if got == pinned else replace(finding, problem=f"has hash {got}; {field} expects {pinned}")


def _record(cfg: Config, finding: Finding) -> Provenance:
    role, path = finding.network.role, finding.path
    kind, digest = kind_of(cfg, role, path), sha256_of_weights(role, path)
    return Provenance(name=role, source=str(path), kind=kind, sha256=digest)
