"""A video scrubber that needs no kernel and no network: plain HTML with the frames inside.

It works in JupyterLab and in an exported report opened offline, and falls back to a contact sheet where
pages are not allowed to run (GitHub).
"""

import base64
import html
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from string import Template

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike
from PIL import Image

from semrepa.ui.checks import check_lengths
from semrepa.ui.pictures import contact_sheet, montage, same_clips
from semrepa.ui.style import FAINT, INK, PAPER, fewer_colors, to_png

MOST_BYTES = 450_000
"""What the frames of a page may weigh; more of them are stored smaller."""
QUALITY = 80
"""Of a frame, as WebP understands it."""
SMALLEST = 96
"""Pixels in height below which no frame is stored."""

LOOK = f"""<style>
.scrub {{ background: {PAPER}; color: {INK}; padding: 8px 10px; width: max-content; max-width: 100%; }}
.scrub {{ box-sizing: border-box; font: 13px sans-serif; border: 1px solid {FAINT}; }}
.scrub h4 {{ font-size: 15px; margin: 0 0 4px; color: {INK}; }}
.scrub .names, .scrub .bar {{ display: flex; gap: 4px; align-items: center; }}
.scrub .names b {{ flex: 1; min-width: 0; }}
.scrub .bar {{ margin-top: 4px; gap: 8px; }}
.scrub input {{ flex: 1; }}
.scrub button, .scrub select {{ background: {PAPER}; color: {INK}; border: 1px solid {INK}; font: inherit; }}
.scrub button {{ width: 34px; }}
.scrub output {{ text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }}
.scrub img {{ width: 100%; display: none; margin: 0; }}
.scrub img.now {{ display: block; }}
</style>"""
"""The look of every page that runs in a browser alone: dark on light, also in a dark JupyterLab."""

PLAY = """
var box = this.closest('.scrub'), bar = box.querySelector('input'), last = +bar.max;
if (box.timer) { clearInterval(box.timer); box.timer = 0; }
else box.timer = setInterval(function () {
  if (!box.isConnected) clearInterval(box.timer);
  bar.value = +bar.value < last ? +bar.value + 1 : 0;
  bar.dispatchEvent(new Event('input', {bubbles: true}));
}, 1000 / $fps);
"""
"""What the button does: play, or pause."""

_SHOW_FRAME = """
var frames = this.querySelectorAll('img'), k = +this.querySelector('input').value;
for (var i = 0; i < frames.length; i++) frames[i].className = i == k ? 'now' : '';
this.querySelector('output').value = frames[k].alt;
"""

# JupyterLab takes the arrow keys for itself unless the slider itself says not to.
_PAGE = Template(f"""{LOOK}<div class="scrub" oninput="{_SHOW_FRAME}">$title
<div style="width: ${{width}}px; max-width: 100%">
<div class="names">$names</div>$frames
<div class="bar"><button type="button" title="play or pause" onclick="{PLAY}">&#9654;</button>
<input type="range" data-lm-suppress-shortcuts="true" min="0" max="$last" value="0" aria-label="frame">
<output>$first</output></div></div></div>""")


@dataclass(frozen=True)
class Scrubber:
    """Clips side by side under one slider, as a page and as a contact sheet."""

    clips: Mapping[str, np.ndarray]
    """Label to pictures, uint8 (n, H, W, 3), all of one size and length."""
    captions: Sequence[str]
    """What is written beside the slider, one for each frame."""
    fps: float
    """Frames per second, for the play button."""
    title: str
    """Headline."""
    height: int
    """Pixels of each picture on screen."""

    def render(self, frame: int) -> np.ndarray:
        """The pictures of one frame side by side.

        Args:
            frame: 0 is the first.

        Returns:
            RGB, uint8 (H, W', 3).
        """
        return montage([[clip[frame] for clip in self.clips.values()]], gap=4)

    def static(self) -> Figure:
        """A contact sheet, for places that cannot run the page."""
        frames = {label: clip.transpose(0, 3, 1, 2) for label, clip in self.clips.items()}
        return contact_sheet(frames, columns=5, fps=self.fps, title=self.title)

    @cached_property
    def html(self) -> str:
        """The page: no script tag, no address outside itself."""
        pictures = [self.render(frame) for frame in range(len(self.captions))]
        high, wide = next(iter(self.clips.values())).shape[1:3]
        frames = zip(stored(pictures, self.height), self.captions, strict=True)
        return _PAGE.substitute(
            title=headline(self.title),
            names="".join(f"<b>{html.escape(label)}</b>" for label in self.clips),
            frames="".join(image(data, caption, shown=k == 0) for k, (data, caption) in enumerate(frames)),
            width=round(wide * self.height / high) * len(self.clips) + 4 * (len(self.clips) - 1),
            last=len(pictures) - 1,
            first=html.escape(self.captions[0]),
            fps=self.fps,
        )

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        text = f"{self.title or 'scrubber'}: {', '.join(self.clips)}, {len(self.captions)} frames"
        return page_bundle(self.html, self.static(), text)


