"""Where weights come from, so that no number loses it: real, mini or random."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Kind = Literal["real", "mini", "random"]

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


def sha256_of(path: str | Path) -> str:
    """Hash of a file, or of a folder's files by sorted relative name and content.

    Args:
        path: file or folder.

    Returns:
        64 hexadecimal digits.

    Raises:
        FileNotFoundError: nothing is there.
    """
    path = Path(path)
    if path.is_file():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    if not path.is_dir():
        raise FileNotFoundError(f"hash: got {path}, which is not there; expected a file or a folder")
    files = sorted(file for file in path.rglob("*") if file.is_file())
    lines = [f"{sha256_of(file)}  {file.relative_to(path).as_posix()}\n" for file in files]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


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


def require_one_provenance(records: Iterable[Provenance]) -> Kind:
    """The kind that all records share; call it before putting numbers in one table.

    Args:
        records: provenance of every number of the table.

    Returns:
        The common kind.

    Raises:
        ValueError: no records, or kinds are mixed; the message lists who is what.
    """
    names: dict[Kind, dict[str, None]] = {}
    for record in records:
        names.setdefault(record.kind, {})[record.name] = None
    if not names:
        raise ValueError("provenance: got no records; expected one for each set of weights behind the table")
    if len(names) > 1:
        listed = "; ".join(f"{kind}: {', '.join(who)}" for kind, who in sorted(names.items()))
        raise ValueError(f"provenance: got mixed kinds ({listed}); expected one; make a table for each")
    return next(iter(names))
