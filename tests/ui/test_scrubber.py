"""Pages that run in a browser alone: nothing outside of them, light, and alive in Chromium."""

import io
import re
import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image

from semrepa.ui.explorers import versus
from semrepa.ui.scrubber import SMALLEST, scrubber, stored

RANDOM = np.random.default_rng(0)
CLIP = RANDOM.integers(0, 256, (9, 3, 16, 24), dtype=np.uint8)


def test_scrubber_needs_nothing_outside_itself():
    page = scrubber({"video": CLIP, "depth <1>": CLIP}, fps=4, title="Clip 7")
    assert page.html.count("data:image/webp;base64,") == 9
    assert page.html.count('class="now"') == 1
    assert 'max="8"' in page.html
    assert "depth &lt;1&gt;" in page.html
    assert not re.search(r"https?://|<script|src=\"(?!data:)|@import|url\(", page.html)
    assert "$" not in page.html
    bundle = page._repr_mimebundle_()
    assert set(bundle) == {"text/html", "image/png", "text/plain"}
    assert bundle["image/png"].startswith("iVBOR")
    assert page.static().get_suptitle() == "Clip 7"


def test_each_frame_has_its_time_and_note():
    page = scrubber({"video": CLIP[:2]}, fps=4, notes=["still", "moves"])
    assert page.captions == ["0.00 s, still", "0.25 s, moves"]
    assert "<output>0.00 s, still</output>" in page.html
    assert 'alt="0.25 s, moves"' in page.html
    with pytest.raises(ValueError, match="clips: 2, notes: 1; expected equally many"):
        scrubber({"video": CLIP[:2]}, notes=["still"])


def test_clips_that_cannot_go_in_step_are_refused():
    with pytest.raises(ValueError, match="a: 9, b: 7; expected equally many; cut them to one length"):
        scrubber({"a": CLIP, "b": CLIP[:7]})
    with pytest.raises(ValueError, match="got clips of 24 x 16 and 24 x 8 pixels; expected one size"):
        scrubber({"a": CLIP, "b": CLIP[:, :, :8]})
    with pytest.raises(ValueError, match="the clip is empty"):
        scrubber({"a": CLIP[:0]})
    with pytest.raises(ValueError, match="got frames of nothing"):
        scrubber({})


def test_large_frames_are_stored_small():
    large = RANDOM.integers(0, 256, (4, 320, 480, 3), dtype=np.uint8)
    large = list(large)
    sizes = {
        height: [Image.open(io.BytesIO(file)).size for file in stored(large, height)] for height in (64, 900)
    }
    assert sizes == {64: [(96, 64)] * 4, 900: [(480, 320)] * 4}
    light = stored(large, 320, most=200_000)
    assert sum(map(len, light)) <= 200_000
    assert SMALLEST < Image.open(io.BytesIO(light[0])).height < 320
    assert Image.open(io.BytesIO(stored(large, 320, most=10)[0])).height == SMALLEST


# --- in a browser

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
RED, GREEN, BLUE = (200, 30, 30), (30, 160, 60), (40, 60, 200)
MOVE = """<script>for (var box of document.querySelectorAll('.scrub')) {
  box.querySelectorAll('select').forEach(function (menu, i) { menu.selectedIndex = [0, 1, 0][i]; });
  if (!box.closest('.moved')) continue;
  var bar = box.querySelector('input'); bar.value = bar.max;
  bar.dispatchEvent(new Event('input', {bubbles: true}));
}</script>"""
"""What a reader does: moves the slider of the lower half to its end, and swaps A and B there."""


def plain(*colors: tuple[int, int, int]) -> np.ndarray:
    """A clip of one colour per frame, (n, 3, 64, 64)."""
    return np.array(colors, np.uint8)[:, :, None, None].repeat(64, 2).repeat(64, 3)


def area(picture: np.ndarray, color: tuple[int, int, int]) -> int:
    """Pixels of about this colour."""
    return int((np.abs(picture.astype(int) - color).max(axis=2) < 25).sum())


@pytest.mark.skipif(not CHROMIUM, reason="no Chromium here: pages are checked as text only")
def test_sliders_move_the_picture_in_a_browser_without_network(tmp_path):
    one = scrubber({"video": plain(RED, GREEN)}, height=64).html
    two = versus({"clip": {"a": plain(RED, RED), "b": plain(RED, BLUE)}}, height=64).html
    place = "position:absolute;left:0;top:{}px;width:100%;height:300px;background:{}"
    half = f"<div style='{place}' class='{{}}'>{{}}</div>"
    halves = [("white", "rest"), ("#111", "moved")]
    body = "".join(half.format(300 * i, color, name, one + two) for i, (color, name) in enumerate(halves))
    (tmp_path / "page.html").write_text(f"<meta charset=utf-8><body style='margin:0'>{body}{MOVE}")
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--window-size=600,600"]
    command += [f"--user-data-dir={tmp_path / 'profile'}", "--host-resolver-rules=MAP * ~NOTFOUND"]
    command += [f"--screenshot={tmp_path / 'page.png'}", (tmp_path / "page.html").as_uri()]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    with Image.open(tmp_path / "page.png") as picture:
        pixels = np.asarray(picture.convert("RGB"))
    rest, moved = pixels[:300], pixels[300:]
    assert rest[-1, -1].tolist() == [255] * 3
    assert moved[-1, -1].tolist() == [17] * 3
    assert area(rest, RED) > 2 * 3500 and area(rest, GREEN) < 100  # the scrubber's first frame, and A
    assert area(rest, BLUE) > 3500  # B: a page of two frames begins at its second
    assert area(moved, GREEN) > 3500  # the scrubber's last frame
    assert 3500 < area(moved, BLUE) < 8000  # now A
    difference = tuple(min(255, 4 * abs(a - b)) for a, b in zip(RED, BLUE, strict=True))
    assert area(moved, difference) > 3500
