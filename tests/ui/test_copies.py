"""Copies of the notebooks: outputs and edits stay out of the checkout, and edits are kept."""

from pathlib import Path

import nbformat
import pytest

from semrepa.ui.__main__ import main
from semrepa.ui.copies import copy_notebooks

ROOT = Path(__file__).parents[2]


def write(path, *sources, output=""):
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    if output:
        cells[0].outputs = [nbformat.v4.new_output("stream", text=output)]
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)


def sources(path):
    return [cell.source for cell in nbformat.read(path, as_version=4).cells]


@pytest.fixture
def kit(tmp_path):
    write(tmp_path / "notebooks" / "00_a.ipynb", "1")
    return tmp_path


def copied(kit):
    return copy_notebooks(kit / "notebooks", kit / "lab")["00_a.ipynb"]


def test_outputs_do_not_count_as_edits(kit):
    assert copied(kit) == "copied"
    write(kit / "lab" / "00_a.ipynb", "1", output="run")
    assert copied(kit) == "kept"
    assert "run" in (kit / "lab" / "00_a.ipynb").read_text(), "what was run stays visible"
    write(kit / "notebooks" / "00_a.ipynb", "2")
    assert copied(kit) == "copied"
    assert sources(kit / "lab" / "00_a.ipynb") == ["2"], "nobody had edited it, so it follows the kit"


def test_edits_are_kept_and_a_newer_one_of_the_kit_is_told(kit, monkeypatch, capsys):
    copied(kit)
    write(kit / "lab" / "00_a.ipynb", "1", "mine")
    assert copied(kit) == "edited"
    write(kit / "notebooks" / "00_a.ipynb", "2")
    assert copied(kit) == "outdated"
    assert sources(kit / "lab" / "00_a.ipynb") == ["1", "mine"]
    monkeypatch.chdir(kit)
    main(["lab"])
    assert "lab/00_a.ipynb: yours, since you have edited it" in capsys.readouterr().out
    write(kit / "lab" / "00_a.ipynb", "2")
    assert copied(kit) == "kept", "taken over by hand"
    write(kit / "notebooks" / "00_a.ipynb", "3")
    assert copied(kit) == "copied"


def test_a_copy_that_is_no_notebook_is_the_users(kit):
    copied(kit)
    (kit / "lab" / "00_a.ipynb").write_text("half a fi")
    assert copied(kit) == "edited"


def test_without_notebooks_nothing_is_made(tmp_path):
    with pytest.raises(FileNotFoundError, match="run this in the kit's folder"):
        copy_notebooks(tmp_path / "notebooks", tmp_path / "lab")
    assert not (tmp_path / "lab").exists()


def test_make_lab_opens_copies_that_git_does_not_see():
    makefile = (ROOT / "Makefile").read_text()
    recipe = makefile.partition("\nlab:")[2].partition("\n\n")[0]
    assert "semrepa.ui lab" in recipe
    assert "jupyter lab lab" in recipe
    assert "/lab/" in (ROOT / ".gitignore").read_text().splitlines()
    assert " lab" not in makefile.partition("\nclean:")[2].partition("\n\n")[0], "edits survive make clean"
