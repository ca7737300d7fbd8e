"""Rules of the library's code that no linter knows: sizes, direction of imports, owners, equations."""

import ast
import re
from pathlib import Path

import pytest

LIBRARY = Path(__file__).parents[2] / "semrepa"
SOURCES = {
    path.relative_to(LIBRARY).as_posix(): path.read_text(encoding="utf-8") for path in LIBRARY.rglob("*.py")
}
TREES = {name: ast.parse(text) for name, text in SOURCES.items()}

# A module imports from rows below its own; beside it, only what SIBLINGS names.
ROWS = [
    {"__init__", "commands", "config", "shapes", "runtime", "provenance", "hashes", "files"},
    {"data", "losses", "diffusion", "depth", "sliding"},
    {"models", "teachers", "metrics", "world"},
    {"prepare", "training", "generate", "estimate", "analysis", "weights", "runs"},
    {"ui", "miniature", "evaluation", "ablations"},
    {"headless", "showcase"},
]
ROW = {part: number for number, row in enumerate(ROWS) for part in row}
SIBLINGS = {
    ("config", "runtime"),
    ("runtime", "provenance"),
    ("provenance", "hashes"),
    ("runtime", "files"),
    ("hashes", "files"),
    ("runtime", "__init__"),
    ("teachers", "models"),
    ("teachers", "world"),
    ("prepare", "weights"),
    ("analysis", "generate"),
    ("analysis", "prepare"),
    ("analysis", "training"),
    ("analysis", "weights"),
    ("training", "estimate"),
    ("training", "generate"),
    ("training", "weights"),
    ("generate", "weights"),
    ("runs", "generate"),
    ("runs", "weights"),
    ("ablations", "evaluation"),
    ("ui", "ablations"),
    ("ui", "evaluation"),
}

# Who may import a heavy package. The official model classes have their own rule below.
OWNERS = {
    "IPython": ("ui/",),
    "av": ("data/video.py", "data/decoding/"),
    "cv2": ("teachers/", "miniature/", "metrics/", "models/judges/"),
    "decord": ("data/decoding/",),
    "insightface": ("teachers/face.py",),
    "ipywidgets": ("ui/",),
    "matplotlib": ("ui/",),
    "onnx": ("teachers/", "miniature/"),
    "onnxruntime": ("teachers/", "miniature/"),
    "papermill": ("headless/",),
    "plotly": ("ui/",),
    "pyarrow": ("data/manifest.py", "data/manifest_files.py", "evaluation/parquet.py"),
    "torchvision": ("models/judges/", "teachers/people.py"),
    "ray": ("prepare/cluster.py", "prepare/laptop.py"),
}
WITH_FIGURES = {"analysis/__main__.py", "evaluation/__main__.py", "miniature/table3.py"}
"""Commands that draw: they may import `ui`, and nothing may import them."""
COMMAND_LINES = ("__main__.py", "miniature/samples.py", "miniature/table3.py")

each_file = pytest.mark.parametrize("name", sorted(SOURCES))


def imported(tree):
    """Dotted name of every imported module, wherever the import stands."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module == "semrepa":
            yield from (f"semrepa.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def part_of(name):
    return name.split("/")[0].removesuffix(".py")


@each_file
def test_sizes(name):
    assert len(SOURCES[name].splitlines()) <= 400, f"{name} is too long; split it by subject (aim: 300 lines)"
    functions = [
        node for node in ast.walk(TREES[name]) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    long = {node.name: node.end_lineno - node.lineno + 1 for node in functions}
    long = {function: lines for function, lines in long.items() if lines > 60}
    assert not long, f"{name}: functions over 60 lines (aim: 40): {long}"


@each_file
def test_size_rules_have_no_way_out(name):
    found = re.findall(r"noqa(?!:)|noqa:.*?(?:C901|PLR09\d\d|E501)", SOURCES[name])
    assert not found, f"{name}: make it smaller instead of silencing the rule"


@each_file
def test_names_say_what_is_inside(name):
    vague = re.search(r"(^|[/_])(utils?|common|helpers?|registry|base|factory|managers?|misc)([_./]|$)", name)
    assert not vague, f"{name}: name the file after its subject"


@each_file
def test_imports_point_downward(name):
    here = part_of(name)
    assert here in ROW, f"{name}: give it a row in ROWS"
    for module in imported(TREES[name]):
        if module.split(".")[0] != "semrepa":
            continue
        there = module.split(".")[1] if "." in module else "__init__"
        there = there if there in ROW else "__init__"
        is_fine = there == here or ROW[there] < ROW[here] or (here, there) in SIBLINGS
        is_fine |= there == "ui" and name in WITH_FIGURES
        assert is_fine, (
            f"{name} (row {ROW[here]}) imports {module} (row {ROW[there]}); imports point downward"
        )
        takes_config = there == "config" and ROW[here] in (1, 2)
        assert not takes_config, f"{name}: rows 1 and 2 take plain values, never the config"


@each_file
def test_nothing_imports_a_command_that_draws(name):
    commands = {f"semrepa.{command.removesuffix('.py').replace('/', '.')}" for command in WITH_FIGURES}
    assert not commands & set(imported(TREES[name])), f"{name} imports a command, and with it what draws"


@each_file
def test_heavy_packages_have_one_owner(name):
    for module in imported(TREES[name]):
        owners = OWNERS.get(module.split(".")[0], ("",))
        assert name.startswith(owners), f"{name} imports {module}, which belongs to {' and '.join(owners)}"


@each_file
def test_official_model_classes_are_made_in_models_only(name):
    if name.startswith(("models/", "miniature/")):
        return
    tree = TREES[name]
    froms = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    classes = {
        alias.name for node in froms if node.module in ("diffusers", "transformers") for alias in node.names
    }
    for call in (node.func for node in ast.walk(tree) if isinstance(node, ast.Call)):
        maker = call.value if isinstance(call, ast.Attribute) else call
        made = maker.id if isinstance(maker, ast.Name) else None
        assert made not in classes, f"{name} makes a {made}; that is the task of models/"


@each_file
def test_library_does_not_print_swallow_or_assert(name):
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
            assert name.endswith(COMMAND_LINES), f"{name}:{node.lineno} prints; log instead"
        if isinstance(node, ast.ExceptHandler):
            caught = getattr(node.type, "id", None) if node.type else "everything"
            assert caught not in ("everything", "Exception", "BaseException"), (
                f"{name}:{node.lineno} catches {caught}"
            )
        assert not isinstance(node, ast.Assert), f"{name}:{node.lineno}: raise an error that says what to do"


@each_file
def test_annotations_can_be_checked_at_run_time(name):
    assert "__future__" not in set(imported(TREES[name])), (
        f"{name}: postponed annotations hide shapes from tests"
    )


@pytest.mark.parametrize("equation", range(1, 13))
def test_each_equation_of_the_paper_is_cited(equation):
    nodes = [node for tree in TREES.values() for node in ast.walk(tree)]
    holders = (ast.Module, ast.ClassDef, ast.FunctionDef)
    docs = [ast.get_docstring(node) or "" for node in nodes if isinstance(node, holders)]
    cited = re.findall(r"Eqs?\. ((?:\(\d+\)(?:,? and |, | to )?)+)", "\n".join(docs))
    assert str(equation) in {number for group in cited for number in re.findall(r"\d+", group)}
