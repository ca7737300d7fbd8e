"""Runs as they are given to the report: checked by the contract, and brought to the videos that all have."""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jaxtyping import UInt8
from torch import Tensor

from semrepa.config import Config
from semrepa.data.index import ClipRow
from semrepa.data.video import read_clip
from semrepa.evaluation.results import Problem, Source
from semrepa.evaluation.scoring import TRUTH
from semrepa.generate import Generated
from semrepa.provenance import KINDS, Kind, Provenance, require_one_provenance
from semrepa.runs import Finding, Pair, RunError, RunReport, check_run, read_record, read_videos
from semrepa.runs.report import Reason

_SHOWN = 12
"""Findings listed in one error; the rest is counted."""


@dataclass(frozen=True, kw_only=True)
class Runs:
    """Checked runs of the same clips."""

    cfg: Config
    """Size of the videos."""
    rows: dict[str, ClipRow]
    """The clips by name."""
    files: dict[str, dict[Pair, Path]]
    """By name of the run, the file of each video that all runs have."""
    sources: dict[str, Source]
    """Where they come from, by name."""
    problems: tuple[Problem, ...]
    """Videos that are left out, with the reason."""

    def videos(self, arm: str) -> Iterator[Generated]:
        """Read the videos of one run, one at a time.

        Args:
            arm: name of the run.

        Returns:
            The videos that all runs have.
        """
        return read_videos(self.files[arm], self.cfg.video)

    def watch(self, arm: str, clip: str) -> UInt8[Tensor, "n 3 H W"]:
        """Read one video.

        Args:
            arm: name of a run, or the truth.
            clip: name of a clip.

        Returns:
            RGB, 0 to 255; of several seeds the first.
        """
        row, shape = self.rows[clip], self.cfg.video.shape
        if arm == TRUTH:
            return read_clip(row.path, start=row.start, **shape).frames
        file = next(file for pair, file in self.files[arm].items() if pair.clip == clip)
        return read_clip(file, **shape).frames


def read_runs(
    cfg: Config,
    rows: Sequence[ClipRow],
    folders: Mapping[str, Path],
    *,
    allow: Collection[Reason] = (),
    kinds: Mapping[str, str] | None = None,
) -> Runs:
    """Check runs before anything is scored.

    Args:
        cfg: size of the videos and seeds.
        rows: clips.
        folders: folder of each run by its name.
        allow: reasons that do not stop; a video with such a finding is left out of all runs.
        kinds: kind of the weights behind runs that do not say it themselves.

    Returns:
        The runs.

    Raises:
        RunError: something is wrong that is not allowed, or no video is in all runs.
        ValueError: no runs, one of unknown kind, or runs of different kinds.
        FileNotFoundError: a folder is not there.
    """
    if not folders:
        raise ValueError("got no runs; expected one or more folders of videos; name them")
    sources = {name: source_of(name, folder, (kinds or {}).get(name)) for name, folder in folders.items()}
    require_one_provenance(Provenance(name=s.arm, source=s.model, kind=s.kind) for s in sources.values())
    reports = {
        name: check_run(folder, rows, cfg.video, seeds=cfg.generate.seeds) for name, folder in folders.items()
    }
    _stop(reports, allow)
    shared = set.intersection(*({*report.files} for report in reports.values()))
    if not shared:
        raise RunError(
            "got no video that all runs have; expected some; compare runs of one index and its seeds"
        )
    return Runs(
        cfg=cfg,
        rows={row.id: row for row in rows},
        files={
            name: {pair: file for pair, file in report.files.items() if pair in shared}
            for name, report in reports.items()
        },
        sources=sources,
        problems=tuple(_problems(reports, shared)),
    )


def source_of(name: str, folder: Path, kind: str | None = None) -> Source:
    """Where the videos of a run come from, by its record.

    Args:
        name: of the run.
        folder: the run.
        kind: what to take where it has no record.

    Returns:
        The source.

    Raises:
        ValueError: neither a record nor a kind is there, or the record names another kind.
    """
    record = read_record(folder) or {}
    named = record.get("kind", kind)
    said: Kind | None = next((each for each in KINDS if each == named), None)
    if said is None or kind not in (None, said):
        raise ValueError(
            f"got run {name!r} in {folder} with kind {record.get('kind')} in its record and {kind} given; "
            f"expected one of {', '.join(KINDS)}; runs of other programs need --kind {name}=real"
        )
    shown = {key: record[key] for key in ("sampling", "weights") if key in record}
    short = {key: str(value)[:12] for key, value in (shown.get("weights") or {}).items()}
    details = "; ".join(
        f"{key}: {json.dumps(short if key == 'weights' else value)}" for key, value in shown.items()
    )
    return Source(arm=name, kind=said, model=str(record.get("model", "")), details=details)


def _stop(reports: Mapping[str, RunReport], allow: Collection[Reason]) -> None:
    stops = [
        f"\n  {name}: {finding}"
        for name, report in reports.items()
        for finding in report.findings
        if finding.reason not in allow
    ]
    if stops:
        more = f"\n  and {len(stops) - _SHOWN} more" if len(stops) > _SHOWN else ""
        raise RunError(
            f"got runs with {len(stops)} problems; expected the videos of the contract in each (see "
            "docs/EVALUATION.md); mend them, or leave such videos out of all runs with --allow REASON:"
            + "".join(stops[:_SHOWN])
            + more
        )


def _problems(reports: Mapping[str, RunReport], shared: Collection[Pair]) -> Iterator[Problem]:
    for name, report in reports.items():
        yield from (_problem(name, finding) for finding in report.findings if finding.reason != "extra")
        for pair in report.files:
            if pair not in shared:
                lacking = ", ".join(other for other, each in reports.items() if pair not in each.files)
                what = f"left out of this run too, since it cannot be scored in {lacking}"
                yield Problem(arm=name, video=_name(pair), reason="not in all", what=what)


def _problem(arm: str, finding: Finding) -> Problem:
    what = f"got {finding.got}; expected {finding.expected}; {finding.do}"
    video = _name(finding.pair) if finding.pair else finding.name
    return Problem(arm=arm, video=video, reason=finding.reason.replace("_", " "), what=what)


def _name(pair: Pair) -> str:
    return f"{pair.clip}-seed{pair.seed}"
