"""All explorers without a browser: static pictures, controls moved by hand, and nothing heavy in a shell."""

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from semrepa.ui.checks import check_lengths
from semrepa.ui.explorers import (
    Explorer,
    distance_explorer,
    identity_over_frames,
    latent_browser,
    noise_explorer,
    shell,
    weight_explorer,
)
from semrepa.ui.history import to_history
from semrepa.ui.show import bundle
from semrepa.ui.style import to_png

RANDOM = np.random.default_rng(0)
CLIP = RANDOM.integers(0, 256, (9, 3, 16, 24), dtype=np.uint8)


def likeness() -> Explorer:
    similarity = np.linspace(1, 0.5, 9)
    similarity[3:5] = np.nan
    return identity_over_frames({"aligned": similarity}, CLIP[..., :16], frames=CLIP)


def noise() -> Explorer:
    curves, pulls = {"identity loss": [1, 2, 4]}, {"identity loss": [0.1, 0.2, 0.4], "other": [1, 2, 3]}
    return noise_explorer([0, 500, 999], {"noisy": CLIP[:3]}, curves, gradients=pulls)


def latents() -> Explorer:
    values = RANDOM.normal(size=(3, 4, 5, 6))
    return latent_browser({"video": values, "depth": 2 * values})


def distances() -> Explorer:
    generator = torch.Generator().manual_seed(0)
    embeds = torch.randn(4, 1, 8, generator=generator) + 0.2 * torch.randn(4, 3, 8, generator=generator)
    faces = [CLIP[0].transpose(1, 2, 0), None, *CLIP[1:3].transpose(0, 2, 3, 1)]
    everyone = torch.ones(4, 3, dtype=torch.bool)
    return distance_explorer({"teacher": embeds, "aligner": -embeds + 1}, everyone, "aabc", faces=faces)


def weights() -> Explorer:
    parts = {"loss_diff": 1.0, "gated_struct": 3.0, "gated_id": 0.1, "weight_struct": 0.01, "weight_id": 1.0}
    pull = {"grad_diff": 1.0, "grad_struct": 0.2, "grad_id": 0.5, "cos_diff_struct": -0.1, "cos_diff_id": 0.3}
    return weight_explorer(to_history([{"step": step, "parts": parts, "monitors": pull} for step in (1, 5)]))


@pytest.fixture(params=[likeness, noise, latents, distances, weights], ids=lambda make: make.__name__)
def explorer(request) -> Explorer:
    return request.param()


def words(figure: Figure) -> str:
    return " ".join(text.get_text() for text in figure.findobj(lambda part: hasattr(part, "get_text")))


def boxes(view):
    """The controls of a shell by name."""
    return {box.description.replace(" ", "_"): box for box in view.children[0].children}


def test_static_is_a_picture_of_the_first_state_or_of_all(explorer):
    assert set(explorer.state()) == set(explorer.controls)
    whole = explorer.overview or (lambda: explorer.render(**explorer.state()))
    assert words(explorer.static()) == words(whole())
    assert bundle(explorer.static())["image/png"].startswith("iVBOR")


def test_moving_any_control_redraws_the_picture(explorer):
    view = explorer.widgets()
    picture, controls = view.children[-1], boxes(view)
    assert bytes(picture.value).startswith(b"\x89PNG")
    assert list(controls) == list(explorer.controls)
    for name, choices in explorer.controls.items():
        before = bytes(picture.value)
        controls[name].value = next(choice for choice in reversed(choices) if choice != controls[name].value)
        assert bytes(picture.value) != before, name
    state = {name: box.value for name, box in controls.items()}
    assert bytes(picture.value) == to_png(explorer.render(**state))


def test_a_shell_holds_one_picture_and_no_data(explorer):
    view = explorer.widgets()
    kept = [
        len(bytes(box.value))
        for box in (view.children[-1], *view.children[0].children)
        if hasattr(box, "format")
    ]
    assert len(kept) == 1
    assert kept[0] < 300_000


@pytest.mark.parametrize("headless", [True, False])
def test_headless_shows_a_figure_and_no_widget(monkeypatch, headless):
    shown = []
    monkeypatch.setattr(shell, "is_headless", lambda: headless)
    monkeypatch.setattr(shell, "show", lambda item, text="": shown.append(item))
    latents()._ipython_display_()
    assert isinstance(shown[0], Figure) is headless


def test_few_choices_are_a_menu_and_many_numbers_a_slider():
    controls = boxes(likeness().widgets())
    assert type(controls["frame"]).__name__ == "SelectionSlider"
    assert {type(box).__name__ for box in boxes(distances().widgets()).values()} == {"Dropdown"}
    assert [label for label, _ in boxes(weights().widgets())["weight_id"].options][:3] == [
        "0",
        "0.001",
        "0.003",
    ]


def test_what_does_not_belong_together_is_refused():
    check_lengths({"a": 2, "b": 2}, "frames", "cut one")
    with pytest.raises(ValueError, match="got frames of a: 2, b: 3; expected equally many; cut one"):
        check_lengths({"a": 2, "b": 3}, "frames", "cut one")
    with pytest.raises(ValueError, match="got frames of a: 0; expected at least one each"):
        check_lengths({"a": 0}, "frames", "cut one")
    with pytest.raises(ValueError, match="of nothing; expected at least one"):
        check_lengths({}, "frames", "cut one")
