"""The table of single videos as Parquet, which also holds the videos that could not be scored."""

import json
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from semrepa.evaluation.results import Problem, Results
from semrepa.metrics.report import ClipScores

_JUDGES = b"semrepa.judges"


def write_parquet(path: Path | str, results: Results) -> Path:
    """Write one row for each video of each arm, and one for each that was left out.

    Args:
        path: file to write.
        results: the scores.

    Returns:
        The path. Columns: `arm`, `video`, `weights`, `problem` (empty where there is none), then all scores.
        The kinds of the judges are in the metadata of the file.
    """
    rows = [row for arm in (*results.ceilings, *results.arms) for row in arm.clips]
    names = results.names
    told = {(p.arm, p.video): f"{p.reason}: {p.what}" for p in results.problems}
    lost = [p for p in results.problems if (p.arm, p.video) not in {(r.arm, r.clip) for r in rows}]
    columns = {
        "arm": [row.arm for row in rows] + [p.arm for p in lost],
        "video": [row.clip for row in rows] + [p.video for p in lost],
        "weights": [row.provenance for row in rows] + [None] * len(lost),
        "problem": [told.get((row.arm, row.clip), "") for row in rows] + [told[p.arm, p.video] for p in lost],
    }
    arrays = {name: pa.array(values, pa.string()) for name, values in columns.items()}
    arrays |= {name: pa.array(_numbers(name, rows, lost), pa.float64()) for name in names}
    judges = {name: kind for row in rows for name, kind in row.judges.items()}
    table = pa.table(arrays).replace_schema_metadata({_JUDGES: json.dumps(judges).encode()})
    pq.write_table(table, path)
    return Path(path)


def _numbers(name: str, rows: Sequence[ClipScores], lost: Sequence[Problem]) -> list[float | None]:
    return [row.values.get(name) for row in rows] + [None] * len(lost)
