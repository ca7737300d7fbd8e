"""The two tables at the head of a notebook: what will run, and on which weights."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from semrepa.config import Config, Row, describe
from semrepa.provenance import Provenance, run_kind
from semrepa.ui.show import Table, table
from semrepa.weights import catalogue


def settings_table(cfg: Config, sections: Iterable[str], *, where: str) -> Table:
    """The values of some sections of a config, and everything that the user has changed.

    Args:
        cfg: the config as the user gave it.
        sections: names of config sections.
        where: beginning of the caption.

    Returns:
        A table with one row for each section.
    """
    wanted = set(sections)
    rows = [row for row in describe(cfg) if row.name.partition(".")[0] in wanted or row.changed]
    parts = dict.fromkeys(row.name.rpartition(".")[0] for row in rows)
    values = {
        part: ", ".join(_setting(row) for row in rows if row.name.startswith(f"{part}.")) for part in parts
    }
    settings = [{"section": part, "settings": text} for part, text in values.items() if part]
    return table(settings, caption=f"{where} (* changed by you; `describe(session.cfg)` explains all)")


def weights_table(cfg: Config, records: Sequence[Provenance], home: Path) -> Table:
    """Where weights come from, what they are, and the terms of those that are real.

    Args:
        cfg: config of the run.
        records: of each role, at least one.
        home: folder that short paths count from.

    Returns:
        A table with one row for each record.
    """
    networks = catalogue(cfg)
    rows = [
        {
            "role": record.name,
            "kind": record.kind,
            "source": short(Path(record.source), home) if Path(record.source).exists() else record.source,
            "hash": (record.sha256 or "")[:10],
            **({"licence": networks[record.name].licence} if record.kind == "real" else {}),
        }
        for record in records
    ]
    return table(
        rows, caption=f"Weights and exact answers; the numbers of this run count as {run_kind(records)}"
    )


def short(path: Path, home: Path) -> str:
    """A path as it is shown.

    Args:
        path: any path.
        home: folder that short paths count from.

    Returns:
        The path relative to `home` where it lies inside, else in full.
    """
    path = path.absolute()
    return str(path.relative_to(home)) if path.is_relative_to(home) else str(path)


def _setting(row: Row) -> str:
    value = "none" if row.value is None else row.value
    return f"{row.name.rpartition('.')[2]} {value}{'*' if row.changed else ''}"
