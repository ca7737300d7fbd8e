"""Results of several arms: what may stand together, seeds of one clip, faces that vanish, extremes."""

import math
from dataclasses import replace

import pytest

from semrepa.evaluation.results import Results, by_clip
from tests.evaluation.arms import arm, column, set_score

NAN = math.nan
BASE = arm("base", column("ssim", [0.1, 0.2, 0.3]))


def test_arms_of_other_videos_are_refused():
    with pytest.raises(ValueError, match="got c2-seed0 in only one of 'base' and 'ours'"):
        Results([BASE, arm("ours", column("ssim", [0.1, 0.2]))])
    with pytest.raises(ValueError, match=r"got arms \['base', 'base'\]"):
        Results([BASE, BASE])
    with pytest.raises(ValueError, match="got baseline 'svd'; expected one of base"):
        Results([BASE], baseline="svd")


def test_kinds_are_never_mixed_and_judges_are_named():
    with pytest.raises(ValueError, match="mini: base; real: ours"):
        Results([BASE, arm("ours", column("ssim", [1, 1, 1]), kind="real")])
    with pytest.raises(ValueError, match="got lpips_alex without the kind"):
        Results([arm("base", column("lpips_alex", [0.1]))])
    named = Results([arm("base", column("lpips_alex", [0.1]), judges={"lpips_alex": "random"})])
    assert named.labels == {"lpips_alex": "lpips_alex (random weights)"}
    with_set = Results([arm("base", column("ssim", [0.1]), sets=[set_score()])])
    assert with_set.labels["fid"] == "fid (random weights)"


def test_seeds_of_a_clip_are_one_sample():
    rows = [
        *arm("base", column("ssim", [0.0, 1.0])).clips,
        *arm("base", column("ssim", [0.2, NAN]), seed=1).clips,
    ]
    merged = by_clip(rows)
    assert [(row.clip, row.values["ssim"]) for row in merged] == [("c0", pytest.approx(0.1)), ("c1", 1.0)]
    both = replace(arm("base", []), clips=tuple(rows))
    results = Results([both])
    assert (results.num_clips, results.num_videos) == (2, 4)
    assert results.means["base"]["ssim"].clips == 2


def test_clips_keep_their_own_names():
    rows = [replace(BASE.clips[0], clip=name) for name in ("a-seed1-seed0", "a-seed0", "plain")]
    assert [row.clip for row in by_clip(rows)] == ["a-seed1", "a", "plain"]


def test_vanished_faces_are_problems_and_the_mean_says_how_many_count():
    lost = arm("ours", column("id_ref", [0.5, NAN, 0.7]), without_face=("c1-seed0",))
    results = Results([arm("base", column("id_ref", [0.4, 0.4, 0.4])), lost], baseline="base")
    (problem,) = results.problems
    assert (problem.arm, problem.video, problem.reason) == ("ours", "c1-seed0", "no face")
    assert results.means["ours"]["id_ref"].clips == 2
    assert results.differences["ours"]["id_ref"].clips == 2
    assert results.differences["ours"]["id_ref"].mean == pytest.approx(0.2)


def test_extremes_follow_the_better_end():
    ours = arm("ours", column("depth", [0.1, 0.5, NAN]))
    results = Results([arm("base", column("depth", [0.2, 0.2, 0.2])), ours], baseline="base")
    lower = results.extremes("depth", better=-1)
    assert [entry[:3] for entry in lower] == [("ours", "worst", "c1"), ("ours", "best", "c0")]
    assert lower[0][3] == pytest.approx(0.3)
    assert [entry[:3] for entry in results.extremes("depth")] == [
        ("ours", "worst", "c0"),
        ("ours", "best", "c1"),
    ]
    nothing = arm("ours", column("depth", [NAN, NAN, NAN]))
    assert (
        Results([arm("base", column("depth", [1, 1, 1])), nothing], baseline="base").extremes("depth") == []
    )


def test_ceilings_are_shown_but_not_compared():
    truth = arm("truth", column("ssim", [1, 1, 1]))
    results = Results([BASE, arm("ours", column("ssim", [1, 1, 1]))], ceilings=[truth], baseline="base")
    assert list(results.means) == ["truth", "base", "ours"]
    assert list(results.differences) == ["ours"]
    assert results.of_clip("ssim")["truth"] == {"c0": 1, "c1": 1, "c2": 1}
