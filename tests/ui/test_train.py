"""Training from a notebook: in the kernel, or by a child with a panel, whose buttons are clicked here."""

import logging
import os
import signal
import time
from contextlib import suppress
from dataclasses import replace
from types import SimpleNamespace

import pytest
from training.stub import stub

from semrepa.config import override
from semrepa.training import child as child_module
from semrepa.training.child import NotFinishedError
from semrepa.training.log import StepLog
from semrepa.ui import train as module
from semrepa.ui.session import start
from semrepa.ui.train import Panel, train, watch


@pytest.fixture(autouse=True)
def shown(monkeypatch):
    """What was shown; children are looked at often."""
    monkeypatch.setattr(child_module, "POLL_SECONDS", 0.02)
    items = []
    monkeypatch.setattr(module, "show", lambda item, text="": items.append(item))
    return items


def opened(child) -> Panel:
    panel = Panel(child, title="Aligned")
    panel.open(past=0)
    return panel


def until_step(child, step):
    while (child.step or 0) < step:
        time.sleep(0.02)


def test_panel_follows_and_stops_a_child(tmp_path, shown):
    child = stub(tmp_path, "waits")
    panel = opened(child)
    assert shown == [panel.box]
    until_step(child, 3)
    panel.look.click()
    assert f"running, process {child.pid}, at step 3" in panel.state.value
    assert "printed at step 3" in panel.state.value
    panel.stop.click()
    panel.follower.join(20)
    assert not panel.follower.is_alive()
    assert "stopped at step 3, nothing lost" in panel.state.value
    assert panel.stop.disabled


def test_a_second_click_stops_at_once_but_a_double_click_does_not(tmp_path, monkeypatch):
    child = stub(tmp_path, "waits")
    panel = opened(child)
    until_step(child, 1)
    os.kill(child.pid, signal.SIGSTOP)  # hears no request
    panel.stop.click()
    assert panel.stop.description == "Stop at once"
    panel.stop.click()
    assert child.status == "running"
    monkeypatch.setattr(module, "ECHO", 0.0)
    panel.stop.click()
    panel.follower.join(20)
    assert child.status == "crashed"
    assert "died" in panel.state.value


def test_panel_of_a_failed_child_shows_the_error_and_the_log(tmp_path):
    child = stub(tmp_path, "fails")
    panel = opened(child)
    panel.follower.join(20)
    assert "failed at step 3: FloatingPointError: got nan" in panel.state.value
    assert "printed at step 3" in panel.state.value


def test_headless_watching_waits_for_the_end(tmp_path, shown, caplog):
    stub(tmp_path, "finishes")
    with caplog.at_level(logging.INFO, logger="semrepa"):
        watch(tmp_path, title="Aligned")
    assert "done: step 3" in caplog.text
    assert shown == []


def test_an_ended_child_is_drawn_from_any_notebook(tmp_path, shown, caplog, monkeypatch):
    monkeypatch.setattr(module, "is_headless", lambda: False)
    stub(tmp_path, "finishes").wait(20)
    with caplog.at_level(logging.INFO, logger="semrepa"):
        watch(tmp_path, title="Aligned")
        while "done: step 3" not in caplog.text:
            time.sleep(0.02)
    assert len(shown) == 1


@pytest.mark.parametrize(
    ("end", "words", "shown_log"),
    [
        ("finishes", "finished at step 3", False),
        ("waits", "stopped at step 3, nothing lost", False),
        ("fails", "failed at step 3: FloatingPointError: got nan", True),
        ("dies", "died at step 3, often for lack of memory", True),
    ],
)
def test_attached_to_an_ended_child_a_panel_says_how_it_ended(tmp_path, end, words, shown_log, caplog):
    child = stub(tmp_path, end)
    if end == "waits":
        until_step(child, 3)
        child.stop()
    with suppress(NotFinishedError):
        child.wait(20)
    panel = Panel(module.attach(tmp_path), title="Aligned", total=6)
    with caplog.at_level(logging.INFO, logger="semrepa"):
        panel.open(past=1)
        panel.follower.join(20)
    assert words in panel.state.value
    assert panel.stop.disabled
    assert ("printed at step 3" in panel.state.value) is shown_log
    word = {"finishes": "done", "waits": "stopped", "fails": "failed", "dies": "crashed"}[end]
    assert f"{word}: step 3 of 6 · 50%" in caplog.text


def test_attaching_knows_how_long_the_run_is(tmp_path, small_config):
    child = stub(tmp_path, "finishes")
    child.wait(20)
    assert module._total(child) is None
    override(small_config, {"finetune.steps": 9, "pretrain_identity.steps": 7}).save(
        tmp_path / "launch" / "config.json"
    )
    for stage, steps in (("finetune", 9), ("identity", 7)):
        asked = replace(child, command=("python", "-m", module.MODULE, stage))
        assert module._total(asked) == steps


@pytest.fixture
def session(tmp_path, monkeypatch):
    """A notebook with a few clips that nobody has prepared."""
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path)
    made = start("06_dit_finetuning", preset="mini", run_dir="runs/x", seed=0, needs=())
    rows = [SimpleNamespace(id=name) for name in ("a", "b", "x", "unused")]
    monkeypatch.setattr(type(made), "all_rows", rows)
    monkeypatch.setattr(type(made), "store", SimpleNamespace(folder=tmp_path / "store"))
    return made


@pytest.fixture
def in_child(small_config):
    return override(small_config, {"launch.where": "child", "finetune.steps": 9})


@pytest.fixture
def launched(monkeypatch, tmp_path):
    """Arguments of the launch, whose child is a stub that fails."""
    calls = []

    def launch(*arguments, **options):
        calls.append((arguments, options))
        return stub(tmp_path / "run", "fails")

    monkeypatch.setattr(module, "launch", launch)
    return calls


def finetune(cfg, store, run_dir, **inputs):
    (run_dir / "inputs").write_text(" ".join(inputs))
    yield StepLog(step=1, loss=1.0, parts={}, lr=1.0, grad_norm=1.0, seconds=0.1, samples=1)


def test_in_the_kernel_the_stage_itself_is_run(tmp_path, session, small_config):
    train(finetune, session, small_config, tmp_path / "run", train_ids=["a"])
    assert (tmp_path / "run" / "inputs").read_text() == "train_ids heldout_ids aligners"


def test_in_the_kernel_no_second_training_starts_beside_a_child(tmp_path, session, small_config):
    child = stub(tmp_path / "run", "waits")
    with pytest.raises(ValueError, match="where a training is running"):
        train(finetune, session, small_config, tmp_path / "run", train_ids=["a"])
    child.stop(at_once=True)


def test_headless_a_child_blocks_and_its_failure_is_raised(tmp_path, session, in_child, launched):
    with pytest.raises(NotFinishedError, match=r"(?s)got nan; .*end of train.log:\nprinted at step 1"):
        train(finetune, session, in_child, tmp_path / "run", train_ids=["a", "b"], heldout_ids=["x"])
    ((arguments, options),) = launched
    assert arguments == ("finetune", in_child, session.store.folder, tmp_path / "run")
    assert [row.id for row in options["rows"]] == ["a", "b", "x"]


def test_interactively_the_cell_returns_and_shows_a_panel(
    tmp_path, session, in_child, launched, shown, monkeypatch
):
    monkeypatch.setattr(module, "is_headless", lambda: False)
    train(finetune, session, in_child, tmp_path / "run", train_ids=["a"])
    assert len(shown) == 1
    with pytest.raises(NotFinishedError):
        module.attach(tmp_path / "run").wait(20)
