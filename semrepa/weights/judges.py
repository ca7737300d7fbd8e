"""The networks that judge videos, as a config names them."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

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

JudgeName = Literal["perceptual", "inception", "flow", "text"]
JUDGE_NAMES: tuple[JudgeName, ...] = get_args(JudgeName)
"""Who can judge; in the order in which missing weights are listed."""


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
    check_judges(cfg)
    return Judges(
        perceptual=load_perceptual(cfg),
        inception=load_inception(cfg),
        flow=load_flow(cfg),
        text=load_text(cfg),
    )


def check_judges(cfg: Config, names: Collection[JudgeName] = JUDGE_NAMES) -> None:
    """Look for the weights of some judges before any of them is loaded.

    Args:
        cfg: resolved config.
        names: which judges.

    Raises:
        WeightsError: as `load_judges`.
    """
    _found(cfg, [role for name in JUDGE_NAMES if name in names for role in _roles(cfg, name)])


def load_perceptual(cfg: Config) -> Lpips:
    """Load LPIPS alone, as `load_judges` does."""
    found = _found(cfg, _roles(cfg, "perceptual"))
    kinds = [kind_of(cfg, role, finding.path) for role, finding in found.items() if finding.path]
    files: dict[str, Path | None] = {
        "backbone": found["lpips_backbone"].path,
        "heads": found["lpips_heads"].path,
    }
    return Lpips(cfg.metrics.lpips, **files, kind=weakest(kinds)).to(pick_device())


def load_inception(cfg: Config) -> FidInception:
    """Load FID's Inception alone, as `load_judges` does."""
    path, kind = _file(cfg, "inception")
    return FidInception(path, kind=kind).to(pick_device())


def load_flow(cfg: Config) -> RaftFlow | DisFlow:
    """Load the optical flow alone, as `load_judges` does."""
    if cfg.metrics.flow == "dis":
        return DisFlow()
    path, kind = _file(cfg, "raft")
    return RaftFlow(cfg.metrics.flow, file=path, kind=kind).to(pick_device())


def load_text(cfg: Config) -> Clip:
    """Load CLIP alone, as `load_judges` does."""
    path, kind = _file(cfg, "clip")
    return Clip(path, kind=kind).to(pick_device())


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


def _roles(cfg: Config, name: JudgeName) -> list[Role]:
    """Whose weights a judge rests on."""
    roles: dict[JudgeName, list[Role]] = {
        "perceptual": ["lpips_backbone", "lpips_heads"],
        "inception": ["inception"],
        "flow": [] if cfg.metrics.flow == "dis" else ["raft"],
        "text": ["clip"],
    }
    return roles[name]


def _file(cfg: Config, role: Role) -> tuple[Path | None, Kind | None]:
    """Where the weights of a role lie, and their kind; nothing where random ones stand in."""
    path = _found(cfg, [role])[role].path
    return path, kind_of(cfg, role, path) if path else None


def _found(cfg: Config, roles: list[Role]) -> Mapping[Role, Finding]:
    """Findings that are fine, or of nothing at all where random weights may stand in."""
    found = survey(cfg, roles)
    wrong = {role: x for role, x in found.items() if not x.is_fine and (x.path or cfg.preset != "mini")}
    if wrong:
        raise WeightsError(complaint(cfg, found if cfg.preset != "mini" else wrong))
    return found
