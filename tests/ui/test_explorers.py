"""Explorers without a browser: render, static, sliders moved by hand, and pages that need nothing else."""

import re

import numpy as np
import pytest
from matplotlib.figure import Figure

from semrepa.ui import explorers as module
from semrepa.ui.explorers import Explorer, identity_over_frames, latent_browser, noise_explorer
from semrepa.ui.scrubber import scrubber
from semrepa.ui.style import to_png

RANDOM = np.random.default_rng(0)
CLIP = RANDOM.integers(0, 256, (9, 3, 16, 24), dtype=np.uint8)


def likeness() -> Explorer:
    similarity = np.linspace(1, 0.5, 9)
    similarity[3:5] = np.nan
    return identity_over_frames({"aligned": similarity}, CLIP[..., :16], frames=CLIP)


def noise() -> Explorer:
    return noise_explorer([0, 500, 999], {"noisy": CLIP[:3]}, {"loss": [1, 2, 4]}, floors={"loss": 3})


def latents() -> Explorer:
    values = RANDOM.normal(size=(3, 4, 5, 6))
    return latent_browser({"video": values, "depth": 2 * values})


@pytest.fixture(params=[likeness, noise, latents], ids=lambda make: make.__name__)
def explorer(request) -> Explorer:
    return request.param()


def words(figure: Figure) -> str:
    return " ".join(text.get_text() for text in figure.findobj(lambda part: hasattr(part, "get_text")))


def test_static_is_the_first_state(explorer):
    assert set(explorer.state()) == set(explorer.controls)
    assert words(explorer.static()) == words(explorer.render(**explorer.state()))


def test_moving_any_control_redraws_the_picture(explorer):
    shell = explorer.widgets()
    controls, picture = shell.children
    assert bytes(picture.value).startswith(b"\x89PNG")
    assert [control.description.replace(" ", "_") for control in controls.children] == list(explorer.controls)
    for control, choices in zip(controls.children, explorer.controls.values(), strict=True):
        before = bytes(picture.value)
        control.value = next(choice for choice in choices if choice != control.value)
        assert bytes(picture.value) != before
    state = {name: box.value for name, box in zip(explorer.controls, controls.children, strict=True)}
    assert bytes(picture.value) == to_png(explorer.render(**state))


@pytest.mark.parametrize("headless", [True, False])
def test_headless_shows_a_figure_and_no_widget(monkeypatch, headless):
    shown = []
    monkeypatch.setattr(module, "is_headless", lambda: headless)
    monkeypatch.setattr(module, "show", lambda item, text="": shown.append(item))
    latents()._ipython_display_()
    assert isinstance(shown[0], Figure) is headless


def test_likeness_has_gaps_and_says_where_no_face_is():
    assert "no face" in words(likeness().render(frame=4))
    assert "cosine 0.50" in words(likeness().render(frame=8))
    line = likeness().static().axes[0].lines[0].get_ydata()
    assert np.isnan(line[3:5]).all()


def test_a_clip_that_never_shows_a_face_is_an_empty_plot():
    explorer = identity_over_frames({"base": np.full(9, np.nan)}, CLIP[..., :16])
    assert "base: no face" in words(explorer.static())


def test_noise_levels_state_their_numbers():
    assert "loss: 4" in words(noise().render(timestep=999))
    assert "floor 3" in words(noise().render(timestep=0))


def test_scrubber_needs_nothing_outside_itself():
    page = scrubber({"video": CLIP, "depth <1>": CLIP[:7]}, fps=4, title="Clip 7")
    assert page.html.count("data:image/jpeg;base64,") == 7
    assert page.html.count('class="now"') == 1
    assert 'max="6"' in page.html
    assert "depth &lt;1&gt;" in page.html
    assert not re.search(r"https?://|<script|src=\"(?!data:)|@import|url\(", page.html)
    assert "$" not in page.html
    bundle = page._repr_mimebundle_()
    assert set(bundle) == {"text/html", "image/png", "text/plain"}
    assert page.png.startswith(b"\x89PNG")


def test_scrubber_stores_large_frames_small():
    large = np.repeat(np.repeat(CLIP, 20, 2), 20, 3)
    assert (
        len(scrubber({"video": large}, height=64).html) < len(scrubber({"video": large}, height=320).html) / 3
    )
    with pytest.raises(ValueError, match="one size"):
        scrubber({"a": CLIP, "b": large})
