"""The command line: from nothing to a table, and refusals that say what to do."""

import json
from types import SimpleNamespace

import pytest

from semrepa.ablations import __main__ as command
from semrepa.ablations.collate import recorded
from semrepa.ablations.settings import Plan


@pytest.fixture
def stand_ins(monkeypatch, setting):
    """Clips and features that are there already, and scores of pixels only: tiny videos have no faces."""
    monkeypatch.setattr(command, "open_setting", lambda options: setting)
    for module in ("settings", "cells"):
        monkeypatch.setattr(f"semrepa.ablations.{module}.groups_of", lambda cfg: ("pixels",))


def test_cells_then_a_table(stand_ins, setting, tmp_path, capsys):
    folder, where = setting.folder, ["--run-dir", str(setting.folder)]
    assert command.main(["run", "--arms", "base", "id-1", "--seeds", "0", "1", *where]) == 0
    assert {path.name for path in folder.iterdir()} == {"seed-0", "seed-1", "clips.json"}
    assert command.main(["table", "--record", str(tmp_path / "small.json"), *where]) == 0
    printed = capsys.readouterr().out
    assert "# Table 2 on mini weights: 2 seeds (0, 1), 2 held-out clips" in printed
    assert "| identity, 1 |" in printed and "## Scores of the videos, minus base" in printed
    small, whole = (json.loads(path.read_text()) for path in (tmp_path / "small.json", folder / "table.json"))
    assert "ssim_uniform" in whole["values"]["base"] and "ssim_uniform" not in small["values"]["base"]
    assert small["values"]["id-1"]["loss_id"] == whole["values"]["id-1"]["loss_id"]


def test_the_noisy_aligner_is_trained_and_measured(stand_ins, setting):
    assert command.main(["aligner", "--run-dir", str(setting.folder)]) == 0
    assert (setting.folder / "noisy_aligner" / "structure_aligner" / "config.json").is_file()
    found = json.loads((setting.folder / "noisy_aligner.json").read_text())
    assert found["train_clips"] == 5 and {*found["errors"]["500"]} == {"noisy", "copy", "clean"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["table", "--run-dir", "nowhere"], "got nowhere without a cell that is done"),
        (["run", "-o", "finetune.stepz=3"], "stepz"),
        (["run", "--preset", "maxi"], "preset: got 'maxi'"),
    ],
)
def test_requests_that_make_no_sense(arguments, said, capsys):
    assert command.main(arguments) == 2
    assert said in capsys.readouterr().err


def test_ctrl_c_says_how_to_go_on(monkeypatch, capsys):
    def stopped(options):
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "open_setting", stopped)
    assert command.main(["run"]) == 130
    assert "the same command goes on from here" in capsys.readouterr().err


def test_a_notebook_takes_a_quick_look_in_mini_and_the_whole_table_in_full():
    quick = Plan.of("mini", seed=7)
    assert ([arm.name for arm in quick.arms], quick.seeds, quick.steps, quick.clips) == (
        ["base", "plain", "both"],
        (7,),
        10,
        4,
    )
    whole = Plan.of("full")
    assert (len(whole.arms), whole.seeds, whole.steps, whole.clips) == (9, (0, 1, 2), None, None)
    asked = Plan.of("mini", arms=["id-1"], seeds=[3, 4])
    assert ([arm.name for arm in asked.arms], asked.seeds, asked.steps, asked.clips) == (
        ["id-1"],
        (3, 4),
        None,
        None,
    )
    with pytest.raises(ValueError, match="seeds: got none"):
        Plan.of("mini", seeds=[])


def test_the_recording_is_a_whole_table():
    found = recorded()
    assert (found.kind, len(found.arms)) == ("mini", 9)
    assert len(found.seeds) >= 3 and len(found.clips) == 18
    assert {"loss_diff", "loss_struct", "loss_struct_noisy", "loss_id", "id_ref"} <= {*found.values["both"]}


def test_a_training_in_processes_of_its_own_is_waited_for(monkeypatch, setting):
    from semrepa.ablations import cells
    from semrepa.ablations.grid import chosen
    from semrepa.config import override

    asked = []

    def launch(stage, cfg, store, run_dir, *, rows):
        asked.append((stage, cfg.loss.weight_id, [row.id for row in rows]))
        return SimpleNamespace(steps=lambda: iter(()))

    monkeypatch.setattr(cells, "launch", launch)
    cfg = override(setting.cfg, {"launch.where": "child"})
    (arm,) = chosen(["id-10"])
    cells.run_cell(setting.__class__(**{**vars(setting), "cfg": cfg}), arm, 0, ("training",))
    assert asked == [("finetune", 10.0, ["a", "b", "c", "d", "e"])]
