"""The tables of a report: the paper's columns, all scores, differences, what is only paper-compatible."""

from collections.abc import Iterable

from semrepa.evaluation.grid import Grid
from semrepa.evaluation.paper import COLUMNS, ROWS, Column, PaperRow, paper_row
from semrepa.evaluation.results import Results
from semrepa.evaluation.scoring import TRUTH
from semrepa.metrics.distances import SetScore
from semrepa.metrics.report import Interval, counted

COMPATIBLE = ("psnr_uint8_wrap", "ssim_uniform", "fid_per_video", "motion_", "id_ref_zero")
"""Beginnings of scores that only stand beside the paper's; of motion, those that end in `_per_video`."""
ENOUGH = 6
"""Clips from which a difference is called better or worse: of fewer, all may well point one way by chance."""
_QUOTED = "paper: "
_ARROWS = {"up": " ↑", "down": " ↓", "truth": " (nearest truth)"}
_UP = ("ssim", "psnr", "text", "id_", "second_id_", "detection_rate", "facesim", "depth_delta")
_UP = (*_UP, "second_facesim", "second_detection_rate")
_DOWN = ("lpips", "fid", "kid", "motion", "cpbd_distance", "depth_", "bone_length")
_UNDIRECTED = ("text_cut", "psnr_uint8_wrap")
_OF_TRUTH = ("cpbd", "text", "id_ref")
"""Columns in which the true videos have a number of their own."""


def all_tables(results: Results) -> list[Grid]:
    """Every table of a report.

    Args:
        results: the scores.

    Returns:
        The tables, most important first; those that would be empty are left out.
    """
    made = [
        paper_table(results),
        difference_table(results),
        score_table(results),
        compatible_table(results),
        problem_table(results),
        source_table(results),
    ]
    return [grid for grid in made if grid.rows]


def paper_table(results: Results) -> Grid:
    """The columns of the paper's Table 1 in its order, ours with intervals, each above the paper's row.

    Args:
        results: the scores.

    Returns:
        The table; then follow the paper's rows of models that are not here.
    """
    names = [_score_of(column, results) for column in COLUMNS]
    rows: list[tuple[str, ...]] = []
    rules: list[int] = []
    used: list[PaperRow] = []
    for arm in results.means:
        if rows:
            rules.append(len(rows))
        rows.append((arm, *(_paper_cell(results, arm, name) for name in names)))
        if row := paper_row(arm):
            used.append(row)
            rows.append(_printed(row))
    rules.append(len(rows))
    rows += [_printed(row) for row in ROWS if row not in used]
    return Grid(
        name="table1",
        title="Table 1: the paper's scores",
        note=(
            f"Means over {_counted(results)} with 95 % intervals, videos made by {results.kind} weights. "
            "Rows of the paper are of its own 200 videos and 5B models: compare directions, not numbers; its "
            "PSNR is the miscomputed one (see paper_compat). PSNR of equal pictures is infinite and in no "
            f"mean. {_set_note(results)}"
        ).strip(),
        head=("model", *(_head(column, name, results) for column, name in zip(COLUMNS, names, strict=True))),
        rows=tuple(rows),
        rules=tuple(rules),
        quoted=tuple(k for k, row in enumerate(rows) if row[0].startswith(_QUOTED)),
    )


def difference_table(results: Results) -> Grid:
    """Differences from the baseline, paired by clip, and what they show.

    Args:
        results: the scores.

    Returns:
        A row for each score; without rows where there is no baseline or nothing to compare with it.
    """
    arms = list(results.differences)
    few = f" With fewer than {ENOUGH} clips nothing is called better or worse." if arms else ""
    rows = [
        (results.labels[name], *(_verdict(name, results.differences[arm][name], results) for arm in arms))
        for name in results.names
        if arms and _has_numbers(name, results) and not _is_compatible(name)
    ]
    return Grid(
        name="differences",
        title=f"Paired differences from {results.baseline}",
        note=(
            f"Mean of (model - {results.baseline}) over {_counted(results)}, paired by clip, with 95 % "
            "intervals. One in twenty intervals leaves 0 by chance: with many scores, believe what was asked "
            f"for beforehand.{few if results.num_clips < ENOUGH else ''}"
        ),
        head=("score", *(f"{arm} - {results.baseline}" for arm in arms)),
        rows=tuple(rows),
    )


def score_table(results: Results) -> Grid:
    """All scores but those that are only paper-compatible.

    Args:
        results: the scores.

    Returns:
        A row for each score, a column for each model.
    """
    arms = list(results.means)
    rows = [
        (results.labels[name] + _ARROWS.get(direction(name), ""), *(_cell(results, a, name) for a in arms))
        for name in [*results.names, *_set_names(results)]
        if _has_numbers(name, results) and not _is_compatible(name)
    ]
    return Grid(
        name="scores",
        title="All scores",
        note=f"Means over {_counted(results)}; n says over how many where some have no number.",
        head=("score", *arms),
        rows=tuple(rows),
    )


def compatible_table(results: Results) -> Grid:
    """Scores computed as the paper seems to have done it. They explain its numbers; never rank by them.

    Args:
        results: the scores.

    Returns:
        A row for each score, a column for each model; without rows where none was asked for.
    """
    arms = list(results.means)
    rows = [
        (results.labels[name], *(_cell(results, arm, name) for arm in arms))
        for name in results.names
        if _is_compatible(name)
    ]
    return Grid(
        name="paper_compat",
        title="paper_compat: guesses at how the paper computed, never to rank by",
        note=(
            "psnr_uint8_wrap takes squares modulo 256, so that unrelated pictures get 27.9 dB. FID and "
            "motion per video are biased by few frames. id_ref_zero counts frames without a face as 0."
        ),
        head=("score", *arms),
        rows=tuple(rows),
    )


