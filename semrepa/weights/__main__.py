"""See which weights a preset needs and where they are, and fetch what a hub has; see `semrepa.weights`."""

import argparse
import sys
from collections.abc import Sequence

from semrepa.config import configure, override
from semrepa.config.strict import read_pair
from semrepa.models.baselines import BASELINES
from semrepa.weights.check import sha256_of_weights, survey
from semrepa.weights.kinds import kind_of
from semrepa.weights.message import entry, overview
from semrepa.weights.roles import JUDGES, ROLES


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table of weights.

    Args:
        arguments: command line; None takes the real one.

    Returns:
        0 when all is there, 1 when something is missing or unfit, 2 for a wrong command line.
    """
    options = parser().parse_args(arguments)
    try:
        cfg = configure(options.preset, dict(map(read_pair, options.override)))
    except (ValueError, TypeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    cfg = override(cfg, {"weights.allow_download": True}) if options.download else cfg
    findings = survey(cfg, options.role)
    print(overview(findings), end="\n\n")
    for role, finding in findings.items():
        if not finding.is_fine:
            print(entry(finding))
            continue
        digest = f"  sha256 {sha256_of_weights(role, finding.path)}" if options.hash else ""
        print(f"{role}: {kind_of(cfg, role, finding.path)}, {finding.path}{digest}")
    return int(not all(finding.is_fine for finding in findings.values()))


def parser() -> argparse.ArgumentParser:
    """Options of the command line.

    Returns:
        The parser.
    """
    made = argparse.ArgumentParser(prog="python -m semrepa.weights", description=(__doc__ or "").strip())
    made.add_argument("--preset", default="full", help="full (default) or mini")
    made.add_argument(
        "-o", "--override", action="append", default=[], metavar="NAME=VALUE", help="config field"
    )
    made.add_argument(
        "--role",
        nargs="+",
        choices=(*ROLES, *JUDGES, *BASELINES),
        default=ROLES,
        help=f"only these; default: {' '.join(ROLES)}",
    )
    made.add_argument("--download", action="store_true", help="fetch what is missing and on a hub")
    made.add_argument("--hash", action="store_true", help="print the hashes by which weights can be pinned")
    return made


if __name__ == "__main__":
    sys.exit(main())
