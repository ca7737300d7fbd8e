"""What a finished stage is compared with: settings, versions, weights, earlier stages."""

import json

import pytest

from semrepa.config import mini, override
from semrepa.headless import record
from semrepa.headless.record import Stage, outputs, set_aside
from semrepa.provenance import sha256_of
from semrepa.weights import check_weights
from tests.headless.toys import FINISH, write_notebook


@pytest.fixture
def notebook(tmp_path):
    return write_notebook(tmp_path / "01_two.ipynb", FINISH)


def ran(stage, *, finished=True, **run):
    """The stage, as if its notebook had run."""
    stage.begin()
    for suffix in (".ipynb", ".html"):
        (stage.folder / f"{stage.notebook.stem}{suffix}").touch()
    made = stage.folder / "made.txt"
    made.write_text("made")
    told = {"status": "ok", "artefacts": {"made.txt": sha256_of(made)}, **run}
    (stage.folder / "run.json").write_text(json.dumps(told))
    if finished:
        stage.finish(1.5)
    return stage


def stage(notebook, folder, **parameters):
    return Stage(notebook, folder / "01_two", {"preset": "mini", "seed": 0, **parameters})


def test_same_settings_change_nothing(tmp_path, notebook):
    ran(stage(notebook, tmp_path, overrides={"finetune.steps": 3}))
    neutral = {"launch.where": "child", "finetune.checkpoint_every": 7, "weights.allow_download": True}
    again = stage(notebook, tmp_path, overrides={"finetune": {"steps": 3, "resume": True}, **neutral})
    assert again.changes() == []
    assert not again.code_has_changed()
    assert again.is_finished()
    assert again.seconds == 1.5


@pytest.mark.parametrize(
    ("parameters", "told"),
    [
        ({"seed": 1}, "other settings: seed 0 -> 1"),
        ({"overrides": {"finetune.steps": 4}}, "other settings: finetune.steps 60 -> 4"),
        ({"clips": 4}, "other settings: parameter clips None -> 4"),
    ],
)
def test_other_settings_are_named(tmp_path, notebook, parameters, told):
    ran(stage(notebook, tmp_path))
    assert stage(notebook, tmp_path, **parameters).changes() == [told]


def test_other_videos_under_the_same_name_are_noticed(tmp_path, notebook):
    index = tmp_path / "index.jsonl"
    index.write_text("one")
    mine = stage(notebook, tmp_path, overrides={"data.index": str(index)})
    ran(mine)
    assert mine.changes() == []
    index.write_text("two")
    assert "content of data.index" in mine.changes()[0]


def test_versions_count_and_the_commit_does_not(tmp_path, notebook, monkeypatch):
    first = ran(stage(notebook, tmp_path))
    now = record.versions()
    monkeypatch.setattr(record, "versions", lambda: now | {"commit": "other"})
    assert first.changes() == []
    monkeypatch.setattr(record, "versions", lambda: now | {"torch": "9.9"})
    assert first.changes() == [f"other versions: torch {now['torch']!r} -> '9.9'"]


def test_weights_are_looked_up_again(tmp_path, notebook, monkeypatch):
    used = [
        {"name": item.name, "source": item.source, "sha256": item.sha256}
        for item in check_weights(mini(), ["face", "depth"])
    ]
    own = tmp_path / "own"
    own.mkdir()
    (own / "weights").write_text("1")
    used.append({"name": "aligned transformer", "source": str(own), "sha256": sha256_of(own)})
    first = ran(stage(notebook, tmp_path), provenance=used)
    assert first.changes() == []
    (own / "weights").write_text("2")
    assert first.changes() == ["other weights: aligned transformer"]
    (own / "weights").write_text("1")
    pack = tmp_path / "pack"
    pack.mkdir()
    named = override(mini(), {"face.pack": str(pack)})
    monkeypatch.setattr("semrepa.weights.counted_from", lambda *_: named)
    assert first.changes() == ["other weights: face"], "it is not there any more"


def test_an_earlier_stage_that_made_something_else_counts(tmp_path, notebook):
    first = tmp_path / "00_one"
    first.mkdir()
    (first / "run.json").write_text(json.dumps({"artefacts": {"a": "1"}, "metrics": {"seconds": 1}}))
    later = ran(stage(notebook, tmp_path), upstream=["00_one", "09_absent"])
    (first / "run.json").write_text(json.dumps({"artefacts": {"a": "1"}, "metrics": {"seconds": 2}}))
    assert later.changes() == []
    (first / "run.json").write_text(json.dumps({"artefacts": {"a": "2"}}))
    assert later.changes() == ["other upstream: 00_one"]


def test_what_was_begun_is_compared_with_all_that_was_there_then(tmp_path, notebook):
    earlier = Stage(notebook, tmp_path / "00_one", {"preset": "mini"})
    ran(earlier)
    later = ran(stage(notebook, tmp_path), finished=False)
    assert later.changes() == []
    assert not later.is_finished()
    (earlier.folder / "run.json").write_text(json.dumps({"artefacts": {"a": "2"}}))
    assert later.changes() == ["other upstream: 00_one"]


@pytest.mark.parametrize("what", ["made.txt", "01_two.html", "run.json", "stage.json"])
def test_a_stage_whose_results_are_gone_is_not_finished(tmp_path, notebook, what):
    done = ran(stage(notebook, tmp_path))
    (done.folder / what).unlink()
    assert not done.is_finished()
    assert done.changes() == []


def test_text_between_the_cells_is_no_code(tmp_path, notebook):
    done = ran(stage(notebook, tmp_path))
    notebook.write_text(notebook.read_text().replace("# A title", "# Another title"))
    assert not done.code_has_changed()
    notebook.write_text(notebook.read_text().replace("31.25", "31.26"))
    assert done.code_has_changed()


def test_nothing_is_deleted(tmp_path, notebook):
    for number in (1, 2):
        done = ran(stage(notebook, tmp_path))
        assert set_aside(done.folder) == tmp_path / "previous" / f"01_two-{number}"
        assert not done.folder.exists()
    assert outputs(tmp_path / "previous" / "01_two-1") is not None


def test_every_neutral_setting_exists():
    names = {f"{section}.{name}" for section in record._TRAININGS for name in vars(getattr(mini(), section))}
    assert names >= record._NEUTRAL
    assert all(hasattr(mini(), section) for section in record._NEUTRAL_SECTIONS)


def test_trainings_go_on_whatever_the_overrides_say(tmp_path, notebook):
    given = stage(notebook, tmp_path, overrides={"finetune.resume": False, "finetune.steps": 3}).going_on()
    cfg = override(mini(), given["overrides"])
    assert cfg.finetune.resume is cfg.pretrain_identity.resume is cfg.pretrain_structure.resume is True
    assert cfg.finetune.steps == 3
