"""The setup call of a notebook: what it checks, shows and writes."""

import json

import pytest

from semrepa.config import Config
from semrepa.ui import session as session_module
from semrepa.ui.session import ALL, start


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


def test_full_names_every_missing_weight_at_once(home, shown):
    with pytest.raises(FileNotFoundError) as caught:
        begin(preset="full", needs=ALL)
    message = str(caught.value)
    for field in ("model.weights", "depth.weights", "face.pack", "structure.weights", "identity.weights"):
        assert field in message
    assert message.count("hf download") == 3
    assert "non-commercial" in message
    assert not (home / "runs").exists()
