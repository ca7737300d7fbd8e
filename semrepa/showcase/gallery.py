"""Pictures of a run for the documentation: small, and with the kind of weights written into each."""

import base64
import io
import json
from pathlib import Path

import nbformat
from PIL import Image, ImageDraw, ImageFont

from semrepa.ui.pages import opening, pictures
from semrepa.ui.style import GREY, PAPER

MOST = 150_000
"""Bytes of a picture at most."""

LABELS = {
    "mini": "mini preset: small networks on rendered people, not the paper's scale",
    "real": "official weights",
    "random": "random weights: nothing can be learned from this picture",
    None: "a toy: points in the plane, no weights",
}
"""What is written below a picture, by the kind of weights behind it."""

COLORS = (256, 128, 64)
"""Colours tried for a picture that is too large, before it is made smaller."""

STRIP = 24
"""Pixels below the picture for the label."""


def write_gallery(run_dir: Path, folder: Path, notebooks: Path) -> list[Path]:
    """Write the cover of each finished notebook of a run, and a page that shows all that are there.

    Args:
        run_dir: folder with one folder per notebook.
        folder: gets `<notebook>.png` and `README.md`; pictures of other notebooks stay.
        notebooks: folder of the notebooks, for titles and questions.

    Returns:
        The files written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for report in sorted(run_dir.glob("*/run.json")):
        name = report.parent.name
        executed = report.parent / f"{name}.ipynb"
        run = json.loads(report.read_text(encoding="utf-8"))
        if run.get("status") != "ok" or not executed.is_file():
            continue
        notebook = nbformat.read(executed, as_version=4)
        covers = pictures(notebook, "cover")
        if covers:
            label = f"{name}   ·   {LABELS[run.get('kind')]}"
            path = folder / f"{name}.png"
            path.write_bytes(small_png(labelled(base64.b64decode(covers[-1]), label)))
            written.append(path)
    page = folder / "README.md"
    page.write_text(gallery_page(folder, notebooks), encoding="utf-8")
    return [*written, page]


def gallery_page(folder: Path, notebooks: Path) -> str:
    """The page of the gallery.

    Args:
        folder: folder of the pictures.
        notebooks: folder of the notebooks.

    Returns:
        Markdown: each picture with the title and the question of its notebook.
    """
    parts = [
        "# Gallery",
        "One picture per notebook, from executed ones, labelled with the kind of weights behind it. "
        "Made by `make gallery` (`python -m semrepa.showcase runs/demo`); nothing here is edited by hand.",
    ]
    up = Path(*[".."] * len(folder.parts)) / notebooks if not folder.is_absolute() else notebooks
    for picture in sorted(folder.glob("*.png")):
        source = notebooks / f"{picture.stem}.ipynb"
        if source.is_file():
            title, question = opening(nbformat.read(source, as_version=4))
            link = f"[{title}]({(up / source.name).as_posix()})"
            parts += [f"## {link}", question, f"![{title}]({picture.name})"]
    return "\n\n".join(parts) + "\n"


def labelled(png: bytes, label: str) -> Image.Image:
    """Write a line below a picture.

    Args:
        png: the picture.
        label: the line.

    Returns:
        The picture with a strip below it.
    """
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    whole = Image.new("RGB", (picture.width, picture.height + STRIP), PAPER)
    whole.paste(picture, (0, 0))
    font = ImageFont.load_default(size=14)
    ImageDraw.Draw(whole).text((6, picture.height + STRIP / 2), label, fill=GREY, font=font, anchor="lm")
    return whole


def small_png(picture: Image.Image, most: int = MOST) -> bytes:
    """Write a picture as PNG, with fewer colours and then smaller until it fits.

    Args:
        picture: the picture.
        most: bytes at most.

    Returns:
        The file.
    """
    while True:
        tries = [picture, *(picture.quantize(count, dither=Image.Dither.NONE) for count in COLORS)]
        for tried in tries:
            buffer = io.BytesIO()
            tried.save(buffer, format="PNG", optimize=True)
            if buffer.tell() <= most:
                return buffer.getvalue()
        picture = picture.resize((round(picture.width * 0.9), round(picture.height * 0.9)))
