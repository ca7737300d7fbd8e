"""The setup call of a notebook: what it checks, shows and writes."""

import json
import os
import shutil

import pytest
import torch
from huggingface_hub import constants

from semrepa.config import Config
from semrepa.provenance import mini_asset
from semrepa.runtime import write_json
from semrepa.ui import session as session_module
from semrepa.ui.session import ALL, BASIS, start


@pytest.fixture
def shown(monkeypatch):
    """Everything shown, as text."""
    texts = []
    monkeypatch.setattr(session_module, "show", lambda item, **_: texts.append(str(item)))
    return texts


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A project folder; the working directory is its notebooks/, as in JupyterLab."""
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")
    monkeypatch.delenv("SEMREPA_CACHE", raising=False)
    return tmp_path


@pytest.fixture
def nobody(tmp_path, monkeypatch):
    """A machine on which nobody has any weights."""
    for name in [name for name in os.environ if name.startswith("SEMREPA_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))


def begin(**changes):
    given = {"preset": "mini", "run_dir": "runs/lab/x", "seed": 3, "needs": ()}
    return start("x", **(given | changes))


def test_relative_paths_count_from_the_folder_of_notebooks(home, shown):
    session = begin()
    assert session.run.path == home / "runs" / "lab" / "x"
    assert session.cache == home / "runs" / "cache"
    assert (
        session.sibling("06_dit_finetuning", "plain") == home / "runs" / "lab" / "06_dit_finetuning" / "plain"
    )
    assert session.cfg.data.index == str(home / "data_samples" / "index.jsonl")


def test_config_is_resolved_shown_and_saved(home, shown):
    session = begin(
        overrides={"finetune.lr": 1, "loss.weight_id": 3},
        headline={"finetune.steps": 7, "loss.weight_id": None},
        sections=("finetune",),
    )
    assert (session.cfg.seed, session.cfg.finetune.steps, session.cfg.loss.weight_id) == (3, 7, 3.0)
    assert "steps 7*" in shown[0], "changes are marked"
    assert "weight_id 3.0*" in shown[0], "changes are shown whatever the section"
    assert "index" not in shown[0]
    assert Config.load(session.run.config_path).finetune.steps == 7


def test_finish_writes_the_record(home, shown):
    session = begin()
    (session.run.path / "made.txt").write_text("here")
    session.finish({"psnr": 31.5}, artefacts=["made.txt"])
    record = json.loads((session.run.path / "run.json").read_text())
    assert record["status"] == "ok"
    assert list(record["metrics"]) == ["psnr", "seconds"]
    assert list(record["artefacts"]) == ["made.txt"]
    assert "31.5" in shown[-1]


def test_promised_artefact_must_be_there(home, shown):
    session = begin()
    with pytest.raises(FileNotFoundError, match=r"made\.txt"):
        session.finish({}, artefacts=["made.txt"])
    assert not (session.run.path / "run.json").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"overrides": {"finetune.stepz": 1}}, "did you mean finetune.steps"),
        ({"overrides": {"finetune.resume": "false"}}, "expected true or false"),
        ({"headline": {"finetune.steps": "many"}}, "expected a whole number"),
        ({"preset": "tiny"}, "expected one of mini, full"),
        ({"overrides": {"video.num_frames": 48}}, "use 45 or 49"),
    ],
)
def test_wrong_values_stop_before_anything_is_made(home, shown, changes, message):
    with pytest.raises((ValueError, TypeError), match=message):
        begin(**changes)
    assert not (home / "runs").exists()


def test_full_names_every_missing_weight_at_once(home, shown, nobody):
    with pytest.raises(FileNotFoundError) as caught:
        begin(preset="full", needs=ALL)
    message = str(caught.value)
    assert "6 of 6 missing" in message
    for field in ("model", "depth", "people", "structure", "identity"):
        assert f"{field}.weights" in message
    assert "face.pack" in message
    assert message.count("hf download") == 3
    assert shown == []
    assert "non-commercial" in message
    assert not (home / "runs").exists()


def test_weights_are_shown_and_recorded_with_what_the_run_counts_as(home, shown, nobody):
    session = begin(needs=("model", "people", "structure"))
    assert session.kind == "mini"
    assert "count as mini" in shown[1]
    rows = {line.split()[0]: line for line in shown[1].splitlines()[3:]}
    assert list(rows) == ["model", "people", "structure"]
    assert "assets/mini/face" in rows["people"]
    assert "licence" not in shown[1], "mini weights are the package's own"
    session.finish({})
    record = json.loads((session.run.path / "run.json").read_text())
    assert record["kind"] == "mini"
    assert [(row["name"], row["kind"], len(row["sha256"])) for row in record["provenance"]] == [
        ("model", "mini", 64),
        ("people", "mini", 64),
        ("structure", "mini", 64),
    ]


def test_a_notebook_checks_what_preparing_its_clips_needs(home, shown, nobody):
    with pytest.raises(FileNotFoundError) as caught:
        begin(preset="full", needs=BASIS)
    assert "4 of 4 missing" in str(caught.value)
    assert "people.weights" in str(caught.value)


def test_terms_of_real_weights_are_shown(home, shown, nobody, tmp_path):
    torch.save({"weight": torch.zeros(1)}, tmp_path / "video_depth_anything_vitl.pth")
    overrides = {
        "depth.teacher": "video_depth_anything",
        "depth.weights": "video_depth_anything_vitl.pth",
    }
    session = begin(overrides=overrides, needs=("model", "depth"))
    assert session.cfg.depth.weights == str(home / "video_depth_anything_vitl.pth"), "counts from the project"
    assert session.kind == "mini", "the weakest part"
    assert "CC-BY-NC-4.0: non-commercial" in shown[1]


def test_networks_of_other_runs_are_recorded_or_refused(home, shown, nobody, tmp_path):
    session = begin(needs=("model",))
    trained = tmp_path / "06" / "plain" / "transformer"
    shutil.copytree(mini_asset("structure_aligner"), trained)
    session.uses("plain transformer", trained)
    session.uses("plain transformer", trained)
    session.finish({})
    record = json.loads((session.run.path / "run.json").read_text())
    assert [row["name"] for row in record["provenance"]] == ["model", "plain transformer"]
    assert record["provenance"][1]["kind"] == "mini"
    write_json(tmp_path / "06" / "run.json", {"provenance": [{"kind": "real"}]})
    with pytest.raises(ValueError, match=r"mixed kinds \(mini: x; real: aligned transformer\)"):
        session.uses("aligned transformer", trained)
    session.uses("made here", trained, session.kind)
