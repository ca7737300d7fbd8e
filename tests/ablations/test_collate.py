"""Collating cells whose numbers are known, and refusing those that must not stand in one table."""

import json

import numpy as np
import pytest

from semrepa.ablations.collate import collate, from_record, to_record
from semrepa.ablations.pages import bad_clips, write_tables
from semrepa.ablations.tables import LOSSES, difference_rows, interval, mean_rows, paper_rows
from semrepa.metrics.report import markdown_table
from semrepa.runtime import write_json

CLIPS = ("x", "y", "z")


def made_from(arm, **changes):
    config = {"finetune": {"lr": 1.0}, "generate": {"num_inference_steps": 2, "seeds": [0]}}
    if arm == "base":
        del config["finetune"]
    usual = {
        "protocol": 1,
        "arm": arm,
        "config": config,
        "weights": {"model": "m", "face": "f", "identity": "i", "structure": arm},
        "store": {"vae": "v"},
        "train": ["a"],
        "heldout": [[clip, "a person"] for clip in CLIPS],
    }
    return usual | changes


def write_cell(folder, arm, seed, losses, *, kind="mini", judges="j", found=True, **changes):
    """A cell with a number for each clip: its identity loss; and with ID scores of a tenth of it."""
    cell = folder / f"seed-{seed}" / arm
    seconds = {"training": 1.0, "losses": 1.0, "scores": 1.0} if found else {"training": 1.0}
    record = {"fingerprint": "0", "kind": kind, "made_from": made_from(arm, **changes), "seconds": seconds}
    write_json(cell / "cell.json", record)
    values = {clip: {"loss_id": value, "loss_id@100": value} for clip, value in losses.items()}
    write_json(cell / "losses.json", {"judges": judges, "clips": values})
    scores = {f"{clip}-seed{seed}": {"id_ref": value / 10} for clip, value in losses.items()}
    sets = {"fid": 10.0 * seed}
    write_json(cell / "scores.json", {"groups": ["faces"], "clips": scores, "sets": sets, "judges": {}})


@pytest.fixture
def folder(tmp_path):
    """Identity falls by 1, 2 and 3 in the three seeds, on each clip alike but for the bad clip z."""
    for seed in (0, 1, 2):
        plain = {"x": 10.0, "y": 20.0, "z": 90.0}
        ours = {"x": 9.0 - seed, "y": 19.0 - seed, "z": 30.0}
        write_cell(tmp_path, "plain", seed, plain)
        write_cell(tmp_path, "id-1", seed, ours)
    write_json(tmp_path / "clips.json", {"loss_id": {"z": 0.2}, "loss_struct": {}})
    return tmp_path


def test_means_and_paired_differences(folder):
    found = collate(folder)
    assert (found.kind, found.seeds, found.clips) == ("mini", (0, 1, 2), CLIPS)
    assert found.arms == ["plain", "id-1"]
    assert found.means("plain")["loss_id"].mean == 40
    gap = found.differences("id-1", "plain")["loss_id"]
    assert gap.by_seed == pytest.approx((-62 / 3, -64 / 3, -66 / 3))
    assert found.differences("id-1", "plain")["id_ref"].mean == pytest.approx(gap.mean / 10)


def test_without_the_clip_that_makes_it(folder):
    found = collate(folder)
    assert bad_clips(found) == ["z"]
    gap = found.differences("id-1", "plain", without=["z"])["loss_id"]
    assert gap.by_seed == pytest.approx((-1, -2, -3)) and gap.clips == 2
    half = 4.302653 / 3**0.5
    assert (gap.seeds_low, gap.seeds_high) == pytest.approx((-2 - half, -2 + half), rel=1e-6)
    assert not gap.is_shown
    assert found.differences("id-1", "plain")["loss_id"].median == -3, "the bad clip moves a median little"


def test_scores_of_whole_sets_have_one_number_for_each_seed(folder):
    found = collate(folder)
    assert found.means("plain")["fid"].by_seed == (0, 10, 20)
    assert found.differences("id-1", "plain")["fid"].mean == 0
    assert "fid" not in found.differences("id-1", "plain", without=["z"])


def test_only_seeds_that_every_arm_has_count(folder):
    write_cell(folder, "plain", 3, dict.fromkeys(CLIPS, 0.0))
    write_cell(folder, "both", 1, dict.fromkeys(CLIPS, 5.0))
    write_cell(folder, "both", 2, dict.fromkeys(CLIPS, 5.0))
    write_cell(folder, "both", 0, dict.fromkeys(CLIPS, 5.0), found=False)
    found = collate(folder)
    assert found.seeds == (1, 2) and found.arms == ["plain", "id-1", "both"]


