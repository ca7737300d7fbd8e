"""The command of Table 3 in small: trains what is missing, collates, writes and prints."""

import dataclasses
import json

import pytest
import torch

from semrepa.data.dataset import StoreDataset
from semrepa.miniature import pairs, table3
from semrepa.models.identity import IdentityAligner


@pytest.fixture
def world(monkeypatch, store):
    """Stands for rendering and training; cells are random aligners of their own."""
    names = ("clip00000", "clip00001")
    clips = pairs.Clips(store=store, train_ids=("clip00004",), heldout_ids=(*names, *names))
    portraits = StoreDataset(store, names).batch([0, 1])
    trained = []

    def train_cell(cfg, protocol, portraits, clips, folder):
        trained.append((cfg.seed, cfg.identity.use_depth))
        torch.manual_seed(cfg.seed)
        IdentityAligner(width=8, num_blocks=1, use_depth=cfg.identity.use_depth).save_pretrained(
            folder / "identity_aligner"
        )
        (folder / "cell.json").write_text(json.dumps({"seconds": 2.0}))
        return folder / "identity_aligner"

    monkeypatch.setattr(table3, "prepare_clips", lambda *_, **__: clips)
    monkeypatch.setattr(table3, "prepare_portraits", lambda *_, **__: portraits)
    monkeypatch.setattr(table3, "train_cell", train_cell)
    monkeypatch.setattr(torch, "set_num_threads", lambda count: None)
    return trained


def test_the_command_trains_both_variants_of_every_seed_and_writes_the_table(world, tmp_path, capsys):
    assert table3.main(["--seeds", "3", "5", "--run-dir", str(tmp_path), "--heldout", "20"]) == 0
    assert world == [(3, True), (3, False), (5, True), (5, False)]
    found = json.loads((tmp_path / "table3.json").read_text())
    assert [(cell["seed"], cell["variant"]) for cell in found["cells"]] == [
        (3, "with_depth"),
        (3, "without_depth"),
        (5, "with_depth"),
        (5, "without_depth"),
    ]
    assert found["protocol"]["heldout"] == 20 and found["heldout"]["clips"] == 4
    assert set(found["references"]) == {"face teacher", *table3.SHIPPED}
    assert found["references"]["face teacher"]["cosine_to_teacher"] == pytest.approx(1, abs=1e-3)
    assert {"depth_gradient", "own_borrowed"} <= found["table"].keys()
    assert set(found["table"]["depth_gradient"]) == {"with_depth"}
    text = capsys.readouterr().out
    assert "gap, 1 - cosine" in text and "0.0882" in text
    assert (tmp_path / "table3.md").read_text() in text
    assert (tmp_path / "table3.png").read_bytes().startswith(b"\x89PNG")


def test_every_number_of_the_protocol_is_an_option(capsys):
    with pytest.raises(SystemExit) as end:
        table3.main(["--help"])
    assert end.value.code == 0
    shown = capsys.readouterr().out
    assert "python -m semrepa.miniature.table3" in shown
    for field in dataclasses.fields(pairs.Protocol):
        assert f"--{field.name.replace('_', '-')}" in shown


def test_an_untrained_cell_is_named(world, tmp_path, store):
    clips = table3.prepare_clips()
    with pytest.raises(OSError, match="identity_aligner"):
        table3.collate(pairs.Protocol(), [0], tmp_path, clips)
