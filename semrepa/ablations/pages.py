"""The collated table as files: all numbers as JSON, and tables in Markdown."""

import json
from pathlib import Path

from semrepa.ablations.collate import RECORDED, Collated, collate, to_record
from semrepa.ablations.grid import BASE, PLAIN
from semrepa.ablations.tables import LOSSES, SCORES, difference_rows, mean_rows, paper_rows
from semrepa.files import write_whole
from semrepa.metrics.report import markdown_table
from semrepa.runtime import write_json

PAGE = "table.md"
"""Tables of the ablations, in their folder."""

HOW = (
    "Differences are paired by clip and seed: mean ± half of the t interval over seeds (clips as given), and "
    "in brackets a bootstrap in which seeds and clips are both drawn anew. 95 %. Star: neither holds 0."
)


def write_tables(folder: Path | str) -> str:
    """Collate the cells that are done into `table.json` and `table.md` of the folder.

    Args:
        folder: folder of the ablations.

    Returns:
        The Markdown.

    Raises:
        FileNotFoundError: no cell is done.
        ValueError: cells that must not stand in one table.
    """
    found = collate(folder)
    text = page(found)
    write_json(Path(folder) / RECORDED, to_record(found))
    write_whole(Path(folder) / PAGE, text.encode(), durable=False)
    return text


def write_recording(folder: Path | str, file: Path) -> None:
    """Write the numbers of the tables as one small file, from which `recorded` reads them.

    Args:
        folder: folder of the ablations.
        file: the file.
    """
    names = {measure.name for measure in (*LOSSES, *SCORES)}
    record = json.dumps(to_record(collate(folder), names), separators=(",", ":"))
    write_whole(file, f"{record}\n".encode(), durable=False)


def page(found: Collated) -> str:
    """All tables.

    Args:
        found: the numbers.

    Returns:
        Markdown.
    """
    seeds = f"{len(found.seeds)} seed{'s' * (len(found.seeds) > 1)} ({', '.join(map(str, found.seeds))})"
    parts = [f"# Table 2 on {found.kind} weights: {seeds}, {len(found.clips)} held-out clips\n", f"{HOW}\n"]
    for title, measures in (("Held-out losses", LOSSES), ("Scores of the videos", SCORES)):
        tables = {
            f"{title}, means ± t interval over seeds": mean_rows(found, measures),
            f"{title}, minus {PLAIN}": difference_rows(found, measures, PLAIN),
            f"{title}, minus {BASE}": difference_rows(found, measures, BASE),
        }
        if gone := bad_clips(found):
            lost = {m.name: gone for m in measures}
            names = ", ".join(gone)
            tables[f"{title}, minus {PLAIN}, without {names}"] = difference_rows(
                found, measures, PLAIN, without=lost
            )
            tables[f"{title}, medians over seeds and clips"] = mean_rows(found, measures, median=True)
        parts += [f"## {head}\n\n{text}" for head, rows in tables.items() if (text := markdown_table(rows))]
    head = "The paper's Table 2, with ours in brackets where a column compares"
    parts.append(f"## {head}\n\n{markdown_table(paper_rows(found))}")
    return "\n".join(parts)


def bad_clips(found: Collated) -> list[str]:
    """Clips on whose true latents some aligner is no better than an answer that needs no learning."""
    bad = {clip for clips in found.unreadable.values() for clip in clips}
    return [clip for clip in found.clips if clip in bad]
