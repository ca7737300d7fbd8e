"""A person in JupyterLab: notebooks 02, 05 and 06 run, pictures are on the page, sliders move them."""

from collections.abc import Iterator

import pytest

from tests.browser.chromium import browser, photograph
from tests.browser.figures import figures_not_seen
from tests.browser.lab import SHUT_DOWN, copy_notebook, errors, open_notebook, pictures, run_all, server
from tests.notebooks.test_notebooks_run import DRAWS, OVERRIDES, small_index

pytestmark = pytest.mark.slow

NOTEBOOKS = ("02_depth_colorization", "05_id_distance_analysis", "06_dit_finetuning")
LIMIT = 420
"""Seconds for one notebook; idle, each takes less than one minute."""


@pytest.fixture(scope="module")
def chromium() -> Iterator:
    with browser() as found:
        yield found


@pytest.fixture(scope="module")
def address(chromium, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("lab")
    overrides = OVERRIDES | {"data.index": str(small_index(folder)), "finetune.steps": 6}
    for name in NOTEBOOKS:
        copy_notebook(name, folder, {"run_dir": str(folder / name), "overrides": overrides})
    with server(folder, SEMREPA_CACHE=str(folder / "cache")) as found:
        yield found


@pytest.fixture
def page(chromium) -> Iterator:
    page = chromium.new_page(viewport={"width": 1280, "height": 900})
    yield page
    page.evaluate(SHUT_DOWN)
    page.close()


def cell_with(page, words: str) -> int:
    """Place of the code cell that holds some words."""
    sources = page.eval_on_selector_all(".jp-Notebook .jp-Cell", "cells => cells.map(c => c.innerText)")
    found = [k for k, text in enumerate(sources) if words in text]
    assert found, f"no cell holds {words}"
    return found[0]


def cell_at(page, number: int):
    return page.locator(".jp-Notebook .jp-Cell").nth(number)


def assert_all_figures_are_seen(page) -> None:
    drawing, missing = figures_not_seen(page, DRAWS)
    assert drawing and missing == []


def run(page, address: str, name: str) -> list[list[dict]]:
    """Open and run a notebook; its outputs."""
    open_notebook(page, address, name, seconds=LIMIT)
    *_, outputs = run_all(page, seconds=LIMIT)
    assert errors(outputs) == []
    page.wait_for_timeout(1500)  # the last pictures are drawn
    return outputs


def move(page, cell, times: int = 1) -> None:
    """Move the first slider of a cell with the keyboard, or choose the next entry of its list."""
    handle = cell.locator(".noUi-handle").first
    if handle.count():
        handle.focus()
        for _ in range(times):
            page.keyboard.press("ArrowRight")
        return
    choice = cell.locator(".widget-dropdown select").first
    now, count = choice.evaluate("choice => [choice.selectedIndex, choice.options.length]")
    choice.select_option(index=(now + times) % count)


def picture(cell) -> list[str]:
    """What the first widget's picture shows, as bytes in letters."""
    return cell.locator("img.widget-image, .widget-image img").first.evaluate(
        """async image => {
            const data = await (await fetch(image.src)).arrayBuffer();
            return [...new Uint8Array(await crypto.subtle.digest('SHA-256', data))].map(String);
        }"""
    )


def assert_slider_changes_picture(page, words: str) -> None:
    cell = cell_at(page, cell_with(page, words))
    cell.scroll_into_view_if_needed()
    before = picture(cell)
    move(page, cell)
    for _ in range(60):
        page.wait_for_timeout(250)
        if picture(cell) != before:
            return
    raise AssertionError(f"the slider of {words} has changed nothing after 15 s")


def test_scrubber_and_latent_browser(page, address):
    run(page, address, "02_depth_colorization")
    assert_all_figures_are_seen(page)
    assert_slider_changes_picture(page, "latent_browser(")
    photograph(page, "02_latent_browser")
    scrubbed = cell_at(page, cell_with(page, "depth_scrubber("))
    scrubbed.scroll_into_view_if_needed()
    bar = scrubbed.locator("input[type=range]")
    shown = scrubbed.locator("img.now")
    before = shown.get_attribute("alt")
    bar.focus()
    for _ in range(4):
        page.keyboard.press("ArrowRight")
    assert shown.get_attribute("alt").startswith("0.50 s") and shown.get_attribute("alt") != before
    photograph(page, "02_scrubber")


def test_distances(page, address):
    run(page, address, "05_id_distance_analysis")
    assert_all_figures_are_seen(page)
    assert_slider_changes_picture(page, "distance_explorer(")
    photograph(page, "05_distances")


def test_training_is_seen_while_it_runs(page, address):
    open_notebook(page, address, "06_dit_finetuning", seconds=LIMIT)
    training = cell_with(page, "aligned_run = ")
    seen = set()
    for outputs in run_all(page, seconds=LIMIT, look=0.5):
        seen.update(pictures(outputs[training]))
    assert errors(outputs) == []
    assert len(seen) > 2, "the live plot did not advance"
    page.wait_for_timeout(3000)
    assert_all_figures_are_seen(page)
    plot = cell_at(page, training)
    plot.scroll_into_view_if_needed()
    photograph(page, "06_training")
    place = plot.locator(".jp-RenderedPlotly .plot-img").bounding_box()
    page.mouse.move(place["x"] + 60, place["y"] + 60)  # until then JupyterLab shows the PNG
    plot.locator(".jp-RenderedPlotly .main-svg").first.wait_for(timeout=60_000)
    photograph(page, "06_training_interactive")
    assert_slider_changes_picture(page, "noise_level_explorer(")
    photograph(page, "06_noise_explorer")
