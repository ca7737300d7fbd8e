"""A report of scored videos as one HTML page that opens offline: tables, figures, and clips to play."""

import base64
import html
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from jaxtyping import UInt8
from matplotlib.figure import Figure
from torch import Tensor

from semrepa.evaluation.grid import TEX_HEAD, latex, markdown, page_table
from semrepa.evaluation.parquet import write_parquet
from semrepa.evaluation.results import Results
from semrepa.evaluation.scoring import TRUTH
from semrepa.evaluation.tables import all_tables, direction, judgement
from semrepa.files import write_whole
from semrepa.ui.plots import compare_arms
from semrepa.ui.scores import distributions, gains
from semrepa.ui.scrubber import scrubber
from semrepa.ui.style import to_png

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
    metrics = [name for name in SHOWN if name in results.names][:MOST]
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
        f'<img alt="{name}" src="data:image/png;base64,{_encoded(fig)}">' for name, fig in figures.items()
    ]
    played = "".join(_extremes(results, watch, fps))
    said = "".join(f"<li>{html.escape(sentence)}</li>" for sentence in judgement(results))
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Evaluation</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style><main>'
        f'<h1>Evaluation</h1><p class="note">{html.escape(note)}</p><ul>{said}</ul>'
        f'{tables[0]}<h2 id="figures">Clip by clip</h2>{"".join(drawn)}{played}{"".join(tables[1:])}'
        "</main></html>"
    )


def _extremes(results: Results, watch: Watch, fps: float) -> Iterator[str]:
    """The clips that gain and lose most in the first drawn score, to be played."""
    metric = next((name for name in SHOWN if name in results.names), None)
    if metric is None or not results.differences:
        return
    sign = -1 if direction(metric) == "down" else 1
    yield (
        f'<h2 id="clips">Worst and best clips by {html.escape(results.labels[metric])}</h2><p class="note">'
        "Drag the slider or press play: the true video, the baseline and the model in step.</p>"
    )
    for arm in results.differences:
        found = results.clip_differences(arm, metric)
        ranked = sorted(found, key=lambda clip: sign * found[clip])
        for word, clip in _ends(ranked):
            panels = {"true": watch(TRUTH, clip)} | {
                name: watch(name, clip) for name in dict.fromkeys((results.baseline or arm, arm))
            }
            title = f"{arm}, {word}: {clip} ({found[clip]:+.3g})"
            yield scrubber(panels, fps=fps, title=title, height=200).html


def _ends(ranked: Sequence[str]) -> list[tuple[str, str]]:
    if len(ranked) < 2:
        return [("the only clip", clip) for clip in ranked]
    return [("worst", ranked[0]), ("best", ranked[-1])]


def _encoded(figure: Figure) -> str:
    return base64.b64encode(to_png(figure)).decode()
