"""The live plot: what it shows while a run goes on, at its end, and when it is stopped."""

import base64
import io
import json
import logging
import re
import threading

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

from semrepa.training.child import NotFinishedError
from semrepa.ui import live as module
from semrepa.ui.live import duration, live
from semrepa.ui.show import PLOTLY
from semrepa.ui.style import BLUE, FAINT, GREEN, ORANGE, RED


class Handle:
    """Stands in for a notebook's display: keeps every bundle that was shown in its place."""

    def __init__(self):
        self.shown: list[dict] = []

    def display(self, content, *, raw, display_id, metadata=None):
        assert raw and display_id
        self.shown.append(content)
        return self

    def update(self, content, *, raw, metadata=None):
        assert raw
        self.shown.append(content)


@pytest.fixture
def notebook(monkeypatch) -> Handle:
    """A notebook that someone looks at, redrawn at every step."""
    handle = Handle()
    monkeypatch.setattr("IPython.display.display", handle.display)
    monkeypatch.setattr(module, "in_kernel", lambda: True)
    monkeypatch.setattr(module, "is_headless", lambda: False)
    monkeypatch.setattr(module._Plot, "every", 0.0)
    monkeypatch.setattr(module._Clock, "drawn", lambda clock: None)
    return handle


def steps(count: int):
    for step in range(1, count + 1):
        yield step_log(step)


class StepLog(dict):
    @property
    def step(self) -> int:
        return self["step"]


def step_log(step: int) -> StepLog:
    return StepLog(step=step, loss=1 / step, parts={"loss_id": 1 / step})


def test_pictures_while_running_and_an_interactive_bundle_at_the_end(notebook):
    logs = live(steps(3), title="Identity", total=3)
    assert [log.step for log in logs] == [1, 2, 3]
    assert len(notebook.shown) == 4
    assert all(PLOTLY not in content for content in notebook.shown[:-1])
    assert {PLOTLY, "image/png", "text/plain"} == set(notebook.shown[-1])
    for content in notebook.shown:
        assert base64.b64decode(content["image/png"]).startswith(b"\x89PNG")
    assert "identity loss" in notebook.shown[-1]["text/plain"]
    assert len(json.dumps(notebook.shown[-1])) < 400_000


def test_the_run_folder_is_the_source_where_there_is_one(notebook, tmp_path):
    lines = [
        {"step": 0, "floors": {"loss_id": {"zero output": 0.035}}},
        {"step": 1, "parts": {"loss_id": 0.5}},
    ]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    live([step_log(2)], tmp_path)
    figure = notebook.shown[-1][PLOTLY]
    assert figure["data"][0]["y"] == [0.5]
    assert "zero output" in json.dumps(figure["layout"])


def test_stopping_is_gentle_for_a_person_and_real_for_a_headless_run(notebook, monkeypatch):
    closed = []

    def interrupted():
        try:
            yield step_log(1)
            raise KeyboardInterrupt
        finally:
            closed.append(True)

    assert [log.step for log in live(interrupted())] == [1]
    assert "stopped: step 1" in notebook.shown[-1]["text/plain"]
    monkeypatch.setattr(module, "is_headless", lambda: True)
    with pytest.raises(KeyboardInterrupt):
        live(interrupted())
    assert closed == [True, True]


def test_a_thread_draws_into_what_the_cell_has_shown(notebook, tmp_path):
    view = module.open_view(tmp_path, "Identity")
    assert notebook.shown[1:] == [{"text/plain": "Identity waiting for the first step"}]
    thread = threading.Thread(target=live, args=(steps(2),), kwargs={"view": view})
    thread.start()
    thread.join()
    assert view.handle is notebook
    assert [("image/png" in content) for content in notebook.shown] == [False, False, True, True, True]


def test_errors_of_the_run_come_through(notebook):
    def failing():
        yield step_log(1)
        raise RuntimeError("loss is not finite")

    with pytest.raises(RuntimeError, match="not finite"):
        live(failing(), total=4)
    assert "failed: step 1 of 4 · 25%" in notebook.shown[-1]["text/plain"]
    assert colors_of_bar(notebook.shown[-1]) == (RED, FAINT)


@pytest.mark.parametrize(("status", "color"), [("stopped", ORANGE), ("failed", RED), ("crashed", RED)])
def test_the_picture_of_a_child_says_how_it_ended(notebook, status, color):
    def followed():
        yield step_log(1)
        raise NotFinishedError("the end of its log", status)

    with pytest.raises(NotFinishedError):
        live(followed(), total=2)
    assert f"{status}: step 1 of 2 · 50%" in notebook.shown[-1]["text/plain"]
    assert colors_of_bar(notebook.shown[-1]) == (color, FAINT)
    view = module.open_view("run", "Identity")
    with pytest.raises(NotFinishedError):
        live(failing_at_once(status), view=view)
    assert notebook.shown[-1] == {"text/plain": f"Identity {status} before the first step"}


def failing_at_once(status):
    raise NotFinishedError("nothing was trained", status)
    yield


def colors_of_bar(content) -> tuple[str, str]:
    """Colours at both ends of the bar along the upper edge; the names of the style where they are its own."""
    opened = Image.open(io.BytesIO(base64.b64decode(content["image/png"]))).convert("RGB")
    picture = np.asarray(opened, dtype=float) / 255
    known = (BLUE, GREEN, ORANGE, RED, FAINT)
    ends = (picture[1, 2], picture[1, -3])
    left, right = (next(c for c in known if np.allclose(to_rgb(c), end, atol=0.04)) for end in ends)
    return left, right


def test_the_bar_fills_and_is_full_at_the_end(notebook):
    live(steps(4), total=4)
    assert [colors_of_bar(content) for content in notebook.shown] == [
        *[(BLUE, FAINT)] * 3,
        (BLUE, BLUE),
        (GREEN, GREEN),
    ]
    assert "step 3 of 4 · 75% · " in notebook.shown[2]["text/plain"]
    assert re.search(r"\d steps/s · \d+ s left", notebook.shown[2]["text/plain"])
    assert "done: step 4 of 4 · 100%" in notebook.shown[-1]["text/plain"]


def test_steps_that_were_not_finite_are_counted_in_words(notebook):
    live([step_log(1), StepLog(step=2, loss=None, parts={"loss_id": None}), step_log(3)])
    assert "1 steps not finite" in notebook.shown[-1]["text/plain"]


def test_a_run_that_was_done_before_is_shown_although_nothing_was_left_to_do(notebook, tmp_path):
    lines = [{"step": step, "loss": 1.0, "parts": {"loss_id": 1.0}} for step in range(1, 4)]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert live([], tmp_path, total=3) == []
    assert "done: step 3 of 3 · 100%" in notebook.shown[-1]["text/plain"]
    assert PLOTLY in notebook.shown[-1]


def test_outside_a_notebook_there_are_two_quiet_lines(caplog):
    with caplog.at_level(logging.INFO, logger="semrepa"):
        logs = live(steps(5), title="Identity")
    assert len(logs) == 5
    assert len(caplog.messages) == 2
    assert "done: step 5" in caplog.messages[-1]


def test_an_empty_stream_shows_nothing(notebook):
    assert live([]) == []
    assert notebook.shown == []


@pytest.mark.parametrize(("seconds", "text"), [(42, "42 s"), (200, "3 min 20 s"), (7500, "2 h 05 min")])
def test_durations_read_like_speech(seconds, text):
    assert duration(seconds) == text
