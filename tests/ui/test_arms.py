"""Arms of the experiment that another notebook of the report has made."""

import shutil

import pytest

from semrepa.provenance import mini_asset
from semrepa.runtime import write_json
from semrepa.ui import arms
from semrepa.ui.session import start


@pytest.fixture
def session(tmp_path, monkeypatch):
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path)
    return start("07_generation", preset="mini", run_dir="runs/x/07_generation", seed=0, needs=("model",))


@pytest.fixture
def trained(session):
    """The transformer of the plain arm, as notebook 06 leaves it."""
    folder = session.sibling("06_dit_finetuning", "plain")
    shutil.copytree(mini_asset("structure_aligner"), folder / "transformer")
    return folder


def test_transformer_of_the_report_is_taken_and_recorded(session, trained):
    write_json(trained.parent / "run.json", {"provenance": [{"kind": "mini"}]})
    assert arms.finetuned(session, "plain") == trained
    assert arms.finetuned(session, "base") is None
    (record,) = session.more.values()
    assert (record.name, record.kind, record.source) == (
        "plain transformer",
        "mini",
        str(trained / "transformer"),
    )


def test_transformer_of_another_kind_is_refused(session, trained):
    write_json(trained.parent / "run.json", {"provenance": [{"kind": "real"}]})
    with pytest.raises(ValueError, match=r"mixed kinds .*plain transformer"):
        arms.finetuned(session, "plain")


def test_own_training_counts_as_this_run_whatever_an_older_record_says(session, monkeypatch):
    def finetune(cfg, store, run_dir, **_):
        shutil.copytree(mini_asset("structure_aligner"), run_dir / "transformer")
        return iter(())

    monkeypatch.setattr(arms, "finetune", finetune)
    monkeypatch.setattr(type(session), "store", None)
    monkeypatch.setattr(type(session), "ids", lambda *_: [])
    write_json(session.run.path / "run.json", {"provenance": [{"kind": "real"}]})
    assert arms.finetuned(session, "aligned") == session.run.path / "aligned"
    assert session.more["aligned transformer"].kind == "mini"
