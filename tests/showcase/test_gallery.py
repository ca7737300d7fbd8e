"""Pictures for the documentation: the cover of each finished notebook, labelled, small enough."""

import base64
import io
import json

import nbformat
import numpy as np
import pytest
from PIL import Image

from semrepa.showcase.gallery import STRIP, labelled, small_png, write_gallery


def png(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()


@pytest.fixture
def noisy():
    return np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8)


def executed(picture, tags):
    data = {"image/png": base64.b64encode(picture).decode()}
    output = nbformat.v4.new_output("display_data", data=data)
    cell = nbformat.v4.new_code_cell("show(figure)", outputs=[output], metadata={"tags": tags})
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# 1 · A\n\nIs it so?"), cell])


def test_a_label_is_written_below_and_the_picture_stays(noisy):
    made = np.asarray(labelled(png(noisy), "mini"))
    assert made.shape == (300 + STRIP, 400, 3)
    assert (made[:300] == noisy).all()
    assert (made[300:] < 200).any()


def test_a_large_picture_is_made_to_fit_and_a_small_one_left_alone(noisy):
    assert len(small_png(Image.fromarray(noisy), most=30_000)) <= 30_000
    flat = Image.fromarray(np.zeros((300, 400, 3), np.uint8))
    assert Image.open(io.BytesIO(small_png(flat))).size == (400, 300)


def test_covers_of_finished_notebooks_only(tmp_path, noisy):
    notebooks = tmp_path / "notebooks"
    notebooks.mkdir()
    for name, status, tags in (("01_a", "ok", ["cover"]), ("02_b", "failed", ["cover"]), ("03_c", "ok", [])):
        folder = tmp_path / "run" / name
        folder.mkdir(parents=True)
        (folder / "run.json").write_text(json.dumps({"status": status, "kind": "mini"}))
        nbformat.write(executed(png(noisy), tags), folder / f"{name}.ipynb")
        nbformat.write(executed(png(noisy), tags), notebooks / f"{name}.ipynb")
    written = write_gallery(tmp_path / "run", tmp_path / "gallery", notebooks)
    assert [path.name for path in written] == ["01_a.png", "README.md"]
    assert all(path.stat().st_size <= 150_000 for path in written)
    page = written[-1].read_text()
    assert "Is it so?" in page
    assert "](01_a.png)" in page