def scrubber(
    clips: Mapping[str, ArrayLike],
    *,
    fps: float = 8.0,
    title: str = "",
    height: int = 240,
    notes: Sequence[str] = (),
) -> Scrubber:
    """Show clips side by side under one slider, in step: video and depth, or base against fine-tuned.

    Args:
        clips: label to frames (n, 3, H, W), all of one size and length.
        fps: frames per second, for the clock and the play button.
        title: headline.
        height: pixels of each picture on screen; frames are stored at this height, or smaller where all
            of them would weigh too much.
        notes: a few words for each frame, written beside the clock.

    Returns:
        What a notebook displays as a page; its fallback is a contact sheet.

    Raises:
        ValueError: no clips, empty ones, or clips or notes that differ in size or length.
    """
    pictures = same_clips(clips)
    count = len(next(iter(pictures.values())))
    if notes:
        check_lengths({"clips": count, "notes": len(notes)}, "frames", "write a note for each frame")
    clock = [f"{frame / fps:.2f} s" for frame in range(count)]
    captions = [f"{time}, {note}" for time, note in zip(clock, notes, strict=True)] if notes else clock
    return Scrubber(pictures, captions, fps, title, height)


def page_bundle(page: str, sheet: Figure, text: str) -> dict[str, str]:
    """Pack a page with a picture for places that cannot run it.

    Args:
        page: self-contained HTML.
        sheet: the picture; it is stored small, in 256 colours.
        text: one line for terminals.

    Returns:
        Mime type to content.
    """
    return {
        "text/html": page,
        "image/png": base64.b64encode(fewer_colors(to_png(sheet, dpi=72))).decode(),
        "text/plain": text,
    }


def headline(title: str) -> str:
    """The title as HTML, or nothing."""
    return f"<h4>{html.escape(title)}</h4>" if title else ""


def stored(pictures: Sequence[np.ndarray], height: int, most: int = MOST_BYTES) -> list[bytes]:
    """Pack pictures as WebP, at most `height` pixels high, smaller where they would weigh more than `most`.

    Args:
        pictures: RGB, uint8 (H, W, 3), of one size.
        height: pixels.
        most: bytes of all together; pictures of `SMALLEST` pixels may weigh more.

    Returns:
        One file each.
    """
    while True:
        files = [_webp(picture, height) for picture in pictures]
        weight = sum(map(len, files))
        if weight <= most or height <= SMALLEST:
            return files
        height = max(SMALLEST, int(min(height, len(pictures[0])) * min(0.9, (most / weight) ** 0.5)))


def image(data: bytes, caption: str, *, shown: bool = False) -> str:
    """A stored picture as an HTML element that carries it."""
    text = base64.b64encode(data).decode()
    now = ' class="now"' if shown else ""
    return f'<img src="data:image/webp;base64,{text}" alt="{html.escape(caption)}"{now}>'


def _webp(picture: np.ndarray, height: int) -> bytes:
    small = Image.fromarray(picture)
    if small.height > height:
        width = max(1, round(small.width * height / small.height))
        small = small.resize((width, height), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    small.save(buffer, "WEBP", quality=QUALITY)
    return buffer.getvalue()
