"""The command: tables, JSON and pictures of a run, on tiny networks; teachers and weights are stand-ins."""

import json
import math
from pathlib import Path
from types import SimpleNamespace

import pytest
from analysis.test_exploit import Faces
from PIL import Image
from training.clips import HELDOUT, TRAIN

from semrepa.analysis import __main__ as command
from semrepa.analysis.diagnostics import exploit_rows, exploits, failing, judges
from semrepa.analysis.errors import TRUE, Reading
from semrepa.config import override
from semrepa.data.index import ClipRow
from semrepa.provenance import Provenance


@pytest.fixture
def stand_ins(monkeypatch, store, models):
    clips = [(name, "train") for name in TRAIN] + [(name, "heldout") for name in (*HELDOUT, "d", "e")]
    rows = [ClipRow(id=name, path=Path(f"{name}.mp4"), caption="", split=split) for name, split in clips]
    face = Faces(store.read("x")["id_embeds"][store.read("x")["face_mask"]][0])
    teachers = SimpleNamespace(face=face, depth=None)
    monkeypatch.setattr(command, "open_data", lambda cfg, cache: (store, rows))
    monkeypatch.setattr(
        command, "load_models", lambda cfg, runs: dict(zip(("base", *runs), models.values(), strict=True))
    )
    monkeypatch.setattr(command, "load_teachers", lambda cfg: teachers)
    lenient = {"zero output": 9.0, "mean output": 9.5}  # new aligners are worse than the real floors
    monkeypatch.setattr(command, "floors", lambda *_: {"loss_struct": lenient, "loss_id": lenient})
    shipped = [Provenance(name="model", source="here", kind="mini")]
    monkeypatch.setattr(command, "check_weights", lambda cfg, roles: shipped)


def test_everything_is_written(stand_ins, cfg, tmp_path, capsys):
    run = tmp_path / "aligned"
    cfg.save(run / "config.json")
    options = ["--run-dir", str(run), "--levels", "100", "700", "--clips", "4", "--seed", "5"]
    assert command.main(["diagnostics", *options]) == 0
    printed = capsys.readouterr().out
    assert "base → aligned" in printed and "depth_r2 gain" in printed and "networks: mini" in printed
    found = json.loads((run / "diagnostics" / "diagnostics.json").read_text())
    assert (found["seed"], found["levels"], found["weights"]) == (5, [100, 700], "mini")
    assert len(found["readings"]) == 4 * (1 + 2 * 3)
    levels = [point["timestep"] for point in found["errors"]["struct_mse"]["aligned"]]
    assert levels == [100, 700]
    assert found["clips"] == {"judged": ["x", "faceless", "d", "e"], "probes fitted": 5, "probes scored": 4}
    asked = {(each["aligner"], each["judge"]) for each in found["exploitability"]}
    assert asked >= {("id_loss", "id_again"), ("struct_mse", "struct_again")}
    assert {row["model"] for row in found["layers"]} == {"base", "aligned"}
    assert set(found["floors"]["id_l1"]) == {"zero output", "mean output"}
    for name in ("errors", "exploitability", "layers"):
        assert Image.open(run / "diagnostics" / f"{name}.png").size[0] > 500


def test_runs_are_named_after_their_folders():
    assert list(command.named([Path("a/plain"), Path("a/aligned")])) == ["plain", "aligned"]
    assert list(command.named([Path("one/aligned"), Path("two/aligned")])) == ["one/aligned", "two/aligned"]


def test_the_command_line_changes_the_config(cfg, tmp_path):
    cfg.save(tmp_path / "config.json")
    parse = command.parser().parse_args
    options = parse(["diagnostics", "--run-dir", str(tmp_path), "--index", "mine.jsonl"])
    assert command.load_config(options) == override(cfg, {"data.index": "mine.jsonl"})


def test_questions_without_a_judge_are_not_asked():
    readings = [
        Reading(
            clip=clip,
            timestep=9,
            seen=model,
            values={"struct_mse": value, "struct_again": 2.0, "id_loss": math.nan},
        )
        for model, value in (("base", 1.0), ("tuned", 0.5))
        for clip in "abc"
    ]
    found = exploits(readings, ["base", "tuned"])
    assert list(found) == [("base", "tuned", "struct_mse", "struct_again")]
    (row,) = exploit_rows(found)
    assert row["aligner's loss, %"] == "-50.0% [-50.0%, -50.0%]"
    assert row["verdict"] == "not shown"


def test_the_exact_teacher_judges_no_frames(cfg, store, models, batches):
    teacher = SimpleNamespace(kind="metric")
    answers, videos = judges(cfg, models["base"], store, batches[0].ids, face=None, depth=None)
    assert cfg.depth.teacher == "exact" and teacher.kind == "metric"
    assert len(answers) == len(videos) == 1


def test_clips_on_which_an_aligner_fails_do_not_count():
    made = [Reading(clip=c, timestep=None, seen=TRUE, values={"struct_mse": 2.0 * (c == "z")}) for c in "abz"]
    for clip, judged in (("a", 0.9), ("b", 0.8), ("z", 50.0)):
        made.append(
            Reading(clip=clip, timestep=9, seen="base", values={"struct_mse": 1.0, "struct_again": 1.0})
        )
        made.append(
            Reading(clip=clip, timestep=9, seen="tuned", values={"struct_mse": 0.5, "struct_again": judged})
        )
    bad = failing(made, {"struct_mse": {"zero output": 3.0, "mean output": 1.5}, "id_l1": {}})
    assert bad == {"struct_mse": {"z": 2.0}}
    key = ("base", "tuned", "struct_mse", "struct_again")
    assert exploits(made, ["base", "tuned"], bad)[key].verdict == "the judge agrees"
    assert exploits(made, ["base", "tuned"])[key].verdict == "not shown"
