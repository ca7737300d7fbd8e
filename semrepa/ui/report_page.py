"""A report of scored videos as one HTML page that opens offline: tables, figures, and clips to play."""

import base64
import html
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path

from jaxtyping import UInt8
from matplotlib.figure import Figure
from torch import Tensor

from semrepa.evaluation.grid import TEX_HEAD, Grid, latex, markdown, page_table
from semrepa.evaluation.parquet import write_parquet
from semrepa.evaluation.results import Results
from semrepa.evaluation.scoring import TRUTH
from semrepa.evaluation.tables import all_tables, direction, judgement
from semrepa.files import write_whole
from semrepa.ui.plots import compare_arms
from semrepa.ui.scores import distributions, gains
from semrepa.ui.scrubber import Scrubber, scrubber
from semrepa.ui.show import Table, table
from semrepa.ui.style import SCREEN_DPI, to_png

Watch = Callable[[str, str], UInt8[Tensor, "n 3 H W"]]
"""Gives the frames of a video: of an arm (or of the truth) and a clip."""

SHOWN = ("id_ref", "id_gt_frame", "depth_error", "depth_abs_rel", "ssim", "psnr", "lpips_alex", "lpips_vgg")
"""Scores that are drawn where they are there, most important first."""
MOST = 5
"""Scores in one figure."""

_STYLE = """
:root{color-scheme:light}
body{margin:0;font:15px/1.5 system-ui,sans-serif;color:#1f2328;background:#f6f8fa}
main{max-width:1280px;margin:0 auto;padding:28px 24px 60px;background:#fff}
h1{font-size:26px;margin:0 0 4px} h2{font-size:19px;margin:34px 0 4px} h3{font-size:15px;margin:18px 0 4px}
p{margin:0 0 8px;max-width:900px} .note{color:#57606a;font-size:13.5px} ul{margin:6px 0}
.wide{overflow-x:auto} table{border-collapse:collapse;font-size:13px;margin:6px 0}
th,td{padding:4px 12px 4px 4px;text-align:right;border-bottom:1px solid #eaeef2;
 font-variant-numeric:tabular-nums;white-space:nowrap;vertical-align:top}
th{border-bottom:2px solid #8c959f;vertical-align:bottom;white-space:normal}
.text{text-align:left} td.text{white-space:normal} small{color:#57606a}
tr.quoted td{color:#8250df;font-style:italic}
tr.rule td{border-top:1px solid #8c959f}
#paper_compat+p+.wide td{background:#fff8e6}
img{max-width:100%} .scrub{margin:6px 0 18px}
"""


def report_figures(results: Results) -> dict[str, Figure]:
    """Draw what a table does not show.

    Args:
        results: scored arms.

    Returns:
        Name of a file to figure: each clip with the paired differences, the spread, and who gains.
    """
    metrics = drawn_scores(results)
    if not metrics:
        return {}
    figures = {"distributions": distributions(results, metrics)}
    if results.differences:
        pairs = compare_arms(results.clips, baseline=results.baseline or "", metrics=metrics)
        figures = {"paired": pairs} | figures | {f"gains_{metrics[0]}": gains(results, metrics[0])}
    return figures


def write_report(folder: Path | str, results: Results, watch: Watch, *, fps: float, note: str) -> list[Path]:
    """Write a whole report into a folder.

    Args:
        folder: where; made if missing.
        results: scored arms.
        watch: gives videos to play; of several seeds any one.
        fps: their frames per second.
        note: one line under the headline: what was scored, how long it took.

    Returns:
        The files: `index.html`, `table.md`, `table.tex`, `scores.parquet`, and the figures.
    """
    folder, grids, figures = Path(folder), all_tables(results), report_figures(results)
    folder.mkdir(parents=True, exist_ok=True)
    texts = {
        "table.md": "\n".join(["# Evaluation\n", *map(markdown, grids)]),
        "table.tex": "\n".join([TEX_HEAD, *map(latex, grids)]),
        "index.html": _page(results, [page_table(grid) for grid in grids], figures, watch, fps, note),
    }
    files = {name: text.encode() for name, text in texts.items()}
    files |= {f"{name}.png": to_png(figure) for name, figure in figures.items()}
    for name, data in files.items():
        write_whole(folder / name, data)
    return [*(folder / name for name in files), write_parquet(folder / "scores.parquet", results)]


def _page(
    results: Results,
    tables: Sequence[str],
    figures: Mapping[str, Figure],
    watch: Watch,
    fps: float,
    note: str,
) -> str:
    """HTML text that needs no network."""
    drawn = [
        f'<img alt="{name}" width="{figure.get_figwidth() * SCREEN_DPI:.0f}" '
        f'src="data:image/png;base64,{_encoded(figure)}">'
        for name, figure in figures.items()
    ]
    played = "".join(page.html for page in extreme_clips(results, watch, fps=fps))
    how = '<p class="note">Drag the slider or press play.</p>'
    played = f'<h2 id="clips">Worst and best clips</h2>{how}{played}' if played else ""
    said = "".join(f"<li>{html.escape(sentence)}</li>" for sentence in judgement(results))
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Evaluation</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style><main>'
        f'<h1>Evaluation</h1><p class="note">{html.escape(note)}</p><ul>{said}</ul>'
        f'{tables[0]}<h2 id="figures">Clip by clip</h2>{"".join(drawn)}{played}{"".join(tables[1:])}'
        "</main></html>"
    )


def drawn_scores(results: Results) -> list[str]:
    """The scores that figures show.

    Args:
        results: scored arms.

    Returns:
        Names, most important first; of scores that some clip has.
    """
    known = {name for scores in results.means.values() for name, score in scores.items() if score.clips}
    return [name for name in SHOWN if name in known][:MOST]


def extreme_clips(
    results: Results, watch: Watch, *, fps: float, arms: Collection[str] | None = None
) -> Iterator[Scrubber]:
    """Play the clips that gain and lose most in the first score that is drawn.

    Args:
        results: scored arms.
        watch: gives videos.
        fps: their frames per second.
        arms: which arms; None: all but the baseline.

    Yields:
        A scrubber for each: the true video, the baseline, the model.
    """
    for metric in drawn_scores(results)[:1]:
        better = -1 if direction(metric) == "down" else 1
        for arm, word, clip, change in results.extremes(metric, better=better):
            if arms is not None and arm not in arms:
                continue
            names = dict.fromkeys((TRUTH, results.baseline or arm, arm))
            title = f"{arm}, {word} by {results.labels[metric]}: {clip} ({change:+.3g})"
            yield scrubber({name: watch(name, clip) for name in names}, fps=fps, title=title, height=160)


def grid_table(grid: Grid) -> Table:
    """Show a table of a report in a notebook.

    Args:
        grid: the table.

    Returns:
        An object that a notebook displays.
    """
    return table(
        [dict(zip(grid.head, row, strict=True)) for row in grid.rows], caption=f"{grid.title}. {grid.note}"
    )


def _encoded(figure: Figure) -> str:
    return base64.b64encode(to_png(figure)).decode()
