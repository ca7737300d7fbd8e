"""Times of notebooks: taken from finished runs, kept for each kind of device, written at the top."""

import json

import nbformat
import pytest

from semrepa.showcase.__main__ import main
from semrepa.showcase.times import measured, merge, time_line, with_line, write_lines, write_times


def run_folder(tmp_path, name, *, status="ok", **machine):
    folder = tmp_path / "run" / name
    folder.mkdir(parents=True)
    run = {"status": status, "finished": "2026-11-27T10:00:00+00:00", "metrics": {"seconds": 42.4}}
    (folder / "run.json").write_text(json.dumps(run | {"machine": machine}))
    return folder.parent


def test_only_finished_notebooks_are_measured(tmp_path):
    run_folder(tmp_path, "01_a", kind="cpu", cores=2, load=0.5)
    run = run_folder(tmp_path, "02_b", status="stopped")
    found = measured(run)
    assert list(found) == ["01_a"]
    assert found["01_a"]["cpu"]["seconds"] == 42.4


def test_a_folder_without_finished_notebooks_says_what_to_do(tmp_path, capsys):
    (tmp_path / "notebooks").mkdir()
    assert main([str(tmp_path), "--notebooks", str(tmp_path / "notebooks")]) == 2
    assert "make demo" in capsys.readouterr().err


def test_a_gpu_joins_the_cpu_and_a_new_measurement_replaces_the_old_one():
    old = {"01_a": {"cpu": {"seconds": 9}}}
    assert merge(old, {"01_a": {"cuda": {"seconds": 2}}})["01_a"] == {
        "cpu": {"seconds": 9},
        "cuda": {"seconds": 2},
    }
    assert merge(old, {"01_a": {"cpu": {"seconds": 5}}})["01_a"]["cpu"]["seconds"] == 5


@pytest.mark.parametrize(
    ("load", "said"),
    [(1.0, "(2026-11-27)"), (9.0, "with other work on the machine"), (None, "load not recorded")],
)
def test_the_line_says_where_when_and_in_what_company(load, said):
    found = {"seconds": 42.4, "cores": 2, "load": load, "date": "2026-11-27"}
    line = time_line({"cpu": found})
    assert "42 s on 2 CPU cores" in line
    assert said in line
    assert "never measured on a GPU" in line
    assert "3.3 minutes on a GPU" in time_line({"cuda": found | {"seconds": 200.0}})


def test_the_line_is_the_second_cell_and_is_replaced_not_repeated(tmp_path):
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# A?")])
    assert with_line(notebook, "old")
    assert with_line(notebook, "new")
    assert not with_line(notebook, "new")
    assert [cell.source for cell in notebook.cells] == ["# A?", "new"]
    path = tmp_path / "01_a.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# A?")]), path)
    write_times(tmp_path, {"01_a": {"cpu": {"seconds": 5.0, "cores": 2, "load": 0, "date": "2026-11-27"}}})
    assert write_lines(tmp_path) == [path]
    assert write_lines(tmp_path) == []
    assert "5 s on 2 CPU cores" in nbformat.read(path, as_version=4).cells[1].source
