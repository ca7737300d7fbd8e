"""Reports: means, intervals, paired differences, and the refusal to mix kinds of weights."""

import json
import math

import numpy as np
import pytest

from semrepa.metrics.report import (
    ClipScores,
    bootstrap_mean,
    means,
    paired_differences,
    report_rows,
    write_scores,
)


def scores(arm: str, values: list[float], kind: str = "mini") -> list[ClipScores]:
    return [
        ClipScores(arm=arm, clip=f"clip{i}", provenance=kind, values={"ssim": value})
        for i, value in enumerate(values)
    ]


SPREAD = list(np.linspace(0, 1, 20))


def test_bootstrap_interval_holds_the_mean_and_has_the_textbook_width():
    values = np.random.default_rng(1).normal(size=400)
    found = bootstrap_mean(values)
    half = 1.96 * values.std() / math.sqrt(len(values))
    assert found.mean == pytest.approx(values.mean())
    assert found.low == pytest.approx(values.mean() - half, abs=0.15 * half)
    assert found.high == pytest.approx(values.mean() + half, abs=0.15 * half)
    assert found == bootstrap_mean(values)


def test_clips_without_a_value_are_left_out_and_counted():
    found = bootstrap_mean([1.0, math.nan, 1.0])
    assert (found.mean, found.low, found.high, found.clips) == (1, 1, 1, 2)
    assert str(bootstrap_mean([math.nan])) == "-"


def test_pairing_sees_a_small_steady_gain_that_the_means_hide():
    rows = scores("base", SPREAD) + scores("aligned", [value + 0.02 for value in SPREAD])
    separate = means(rows)
    assert separate["aligned"]["ssim"].low < separate["base"]["ssim"].high
    gain = paired_differences(rows, "base")["aligned"]["ssim"]
    assert gain.low == pytest.approx(0.02)
    assert gain.high == pytest.approx(0.02)


def test_kinds_of_weights_are_never_mixed():
    rows = scores("base", SPREAD) + scores("aligned", SPREAD, kind="real")
    for make in (means, report_rows, lambda mixed: paired_differences(mixed, "base")):
        with pytest.raises(ValueError, match=r"mini: base; real: aligned"):
            make(rows)


def test_bad_rows_are_named():
    with pytest.raises(ValueError, match="got no records"):
        means([])
    with pytest.raises(ValueError, match="'clip0' twice"):
        means(scores("base", [1.0]) * 2)
    with pytest.raises(ValueError, match="expected one of base"):
        paired_differences(scores("base", [1.0]), "plain")
    other = [ClipScores(arm="plain", clip="x", provenance="mini", values={"ssim": 1.0})]
    with pytest.raises(ValueError, match="no clip in both"):
        paired_differences(scores("base", [1.0]) + other, "base")


def test_report_rows_say_arm_interval_count_and_kind():
    rows = report_rows(scores("base", [0.5, 0.5]) + scores("aligned", [0.7, 0.7]), baseline="base")
    assert [row["arm"] for row in rows] == ["base", "aligned", "aligned - base"]
    assert rows[2]["ssim"].startswith("0.200 [0.200")
    assert {row["weights"] for row in rows} == {"mini"}
    assert {row["clips"] for row in rows} == {2}


def test_scores_survive_a_file(tmp_path):
    rows = scores("base", SPREAD[:3])
    lines = write_scores(tmp_path / "scores.jsonl", rows).read_text().splitlines()
    assert [ClipScores(**json.loads(line)) for line in lines] == rows
