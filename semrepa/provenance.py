"""Where weights come from, so that no number loses it: real, mini or random."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from semrepa.hashes import sha256_of

Kind = Literal["random", "mini", "real"]
KINDS: tuple[Kind, ...] = get_args(Kind)
"""From the weakest to the strongest."""

MINI_ASSETS = Path(__file__).parent / "assets" / "mini"


def mini_asset(*parts: str) -> Path:
    """Path of a shipped mini weight, `mini_asset("cogvideox", "vae")`.

    Args:
        parts: names below the folder of the mini weights.

    Returns:
        The existing file or folder.

    Raises:
        FileNotFoundError: it is not there.
    """
    path = MINI_ASSETS.joinpath(*parts)
    if not path.exists():
        raise FileNotFoundError(
            f"mini weights: nothing at {path}; reinstall the package or run `make weights`"
        )
    return path


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """One set of weights (or one exact answer) that a number rests on."""

    name: str
    """Role in the run, for example "transformer" or "face teacher"."""
    source: str
    """Folder, file or hub id."""
    kind: Kind
    """real: full-scale weights; mini: the sample world's; random: untrained."""
    sha256: str | None = None
    """Hash of the weights; None where there is no file, as for exact depth."""

    @classmethod
    def of(cls, name: str, path: str | Path, *, kind: Kind | None = None) -> "Provenance":
        """Provenance of weights on disk, hashed.

        Args:
            name: role in the run.
            path: file or folder.
            kind: None for shipped or downloaded weights: mini inside the package, else real. Weights made by
                a run must say the kind they were made from.

        Returns:
            The record.

        Raises:
            FileNotFoundError: nothing is at the path.
        """
        if kind is None:
            kind = "mini" if Path(path).resolve().is_relative_to(MINI_ASSETS.resolve()) else "real"
        return cls(name=name, source=str(path), kind=kind, sha256=sha256_of(path))


def run_kind(records: Iterable[Provenance]) -> Kind:
    """What a run counts as: the weakest kind among the weights that it rests on.

    One run may well join real teachers and a mini video model; its numbers are then those of a mini run.

    Args:
        records: every set of weights of one run.

    Returns:
        "random" if any is random, else "mini" if any is mini, else "real".

    Raises:
        ValueError: no records.
    """
    kinds: list[Kind] = [record.kind for record in records]
    if not kinds:
        raise ValueError("provenance: got no records; expected one for each set of weights behind the run")
    return min(kinds, key=KINDS.index)


def require_one_provenance(runs: Iterable[Provenance]) -> Kind:
    """The kind that all runs share; call it before putting their numbers in one table.

    Args:
        runs: one record for each run (or number) of the table, with the kind that `run_kind` gave it.

    Returns:
        The common kind.

    Raises:
        ValueError: no records, or kinds are mixed; the message lists who is what.
    """
    names: dict[Kind, dict[str, None]] = {}
    for run in runs:
        names.setdefault(run.kind, {})[run.name] = None
    if not names:
        raise ValueError("provenance: got no records; expected one for each run of the table")
    if len(names) > 1:
        listed = "; ".join(f"{kind}: {', '.join(who)}" for kind, who in sorted(names.items()))
        raise ValueError(f"provenance: got mixed kinds ({listed}); expected one; make a table for each")
    return next(iter(names))
