"""A video scrubber that needs no kernel and no network: plain HTML with the frames inside.

It works in JupyterLab and in an exported report opened offline, and falls back to a contact sheet where
pages are not allowed to run (GitHub).
"""

import base64
import html
import io
from collections.abc import Mapping
from dataclasses import dataclass
from string import Template

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image

from semrepa.ui.pictures import contact_sheet, montage, to_images
from semrepa.ui.style import INK, PAPER, to_png

_STYLE = f"""<style>
.scrub {{ background: {PAPER}; color: {INK}; padding: 8px 10px; width: max-content; max-width: 100%; }}
.scrub {{ box-sizing: border-box; font: 13px sans-serif; }}
.scrub h4 {{ font-size: 15px; margin: 0 0 4px; color: {INK}; }}
.scrub .names, .scrub .bar {{ display: flex; gap: 4px; align-items: center; }}
.scrub .names b {{ flex: 1; min-width: 0; }}
.scrub .bar {{ margin-top: 4px; gap: 8px; }}
.scrub input {{ flex: 1; }}
.scrub button {{ width: 34px; }}
.scrub output {{ width: 52px; text-align: right; }}
.scrub img {{ width: 100%; display: none; margin: 0; }}
.scrub img.now {{ display: block; }}
</style>"""

_SHOW_FRAME = """
var box = this.closest('.scrub'), frames = box.querySelectorAll('img'), k = +this.value;
for (var i = 0; i < frames.length; i++) frames[i].className = i == k ? 'now' : '';
box.querySelector('output').value = (k / $fps).toFixed(2) + ' s';
"""

_PLAY = """
var box = this.closest('.scrub'), bar = box.querySelector('input'), last = +bar.max;
if (box.timer) { clearInterval(box.timer); box.timer = 0; }
else box.timer = setInterval(function () {
  if (!box.isConnected) clearInterval(box.timer);
  bar.value = +bar.value < last ? +bar.value + 1 : 0;
  bar.dispatchEvent(new Event('input'));
}, 1000 / $fps);
"""

# JupyterLab takes the arrow keys for itself unless the slider itself says not to.
_PAGE = Template(f"""{_STYLE}<div class="scrub">$title
<div style="width: ${{width}}px; max-width: 100%">
<div class="names">$names</div>$frames
<div class="bar"><button type="button" title="play or pause" onclick="{_PLAY}">&#9654;</button>
<input type="range" data-lm-suppress-shortcuts="true"
min="0" max="$last" value="0" step="1" aria-label="frame" oninput="{_SHOW_FRAME}">
<output>0.00 s</output></div></div></div>""")


@dataclass(frozen=True)
class Page:
    """A piece of HTML with a picture for places that cannot run it."""

    html: str
    """Self-contained: no script tag, no address outside the page."""
    png: bytes
    """The static fallback."""
    text: str
    """One line for terminals."""

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        return {
            "text/html": self.html,
            "image/png": base64.b64encode(self.png).decode(),
            "text/plain": self.text,
        }


def scrubber(clips: Mapping[str, ArrayLike], *, fps: float = 8.0, title: str = "", height: int = 240) -> Page:
    """Show clips side by side under one slider, in step: video and depth, or base against fine-tuned.

    Args:
        clips: label to frames (n, 3, H, W), all of one size; the shortest sets the length.
        fps: frames per second, for the clock and the play button.
        title: headline.
        height: pixels of each picture on screen; larger frames are stored at this height.

    Returns:
        A page that a notebook displays; its fallback is a contact sheet.

    Raises:
        ValueError: when the clips differ in size.
    """
    sheet = contact_sheet(clips, columns=5, fps=fps, title=title)
    pictures = {label: to_images(frames) for label, frames in clips.items()}
    high, wide = next(iter(pictures.values())).shape[1:3]
    count = min(len(clip) for clip in pictures.values())
    joined = [montage([[clip[i] for clip in pictures.values()]], gap=4) for i in range(count)]
    page = _PAGE.substitute(
        title=f"<h4>{html.escape(title)}</h4>" if title else "",
        names="".join(f"<b>{html.escape(label)}</b>" for label in pictures),
        frames="".join(_image(picture, i, height) for i, picture in enumerate(joined)),
        width=round(wide * height / high) * len(pictures) + 4 * (len(pictures) - 1),
        last=count - 1,
        fps=fps,
    )
    return Page(page, to_png(sheet, dpi=72), f"{title or 'scrubber'}: {', '.join(pictures)}, {count} frames")


def _image(picture: np.ndarray, index: int, height: int) -> str:
    image = Image.fromarray(picture)
    if image.height > height:
        image = image.resize((round(image.width * height / image.height), height), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=85)
    data = base64.b64encode(buffer.getvalue()).decode()
    shown = ' class="now"' if index == 0 else ""
    return f'<img src="data:image/jpeg;base64,{data}" alt="frame {index}"{shown}>'
