"""The tables of collated ablations as rows of text, for pages, Markdown and the command line."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from semrepa.ablations.collate import Collated
from semrepa.ablations.grid import ARMS, PAPER_SCORES
from semrepa.ablations.statistics import Estimate
from semrepa.metrics.report import decimals

TITLES = {arm.name: arm.title for arm in ARMS}


@dataclass(frozen=True, kw_only=True)
class Measure:
    """A column that is worth a table."""

    name: str
    """Name of its numbers."""
    title: str
    """Head of the column."""
    better: int
    """1: higher is better, -1: lower."""
    paper: str | None = None
    """The paper's column that comes nearest."""


LOSSES: tuple[Measure, ...] = (
    Measure(name="loss_diff", title="diffusion loss", better=-1),
    Measure(name="loss_struct", title="structure loss", better=-1),
    Measure(name="loss_struct_noisy", title="structure loss, noisy", better=-1),
    Measure(name="loss_id", title="identity loss", better=-1),
)
"""Held-out losses."""
SCORES: tuple[Measure, ...] = (
    Measure(name="id_ref", title="ID score", better=1, paper="id_score"),
    Measure(name="detection_rate", title="faces found", better=1),
    Measure(name="depth_error", title="depth error", better=-1),
    Measure(name="ssim", title="SSIM", better=1, paper="ssim"),
    Measure(name="psnr", title="PSNR, dB", better=1),
    Measure(name="psnr_uint8_wrap", title="PSNR wrapped, dB", better=1, paper="psnr"),
    Measure(name="cpbd", title="CPBD", better=1, paper="cpbd"),
    Measure(name="cpbd_distance", title="CPBD, distance", better=-1),
    Measure(name="flow_ratio", title="motion ratio", better=1),
)
"""Scores of videos. CPBD and motion are best where they are those of the true videos; the motion ratio is
their mean flow as a share of the true one."""


def present(found: Collated, measures: Sequence[Measure]) -> list[Measure]:
    """Measures that some arm has numbers of."""
    return [m for m in measures if any(m.name in values for values in found.values.values())]


def mean_rows(
    found: Collated, measures: Sequence[Measure], *, without: Sequence[str] = (), median: bool = False
) -> list[dict[str, str]]:
    """One row for each arm: means with their interval over seeds.

    Args:
        found: the numbers.
        measures: columns.
        without: clips that do not count.
        median: medians over seeds and clips instead, without intervals.

    Returns:
        Rows of text.
    """
    rows = []
    for arm in found.arms:
        numbers = found.means(arm, without=without)
        cells = {
            m.title: (f"{numbers[m.name].median:.4f}" if median else interval(numbers[m.name]))
            if m.name in numbers
            else "-"
            for m in present(found, measures)
        }
        rows.append({"arm": TITLES[arm], **cells})
    return rows


def difference_rows(
    found: Collated,
    measures: Sequence[Measure],
    against: str,
    *,
    without: Mapping[str, Sequence[str]] | None = None,
) -> list[dict[str, str]]:
    """One row for each other arm: mean differences paired by clip and seed, with both intervals.

    Args:
        found: the numbers.
        measures: columns.
        against: the arm to compare with.
        without: by measure, clips that do not count.

    Returns:
        Rows of text; a star where neither interval holds 0. No rows without that arm.
    """
    rows = []
    for arm in found.arms if against in found.values else []:
        if arm != against:
            cells = {
                m.title: _difference(found, arm, against, m, (without or {}).get(m.name, ()))
                for m in present(found, measures)
            }
            rows.append({"arm": TITLES[arm], **cells})
    return rows


def paper_rows(found: Collated) -> list[dict[str, str]]:
    """The paper's Table 2, and beside each number ours of the measure that comes nearest.

    Args:
        found: our numbers.

    Returns:
        Rows of text: the paper's value, then ours in brackets, where there is one.
    """
    nearest = {m.paper: m.name for m in SCORES if m.paper}
    rows = []
    for arm in ARMS:
        ours = found.means(arm.name) if arm.name in found.values else {}
        cells = {}
        for column in PAPER_SCORES:
            got = ours.get(nearest.get(column, ""))
            cells[column.replace("_", " ")] = f"{arm.paper[column]:.4g}" + (
                f" ({got.mean:.4g})" if got else ""
            )
        rows.append({"arm": arm.title, **cells})
    return rows


def interval(found: Estimate) -> str:
    """A mean with the half width of its interval over seeds, to two digits of it."""
    if np.isnan(found.mean):
        return "-"
    half = (found.seeds_high - found.seeds_low) / 2
    digits = decimals(half if half > 0 else abs(found.mean) / 100, flat=4)
    return f"{found.mean:.{digits}f}" + ("" if np.isnan(half) else f" ± {half:.{digits}f}")


def _difference(found: Collated, arm: str, against: str, measure: Measure, without: Sequence[str]) -> str:
    numbers = found.differences(arm, against, without=without)
    if measure.name not in numbers or np.isnan(numbers[measure.name].mean):
        return "-"
    it = numbers[measure.name]
    widths = [w for w in ((it.seeds_high - it.seeds_low) / 2, it.crossed_high - it.crossed_low) if w > 0]
    digits = decimals(min(widths, default=abs(it.mean) / 100), flat=4)
    text = f"{it.mean:+.{digits}f}"
    if not np.isnan(it.seeds_low):
        text += f" ± {(it.seeds_high - it.seeds_low) / 2:.{digits}f}"
    if not np.isnan(it.crossed_low):
        text += f" [{it.crossed_low:.{digits}f}, {it.crossed_high:.{digits}f}]"
    return f"{text} *" if it.is_shown else text
