"""Tables of a report: the paper's columns and rows, verdicts, labels, and what stands apart."""

import math
import re

import pytest

from semrepa.evaluation.grid import Grid, latex, markdown, page_table
from semrepa.evaluation.paper import COLUMNS, ROWS, paper_row
from semrepa.evaluation.results import Problem, Results
from semrepa.evaluation.tables import (
    all_tables,
    compatible_table,
    difference_table,
    direction,
    judgement,
    paper_table,
    score_table,
)
from tests.evaluation.arms import arm, set_score


def scored(name, shift=0.0, count=8):
    """An arm with the scores of the paper's columns."""
    values = [
        {
            "ssim": 0.5 + 0.02 * k + shift,
            "psnr": 20.0 + k,
            "psnr_uint8_wrap": 30.0,
            "lpips_alex": 0.3 - shift,
            "fid_per_video": 300.0,
            "motion_dis_per_video": 3.0,
            "cpbd": 0.4,
            "text": 0.29,
            "text_cut": 0.0,
            "id_ref": math.nan if k == 1 else 0.6,
            "id_ref_zero": 0.5,
        }
        for k in range(count)
    ]
    learned = ("lpips_alex", "fid_per_video", "motion_dis_per_video", "text", "text_cut")
    sets = [set_score("fid", 12.5), set_score("motion_dis", 1.5)]
    return arm(name, values, judges=dict.fromkeys(learned, "random"), sets=sets)


@pytest.fixture(scope="module")
def results():
    problem = Problem(
        arm="ours", video="c9-seed0", reason="missing", what="got none; expected | one_file & more"
    )
    arms = [scored("base"), scored("ours", shift=0.1)]
    return Results(arms, ceilings=[scored("truth")], baseline="base", problems=[problem])


def test_columns_are_those_of_the_paper_in_its_order(results):
    assert [column.title for column in COLUMNS] == [
        "SSIM", "PSNR", "LPIPS", "FID", "CPBD", "Motion Score", "Text Score", "ID Score",
    ]  # fmt: skip
    head = paper_table(results).head
    assert head[1:] == (
        "SSIM ↑",
        "PSNR ↑",
        "LPIPS (random weights) ↓",
        "FID (random weights) ↓",
        "CPBD (nearest truth)",
        "Motion Score (random weights) ↓",
        "Text Score (random weights) ↑",
        "ID Score ↑",
    )


def test_rows_of_the_paper_stand_below_ours_or_at_the_end(results):
    rows = [row[0] for row in paper_table(results).rows]
    assert rows[:6] == ["truth", "paper: GT", "base", "paper: CogVideoX", "ours", "paper: SemanticREPA"]
    assert len(rows) == 3 + len(ROWS) and "paper: VideoComposer" in rows[6:]
    assert paper_row("I2VGEN-XL") is paper_row("i2vgen_xl") and paper_row("mine") is None
    assert all(len(row.values) == len(COLUMNS) for row in ROWS)
    assert paper_row("svd").values[0] == "0.3888" and paper_row("aligned").values[-1] == "0.6339"


def test_rows_of_the_paper_are_set_apart(results):
    text = page_table(paper_table(results))
    assert text.count('class="quoted"') + text.count("rule quoted") == len(ROWS)
    assert '<tr class="quoted"><td class="text">paper: GT' in text


def test_cells_say_interval_and_how_many_clips_have_a_number(results):
    rows = {row[0]: row for row in paper_table(results).rows}
    assert re.fullmatch(r"0\.570 \[0\.5\d+, 0\.6\d+\]", rows["base"][1])
    assert rows["base"][4] == "12.5"
    assert rows["base"][8] == "0.600 [0.600, 0.600] n=7"
    assert rows["truth"][1:5] == ("-", "-", "-", "-") and rows["truth"][5] != "-"
    note = paper_table(results).note
    assert "8 clips" in note and "mini weights" in note and "biased upwards" in note


