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


def judged(kind, *, name: str = "lpips_alex", arm: str = "base") -> list[ClipScores]:
    """Rows with a score of a network."""
    judges = {} if kind is None else {name: kind}
    values = {"ssim": 0.5, name: 0.1}
    return [
        ClipScores(arm=arm, clip=f"clip{k}", provenance="mini", values=values, judges=judges)
        for k in range(3)
    ]


def test_scores_of_random_and_mini_networks_are_shown_with_their_label():
    for kind in ("random", "mini"):
        (row,) = report_rows(judged(kind))
        assert f"lpips_alex ({kind} weights)" in row and "lpips_alex" not in row
        assert row["ssim"].startswith("0.5")
    (row,) = report_rows(judged("real"))
    assert "lpips_alex" in row


@pytest.mark.parametrize("name", ["lpips_vgg", "fid_per_clip", "kid", "motion_dis", "text"])
def test_a_network_without_its_kind_is_not_shown(name):
    with pytest.raises(ValueError, match=f"got {name} without the kind of their weights"):
        report_rows(judged(None, name=name))


def test_networks_of_two_kinds_are_not_shown_in_one_column():
    rows = judged("random") + judged("real", arm="aligned")
    with pytest.raises(ValueError, match="lpips_alex: random, real"):
        report_rows(rows, baseline="base")


def test_kinds_of_networks_survive_a_file(tmp_path):
    rows = judged("random")
    lines = write_scores(tmp_path / "scores.jsonl", rows).read_text().splitlines()
    assert [ClipScores(**json.loads(line)) for line in lines] == rows


def test_a_mean_over_fewer_clips_says_over_how_many():
    rows = scores("base", [0.5, math.nan, 0.5])
    rows = [ClipScores(**{**vars(row), "values": {**row.values, "psnr": 20.0}}) for row in rows]
    (row,) = report_rows(rows)
    assert row["ssim"] == "0.500 [0.500, 0.500] n=2"
    assert row["psnr"] == "20.000 [20.000, 20.000]" and row["clips"] == 3
