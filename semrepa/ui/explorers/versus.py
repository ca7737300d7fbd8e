"""Two generations of one clip beside each other, in step, and where they differ: a page without a kernel."""

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from string import Template

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from semrepa.ui.checks import check_lengths
from semrepa.ui.pictures import contact_sheet, montage, same_clips
from semrepa.ui.scrubber import LOOK, PLAY, headline, image, page_bundle, stored

GAIN = 4
"""What differences are multiplied by, so that small ones can be seen."""

_LOOK = f"""{LOOK}<style>
.scrub .panels {{ display: flex; gap: 4px; }}
.scrub .panels div {{ flex: 1; min-width: 0; position: relative; }}
.scrub .panels img {{ display: block; }}
.scrub .diff {{ filter: brightness({GAIN}); isolation: isolate; }}
.scrub .diff img + img {{ position: absolute; inset: 0; mix-blend-mode: difference; }}
.scrub .store {{ display: none; }}
.scrub .menus {{ display: flex; gap: 16px; margin-bottom: 6px; flex-wrap: wrap; }}
</style>"""

_REFRESH = """
var box = this, menus = box.querySelectorAll('select'), bar = box.querySelector('input');
var n = +bar.max + 1, clip = menus[0].selectedIndex, store = box.querySelectorAll('.store img');
var at = function (arm) { return store[(clip * menus[1].length + arm) * n + +bar.value].src; };
var left = at(menus[1].selectedIndex), right = at(menus[2].selectedIndex);
var shown = box.querySelectorAll('.panels img'), names = box.querySelectorAll('.names b');
[left, right, left, right].forEach(function (src, i) { shown[i].src = src; });
names[0].textContent = 'A: ' + menus[1].value; names[1].textContent = 'B: ' + menus[2].value;
box.querySelector('output').value = (bar.value / $fps).toFixed(2) + ' s';
"""

_PAGE = Template(f"""{_LOOK}<div class="scrub versus" oninput="{_REFRESH}">$title
<div style="width: ${{width}}px; max-width: 100%">
<div class="menus">$menus</div>
<div class="names"><b>A: $left</b><b>B: $right</b><b>|A &minus; B| &times; {GAIN}</b></div>
<div class="panels"><div>$a</div><div>$b</div><div class="diff">$a$b</div></div>
<div class="bar"><button type="button" title="play or pause" onclick="{PLAY}">&#9654;</button>
<input type="range" data-lm-suppress-shortcuts="true" min="0" max="$last" value="$middle" aria-label="frame">
<output>$clock</output></div><div class="store">$store</div></div></div>""")


@dataclass(frozen=True)
class Versus:
    """Videos of several models for several clips, two of which are compared at a time."""

    videos: Mapping[str, Mapping[str, np.ndarray]]
    """Clip to model to pictures, uint8 (n, H, W, 3), all of one size and length."""
    pair: tuple[str, str]
    """The models that are shown first: A and B."""
    fps: float
    """Frames per second."""
    title: str
    """Headline."""
    height: int
    """Pixels of each picture on screen."""

    def render(self, clip: str, left: str, right: str, frame: int) -> np.ndarray:
        """A, B and their difference, as the page shows them.

        Args:
            clip: which clip.
            left: model A.
            right: model B.
            frame: 0 is the first.

        Returns:
            RGB, uint8 (H, W', 3).
        """
        a, b = self.videos[clip][left][frame], self.videos[clip][right][frame]
        return montage([[a, b, _difference(a, b)]], gap=4)

    def static(self) -> Figure:
        """A contact sheet of the first clip, for places that cannot run the page."""
        (clip, arms), (left, right) = next(iter(self.videos.items())), self.pair
        a, b = arms[left], arms[right]
        rows = {f"A: {left}": a, f"B: {right}": b, f"|A - B| x {GAIN}": _difference(a, b)}
        frames = {label: pictures.transpose(0, 3, 1, 2) for label, pictures in rows.items()}
        return contact_sheet(
            frames, columns=5, fps=self.fps, title=f"{self.title}: {clip}" if self.title else clip
        )

    @cached_property
    def html(self) -> str:
        """The page: no script tag, no address outside itself; the browser computes the difference."""
        arms = list(next(iter(self.videos.values())))
        pictures = [picture for clip in self.videos.values() for arm in clip.values() for picture in arm]
        store, count = [image(data, "") for data in stored(pictures, self.height)], self._count
        middle, (left, right) = count // 2, self.pair
        high, wide = pictures[0].shape[:2]
        menus = [("clip", list(self.videos), next(iter(self.videos))), ("A", arms, left), ("B", arms, right)]
        return _PAGE.substitute(
            title=headline(self.title),
            menus="".join(_menu(*menu) for menu in menus),
            left=html.escape(left),
            right=html.escape(right),
            a=store[arms.index(left) * count + middle],
            b=store[arms.index(right) * count + middle],
            width=3 * round(wide * self.height / high) + 8,
            last=count - 1,
            middle=middle,
            clock=f"{middle / self.fps:.2f} s",
            store="".join(store),
            fps=self.fps,
        )

    @property
    def _count(self) -> int:
        return len(next(iter(next(iter(self.videos.values())).values())))

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        text = f"{self.title or 'A against B'}: {', '.join(self.videos)}, {self._count} frames"
        return page_bundle(self.html, self.static(), text)


def versus(
    videos: Mapping[str, Mapping[str, ArrayLike]],
    *,
    pair: Sequence[str] = (),
    fps: float = 8.0,
    title: str = "Same first frame, caption and noise",
    height: int = 160,
) -> Versus:
    """Compare what two models made of one clip with one seed, in step; all is chosen in the page.

    Args:
        videos: clip to model to frames (n, 3, H, W); all clips have the same models, all videos one size and
            length. Name clip and seed, such as `walk_03, seed 0`, where there are several seeds.
        pair: the models shown first as A and B; empty: the first and the last.
        fps: frames per second.
        title: headline.
        height: pixels of each picture on screen.

    Returns:
        What a notebook displays as a page; its fallback is a contact sheet.

    Raises:
        ValueError: fewer than two models, models that are not the same for all clips, unknown names, or
            videos that differ in size or length.
    """
    check_lengths({"videos": len(videos)}, "clips", "pass clip to model to frames")
    arms = {clip: list(models) for clip, models in videos.items()}
    known = next(iter(arms.values()))
    if any(models != known for models in arms.values()) or len(known) < 2:
        told = "; ".join(f"{clip}: {', '.join(models) or 'none'}" for clip, models in arms.items())
        raise ValueError(
            f"got models {told}; expected the same two or more for each clip; generate the others"
        )
    first, second = pair or (known[0], known[-1])
    if unknown := {first, second} - set(known):
        raise ValueError(f"pair: got {', '.join(sorted(unknown))}; expected two of {', '.join(known)}")
    flat = {f"{clip}, {arm}": frames for clip, models in videos.items() for arm, frames in models.items()}
    pictures = same_clips(flat)
    nested = {clip: {arm: pictures[f"{clip}, {arm}"] for arm in known} for clip in videos}
    return Versus(nested, (first, second), fps, title, height)


def _menu(name: str, choices: Sequence[str], chosen: str) -> str:
    options = "".join(
        f"<option{' selected' if choice == chosen else ''}>{html.escape(choice)}</option>"
        for choice in choices
    )
    return f"<label>{name} <select>{options}</select></label>"


def _difference(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Size of the difference of each colour, enlarged."""
    return (np.abs(a.astype(int) - b) * GAIN).clip(0, 255).astype(np.uint8)
