"""Rules of the notebooks, checked without running them: thin, stripped, and all of one shape."""

import ast
import io
import re
import tokenize
from pathlib import Path

import nbformat
import pytest

FOLDER = Path(__file__).parents[2] / "notebooks"
EXPECTED = [
    "00_start_here",
    "01_data_curation",
    "02_depth_colorization",
    "03_structure_aligner",
    "04_id_aligner",
    "05_id_distance_analysis",
    "06_dit_finetuning",
    "07_generation",
    "08_evaluation",
    "09_ablations",
    "10_method_from_scratch",
]
FROM_SCRATCH = "10_method_from_scratch"
"""Does without the library, to show what is in it; so it may define functions."""
COMMON = ["preset", "run_dir", "seed", "overrides"]
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def path(request):
    return request.param


@pytest.fixture
def notebook(path):
    return nbformat.read(path, as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def parameters_cell(notebook):
    (cell,) = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    return cell


def test_all_notebooks_are_there_in_order():
    found = [path.stem for path in NOTEBOOKS]
    assert [stem for stem in found if stem in EXPECTED] == EXPECTED
    assert all(re.match(r"\d\d_[a-z_]+$", stem) for stem in found)


def test_format_is_valid_and_portable(path, notebook):
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"
    assert set(notebook.metadata) <= {"kernelspec", "language_info"}, "strip the notebook's metadata"
    assert path.stat().st_size < 100_000


def test_outputs_are_stripped(notebook):
    for cell in code_cells(notebook):
        assert cell.outputs == []
        assert cell.execution_count is None
        assert set(cell.metadata) <= {"tags"}
        assert "raises-exception" not in cell.metadata.get("tags", []), "papermill counts it as failure"


def test_opens_with_a_title_and_the_paper_section(notebook):
    first = notebook.cells[0]
    assert first.cell_type == "markdown"
    assert first.source.startswith("# ")
    assert notebook.cells[0].source.count("?") > 0, "say which question the notebook answers"


def test_parameters_are_commented_literals(notebook):
    source = parameters_cell(notebook).source
    lines = ast.parse(source).body
    assert all(isinstance(line, ast.Assign | ast.AnnAssign) for line in lines), (
        "only `name = literal  # meaning`"
    )
    for line in lines:
        ast.literal_eval(line.value)
    names = [ast.unparse(line).split(" = ")[0].split(":")[0] for line in lines]
    assert names[: len(COMMON)] == COMMON
    assert len(names) <= len(COMMON) + 3, "at most three headline knobs; the rest are overrides"
    comments = [
        token
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    ]
    assert len(comments) >= len(names), "papermill shows the trailing comment as help"


def test_notebooks_only_call_the_library(path, notebook):
    for cell in code_cells(notebook):
        tree = ast.parse(cell.source)  # magics and shell lines do not parse
        kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
        assert path.stem == FROM_SCRATCH or not any(isinstance(node, kinds) for node in ast.walk(tree)), (
            f"move it to the library:\n{cell.source}"
        )
        assert sum(bool(line.strip()) for line in cell.source.splitlines()) <= 15, f"too long:\n{cell.source}"


def test_only_the_papers_and_kits_own_things_are_linked(path, notebook):
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    targets = [target for target in re.findall(r"\]\(([^)#]+)", text) if "://" not in target]
    missing = [target for target in targets if not (path.parent / target).exists()]
    assert not missing, f"links to nothing: {missing}"


def test_the_toy_does_without_the_library_until_it_is_compared():
    cells = code_cells(nbformat.read(FOLDER / f"{FROM_SCRATCH}.ipynb", as_version=4))
    users = [
        k
        for k, cell in enumerate(cells)
        if re.search(r"^\s*(from|import) semrepa", cell.source, re.MULTILINE)
    ]
    assert users == [len(cells) - 4], "one cell imports the library, for the comparison at the end"


def test_notebooks_end_with_what_was_learned_and_three_things_to_try(notebook):
    (closing,) = [cell.source for cell in notebook.cells if "Three things to try" in cell.source]
    assert "## What we learned" in closing
    things = re.findall(r"^(\d)\. (.*)", closing.partition("Three things to try")[2], re.MULTILINE)
    assert [number for number, _ in things] == ["1", "2", "3"]
    assert all("`" in thing for _, thing in things), "each is a parameter to change"
