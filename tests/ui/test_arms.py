"""Arms of the experiment that another notebook of the report has made."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from semrepa.config import override
from semrepa.data.index import ClipRow
from semrepa.provenance import mini_asset
from semrepa.runs import read_record
from semrepa.runtime import RunFolder, write_json
from semrepa.ui import arms
from semrepa.ui.session import start
from semrepa.weights import load_base


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


@pytest.fixture
def made(session, monkeypatch):
    """Makes runs at once; names of the folders in which something was made."""
    folders = []

    def make_run(cfg, model, rows, folder, *, transformer, parts):
        todo = [f"{row.id}-seed{seed}.mp4" for seed in cfg.generate.seeds for row in rows]
        folders.append(folder)
        write_json(folder / "made_from.json", arms.made_from(cfg, model, transformer=transformer))
        for name in todo:
            (folder / name).touch()
        return iter(())

    monkeypatch.setattr(arms, "make_run", make_run)
    return folders


def rows_of(*names):
    return [ClipRow(id=name, path=Path(f"{name}.mp4"), caption="a person waves") for name in names]


def test_videos_of_notebook_07_are_taken_where_all_are_there(session, made):
    later = replace(session, run=RunFolder(session.sibling("08_evaluation")))
    parts = load_base(session.cfg, ())
    first = arms.run(session, "base", rows_of("a", "b"), parts)
    assert first == session.run.path / "videos" / "base"
    assert arms.run(later, "base", rows_of("b"), parts) == first and made == [first]
    own = arms.run(later, "base", rows_of("a", "c"), parts)
    assert own == later.run.path / "videos" / "base" and made == [first, own]


def test_videos_of_other_settings_are_made_anew(session, made):
    parts = load_base(session.cfg, ())
    folder = arms.run(session, "base", rows_of("a"), parts)
    (folder / "old-seed0.mp4").touch()
    other = replace(session, cfg=override(session.cfg, {"generate.num_inference_steps": 3}))
    assert arms.run(other, "base", rows_of("a"), parts) == folder
    assert {file.name for file in folder.iterdir()} == {"a-seed0.mp4", "made_from.json"}
    assert read_record(folder)["sampling"]["num_inference_steps"] == 3
    later = replace(session, run=RunFolder(session.sibling("08_evaluation")))
    assert arms.run(later, "base", rows_of("a"), parts) != folder, "07's are of other settings now"


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
