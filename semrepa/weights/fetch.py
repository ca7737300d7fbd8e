"""Fetching what a hub has, only when the user has allowed it."""

from dataclasses import replace
from pathlib import Path

import huggingface_hub
from huggingface_hub import constants

from semrepa.config import Config
from semrepa.weights.catalogue import DETECTOR, INSIGHTFACE, PACK, RECOGNISER
from semrepa.weights.places import Finding, locate


def fetch(cfg: Config, finding: Finding) -> Finding:
    """Fetch one missing network into the hub cache; Arc2Face's recogniser goes beside its detector.

    What the user named by field or variable is never replaced.

    Args:
        cfg: resolved config.
        finding: what is missing.

    Returns:
        Where it is now; its note says why it could not be fetched.
    """
    network = finding.network
    if finding.is_fine or finding.place in (network.field, network.variable):
        return finding
    if network.repo is None:
        return replace(finding, note="not on a hub; use the commands")
    if constants.HF_HUB_OFFLINE:
        return replace(finding, note="not tried, because HF_HUB_OFFLINE=1 says so")
    target = _pack_folder(cfg) if network.role == "face" else None
    if network.role == "face" and target is None:
        return replace(finding, note=f"the hub has {RECOGNISER} alone; get {DETECTOR} by the commands first")
    try:
        huggingface_hub.snapshot_download(network.repo, allow_patterns=list(network.wanted), local_dir=target)
    except (OSError, ValueError) as error:
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        return replace(finding, note=f"failed: {reason}")
    return locate(cfg, network.role)


def _pack_folder(cfg: Config) -> Path | None:
    """The folder of antelopev2 that has the detector."""
    homes = [Path(cfg.weights.folder).expanduser()] if cfg.weights.folder else []
    packs = [home / PACK for home in (*homes, INSIGHTFACE.expanduser())]
    doubled = [folder for pack in packs for folder in (pack, pack / PACK)]
    return next((folder for folder in doubled if (folder / DETECTOR).is_file()), None)
