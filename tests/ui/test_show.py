"""Bundles, tables and the headless switch."""

import base64
import io
import logging
from types import SimpleNamespace

import ipywidgets
import numpy as np
import pytest
from PIL import Image

from semrepa.ui import show as module
from semrepa.ui.show import (
    CELL_WIDTH,
    FIGURE_SPACE,
    PLOTLY,
    bundle,
    in_kernel,
    is_headless,
    png_size,
    show,
    table,
)
from semrepa.ui.style import INK, PAPER, SCREEN_DPI, new_figure, to_png


def test_a_bundle_always_holds_a_picture_and_text():
    figure, _ = new_figure(2, 1)
    content = bundle(figure, text="two inches", plotly={"data": [], "layout": {}})
    assert base64.b64decode(content["image/png"]).startswith(b"\x89PNG")
    assert content["text/plain"] == "two inches"
    assert content[PLOTLY] == {"data": [], "layout": {}}
    assert set(bundle(figure)) == {"image/png", "text/plain"}
    assert png_size(figure) == {"image/png": {"width": 2 * SCREEN_DPI, "height": SCREEN_DPI}}
    wide, _ = new_figure(11, 1)
    shown = Image.open(io.BytesIO(base64.b64decode(bundle(wide, plotly={"data": []})["image/png"])))
    assert shown.width == png_size(wide, plotly=True)["image/png"]["width"] == CELL_WIDTH


def test_beside_plotly_the_picture_has_the_pixels_that_are_shown():
    for plotly, dpi in (({"data": []}, SCREEN_DPI), (None, new_figure(2, 1)[0].dpi)):
        content = bundle(new_figure(2, 1)[0], plotly=plotly)
        with Image.open(io.BytesIO(base64.b64decode(content["image/png"]))) as picture:
            assert picture.size == (2 * dpi, dpi)


def test_without_a_kernel_show_only_logs(caplog):
    assert not in_kernel()
    assert is_headless()
    with caplog.at_level(logging.INFO, logger="semrepa"):
        show(new_figure(2, 1)[0], text="the depth figure")
    assert "the depth figure" in caplog.text


@pytest.mark.parametrize(("value", "expected"), [("1", True), ("0", False), ("", False)])
def test_a_runner_can_say_that_nobody_watches(monkeypatch, value, expected):
    monkeypatch.setattr(module, "in_kernel", lambda: True)
    monkeypatch.setenv("SEMREPA_HEADLESS", value)
    assert is_headless() is expected


@pytest.mark.parametrize("can_ask", [True, False])
def test_a_front_end_that_takes_no_questions_has_nobody_before_it(monkeypatch, can_ask):
    shell = SimpleNamespace(kernel=SimpleNamespace(_allow_stdin=can_ask))
    monkeypatch.setattr("IPython.get_ipython", lambda: shell)
    monkeypatch.delenv("SEMREPA_HEADLESS", raising=False)
    assert in_kernel()
    assert is_headless() is not can_ask


def test_a_saved_notebook_keeps_words_in_place_of_a_widget(monkeypatch):
    shown = []
    monkeypatch.setattr(module, "in_kernel", lambda: True)
    monkeypatch.setattr("IPython.display.display", lambda content, raw: shown.append(content))
    show(ipywidgets.Button(description="Stop"), text="buttons while the kernel lives")
    assert shown[0]["text/plain"] == "buttons while the kernel lives"
    assert "application/vnd.jupyter.widget-view+json" in shown[0]


def test_a_table_is_html_and_text():
    rows = [{"arm": "base", "ID": 0.42123, "ok": True}, {"arm": "<b>", "ID": None, "clips": 7}]
    shown = table(rows, caption="Scores")._repr_mimebundle_()
    assert shown["text/plain"].splitlines() == [
        "Scores",
        "arm       ID  ok   clips",
        "----  ------  ---  -----",
        "base  0.4212  yes",
        "<b>                    7",
    ]
    assert "&lt;b&gt;" in shown["text/html"]
    assert "<b>" not in shown["text/html"]
    assert "text-align:right" in shown["text/html"]
    caption = shown["text/html"].partition("<caption")[2].partition(">")[0]
    assert f"background:{PAPER};color:{INK}" in caption, "ink on a dark page"


def test_numbers_of_a_column_stand_at_the_point():
    rows = [
        {"v": 0.42123, "n": 3},
        {"v": 12.5, "n": 12},
        {"v": 1.5e9},
        {"v": float("nan")},
        {"v": -7, "n": 0.5},
    ]
    made = table(rows)
    assert str(made).splitlines()[2:] == [
        " 0.4212   3",
        "12.5     12",
        "1.5e+09",
        "      -",
        "-7        0.5",
    ]
    assert made.html().count("tabular-nums") == 2 * 6
    assert made.html().count(FIGURE_SPACE) == 2 + 3 + 2 + 5


def test_heavy_pictures_are_stored_in_256_colours():
    figure, grid = new_figure(6, 4)
    grid[0, 0].imshow(np.random.default_rng(0).random((400, 600, 3)))
    stored = base64.b64decode(bundle(figure)["image/png"])
    assert Image.open(io.BytesIO(stored)).mode == "P"
    assert len(stored) < len(to_png(figure)) / 2
