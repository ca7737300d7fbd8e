"""One look: colours that stay apart for colour-blind eyes, letters that can be read, four sizes of them."""

import io
import itertools
import re
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

from semrepa.ui import style
from semrepa.ui.style import CYCLE, LEGIBLE, PAPER, PART_COLORS, contrast, fewer_colors, on_color, readable

SOURCES = sorted(Path(style.__file__).parent.rglob("*.py"))
# Machado, Oliveira and Fernandes 2009, severity 1, on linear RGB.
PROTANOPIA = [
    [0.152286, 1.052583, -0.204868],
    [0.114503, 0.786281, 0.099216],
    [-0.003882, -0.048116, 1.051998],
]
DEUTERANOPIA = [
    [0.367322, 0.860646, -0.227968],
    [0.280085, 0.672501, 0.047413],
    [-0.01182, 0.04294, 0.968881],
]
XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def lab(color: str, sight: object) -> np.ndarray:
    """CIELAB of a colour as these eyes see it."""
    channels = np.array(to_rgb(color))
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    x, y, z = np.cbrt(XYZ @ np.clip(np.array(sight) @ linear, 0, 1) / XYZ.sum(axis=1))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("sight", [np.eye(3), PROTANOPIA, DEUTERANOPIA], ids=["full", "no red", "no green"])
def test_colours_stay_apart_for_all_eyes(sight):
    losses = [PART_COLORS[name] for name in ("loss_diff", "loss_struct", "loss_id")]
    for colors, least in ((losses, 20), (CYCLE[:4], 15), (CYCLE, 12)):
        for a, b in itertools.combinations(colors, 2):
            assert np.linalg.norm(lab(a, sight) - lab(b, sight)) > least, (a, b)


def test_letters_can_be_read_on_paper_and_on_areas():
    for color in {*CYCLE, *PART_COLORS.values()}:
        assert contrast(readable(color), PAPER) >= LEGIBLE
        assert contrast(on_color(color), color) > 4
    assert readable("#0072B2") == "#0072b2"  # dark enough as it is
    assert contrast("#000000", "#FFFFFF") == pytest.approx(21)
    assert contrast("#777777", "#FFFFFF") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.name)
def test_letters_have_one_of_four_sizes(source):
    own = re.findall(r"(?:font|label|title)_?size[\"']?[=:]\s*\d[\d.]*", source.read_text(encoding="utf-8"))
    assert own == [], "take SMALL, TEXT, HEAD or TITLE of semrepa.ui.style"


def test_fewer_colours_are_lighter_and_look_the_same():
    rows = np.linspace(0, 255, 160)
    picture = np.stack(
        [np.add.outer(rows, rows) / 2, np.subtract.outer(rows, rows) / 2 + 127, np.full((160, 160), 90)], -1
    )
    picture = (picture + np.random.default_rng(0).normal(0, 3, picture.shape)).clip(0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format="PNG")
    light = fewer_colors(buffer.getvalue())
    assert len(light) < len(buffer.getvalue()) / 2
    with Image.open(io.BytesIO(light)) as found:
        assert found.size == (160, 160)
        assert np.abs(np.asarray(found.convert("RGB")).astype(int) - picture).mean() < 6
