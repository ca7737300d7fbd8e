"""A real browser for tests: the Chromium of this machine, without network, driven by playwright."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
ARTEFACTS = Path(os.environ.get("SEMREPA_ARTEFACTS", Path(__file__).parents[2] / "runs" / "browser"))
"""Where screenshots go, for people to look at."""


def executable() -> str | None:
    """The browser of this machine, if it has one."""
    return next(filter(None, map(shutil.which, NAMES)), None)


@contextmanager
def browser() -> Iterator:
    """Chromium, headless; the test is skipped, and says so, where there is none."""
    api = pytest.importorskip(
        "playwright.sync_api", reason="browser test skipped: playwright is not installed"
    )
    path = executable()
    if path is None:
        pytest.skip("browser test skipped: no Chromium here (Debian, Ubuntu: apt-get install chromium)")
    with api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        try:
            yield chromium
        finally:
            chromium.close()


@contextmanager
def offline_page(chromium, file: Path) -> Iterator[tuple]:
    """Open a file without network; gives the page, and what it asks the network for."""
    context = chromium.new_context(viewport={"width": 1100, "height": 1400})
    asked: list[str] = []

    def refuse(route) -> None:
        asked.append(route.request.url)
        route.abort()

    context.route(lambda url: not url.startswith(("file:", "data:", "blob:", "about:")), refuse)
    page = context.new_page()
    try:
        page.goto(file.resolve().as_uri(), wait_until="load")
        page.wait_for_timeout(1000)  # plots are drawn after the page has loaded
        yield page, asked
    finally:
        context.close()


def photograph(page, name: str, **options: object) -> Path:
    """Keep a small picture of a page, or of an element of it."""
    ARTEFACTS.mkdir(parents=True, exist_ok=True)
    path = ARTEFACTS / f"{name}.jpg"
    page.screenshot(path=path, type="jpeg", quality=60, **options)
    return path
