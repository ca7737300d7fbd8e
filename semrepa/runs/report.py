"""What is wrong with a run: each thing with its reason, and how to mend it."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, get_args

Reason = Literal[
    "missing", "extra", "duplicate", "wrong_name", "unreadable", "wrong_length", "wrong_fps", "wrong_size"
]
REASONS: tuple[Reason, ...] = get_args(Reason)


class Pair(NamedTuple):
    """What one video of a run is made from."""

    clip: str
    """Name of the clip."""
    seed: int
    """Seed of the noise."""

    @property
    def file(self) -> str:
        """Name of its file."""
        return f"{self.clip}-seed{self.seed}.mp4"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that is wrong with a run."""

    reason: Reason
    """What kind of thing."""
    name: str
    """The file, or the file that is missing."""
    got: str
    """What is there."""
    expected: str
    """What should be there."""
    do: str
    """How to mend it."""
    pair: Pair | None = None
    """Which video of the run it concerns; None: none of them."""

    def __str__(self) -> str:
        """One line."""
        return f"{self.reason}: {self.name}: got {self.got}; expected {self.expected}; {self.do}"


@dataclass(frozen=True, kw_only=True)
class RunReport:
    """What `check_run` found."""

    wanted: int
    """Videos that the run should have."""
    files: dict[Pair, Path]
    """The file of each video that can be scored, seed after seed in the order of the clips."""
    size: tuple[int, int] | None
    """Height and width of the files; None without any."""
    is_resized: bool
    """Whether they are resized to the size of the true clips."""
    findings: tuple[Finding, ...]
    """Everything that is wrong."""

    @property
    def is_fine(self) -> bool:
        """Whether every video of the run, and no other, is there and as it should be."""
        return not self.findings

    def counts(self) -> dict[Reason, int]:
        """How often each reason was found."""
        return dict(Counter(finding.reason for finding in self.findings))


class RunError(ValueError):
    """A run that is not what its scores would be taken for; the message lists why."""
