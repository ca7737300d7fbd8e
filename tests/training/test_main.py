"""The command line trains a stage from files alone."""

import json

import pytest
from training.clips import HELDOUT, TRAIN

from semrepa.config import override
from semrepa.models.identity import IdentityAligner
from semrepa.training.__main__ import main, split_ids


@pytest.fixture
def index(tmp_path):
    file = tmp_path / "index.jsonl"
    rows = [(name, "train") for name in TRAIN] + [(name, "heldout") for name in HELDOUT] + [("gone", "train")]
    lines = [
        {"id": name, "path": f"{name}.mp4", "caption": "a person", "split": split} for name, split in rows
    ]
    for row in lines:
        (tmp_path / row["path"]).touch()
    file.write_text("".join(json.dumps(row) + "\n" for row in lines))
    return file


def test_a_stage_runs_from_files(cfg, store, index, tmp_path, capsys):
    config = tmp_path / "config.json"
    override(cfg, {"pretrain_identity.steps": 2}).save(config)
    files = ["--config", str(config), "--store", str(store.folder), "--index", str(index)]
    main(["identity", *files, "--run-dir", str(tmp_path / "run"), "--heldout", "1"])
    printed = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in printed] == ["1", "2"]
    assert "held-out loss_id" in printed[-1]
    IdentityAligner.from_pretrained(tmp_path / "run" / "identity_aligner")


def test_settings_may_change_where_the_command_line_allows_it(cfg, store, index, tmp_path):
    def run(rate, *more):
        override(cfg, {"pretrain_identity": {"steps": 2, "lr": rate}}).save(tmp_path / "config.json")
        files = [
            "--config",
            str(tmp_path / "config.json"),
            "--store",
            str(store.folder),
            "--index",
            str(index),
        ]
        main(["identity", *files, "--run-dir", str(tmp_path / "run"), "--heldout", "0", *more])

    run(1e-3)
    with pytest.raises(ValueError, match=r"train\.lr: checkpoint 0\.001, now 0\.002"):
        run(2e-3)
    run(2e-3, "--allow-change", "train.lr")


def test_clips_are_divided_as_the_index_says(store, index):
    assert split_ids(store, index) == (list(TRAIN), list(HELDOUT))
    index.write_text(index.read_text().splitlines(keepends=True)[-1])
    with pytest.raises(ValueError, match="without a clip of"):
        split_ids(store, index)