def test_a_clip_without_a_face_has_no_number(folder):
    write_cell(folder, "plain", 0, {"x": 10.0, "y": 20.0})
    gap = collate(folder).differences("id-1", "plain")["loss_id"]
    assert gap.by_seed[0] == -1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"kind": "real"}, "got mixed kinds"),
        (
            {"judges": "another"},
            "got another judges of losses in cell seed 3, both than in cell seed 0",
        ),
        ({"heldout": [["x", "another caption"]]}, "got another heldout in cell seed 3, both"),
        ({"weights": {"model": "m2", "face": "f", "identity": "i"}}, "got another weights in cell"),
        ({"config": {"finetune": {"lr": 2.0}, "generate": {}}}, "got another (sampling|finetune) in cell"),
    ],
)
def test_cells_that_do_not_belong_together_are_refused(folder, change, said):
    write_cell(folder, "both", 3, dict.fromkeys(CLIPS, 1.0), **change)
    with pytest.raises(ValueError, match=said):
        collate(folder)


def test_seeds_that_do_not_meet_are_refused(tmp_path):
    write_cell(tmp_path, "plain", 0, {"x": 1.0})
    write_cell(tmp_path, "both", 1, {"x": 1.0})
    with pytest.raises(ValueError, match="share no seed"):
        collate(tmp_path)


def test_nothing_done_is_said(tmp_path):
    write_cell(tmp_path, "plain", 0, {"x": 1.0}, found=False)
    with pytest.raises(FileNotFoundError, match="without a cell that is done"):
        collate(tmp_path)


def test_a_record_gives_the_numbers_back(folder):
    write_cell(folder, "plain", 0, {"x": 10.0, "y": float("nan")})
    found = collate(folder)
    again = from_record(json.loads(json.dumps(to_record(found))))
    assert (again.seeds, again.clips, again.arms) == (found.seeds, found.clips, found.arms)
    assert again.unreadable == found.unreadable
    for arm in found.arms:
        np.testing.assert_allclose(again.values[arm]["loss_id"], found.values[arm]["loss_id"], rtol=1e-5)
        np.testing.assert_allclose(again.sets[arm]["fid"], found.sets[arm]["fid"])
    assert "loss_id@100" not in again.values["plain"], "noise levels would make the file ten times as large"


def test_rows_say_what_they_show(folder):
    found = collate(folder)
    assert mean_rows(found, LOSSES)[0] == {
        "arm": "fine-tuned, no alignment",
        "identity loss": "40.00 ± 0.00",
    }
    (row,) = difference_rows(found, LOSSES, "plain", without={"loss_id": ["z"]})
    assert row["arm"] == "identity, 1"
    assert row["identity loss"].startswith("-2.0 ± 2.5 [-")
    assert difference_rows(found, LOSSES, "base") == []
    assert mean_rows(found, LOSSES, median=True)[0]["identity loss"] == "20.0000"


def test_a_difference_that_both_intervals_show_has_a_star(tmp_path):
    for seed, more in ((0, 0.0), (1, 0.01), (2, -0.01)):
        write_cell(tmp_path, "plain", seed, dict.fromkeys(CLIPS, 1.0))
        write_cell(tmp_path, "both", seed, dict.fromkeys(CLIPS, 0.5 + more))
    (row,) = difference_rows(collate(tmp_path), LOSSES, "plain")
    assert row["identity loss"].startswith("-0.500 ± 0.025 [") and row["identity loss"].endswith("] *")


def test_the_papers_numbers_stand_beside_ours(folder):
    rows = {row["arm"]: row for row in paper_rows(collate(folder))}
    assert len(rows) == 9
    assert rows["fine-tuned, no alignment"]["id score"] == "0.5098 (4)"
    assert rows["not fine-tuned"]["id score"] == "0.5087"
    assert rows["identity, 1"]["fid"] == "219.9", "our FID is not the paper's"


def test_files(folder):
    text = write_tables(folder)
    assert (folder / "table.md").read_text() == text
    assert "# Table 2 on mini weights: 3 seeds (0, 1, 2), 3 held-out clips" in text
    assert "## Held-out losses, minus plain, without z" in text
    assert "minus base" not in text, "there is no base here"
    assert from_record(json.loads((folder / "table.json").read_text())).arms == ["plain", "id-1"]


def test_markdown_and_intervals():
    assert markdown_table([{"a": 1, "b": "x"}]) == "| a | b |\n| --- | --- |\n| 1 | x |\n"
    assert markdown_table([]) == ""
    assert interval(collate_one(0.123456)) == "0.1235"


def collate_one(value):
    from semrepa.ablations.statistics import estimate

    return estimate(np.array([[value]]))