def problem_table(results: Results) -> Grid:
    """Videos that are missing in all means or in some.

    Args:
        results: the scores.

    Returns:
        A row for each video; without rows where nothing is missing.
    """
    return Grid(
        name="problems",
        title="Videos that do not count, or not everywhere",
        head=("model", "video", "reason", "what"),
        rows=tuple((p.arm, p.video, p.reason, p.what) for p in results.problems),
        texts=(0, 1, 2, 3),
    )


def source_table(results: Results) -> Grid:
    """Where the videos come from.

    Args:
        results: the scores.

    Returns:
        A row for each run that says so.
    """
    return Grid(
        name="sources",
        title="Where the videos come from",
        head=("run", "model", "weights", "sampling and hashes"),
        rows=tuple((s.arm, s.model or "-", s.kind, s.details or "-") for s in results.sources),
        texts=(0, 1, 2, 3),
    )


def judgement(results: Results) -> list[str]:
    """What the differences show, in words.

    Args:
        results: the scores.

    Returns:
        A sentence for each model but the baseline; without a baseline, none.
    """
    sentences = []
    for arm, scores in results.differences.items():
        judged = {
            name: text.rpartition(" ")[2]
            for name, found in scores.items()
            if found.clips and direction(name) and not _is_compatible(name)
            for text in [_verdict(name, found, results)]
        }
        better, worse = (
            [results.labels[name] for name, word in judged.items() if word == verdict]
            for verdict in ("better", "worse")
        )
        open_ = len(judged) - len(better) - len(worse)
        sentences.append(
            f"{arm} against {results.baseline}: better in {', '.join(better) or 'nothing'}; worse in "
            f"{', '.join(worse) or 'nothing'}; not shown either way in {open_} of {len(judged)} scores."
        )
    return sentences


def direction(name: str) -> str:
    """Which way a score gets better.

    Args:
        name: of the score.

    Returns:
        `up`, `down`, or nothing where it has no better end.
    """
    if name in _UNDIRECTED:
        return ""
    if name.startswith(_UP):
        return "up"
    return "down" if name.startswith(_DOWN) else ""


def _has_numbers(name: str, results: Results) -> bool:
    """Whether some arm has a mean of a score; id_vbench2_like has none of short videos, for one."""
    of_sets = any(name in scores for scores in results.sets.values())
    return of_sets or any(scores[name].clips for scores in results.means.values() if name in scores)


def _score_of(column: Column, results: Results) -> str | None:
    """Our score in a column: that of the whole set where there is one, else that of single videos."""
    own = (n for n in results.names if _has_numbers(n, results))
    own = (name for name in own if not _is_compatible(name) and name != "text_cut")
    found = (name for name in (*_set_names(results), *own) if name.startswith(column.score))
    return next(found, None)


def _set_names(results: Results) -> list[str]:
    return list(dict.fromkeys(name for scores in results.sets.values() for name in scores))


def _is_compatible(name: str) -> bool:
    name = name.removeprefix("second_")
    return name.startswith(COMPATIBLE) and (not name.startswith("motion_") or name.endswith("_per_video"))


def _head(column: Column, name: str | None, results: Results) -> str:
    label = "" if name is None else results.labels[name].removeprefix(name)
    return f"{column.title}{label}{_ARROWS[column.better]}"


def _printed(row: PaperRow) -> tuple[str, ...]:
    table = "" if row.table == 1 else f", Table {row.table}"
    return (f"{_QUOTED}{row.model}{table}", *row.values)


def _paper_cell(results: Results, arm: str, name: str | None) -> str:
    if name is None:
        return "not scored"
    is_own = arm != TRUTH or name.startswith(_OF_TRUTH)
    return _cell(results, arm, name) if is_own else "-"


def _cell(results: Results, arm: str, name: str) -> str:
    if found := results.sets.get(arm, {}).get(name):
        return _set_cell(found)
    interval = results.means[arm].get(name)
    return "-" if interval is None else counted(interval, results.num_clips)


def _set_cell(score: SetScore) -> str:
    interval = "" if score.low != score.low else f" [{score.low:.3g}, {score.high:.3g}]"
    return f"{score.value:.4g}{interval}"


def _verdict(name: str, found: Interval, results: Results) -> str:
    """A difference, and whether it is for the better, where its interval leaves 0."""
    if not found.clips:
        return "-"
    mean, low, high = (f"{value:+.{found.decimals}f}" for value in (found.mean, found.low, found.high))
    text = f"{mean} [{low}, {high}]" + (f" n={found.clips}" if found.clips < results.num_clips else "")
    if found.clips < ENOUGH or not direction(name) or found.low <= 0 <= found.high:
        return text
    return f"{text} {'better' if (found.mean > 0) == (direction(name) == 'up') else 'worse'}"


def _counted(results: Results) -> str:
    seeds = results.num_videos / results.num_clips
    return f"{results.num_clips} clips" + (f" of {seeds:g} videos each" if seeds > 1 else "")


def _set_note(results: Results) -> str:
    found: Iterable[SetScore] = [score for scores in results.sets.values() for score in scores.values()]
    counts = dict.fromkeys(
        f"{score.name}: N = {score.samples[0]} and {score.samples[1]}, {score.dims} dimensions"
        + (", fewer pictures than dimensions: biased upwards" if score.is_rank_deficient else "")
        for score in found
    )
    return "; ".join(counts) + "." if counts else ""
