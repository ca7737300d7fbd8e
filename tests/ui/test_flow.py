"""The method as one picture: every panel and arrow is drawn, and a row that does not fit is refused."""

import pytest
import torch

from semrepa.ui.flow import Stage, flow
from semrepa.ui.style import to_png


def stage(**changes):
    frame = torch.randint(0, 256, (3, 16, 24), dtype=torch.uint8)
    panels = {"video": frame, "latents": torch.randn(4, 6), "face": torch.randn(64)}
    panels["losses"] = {"loss_diff": 0.05, "loss_id": 0.02}
    return Stage(**{"title": "Each step", "panels": panels, "steps": ["encode", "", "compare"]} | changes)


def test_panels_arrows_and_losses_are_drawn():
    figure = flow([stage(), stage(panels={"one": torch.randn(4, 6)}, steps=[])], title="All")
    assert to_png(figure).startswith(b"\x89PNG")
    assert len(figure.axes) == 5
    words = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert {"encode", "compare", "diffusion loss 0.05", "identity loss 0.02"} <= set(words)
    assert [axes.get_xlabel() for axes in figure.axes] == ["video", "latents", "face", "losses", "one"]


def test_maps_have_white_at_zero():
    axes = flow([stage()]).axes[1]
    low, high = axes.images[0].get_clim()
    assert low == -high


def test_steps_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="got 1 steps for 4 panels in 'Each step'"):
        flow([stage(steps=["encode"])])