def test_scores_that_were_not_asked_for_are_named(results):
    few = Results([arm("base", [{"ssim": 0.5}])])
    (row, *_) = paper_table(few).rows
    assert row[1] != "not scored" and row[2:] == ("not scored",) * 7


def test_verdicts_need_an_interval_beside_zero_a_direction_and_enough_clips(results):
    rows = dict(difference_table(results).rows)
    assert rows["ssim"] == "+0.100 [+0.100, +0.100] better"
    assert rows["lpips_alex (random weights)"].endswith("better")
    assert rows["psnr"].startswith("+0.000") and not rows["psnr"].endswith(("better", "worse"))
    assert "psnr_uint8_wrap" not in rows
    few = Results([scored("base", count=5), scored("ours", shift=-0.1, count=5)], baseline="base")
    assert dict(difference_table(few).rows)["ssim"] == "-0.100 [-0.100, -0.100]"
    assert "fewer than 6 clips" in difference_table(few).note
    (sentence,) = judgement(results)
    assert sentence.startswith(
        "ours against base: better in ssim, lpips_alex (random weights); worse in nothing"
    )


@pytest.mark.parametrize(
    ("name", "way"),
    [
        ("depth_delta_1.25", "up"),
        ("depth_abs_rel", "down"),
        ("cpbd", ""),
        ("cpbd_distance", "down"),
        ("second_id_ref", "up"),
        ("flow_ratio", ""),
        ("text", "up"),
        ("text_cut", ""),
    ],
)
def test_directions(name, way):
    assert direction(name) == way


def test_guesses_at_the_paper_stand_apart(results):
    apart = {row[0] for row in compatible_table(results).rows}
    assert apart == {
        "psnr_uint8_wrap",
        "fid_per_video (random weights)",
        "motion_dis_per_video (random weights)",
        "id_ref_zero",
    }
    for grid in (score_table(results), difference_table(results)):
        assert not apart & {row[0].removesuffix(" ↑").removesuffix(" ↓") for row in grid.rows}
    assert any(row[0].startswith("motion_dis (random weights)") for row in score_table(results).rows)
    assert "never to rank by" in compatible_table(results).title


def test_scores_without_any_number_have_no_row():
    only = Results([arm("base", [{"ssim": 0.5, "id_vbench2_like": math.nan}])])
    assert [row[0] for row in score_table(only).rows] == ["ssim ↑"]


def test_markdown_is_aligned_and_keeps_bars_inside_cells(results):
    for grid in all_tables(results):
        lines = [line for line in markdown(grid).splitlines() if line.startswith("|")]
        assert len({len(line) for line in lines}) == 1, grid.name
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1, grid.name
    assert r"\| one_file" in markdown(all_tables(results)[-1])


def test_latex_is_whole(results):
    for grid in all_tables(results):
        text = latex(grid)
        assert len(re.findall(r"(?<!\\)\{", text)) == len(re.findall(r"(?<!\\)\}", text)), grid.name
        body = text.split(r"\toprule")[1].split(r"\bottomrule")[0]
        rows = [line for line in body.splitlines() if line.endswith(r"\\")]
        assert len(rows) == len(grid.rows) + 1
        assert {len(re.findall(r"(?<!\\)&", row)) for row in rows} == {len(grid.head) - 1}
        assert not re.search(r"(?<!\\)[_%#]", body), grid.name
        begun, ended = (re.findall(rf"\\{word}\{{([a-z*]+)\}}", text) for word in ("begin", "end"))
        assert begun == ended[::-1]
        assert text.isascii(), "symbols are written as commands"


def test_html_shows_texts_as_they_are():
    grid = Grid(name="x", title="<b>", head=("a<b", "c"), rows=(("d&e", "0.5 [0.4, 0.6] n=2"),))
    text = page_table(grid)
    assert "&lt;b&gt;" in text and "d&amp;e" in text
    assert "0.5 <small>[0.4, 0.6]</small> n=2" in text


def test_rows_must_fit_the_head():
    with pytest.raises(ValueError, match=r"got 1 cells \('a',\); expected 2"):
        Grid(name="x", title="x", head=("a", "b"), rows=(("a",),))
