"""The networks that judge videos, as a config names them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from semrepa.config import Config, override
from semrepa.models.judges.clip import Clip
from semrepa.models.judges.flow import DisFlow, RaftFlow
from semrepa.models.judges.inception import FidInception
from semrepa.models.judges.perceptual import Lpips
from semrepa.provenance import Kind, Provenance
from semrepa.runtime import pick_device
from semrepa.weights.check import survey
from semrepa.weights.kinds import kind_of, weakest
from semrepa.weights.message import WeightsError, complaint
from semrepa.weights.places import Finding
from semrepa.weights.roles import Role


@dataclass(frozen=True, kw_only=True)
class Judges:
    """Who gives the scores that rest on networks."""

    perceptual: Lpips
    """LPIPS."""
    inception: FidInception
    """Features for FID, KID and the motion score."""
    flow: RaftFlow | DisFlow
    """Optical flow for the motion score."""
    text: Clip
    """Pictures and captions for the text score."""

    @property
    def provenance(self) -> tuple[Provenance, ...]:
        """Where all of them come from."""
        return tuple(x.provenance for x in (self.perceptual, self.inception, self.flow, self.text))


def load_judges(cfg: Config) -> Judges:
    """Load the networks that judge videos onto the device of the run.

    Args:
        cfg: resolved config. In `mini`, networks whose weights are not on this machine are random, and say
            so; in `full` they are missing weights like any others.

    Returns:
        The judges, frozen, in float32.

    Raises:
        WeightsError: weights are missing in `full`, or are not what they should be; lists all of them.
    """
    roles: list[Role] = ["lpips_backbone", "lpips_heads", "inception", "clip"]
    if cfg.metrics.flow != "dis":
        roles.append("raft")
    found = _found(cfg, roles)
    paths = {role: finding.path for role, finding in found.items()}
    kinds = {role: kind_of(cfg, role, path) for role, path in paths.items() if path}
    of_lpips: Kind | None = weakest(kinds.get(role) for role in ("lpips_backbone", "lpips_heads"))
    lpips_files: dict[str, Path | None] = {
        "backbone": paths["lpips_backbone"],
        "heads": paths["lpips_heads"],
    }
    device, flow = pick_device(), cfg.metrics.flow
    return Judges(
        perceptual=Lpips(cfg.metrics.lpips, **lpips_files, kind=of_lpips).to(device),
        inception=FidInception(paths["inception"], kind=kinds.get("inception")).to(device),
        flow=DisFlow()
        if flow == "dis"
        else RaftFlow(flow, file=paths["raft"], kind=kinds.get("raft")).to(device),
        text=Clip(paths["clip"], kind=kinds.get("clip")).to(device),
    )


def with_second_face(cfg: Config) -> Config:
    """The config of a run whose face teacher is an independent one, that no loss has been trained on.

    Args:
        cfg: resolved config.

    Returns:
        The config with another `face.pack`, for `load_teachers`.

    Raises:
        WeightsError: there is no second pack; nothing stands in for it.
    """
    found = survey(cfg, ["second_face"])
    if not found["second_face"].is_fine:
        raise WeightsError(complaint(cfg, found))
    return override(cfg, {"face.pack": str(found["second_face"].path), "face.sha256": None})


def _found(cfg: Config, roles: list[Role]) -> Mapping[Role, Finding]:
    """Findings that are fine, or of nothing at all where random weights may stand in."""
    found = survey(cfg, roles)
    wrong = {role: x for role, x in found.items() if not x.is_fine and (x.path or cfg.preset != "mini")}
    if wrong:
        raise WeightsError(complaint(cfg, found if cfg.preset != "mini" else wrong))
    return found
