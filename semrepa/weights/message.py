"""What a user is told about weights: everything that is missing at once, and how to get it."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from semrepa.config import Config, describe
from semrepa.models.baselines import BASELINES
from semrepa.weights.places import SHIPPED, Finding
from semrepa.weights.roles import Network, Role


class WeightsError(FileNotFoundError, ValueError):
    """Some weights of a run are missing, or are not what they should be; the message lists all of them."""

    def _render_traceback_(self) -> list[str]:
        """What IPython shows in place of a stack trace, which would only say where this was found out."""
        return [f"{type(self).__name__}: {self}"]


def complaint(cfg: Config, findings: Mapping[Role, Finding]) -> str:
    """Say what is missing or wrong.

    Args:
        cfg: resolved config.
        findings: everything the run needs, by role.

    Returns:
        Text of several lines.
    """
    wrong = [finding for finding in findings.values() if not finding.is_fine]
    first = wrong[0].network.field
    fetched = "" if cfg.weights.allow_download else "; nothing was downloaded"
    ways = [
        "Then say where they are:",
        f'  overrides={{"{first}": "/path/to/it"}} in a notebook, -o {first}=/path/to/it on a command line',
    ]
    if any(finding.network.names for finding in wrong):
        ways += [
            "  or by the environment variable of each, or all in one folder under their official names:",
            "  weights.folder or SEMREPA_WEIGHTS",
        ]
    if any(finding.network.repo for finding in wrong):
        baselines = [finding.network.role for finding in wrong if finding.network.role in BASELINES]
        role = f" --role {' '.join(baselines)}" if baselines else ""
        ways += [
            "What a hub has can be fetched for you into its cache:",
            f"  python -m semrepa.weights --preset {cfg.preset}{_changes(cfg)}{role} --download",
        ]
    title = f"weights for preset {cfg.preset!r}: {len(wrong)} of {len(findings)} missing or unfit{fetched}"
    return "\n".join([title, "", *map(entry, wrong), *ways])


def _changes(cfg: Config) -> str:
    """What the user has changed about weights, as a command line takes it."""
    names = (
        "weights.folder",
        "model.weights",
        "depth.teacher",
        "depth.variant",
        "depth.metric",
        "people.detector",
        "metrics.lpips",
        "metrics.flow",
    )
    changed = [row for row in describe(cfg) if row.changed and row.name in names]
    return "".join(f" -o {shlex.quote(f'{row.name}={row.value}')}" for row in changed)


def entry(finding: Finding) -> str:
    """One network that is missing or wrong.

    Args:
        finding: where it was looked for.

    Returns:
        Text of several lines, the last one empty.
    """
    network = finding.network
    lines = [f"{network.role}: {network.title}, {network.size}"]
    lines += [_line(place, outcome) for place, outcome in _tried(finding)]
    lines += [_line("licence", network.licence)]
    lines += [_line("get it" if k == 0 else "", command) for k, command in enumerate(network.commands)]
    lines += [_line("download", finding.note)] if finding.note else []
    return "\n".join([*lines, ""])


def overview(findings: Mapping[Role, Finding]) -> str:
    """A table of all networks.

    Args:
        findings: by role.

    Returns:
        Text with one line for each.
    """
    head = ("role", "network", "size", "found", "licence")
    rows = [head, *(_row(finding.network, finding) for finding in findings.values())]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    rows.insert(1, tuple("-" * width for width in widths))
    return "\n".join(_aligned(row, widths) for row in rows)


def _row(network: Network, finding: Finding) -> tuple[str, ...]:
    if finding.place == SHIPPED and finding.is_fine:
        return network.role, f"mini {finding.path.name}", _megabytes(finding.path), SHIPPED, "as the code"
    lacking = "MISSING" if finding.problem in ("", "not there") else "UNFIT"
    state = finding.place if finding.is_fine else lacking
    return network.role, network.title, network.size, state, network.licence


def _megabytes(path: Path) -> str:
    return f"{sum(file.stat().st_size for file in path.rglob('*')) / 1e6:.1f} MB"


def _aligned(row: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()


def _tried(finding: Finding) -> list[tuple[str, str]]:
    last = [(finding.place, f"{finding.path}: {finding.problem}")] if finding.path else []
    return [*finding.tried, *last]


def _line(label: str, text: str) -> str:
    return f"  {label:<23} {text}"
