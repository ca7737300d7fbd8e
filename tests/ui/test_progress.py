"""The bar of long preparations: redrawn in one place, full at the end, quiet outside a notebook."""

import logging

import pytest

from semrepa.ui import progress as module
from semrepa.ui.progress import Progress
from semrepa.ui.style import BLUE, GREEN


@pytest.fixture
def shown(monkeypatch):
    """What stood in the one place of a notebook, one after the other."""
    contents = []

    class Handle:
        def update(self, content, *, raw):
            contents.append(content)

    def display(content, *, raw, display_id):
        contents.append(content)
        return Handle()

    monkeypatch.setattr("IPython.display.display", display)
    monkeypatch.setattr(module, "in_kernel", lambda: True)
    return contents


def test_it_fills_in_place_and_stays_full(shown, monkeypatch):
    monkeypatch.setattr(module, "EVERY", 0.0)
    progress = Progress("preparing <clips>")
    for done in (1, 2, 4):
        progress(done, 4, f"clip {done}")
    texts = [content["text/plain"] for content in shown]
    assert texts[0].startswith("preparing <clips> [#####...............] 25% · 1 of 4 in ")
    assert texts[1].endswith("(clip 2)")
    assert texts[2].startswith("preparing <clips> [####################] 100% · 4 of 4 in ")
    assert "width:100.0%" in shown[-1]["text/html"] and GREEN in shown[-1]["text/html"]
    assert "width:25.0%" in shown[0]["text/html"] and BLUE in shown[0]["text/html"]
    assert "preparing &lt;clips&gt;" in shown[0]["text/html"]


def test_it_draws_now_and_then_but_always_the_last(shown, monkeypatch):
    monkeypatch.setattr(module, "EVERY", 60.0)
    progress = Progress("preparing clips")
    progress.drawn = module.time.monotonic()
    for done in range(1, 101):
        progress(done, 100, "clip")
    assert len(shown) == 1
    assert "100%" in shown[0]["text/plain"]


def test_outside_a_notebook_it_is_a_log_line(caplog):
    with caplog.at_level(logging.INFO, logger="semrepa"):
        Progress("preparing clips")(2, 2, "clip")
    assert caplog.messages == ["preparing clips: 2 of 2 in 0 s"]
